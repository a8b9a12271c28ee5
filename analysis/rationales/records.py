"""The rationale record: read and write, from a run directory or from anyone's file.

    {"id": "a1", "question": "Ann has 3 boxes of 4 pens. How many pens?", "steps": ["3 * 4 = 12"], "answer": "12"}

One row of a file that `star.row_files` reads. Only the rationale is needed: `steps`, or `rationale` as one text, which is then
split by `analysis.rationales.steps.split_steps`. Labels are optional and never used for scores. Rows of other projects are known by
their keys (`analysis.rationales.formats`), or `Columns` names what a record's fields are called.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from analysis.rationales.fields import (
    RecordError,
    answer_of,
    choices_of,
    flag_of,
    gold_of,
    meta_of,
    size_of,
    steps_of,
    text_of,
    whole_of,
)
from analysis.rationales.formats import Columns, Format, format_of
from analysis.rationales.stated import answer_in
from star.errors import counted
from star.grading import is_right
from star.row_files import BadRowError, Row, RowFileError, absent, read_rows

WRITTEN = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True)
class Record:
    """One rationale with what is known about it."""

    id: str
    source: str = ""
    """Data set, or name of the run directory."""
    task: str = ""
    """math_word, multiple_choice, addition, word_sorting, ... as the source names it; scores read the text instead."""
    question: str = ""
    choices: Mapping[str, str] | None = None
    """Label -> text of each option; None where the answer is free."""
    steps: tuple[str, ...] = ()
    answer: str | None = None
    """The answer the rationale reached."""
    gold: str | None = None
    answer_correct: bool | None = None
    """As the source has it; where it says nothing, records that are read are graded by `matches_gold`."""
    first_error_step: int | None = None
    """Label. 0-based; -1: free of errors; None: not labelled."""
    sound: bool | None = None
    """Label of the whole rationale; of records that are read, by `first_error_step` where only that is given."""
    label_source: str | None = None
    """human, auto, or None where there is no label."""
    generator: str | None = None
    generator_params_b: float | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


def with_options(question: str, choices: Mapping[str, str] | None) -> str:
    """The question as a process reward model reads it, its options a line each."""
    return question + "".join(f"\n({label}) {text}" for label, text in (choices or {}).items())


def is_label(record: Record) -> bool:
    """Whether `sound` and `first_error_step` of a record are people's labels, and no program's."""
    return record.label_source != "auto"


_OWN = {item.name for item in fields(Record)} | {"rationale"}
_SHARED = ("id", "choices", "answer", "gold", "answer_correct", "first_error_step", "sound", "label_source", "generator")
"""Fields of a record that other formats call the same."""


def unique_ids(ids: Sequence[str]) -> list[str]:
    """Ids by which links and labels tell rationales apart: a repeated one gets "#2", "#3" ... behind it."""
    given, used, counts = set(ids), set[str](), dict[str, int]()
    names = []
    for name in ids:
        unique, count = name, counts.get(name, 1)
        while unique in used or (count > 1 and unique in given):
            count += 1
            unique = f"{name}#{count}"
        counts[name] = count
        used.add(unique)
        names.append(unique)
    return names


@dataclass(frozen=True)
class BrokenLine:
    """A line that could not be read."""

    path: Path
    line: int
    """1-based line of a text file, 1-based row of a parquet file."""
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.reason}"


def read_file(path: Path, columns: Columns, broken: list[BrokenLine], notes: list[str]) -> Iterator[Record]:
    """Stream the records of a file, see `analysis.rationales.reading`."""
    formats, unread = Counter[str](), Counter[str]()
    try:
        for number, row in read_rows(path):
            try:
                if isinstance(row, BadRowError):
                    raise row
                layout = None if columns.given else format_of(row)
                row = columns.renamed(row)
                records = records_from(row, layout, default_id=f"{path.name}:{number}")
            except (RecordError, ValueError) as error:
                broken.append(BrokenLine(path, number, str(error)))
                continue
            formats.update([layout.name] if layout is not None else [])
            unread.update(row.keys() - (_OWN if layout is None else {*layout.known_by, *layout.more, *_SHARED}))
            yield from records
    except RowFileError as error:
        raise RecordError(str(error)) from error
    del unread[""]  # a comma too many
    notes += [f"{path.name}: {counted(count, 'row')} read as {name}." for name, count in formats.items()]
    if unread:
        named = ", ".join(sorted(map(str, unread))[:12]) + (" and more" if len(unread) > 12 else "")
        notes.append(f"{path.name}: not read are the columns {named}.")


def records_from(row: Row, layout: Format | None, *, default_id: str) -> list[Record]:
    """The records of one row of a format, or of the record's own. Raises RecordError."""
    if layout is None:
        has_gold = "answer" not in row and not absent(row.get("gold"))
        return [record_from(_answered(row) if has_gold else row, default_id=default_id)]
    shared = {name: row[name] for name in _SHARED if name in row and name not in layout.known_by}
    try:
        parts = layout.read(row)
    except ValueError as error:
        raise RecordError(str(error)) from error
    except (LookupError, TypeError, AttributeError) as error:
        raise RecordError(f"it is not as {layout.name} writes it: it lacks {error}, or has it in another form") from error
    records = []
    for each in parts:
        whole = shared | {name: value for name, value in each.items() if value is not None}
        stated = "answer" in each and "answer" not in whole
        records.append(record_from(_answered(whole) if stated else whole, default_id=default_id))
    return records


def _answered(row: Row) -> Row:
    """A row without an answer: with the one that its rationale states."""
    with suppress(RecordError):  # which `record_from` will raise
        return {**row, "answer": answer_in("\n".join(steps_of(row)), gold_of(row), choices_of(row.get("choices")))}
    return row


def record_from(row: Any, *, default_id: str) -> Record:
    """Check one decoded object and make a record of it. Raises RecordError: what was found, what was expected."""
    if not isinstance(row, Mapping):
        kind = "null" if row is None else type(row).__name__
        raise RecordError(f"expected a JSON object with the fields of a record, found {kind}")
    first_error, sound = whole_of(row, "first_error_step"), flag_of(row, "sound")
    steps = steps_of(row)
    if first_error is not None and not -1 <= first_error < len(steps):
        raise RecordError(f"first_error_step: the label names step {first_error} (from 0) of {counted(len(steps), 'step')}")
    if sound is not None and first_error is not None and sound != (first_error < 0):
        raise RecordError(f"the labels contradict each other: sound {sound}, first_error_step {first_error} (-1: free of errors)")
    record = Record(
        id=text_of(row, "id") or default_id,
        source=text_of(row, "source") or "",
        task=text_of(row, "task") or "",
        question=text_of(row, "question") or "",
        choices=choices_of(row.get("choices")),
        steps=steps,
        answer=answer_of(row, "answer"),
        gold=gold_of(row),
        answer_correct=flag_of(row, "answer_correct"),
        first_error_step=first_error,
        sound=first_error < 0 if sound is None and first_error is not None else sound,
        label_source=(text_of(row, "label_source") or "").strip().lower() or None,
        generator=text_of(row, "generator"),
        generator_params_b=size_of(row),
        meta=meta_of(row.get("meta")),
    )
    return replace(record, answer_correct=matches_gold(record)) if record.answer_correct is None else record


def matches_gold(record: Record) -> bool | None:
    """Whether the answer is the gold answer, as graders have it; None where one is missing or cannot be read."""
    return is_right(record.answer, record.gold, record.choices, record.question)


def record_to(record: Record) -> dict[str, Any]:
    """A record as a plain object, ready for JSON."""
    row = {item.name: getattr(record, item.name) for item in fields(record)}
    return row | {"choices": dict(record.choices) if record.choices else None, "meta": dict(record.meta)}


def write_records(path: Path | str, records: Iterable[Record]) -> None:
    """Write records to `.jsonl` or `.jsonl.gz`, under a temporary name that is then renamed."""
    path = Path(path)
    if not path.name.endswith(WRITTEN):
        raise RecordError(f"{path} has an unknown ending. Records are written to {', '.join(WRITTEN)}.")
    temporary = path.with_name(path.name + ".tmp")
    with gzip.open(temporary, "wt", encoding="utf-8") if path.suffix == ".gz" else temporary.open("w", encoding="utf-8") as handle:
        handle.writelines(json.dumps(record_to(record), ensure_ascii=False) + "\n" for record in records)
    temporary.replace(path)
