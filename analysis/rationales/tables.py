"""The table of a run or a record file, read once and kept until one of its files changes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from threading import Lock

from analysis.rationales.scorer_columns import score_files, scorer_files
from analysis.rationales.table import Table
from analysis.rationales.table_reading import read_file, read_run
from analysis.sources import Source
from star.run import Run, Stamp, stamp

_LOADING = Lock()


def table_files(source: Source) -> list[Path]:
    """The files whose change means that a table must be read again."""
    if source.kind == "run":
        run = Run(source.path)
        names = [*run.attempt_files(), "problems.parquet", "analysis/soundness.parquet", *scorer_files(run)]
        return [source.path / name for name in names]
    return [source.path, *score_files(source.path)]


def load_table(source: Source) -> Table:
    """The source's table, cached until one of its files changes. Raises RecordError for a file that is none."""
    with _LOADING:  # two views that open at once wait for one reading
        return _load(source, stamp(table_files(source)))


@lru_cache(maxsize=6)
def _load(source: Source, _: Stamp) -> Table:
    return read_run(source) if source.kind == "run" else read_file(source)
