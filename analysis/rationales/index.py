"""The columns of a large record file, kept as Arrow in the user's cache folder: read once, opened in a second ever after.

    ~/.cache/rationales/<hash of the path>.arrow        XDG_CACHE_HOME counts; deleting it costs nothing

The index says of which file it is, down to size and time of change; any other file is read anew. It is not compressed, about
twice the size of the file: of texts that are mapped into memory, only those on show are read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from analysis.sources import Source
from star.run import stamp

VERSION = "6"
"""Changes with the columns and with what is read into them, so that indexes of earlier versions are made anew."""
TEXTS = ("rationale", "steps", "question", "choices", "record")
Kept = tuple[pd.DataFrame, dict[str, Callable[[], pa.Array]], list[str]]
"""Short columns, loaders of the long ones, and messages about what was left out."""


def index_file(path: Path) -> Path:
    """Where the index of a file is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "rationales" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:24]}.arrow"


def _of(source: Source) -> str:
    """What an index must be of."""
    return json.dumps([VERSION, source.columns.given, *stamp([source.path])])


def read_index(source: Source) -> Kept | None:
    """What `write_index` kept of this file as it is now, None where there is no such index."""
    try:
        with pa.memory_map(str(index_file(source.path))) as file, pa.ipc.open_file(file) as reader:
            known = json.loads((reader.schema.metadata or {}).get(b"rationales", b"{}"))
            if known.get("of") != _of(source):
                return None
            table = reader.read_all()
    except (OSError, ValueError, pa.ArrowException):
        return None
    frame = table.drop_columns(list(TEXTS)).to_pandas()
    for name in known["categories"]:
        frame[name] = frame[name].astype("category")  # one without any value comes back as plain nulls

    def loader(name: str) -> Callable[[], pa.Array]:
        column = table.column(name)
        return lambda: column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # which copies even a single one

    return frame, {name: loader(name) for name in TEXTS}, list(known.get("notes", []))


def write_index(source: Source, frame: pd.DataFrame, texts: dict[str, Callable[[], pa.Array]], notes: list[str]) -> None:
    """Keep the columns of a file; where the cache folder cannot be written, nothing is kept."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for name in TEXTS:
        table = table.append_column(name, texts[name]())
    categories = [name for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)]
    known: dict[str, Any] = {"of": _of(source), "notes": notes, "categories": categories}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"rationales": json.dumps(known).encode()})
    file = index_file(source.path)
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with pa.ipc.new_file(temporary, table.schema) as writer:
            writer.write_table(table.combine_chunks())  # one chunk: more would have to be copied together
        temporary.replace(file)
        file.with_suffix(".parquet").unlink(missing_ok=True)  # the index of earlier versions
    except OSError:
        temporary.unlink(missing_ok=True)
