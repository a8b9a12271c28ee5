"""Files of a run directory: writes that are whole or absent, and reads that end in a RunError whatever a file holds.

A file is checked against the shape that its readers rely on: a TypedDict for JSON and YAML, a pyarrow schema for parquet.
What is read is cached until the file changes, so it must not be modified.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from star.errors import InputError
from star.parsing import ParseError, checked, parse_json, parse_yaml
from star.tables import KEYS

Row = TypeVar("Row", bound=Mapping[str, Any])
Stamp = tuple[tuple[str, int, int], ...]
"""(path, modification time in ns, size) of the files that a cached value was read from."""

MOST_BYTES = {".json": 1 << 26, ".jsonl": 1 << 28, ".yaml": 1 << 18}
"""PyYAML reads about 100 kB a second."""
ADVICE = "Delete it and run the same command again."
BATCH = 8_192
"""Rows that are in memory at a time: an attempt as a dictionary takes about 5 kB."""


class RunError(InputError):
    """A run directory that cannot be used; the message names the file, says what was found and what to do."""


# ------------------------------------------------------------------ writing


def write_parquet(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write rows under a temporary name and rename: a reader sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for table in as_tables(rows, schema, BATCH):
            writer.write_table(table)
    _replace(temporary, path)


def as_tables(rows: Iterable[Mapping[str, Any]], schema: pa.Schema, size: int) -> Iterator[pa.Table]:
    """Rows as tables of at most `size` of them."""
    stream = iter(rows)
    for batch in iter(lambda: list(islice(stream, size)), []):
        yield pa.Table.from_pylist(batch, schema=schema)


def write_text(path: Path, text: str) -> None:
    """Write text under a temporary name and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    _replace(temporary, path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON under a temporary name and rename."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any, digits: int = 17) -> Any:
    """Plain JSON: intervals and numpy scalars unwrapped, significant digits (17: all), NaN and infinity as null, keys as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, digits) for item in value]
    if hasattr(value, "as_dict"):
        return plain(value.as_dict(), digits)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist(), digits)
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value


def _replace(temporary: Path, path: Path) -> None:
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ------------------------------------------------------------------ reading


def stamp(paths: Iterable[Path]) -> Stamp:
    """Changes whenever one of the files does; files that do not exist are left out."""
    stamps = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        stamps.append((str(path), status.st_mtime_ns, status.st_size))
    return tuple(stamps)


def read_json(path: Path, shape: Any = dict[str, Any], advice: str = ADVICE) -> Any:
    """A JSON file (or YAML, where its name says so) that fits `shape`, a type that pydantic knows. Raises RunError otherwise."""
    return _read(path, shape, advice, stamp([path]))


def whole_json(path: Path, shape: Any = dict[str, Any]) -> Any:
    """A JSON file that fits `shape`, or None when it is absent or damaged: then it is to be made again."""
    try:
        return read_json(path, shape) if path.is_file() else None
    except RunError:
        return None


@lru_cache(maxsize=256)
def _read(path: Path, shape: Hashable, advice: str, _: Stamp) -> Any:
    parse = parse_yaml if path.suffix == ".yaml" else parse_json
    with _guarded(path, advice):
        return checked(parse(_content(path)), shape)


def read_lines(path: Path, shape: Any) -> tuple[list[Any], list[str]]:
    """The lines of a JSON-lines file that fit `shape`, and messages about those that do not.

    A torn last line, which a stopped process leaves behind, is nobody's fault and is not named. Raises RunError for a file
    that cannot be read at all.
    """
    if not path.is_file():
        return [], []
    good, damaged = _read_lines(path, shape, stamp([path]))
    return list(good), list(damaged)


@lru_cache(maxsize=128)
def _read_lines(path: Path, shape: Hashable, _: Stamp) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    with _guarded(path):
        content = _content(path)
    good, damaged = [], []
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            good.append(checked(parse_json(line), shape))
        except ParseError as error:
            if number < len(lines) or not str(error).startswith("not JSON"):
                damaged.append(f"{path}, line {number} is left out: {error}")
    return tuple(good), tuple(damaged)


def read_table(path: Path, schema: pa.Schema, columns: Sequence[str] = ()) -> pa.Table:
    """Columns (by default all of `schema`) of a parquet file, in the schema's types; those that the file lacks come as nulls.

    Raises RunError where it cannot be read, or where one of `star.tables.KEYS` is missing or has rows without a value.
    """
    return _read_table(path, schema, tuple(columns) or tuple(schema.names), stamp([path]))


@lru_cache(maxsize=512)
def _read_table(path: Path, schema: pa.Schema, names: tuple[str, ...], _: Stamp) -> pa.Table:
    empty = pa.schema([schema.field(name) for name in names]).empty_table()
    return pa.concat_tables([empty, *_tables(path, schema, names)])


def _tables(path: Path, schema: pa.Schema, names: Sequence[str]) -> Iterator[pa.Table]:
    """What `read_table` returns, `BATCH` rows at a time."""
    with _guarded(path), pq.ParquetFile(path, pre_buffer=False) as file:
        there = set(file.schema_arrow.names)
        if missing := [name for name in names if name in KEYS and name not in there]:
            raise ParseError(f"it has no column {missing[0]}")
        for batch in file.iter_batches(BATCH, columns=[name for name in names if name in there]):
            columns = []
            for name in names:
                kind = schema.field(name).type
                columns.append(batch.column(name).cast(kind) if name in there else pa.nulls(len(batch), kind))
                if name in KEYS and columns[-1].null_count:
                    raise ParseError(f"column {name} has rows without a value")
            table = pa.table(dict(zip(names, columns, strict=True)))
            table.validate(full=True)  # texts that are not UTF-8
            yield table


class StoredRows(Collection[Row], Generic[Row]):
    """Rows of parquet files, one file after the other, read anew and `BATCH` at a time whenever they are gone through."""

    def __init__(self, files: Iterable[Path], schema: pa.Schema, columns: Sequence[str] = ()) -> None:
        self.files, self.schema, self.columns = tuple(files), schema, tuple(columns) or tuple(schema.names)

    def __iter__(self) -> Iterator[Row]:
        """Raises RunError as `read_table` does."""
        for file in self.files:
            for table in _tables(file, self.schema, self.columns):
                yield from table.to_pylist()

    def __len__(self) -> int:
        return sum(pq.read_metadata(file).num_rows for file in self.files)

    def __contains__(self, row: object) -> bool:
        return any(row == each for each in self)

    def only(self, *columns: str) -> StoredRows[Row]:
        """The same rows with these columns alone, which is faster."""
        return StoredRows(self.files, self.schema, columns)

    def check(self) -> None:
        """Read all of it. Raises RunError."""
        for file in self.files:
            _check(file, self.schema, self.columns, stamp([file]))


@lru_cache(maxsize=512)
def _check(file: Path, schema: pa.Schema, columns: tuple[str, ...], _: Stamp) -> None:
    for _table in _tables(file, schema, columns):
        pass


def read_rows(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Rows of a parquet file of our own as dictionaries. Raises RunError naming the file when it cannot be read."""
    with _guarded(path):
        return pq.read_table(path, columns=list(columns) if columns else None).to_pylist()


@contextmanager
def _guarded(path: Path, advice: str = ADVICE) -> Iterator[None]:
    """Everything that a damaged file raises becomes a RunError."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RunError(f"{path} cannot be read: {reason.rstrip('.')}. {advice}") from error


def _content(path: Path) -> bytes:
    most = MOST_BYTES[path.suffix]
    if (size := path.stat().st_size) > most:
        raise ParseError(f"it has {size:,} bytes, expected at most {most:,}")
    return path.read_bytes()
