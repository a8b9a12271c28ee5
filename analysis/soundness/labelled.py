"""The labelled data: where it is, which questions are the same, which rows stay out of sight until the end."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.rationales.reading import read_records
from analysis.rationales.records import Record
from star.errors import InputError
from star.row_files import BadRowError, read_rows

ROOT = Path(__file__).resolve().parent.parent.parent
HIDDEN_SHARE = 0.2
UNKNOWN = -9
_INNERMOST = re.compile(r"\( (\S+) ([-+*/]) (\S+) \)")
_ASKED = re.compile(r"how many ([a-z]+)")
_MARK = re.compile(r"<<[^<>]*>>")


def data_dir() -> Path:
    """The folder of labelled data: STAR_DATA, or ../shared/data beside the checkout. Raises InputError where there is none."""
    for candidate in (os.environ.get("STAR_DATA"), ROOT.parent / "shared" / "data"):
        if candidate and (Path(candidate) / "gsm8k_train.jsonl.gz").is_file():
            return Path(candidate)
    raise InputError("no labelled data: set STAR_DATA to a folder that holds gsm8k_train.jsonl.gz and its neighbours.")


def load(name: str, limit: int | None = None) -> list[Record]:
    """The records of one file of the labelled data, for example "mr_ben"; `limit` keeps every n-th question."""
    records = list(read_records(data_dir() / f"{name}.jsonl.gz", strict=True))
    if limit is None or len(records) <= limit:
        return records
    step = len(records) / limit
    return [record for record in records if digest(record.question) % 1000 < 1000 / step]


def question_rows(name: str) -> list[dict[str, Any]]:
    """The rows of a file of the labelled data as they stand there."""
    return [dict(row) for _, row in read_rows(data_dir() / f"{name}.jsonl.gz") if not isinstance(row, BadRowError)]


def short_solutions() -> list[dict[str, str]]:
    """The problems of SVAMP, each with its equation worked out in steps."""
    found = []
    for row in question_rows("svamp"):
        body = row["Body"].strip()
        question = f"{body}{'' if body[-1:] in '.!?' else ','} {row['Question']}"
        noun = _ASKED.search(row["Question"].lower())
        steps = worked_out(row["Equation"], noun[1] if noun else "")
        if steps:
            found.append({"source": "SVAMP", "question": question, "answer": "\n".join([*steps, f"#### {row['Answer']:g}"])})
    return found


def worked_out(equation: str, noun: str) -> list[str]:
    """The steps of an equation, innermost first: "( ( 5.0 + 3.0 ) * 2.0 )" -> "5+3 = <<5+3=8>>8 pens", ..."""
    lines: list[str] = []
    while (match := _INNERMOST.search(equation)) is not None:
        a, sign, b = float(match[1]), match[2], float(match[3])
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else 0.0}[sign]
        lines.append(f"{a:g}{sign}{b:g} = <<{a:g}{sign}{b:g}={value:g}>>{value:g} {noun}".strip())
        equation = equation.replace(match[0], f"{value:.12g}")
    return lines


def written(row: dict[str, str]) -> Record:
    """A worked solution as it stands, with a closing line; one of SVAMP without calculator marks."""
    body, _, answer = row["answer"].partition("\n#### ")
    text = _MARK.sub("", body) if row["source"] == "SVAMP" else body
    steps = (*text.split("\n"), f"The answer is {answer}.")
    return Record("", row["source"], question=row["question"], steps=steps, answer=answer)


def worked(name: str) -> list[Record]:
    """The worked solutions of a question file, "gsm8k_train", "gsm8k_test" or "svamp": sound ones, of nobody's model."""
    if name == "svamp":
        return [written(row) for row in short_solutions()]
    return [written({"source": "GSM8K"} | row) for row in question_rows(name)]


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
    """Mask of the rows that are kept out of sight: a fifth of the questions is, by a hash."""
    return np.array([digest(f"hidden {record.question}") % 1000 < 1000 * HIDDEN_SHARE for record in records])
