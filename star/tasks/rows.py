"""Rows of local files (.jsonl, .jsonl.gz, .parquet) and of the Hub, each with the place it came from."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star.hub import first_line, hub_answers, offline, refusal
from star.recipe import RecipeError

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")

Row = Mapping[str, Any]


class TaskError(RecipeError):
    """Problems that cannot be loaded; one sentence that names file and row where there are such."""


@dataclass(frozen=True)
class Located:
    """A row and where it came from: `gsm8k_train.jsonl, row 7` (line numbers count from 1)."""

    where: str
    row: Row


def neighbour(path: Path, names: Sequence[str]) -> Path | None:
    """The test file beside a training file: "train" in its name replaced, with any of the known suffixes."""
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if path.name.endswith(s)), path.suffix)
    stem = path.name.removesuffix(suffix)
    if "train" not in stem:
        return None
    for name in names:
        for other in dict.fromkeys((suffix, *SUFFIXES)):
            candidate = path.with_name(stem.replace("train", name) + other)
            if candidate.is_file():
                return candidate
    return None


def read_file(path: Path, columns: Sequence[str] = ()) -> list[Located]:
    """Rows of a .jsonl, .jsonl.gz or .parquet file. Raises TaskError naming file and row."""
    if not path.is_file():
        raise TaskError(f"{path} is not a file; expected rows as {', '.join(SUFFIXES)}")
    if path.name.endswith(".parquet"):
        rows = _parquet_rows(path, columns)
    elif path.name.endswith((".jsonl", ".jsonl.gz")):
        rows = list(_json_rows(path))
    else:
        raise TaskError(f"{path} has an unknown file type; expected {', '.join(SUFFIXES)}")
    if not rows:
        raise TaskError(f"{path} is empty: no row was found, at least 2 are needed")
    require_columns(rows, columns)
    return rows


def _json_rows(path: Path) -> Iterator[Located]:
    opener: Any = gzip.open if path.name.endswith(".gz") else Path.open
    number = 0
    try:
        with opener(path, "rb") as handle:
            for number, line in enumerate(handle, start=1):
                if line.strip():
                    where = f"{path}, row {number}"
                    yield Located(where, _json_object(line, where))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TaskError(
            f"{path} is not a whole gzip file (after row {number}: {error}); fetch or compress it again"
        ) from error
    except OSError as error:
        raise TaskError(f"{path} cannot be read ({error.strerror or error})") from error


def _json_object(line: bytes, where: str) -> Row:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise TaskError(
            f"{where}: byte 0x{byte:02x} at column {error.start + 1} is not UTF-8; convert the file to UTF-8"
        ) from error
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{where}: not JSON ({str(error)[:120]}); expected one JSON object a line") from error
    if not isinstance(row, dict):
        raise TaskError(
            f'{where}: found a JSON {type(row).__name__}, expected an object like {{"question": ..., "answer": ...}}'
        )
    return row


def _parquet_rows(path: Path, columns: Sequence[str]) -> list[Located]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path, columns=_needed(pq.read_schema(path).names, columns)).to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # a date in the year 10000 overflows
        raise TaskError(f"{path} cannot be read as parquet ({first_line(error)[:160]})") from error
    return [Located(f"{path}, row {number}", row) for number, row in enumerate(rows, start=1)]


def _needed(names: Sequence[str], columns: Sequence[str]) -> list[str] | None:
    """Those of a file's columns that `columns` speak of; None, for all of them, where one is missing or named `a.b`."""
    wanted: set[str] = set()
    for column in columns:
        alternatives = [[part.strip().split(".")[0] for part in name.split("+")] for name in column.split("|")]
        known = {name for name in column.split("|") if name in names}
        known |= {part for parts in alternatives if set(parts) <= set(names) for part in parts}
        if not known:
            return None
        wanted |= known
    return sorted(wanted) if wanted and not any("." in name for name in wanted) else None


def require_columns(rows: Sequence[Located], columns: Sequence[str]) -> None:
    """Raises TaskError when a column is in none of the rows; single rows without it are left to `convert`."""
    for column in columns:
        alternatives = column.split("|")
        if not any(_has(located.row, name) for located in rows for name in alternatives):
            found = ", ".join(sorted(map(str, rows[0].row))) or "nothing"
            raise TaskError(
                f"{rows[0].where}: no column {' or '.join(map(repr, alternatives))}; the row has {found}. Name the columns of "
                "your own data with task.question, task.answer and task.choices of the task `records`."
            )


_ABSENT: Any = object()


def _lookup(row: Row, column: str) -> Any:
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def _has(row: Row, column: str) -> bool:
    if _lookup(row, column) is not _ABSENT:
        return True
    return "+" in column and all(_lookup(row, part.strip()) is not _ABSENT for part in column.split("+"))


def cell(row: Row, column: str) -> Any:
    """A row's value: `a`, nested `a.b`, or texts joined with a blank, `a+b`; None where there is none (or NaN).

    Of joined texts those that are empty are left out; a column that the row lacks altogether leaves None.
    """
    value = _lookup(row, column)
    if value is _ABSENT and "+" in column:
        parts = [_lookup(row, part.strip()) for part in column.split("+")]
        if any(part is _ABSENT for part in parts):
            return None
        texts = [text for part in parts if not absent(part) and (text := str(part).strip())]
        return " ".join([*(_sentence(text) for text in texts[:-1]), *texts[-1:]]) or None
    return None if value is _ABSENT or absent(value) else value


def absent(value: object) -> bool:
    """None, or the NaN that a table makes of it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", ",", ":", ";")) else f"{text}."


# ---------------------------------------------------------------------- the Hub


def read_hub(dataset: str, config: str | None, split: str, columns: Sequence[str], *, optional: bool = False) -> Any:
    """Rows of a Hub data set (or of a local directory of data files); None for an `optional` split that does not exist."""
    local = Path(dataset).expanduser().is_dir()
    if not local and not offline() and not hub_answers():
        raise TaskError(_no_hub(dataset, "the Hub does not answer"))
    import datasets

    try:
        table = datasets.load_dataset(dataset, config, split=split)
    except ValueError as error:
        if optional and "split" in str(error).lower():
            return None
        raise TaskError(f"{dataset} (split {split!r}) cannot be loaded: {first_line(error)}") from error
    except (OSError, RuntimeError) as error:
        if local:
            raise TaskError(f"{dataset} (split {split!r}) cannot be loaded: {first_line(error)}") from error
        if refused := refusal(error, dataset, "data set"):
            raise TaskError(refused) from error
        raise TaskError(_no_hub(dataset, first_line(error))) from error
    rows = [Located(f"{dataset} ({split}), row {number}", row) for number, row in enumerate(table, start=1)]
    if not rows:
        raise TaskError(f"{dataset} (split {split!r}) has no rows")
    require_columns(rows, columns)
    return rows


def _no_hub(dataset: str, why: str) -> str:
    return (
        f"data set {dataset} cannot be loaded from the Hub: {why}. Without a network set task.path to a local file "
        f"({', '.join(SUFFIXES)}), or HF_HUB_OFFLINE=1 to use the copy in the local cache if there is one."
    )
