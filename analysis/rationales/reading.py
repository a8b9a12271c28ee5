"""Rationale records from a run directory or from anyone's file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from analysis.rationales.formats import Columns
from analysis.rationales.records import BrokenLine, Record, RecordError, read_file
from analysis.rationales.run_records import read_run
from star.errors import counted


def read_records(
    path: Path | str, *, broken: list[BrokenLine] | None = None, columns: Columns | None = None, notes: list[str] | None = None
) -> Iterator[Record]:
    """Stream the records of a file, or of a run directory (see `star.run`), in order.

    A line that cannot be read is appended to `broken` and the rest goes on; without such a list it raises RecordError. At the end
    `notes` gets messages about formats that were recognized and columns that were not read.
    Raises RecordError when there is no such file or its ending is unknown.
    """
    path = Path(path)
    unread = [] if broken is None else broken
    notes = [] if notes is None else notes
    for record in read_run(path, unread) if path.is_dir() else read_file(path, columns or Columns(), unread, notes):
        if broken is None and unread:
            break
        yield record
    if broken is None and unread:
        raise RecordError(str(unread[0]))


def read_whole(path: Path, columns: Columns | None = None) -> list[Record]:
    """All records of a file or a run. What is not read is said on standard error; raises RecordError where nothing is."""
    broken: list[BrokenLine] = []
    notes: list[str] = []
    records = list(read_records(path, broken=broken, columns=columns, notes=notes))
    if not records:
        raise RecordError(f"{path} holds no rationale" + (f" that can be read: {broken[0]}" if broken else "") + ".")
    more = [f"not read: {counted(len(broken) - 20, 'more line')}"] if len(broken) > 20 else []
    for note in (*notes, *(f"not read: {line}" for line in broken[:20]), *more):
        print(f"note: {note}", file=sys.stderr)
    return records
