"""The rationale record: read and write, from a run directory or from anyone's file.

    {"id": "a1", "question": "Ann has 3 boxes of 4 pens. How many pens?", "steps": ["3 * 4 = 12"], "answer": "12"}

One row of a file that `star.row_files` reads. Only the rationale is needed: `steps`, or `rationale` as one text, which is then
split by `analysis.rationales.steps.split_steps`. Labels are optional and never used for scores. Rows of other projects are known by
their keys (`analysis.rationales.formats`), or `Columns` names what a record's fields are called.
"""

from __future__ import annotations

import ast
import gzip
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from analysis.rationales.formats import Columns, Format, format_of
from analysis.rationales.stated import answer_in
from analysis.rationales.steps import split_steps
from star.errors import InputError, counted
from star.grading import is_right
from star.grading.extraction import MARK
from star.row_files import BadRowError, Row, RowFileError, absent, read_rows

WRITTEN = (".jsonl", ".jsonl.gz")


class RecordError(InputError):
    """Input that cannot be read as rationale records; the message names the file and, where there is one, the line."""


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


UNKNOWN = ("", "none", "null", "nan", "na", "n/a")
"""How tables write that nothing is known."""
FLAGS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "yes", "1", "1.0", "correct"), True),
    **dict.fromkeys(("false", "no", "0", "0.0", "incorrect"), False),
    **dict.fromkeys(UNKNOWN),
}
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
    given = [shared | {name: value for name, value in each.items() if value is not None} for each in parts]
    unread = ["answer" in each and "answer" not in whole for each, whole in zip(parts, given, strict=True)]
    rows = [_answered(whole) if states else whole for states, whole in zip(unread, given, strict=True)]
    return [record_from(each, default_id=default_id) for each in rows]


def _answered(row: Row) -> Row:
    """A row without an answer: with the one that its rationale states."""
    with suppress(RecordError):  # which `record_from` will raise
        return {**row, "answer": answer_in("\n".join(_steps(row)), _span(row, "gold"), _choices(row.get("choices")))}
    return row


def record_from(row: Any, *, default_id: str) -> Record:
    """Check one decoded object and make a record of it. Raises RecordError: what was found, what was expected."""
    if not isinstance(row, Mapping):
        kind = "null" if row is None else type(row).__name__
        raise RecordError(f"expected a JSON object with the fields of a record, found {kind}")
    first_error, sound = _whole(row, "first_error_step"), _flag(row, "sound")
    steps = _steps(row)
    if first_error is not None and not -1 <= first_error < len(steps):
        raise RecordError(f"first_error_step: the label names step {first_error} (from 0) of {counted(len(steps), 'step')}")
    if sound is not None and first_error is not None and sound != (first_error < 0):
        raise RecordError(f"the labels contradict each other: sound {sound}, first_error_step {first_error} (-1: free of errors)")
    record = Record(
        id=_text(row, "id") or default_id,
        source=_text(row, "source") or "",
        task=_text(row, "task") or "",
        question=_text(row, "question") or "",
        choices=_choices(row.get("choices")),
        steps=steps,
        answer=_span(row, "answer"),
        gold=_span(row, "gold"),
        answer_correct=_flag(row, "answer_correct"),
        first_error_step=first_error,
        sound=first_error < 0 if sound is None and first_error is not None else sound,
        label_source=(_text(row, "label_source") or "").strip().lower() or None,
        generator=_text(row, "generator"),
        generator_params_b=_size(row),
        meta=_meta(row.get("meta")),
    )
    return replace(record, answer_correct=matches_gold(record)) if record.answer_correct is None else record


def matches_gold(record: Record) -> bool | None:
    """Whether the answer is the gold answer, as graders have it; None where one is missing or cannot be read."""
    return is_right(record.answer, record.gold, record.choices, record.question)


def clean(text: str) -> str:
    """Half a surrogate pair cannot be written as UTF-8: replace it."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if absent(value):
        return None
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool) and name in ("answer", "gold"):  # of yes-or-no questions
        return str(value).lower()
    if isinstance(value, list) and name in ("answer", "gold"):  # an interval, or a point
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float | Decimal | date) and not isinstance(value, bool):
        return str(value)
    raise RecordError(f"{name}: expected text, found {type(value).__name__}")


def _span(row: Mapping[str, Any], name: str) -> str | None:
    """An answer; of a worked one in GSM8K's form what stands behind its mark."""
    text = _text(row, name)
    return text.rpartition(MARK)[2].strip() if text and MARK in text else text


def _flag(row: Mapping[str, Any], name: str) -> bool | None:
    value = str(row.get(name)).strip().lower()
    if value in FLAGS:
        return FLAGS[value]
    raise RecordError(f"{name}: expected true, false, yes, no, 1, 0 or null, found {row.get(name)!r:.80}")


def _whole(row: Mapping[str, Any], name: str) -> int | None:
    value = _real(row, name)
    if value is None or (value == int(value) and abs(value) < 2**31):
        return None if value is None else int(value)
    raise RecordError(f"{name}: expected a whole number, found {value}")


def _real(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if isinstance(value, str):
        with suppress(ValueError):  # as tables write it
            value = None if value.strip().lower() in UNKNOWN else float(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        raise RecordError(f"{name}: expected a number, found {type(value).__name__}")
    return float(value)


def _size(row: Mapping[str, Any]) -> float | None:
    """Parameters of the generator in billions: 7, "7B", "350M", a count of them; None for all else, which judges nothing."""
    text = str(row.get("generator_params_b")).strip().upper()
    factor = {"M": 1e-3, "K": 1e-6}.get(text[-1:], 1)
    with suppress(ValueError):
        size = float(text.rstrip("BMK")) * factor
        return (size / 1e9 if size > 1e5 else size) if 0 < size < math.inf else None
    return None


def _meta(value: Any) -> dict[str, Any]:
    """What else is known; a value that is no object becomes one, {"meta": value}: no rationale is lost over it."""
    try:
        return _object(value, "meta") or {}
    except RecordError:
        return {"meta": value}


def _object(value: Any, name: str) -> dict[str, Any] | None:
    """A JSON object, given as such or (in parquet) as its text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"{name}: expected a JSON object, found text that is none ({error})") from error
    if value is None or isinstance(value, Mapping):
        return None if value is None else dict(value)
    raise RecordError(f"{name}: expected a JSON object, found {type(value).__name__}")


def _choices(value: Any) -> dict[str, str] | None:
    if absent(value) or (isinstance(value, str) and value.strip().lower() in UNKNOWN):
        return None
    value = _parsed(value)
    if isinstance(value, list) and value and all(isinstance(each, tuple) and len(each) == 2 for each in value):
        value = dict(value)  # a map of parquet
    if isinstance(value, list) and value and all(isinstance(each, Mapping) and {"label", "text"} <= each.keys() for each in value):
        value = {each["label"]: each["text"] for each in value}
    if isinstance(value, list):
        return {chr(ord("A") + index): clean(str(text)) for index, text in enumerate(value)}
    options = _object(value, "choices")
    if options and set(options) == {"text", "label"} and all(isinstance(part, list) for part in options.values()):
        options = dict(zip(map(str, options["label"]), options["text"], strict=False))  # as data sets of Hugging Face have it
    return {clean(str(k)): clean(str(v)) for k, v in options.items() if v is not None} if options else None


def _steps(row: Mapping[str, Any]) -> tuple[str, ...]:
    steps = row.get("steps")
    if absent(steps) or (not steps and row.get("rationale")):
        steps = row.get("rationale")
        if absent(steps) or (isinstance(steps, str) and not steps.strip()):
            found = ", ".join(map(str, row))[:200] or "nothing"
            raise RecordError(
                f"expected `steps` (a list of texts) or `rationale` (one text), found {found}. "
                "Where the columns have other names, give --question and --rationale"
            )
    steps = _parsed(steps)
    if isinstance(steps, str):
        return tuple(split_steps(clean(steps)))
    if isinstance(steps, list) and all(isinstance(step, str) for step in steps):
        return tuple(clean(step) for step in steps)
    raise RecordError("steps: expected a list of texts")


def _parsed(value: Any) -> Any:
    """A list of texts that was written as text, as JSON or as Python writes it; all else as it is."""
    if isinstance(value, str) and value.lstrip().startswith(("['", '["')):
        for read in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                parsed = read(value.strip())
                return parsed if isinstance(parsed, list) and all(isinstance(each, str) for each in parsed) else value
    return value


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
