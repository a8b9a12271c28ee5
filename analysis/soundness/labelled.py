"""The labelled data: where it is, and which questions are the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.rationales.reading import read_records
from analysis.rationales.records import Record
from star.errors import InputError
from star.row_files import BadRowError, read_rows

ROOT = Path(__file__).resolve().parent.parent.parent


def data_dir() -> Path:
    """The folder of labelled data: STAR_DATA, or ../shared/data beside the checkout. Raises InputError where there is none."""
    for candidate in (os.environ.get("STAR_DATA"), ROOT.parent / "shared" / "data"):
        if candidate and (Path(candidate) / "gsm8k_train.jsonl.gz").is_file():
            return Path(candidate)
    raise InputError("no labelled data: set STAR_DATA to a folder that holds gsm8k_train.jsonl.gz and its neighbours.")


def load(name: str, limit: int | None = None) -> list[Record]:
    """The records of one file of the labelled data, for example "mr_ben"; `limit` keeps every n-th question."""
    records = list(read_records(data_dir() / f"{name}.jsonl.gz"))
    if limit is None or len(records) <= limit:
        return records
    step = len(records) / limit
    return [record for record in records if digest(record.question) % 1000 < 1000 / step]


def question_rows(name: str) -> list[dict[str, Any]]:
    """The rows of a file of the labelled data as they stand there."""
    return [dict(row) for _, row in read_rows(data_dir() / f"{name}.jsonl.gz") if not isinstance(row, BadRowError)]


def worked(name: str) -> list[Record]:
    """The worked solutions of "gsm8k_train" or "gsm8k_test", with a closing line: sound ones, of nobody's model."""
    records = []
    for row in question_rows(name):
        body, _, answer = row["answer"].partition("\n#### ")
        steps = (*body.split("\n"), f"The answer is {answer}.")
        records.append(Record("", "GSM8K", question=row["question"], steps=steps, answer=answer))
    return records


def normalised(question: str) -> str:
    """Letters and digits in lower case: two questions that agree in these are the same. A question that is made of signs
    (brackets to close, a formula) is compared by all visible characters."""
    signs = sum(character in "()[]{}<>+*/=-" for character in question)
    if signs >= 2:
        return "".join(question.lower().split())
    return "".join(character for character in question.lower() if character.isalnum()) or question


def digest(question: str) -> int:
    """A stable number of a question."""
    return int(hashlib.sha256(normalised(question).encode("utf-8", "replace")).hexdigest()[:8], 16)


def groups(records: Sequence[Record]) -> np.ndarray:
    """One number per question."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(normalised(record.question), len(known)) for record in records])
