"""Anybody's step scores, recorded in a file: one JSON object a line with `id` and `step_ok`, P(step right) per step or null."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.rationales.records import Record, RecordError

StepOk = tuple[float | None, ...]


def read_score_file(path: Path, records: Sequence[Record]) -> list[StepOk | None]:
    """`step_ok` for each record, None where the file says nothing of it.

    Joined by id where ids are unique on both sides, else by place: then the file needs a line for every record, with equal
    ids where it has any. Raises RecordError for a file that cannot be read, values that are no probabilities, step
    counts that differ from the records', and a file that fits neither way.
    """
    rows = _read_lines(path)
    ids = [record.id for record in records]
    named = [row["id"] for row in rows]
    if len(set(ids)) == len(ids) and len(set(named)) == len(named) and None not in named:
        by_id = dict(zip(named, rows, strict=True))
        placed = [by_id.get(identifier) for identifier in ids]
        if rows and not any(placed):
            raise RecordError(f"{path} scores {len(rows):,} rationales, but none of the {len(ids):,} that were given (by id).")
    elif len(rows) == len(records) and all(name in (None, identifier) for name, identifier in zip(named, ids, strict=True)):
        placed = list(rows)
    else:
        raise RecordError(
            f"{path} has {len(rows):,} lines for {len(records):,} rationales whose ids repeat: expected one line for each, in "
            "the same order and with the same ids."
        )
    return [None if row is None else _checked(path, row, record) for row, record in zip(placed, records, strict=True)]


def _checked(path: Path, row: dict[str, Any], record: Record) -> StepOk | None:
    said = row["step_ok"]
    if said is None:
        return None
    if len(said) != len(record.steps):
        raise RecordError(
            f"{path}, line {row['line']}: {len(said)} step scores for rationale {record.id}, which has {len(record.steps)} "
            "steps. Score the steps as they are read here (a list in `steps`), or pass the steps along in the record file."
        )
    return tuple(said)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8") as handle:
            for number, line in enumerate(handle, start=1):
                if line.strip():
                    rows.append(_parsed(path, number, line))
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise RecordError(f"{path} cannot be read ({error}).") from error
    return rows


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        said = row["step_ok"]
        if said is not None and not (isinstance(said, list) and all(map(_is_probability, said))):
            raise ValueError("step_ok holds something else than numbers from 0 to 1 and nulls")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(
            f"{path}, line {number} is no step score ({error}); expected "
            '{"id": "...", "step_ok": [0.98, 0.41]}: P(step right) per step, null where there is none.'
        ) from error
    identifier = row.get("id")
    return {"id": None if identifier is None else str(identifier), "step_ok": said, "line": number}


def _is_probability(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1)
