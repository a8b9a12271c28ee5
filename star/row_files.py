"""Rows of anyone's file, of questions or of rationales: JSON (lines, one array or one object), CSV, TSV, parquet, inspect's .eval.

The ending says which, in upper or lower case, with or without .gz. Text is UTF-8, or UTF-16 and UTF-32 with their byte order
mark. Whoever reads decides what a row that cannot be read costs: nothing is raised for it. `to_csv` writes rows for a spreadsheet.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeVar

from star.errors import InputError, first_line
from star.layouts import CHATS
from star.parsing import ParseError, parse_json

SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".eval")
"""Endings as they are listed in messages; each but the last two may have .gz behind it."""
MOST = 1 << 26
"""Bytes of one sample of a packed .eval file, and characters of one cell of a table."""
ROWS = ("samples", "data", "rows", "examples", "instances")
"""Keys under which a .json file with one object may hold its rows."""
LISTS = ("steps", *CHATS)
"""Keys under which a single row holds a list."""
_BOMS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_WHOLE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\[\s*(?:\{|$)|\{\s*$)")
"""A first line with which a document begins, not a row."""

_NO_UTF8 = re.compile("[\udc80-\udcff]")
"""How Python holds the bytes of a text that could not be decoded."""

Row = Mapping[str, Any]


class RowFileError(InputError):
    """A file that cannot be read at all; the message names it."""


class BadRowError(ValueError):
    """Stands for a row that cannot be read; its text says what was found."""


Numbered = tuple[int, Row | BadRowError]
Choose = Callable[[Sequence[str]], list[str] | None]
ParsedT = TypeVar("ParsedT")


def ending(path: Path) -> str:
    """The ending that says how a file is read, in lower case and without .gz; "" for one that is not known."""
    name = path.name.lower().removesuffix(".gz")
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def stem(path: Path) -> str:
    """A file's name without its ending."""
    return path.name[: path.name.lower().rindex(ending(path))] if ending(path) else path.name


def read_rows(path: Path, choose: Choose = lambda names: None, answer: str | None = None) -> Iterator[Numbered]:
    """(number from 1, row), in order; of a table with a header its first row is number 2. After a BadRowError the rest goes on as
    far as it can be read.

    `choose`: of the names of parquet columns those to read (None: all). `answer`: the column of a table in which [0, 1] is text, no
    list. Raises RowFileError for a file that is missing, has another ending, or is no parquet file.
    """
    kind = ending(path)
    if not path.is_file():
        raise RowFileError(f"{path} is not a file, or does not exist; expected rows as {', '.join(SUFFIXES)}.")
    if not kind:
        raise RowFileError(f"{path} has an unknown ending; rows are read from {', '.join(SUFFIXES)}.")
    if kind == ".parquet":
        return enumerate(_parquet_rows(path, choose), start=1)
    if kind == ".eval":
        return enumerate(_packed_rows(path), start=1)
    return _text_rows(path, kind, answer)


def parsed_rows(path: Path, parse: Callable[[int, Row], ParsedT], what: str, expected: str) -> list[ParsedT]:
    """What `parse` makes of each row and its number. Raises InputError for the first that cannot be read, or for which it raises
    ValueError, KeyError or TypeError; it says `what` a row should be, and which form is `expected`."""
    parsed = []
    for number, row in read_rows(path):
        try:
            if isinstance(row, BadRowError):
                raise row
            parsed.append(parse(number, row))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}, line {number} is no {what} ({error}); expected {expected}.") from error
    return parsed


def _text_rows(path: Path, kind: str, answer: str | None) -> Iterator[Numbered]:
    number = 0
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else Path.open
    with opener(path, "rb") as handle:
        try:
            start = handle.peek(4)[:4]
            encoding = next((name for mark, name in _BOMS.items() if start.startswith(mark)), "utf-8-sig")
            is_table = kind in (".csv", ".tsv")
            rows = _table_rows(handle, encoding, kind, answer) if is_table else _json_rows(handle, encoding, kind)
            for number, row in rows:
                yield number, row
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            yield number + 1, BadRowError(f"not a whole gzip file ({error}); fetch or compress it again")
        except (UnicodeError, csv.Error, OSError) as error:
            yield number + 1, BadRowError(f"the file cannot be read any further ({error}); save it again, as UTF-8")


# ---------------------------------------------------------------------- JSON


def _json_rows(handle: Any, encoding: str, kind: str) -> Iterator[Numbered]:
    lines: Iterable[bytes] = handle
    if encoding != "utf-8-sig":
        lines = (line.encode("utf-8", "surrogatepass") for line in io.TextIOWrapper(handle, encoding))
    numbered: Iterator[tuple[int, bytes]] = ((n, line) for n, line in enumerate(lines, start=1) if line.strip())
    first = next(numbered, None)
    if first is None:
        return
    if kind == ".json" or _WHOLE.match(first[1]):
        everything = [first, *numbered]
        document = _decoded(b"".join(line for _, line in everything))
        if not isinstance(document, BadRowError) or _WHOLE.match(first[1]):
            yield from enumerate(map(_object, _rows_in(document)), start=1)
            return
        numbered = iter(everything[1:])  # JSON lines under the name of a document
    for number, line in chain([first], numbered):
        yield number, _object(_decoded(line))


def _decoded(text: bytes) -> Any:
    """What JSON text holds, or a BadRowError."""
    try:
        return json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        byte = text[error.start]
        return BadRowError(f"byte 0x{byte:02x} at column {error.start + 1} is not UTF-8; convert the file to UTF-8")
    except (ValueError, RecursionError) as error:
        return BadRowError(f"not JSON ({str(error)[:120]}); expected one JSON object a line")


def _rows_in(document: Any) -> list[Any]:
    """The rows of a document: of an array its elements; of an object what it lists, its columns, or itself."""
    if isinstance(document, dict):
        for name in ROWS:
            if isinstance(document.get(name), list) and document[name] and isinstance(document[name][0], dict):
                return list(document[name])
        columns = list(document.values())  # as pandas writes a table
        if columns and all(isinstance(each, dict) and each and each.keys() == columns[0].keys() for each in columns):
            return [{name: column[place] for name, column in document.items()} for place in columns[0]]
        one = any(isinstance(each := document.get(name), list) and each and not isinstance(each[0], list) for name in LISTS)
        if not one and len(columns) > 1 and all(isinstance(each, list) and len(each) == len(columns[0]) for each in columns):
            return [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)]  # as datasets writes one
    return document if isinstance(document, list) else [document]


def _object(row: Any) -> Row | BadRowError:
    if isinstance(row, dict | BadRowError):
        return row
    kind = "null" if row is None else f"a JSON {type(row).__name__}"
    return BadRowError(f'found {kind}, expected an object like {{"question": ..., "answer": ...}}')


# ---------------------------------------------------------------------- tables


def _table_rows(handle: Any, encoding: str, kind: str, answer: str | None) -> Iterator[Numbered]:
    errors = "surrogateescape" if encoding == "utf-8-sig" else "strict"  # bytes that are no UTF-8 cost their row only
    text = io.TextIOWrapper(handle, encoding, errors, newline="")
    header, comma = _header(text)
    reader = csv.DictReader(chain([header], text), delimiter="\t" if kind == ".tsv" else comma, strict=True)
    csv.field_size_limit(MOST)
    if bad := _NO_UTF8.search(header):
        yield 1, BadRowError(f"byte 0x{ord(bad[0]) - 0xDC00:02x} of the header is not UTF-8; convert the file to UTF-8")
        return
    names = reader.fieldnames = _unique(name.strip() for name in reader.fieldnames or ())
    for number in count(2):
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            last = reader.reader.line_num
            lost = f"; lines {line} to {last} are lost" if last > line else ""
            said = f"its cells cannot be told apart ({error}){lost}; see the quotation marks from line {line} on"
            yield number, BadRowError(said)
            continue
        if not any(row.values()):
            continue
        if bad := next((bad for value in row.values() if isinstance(value, str) and (bad := _NO_UTF8.search(value))), None):
            yield number, BadRowError(f"byte 0x{ord(bad[0]) - 0xDC00:02x} is not UTF-8; convert the file to UTF-8")
        elif None in row:
            yield number, BadRowError(f"it has more cells than the header ({len(names)})")
        else:
            yield number, {name: _cell(value, is_answer=name == answer) for name, value in row.items()}


def _header(text: io.TextIOWrapper) -> tuple[str, str]:
    """The first line that is not blank, and what separates its cells."""
    header = next((line for line in text if line.strip()), "")
    if given := re.fullmatch(r"sep=(.)\s*", header):  # Excel's own first line
        return text.readline(), given[1]
    bare = re.sub('"[^"]*("|$)', "", header)
    commas = ";," if bare.count(";") > bare.count(",") else ",;"
    return header, next((each for each in f"{commas}\t|" if each in bare), ",")


def _unique(names: Iterable[str]) -> list[str]:
    """Names of columns; a second one of the same name becomes "answer (2)", which nobody reads by mistake."""
    unique: list[str] = []
    for name in names:
        more = (f"{name} ({number})" for number in count(2))
        unique.append(next(each for each in chain([name], more) if not name or each not in unique))
    return unique


def _cell(text: str | None, *, is_answer: bool) -> Any:
    """The value of a table's cell: a list or an object where it holds JSON, nothing where it is empty. An answer is JSON only where
    it has texts: [0, 1] is an interval.
    """
    if text and text.startswith(("[", "{")) and not (is_answer and '"' not in text):
        try:
            return parse_json(text)
        except ParseError:
            return text
    return text or None


def _parquet_rows(path: Path, choose: Choose) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=2_000, columns=choose(file.schema_arrow.names)):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # a date in the year 10000 overflows
        raise RowFileError(f"{path} cannot be read as parquet ({first_line(error)})") from error


def _packed_rows(path: Path) -> Iterator[Row | BadRowError]:
    """Samples of an inspect log in its packed form."""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.filename.startswith("samples/") and info.filename.endswith(".json"):
                    large = info.file_size > MOST
                    yield BadRowError(f"{info.filename} is too large") if large else _object(_decoded(archive.read(info)))
    except (zipfile.BadZipFile, NotImplementedError, OSError, zlib.error, EOFError) as error:
        raise RowFileError(f"{path} cannot be read as an inspect log ({error}); `inspect log dump` writes a .json file.") from error


# ---------------------------------------------------------------------- cells

_ABSENT: Any = object()


def lookup(row: Row, column: str) -> Any:
    """The value under a name, or nested under `a.b`; a mark that is equal to nothing where there is none."""
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def has(row: Row, column: str) -> bool:
    """Whether a row has a column, or all that `a+b` joins."""
    if lookup(row, column) is not _ABSENT:
        return True
    return "+" in column and all(lookup(row, part.strip()) is not _ABSENT for part in column.split("+"))


def cell(row: Row, column: str) -> Any:
    """A row's value: `a`, nested `a.b`, or texts joined with a blank, `a+b`; None where there is none (or NaN).

    Of joined texts those that are empty are left out; a column that the row lacks altogether leaves None.
    """
    value = lookup(row, column)
    if value is _ABSENT and "+" in column:
        parts = [lookup(row, part.strip()) for part in column.split("+")]
        if any(part is _ABSENT for part in parts):
            return None
        texts = ["\n".join(map(str, part)) if isinstance(part, list) else str(part) for part in parts if not absent(part)]
        texts = [text for each in texts if (text := each.strip())]
        ended = [text if text.endswith((".", "!", "?", ",", ":", ";")) else f"{text}." for text in texts[:-1]]
        return " ".join([*ended, *texts[-1:]]) or None
    return None if value is _ABSENT or absent(value) else value


def absent(value: object) -> bool:
    """None, or the NaN that a table makes of it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


# ---------------------------------------------------------------------- writing

_FORMULA = re.compile(r"(^|[\t\n;])(?=[=+\-@\t＝＋－＠])")
"""Where a spreadsheet may see the beginning of a cell: many split at `;`, and those that do not mind the quotes inside them."""


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """With a header; what is not known (None, NaN) is empty, the entries of a list are separated by blanks.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, in each of its lines.
    """
    import pandas as pd

    frame = pd.DataFrame([{_safe(name): _safe(value) for name, value in row.items()} for row in rows], dtype=object)
    return frame.to_csv(index=False, lineterminator="\n") if len(frame.columns) else ""


def _safe(value: Any) -> Any:
    if absent(value):
        return None
    text = " ".join("" if _safe(each) is None else str(each) for each in value) if isinstance(value, list) else value
    return _FORMULA.sub(r"\1'", re.sub("\r\n?", "\n", text)) if isinstance(text, str) else text
