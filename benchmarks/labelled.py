"""The labelled data: where it is, which questions are the same, which rows stay out of sight until the end."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.records import Record, read_records

ROOT = Path(__file__).resolve().parent.parent
HIDDEN_SHARE = 0.2
UNKNOWN = -9


def data_dir() -> Path:
    """The folder of labelled data: STAR_DATA, or ../shared/data beside the checkout. Ends the program where there is none."""
    for candidate in (os.environ.get("STAR_DATA"), ROOT.parent / "shared" / "data"):
        if candidate and (Path(candidate) / "gsm8k_train.jsonl.gz").is_file():
            return Path(candidate)
    raise SystemExit("No labelled data: set STAR_DATA to a folder that holds gsm8k_train.jsonl.gz and its neighbours.")


def load(name: str, limit: int | None = None) -> list[Record]:
    """The records of one file of the labelled data, for example "mr_ben"; `limit` keeps every n-th question."""
    records = list(read_records(data_dir() / f"{name}.jsonl.gz", strict=True))
    if limit is None or len(records) <= limit:
        return records
    step = len(records) / limit
    return [record for record in records if digest(record.question) % 1000 < 1000 / step]


def worked_solutions(limit: int | None = None) -> list[dict[str, str]]:
    """GSM8K's training questions with worked answers."""
    with gzip.open(data_dir() / "gsm8k_train.jsonl.gz", "rt", encoding="utf-8") as handle:
        rows: list[dict[str, str]] = [json.loads(line) for line in handle]
    return rows[:limit]


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


def hidden(records: Sequence[Record]) -> np.ndarray:
    """Mask of the rows that are kept out of sight: a fifth of the questions, by their hash."""
    return np.array([digest("hidden " + record.question) % 1000 < 1000 * HIDDEN_SHARE for record in records])


def answer_right(records: Sequence[Record]) -> np.ndarray:
    """1 right, 0 wrong, -1 unknown."""
    return np.array([-1 if record.answer_correct is None else int(record.answer_correct) for record in records])


def unsound(records: Sequence[Record]) -> np.ndarray:
    """1 labelled unsound, 0 sound, -1 not labelled."""
    return np.array([-1 if record.sound is None else int(not record.sound) for record in records])


def first_errors(records: Sequence[Record]) -> np.ndarray:
    """The label, or UNKNOWN."""
    return np.array([UNKNOWN if r.first_error_step is None else r.first_error_step for r in records])
