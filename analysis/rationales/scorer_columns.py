"""What each scorer said of each rationale, beside the short columns: NAME_p_unsound, NAME_first_error_step, NAME_status, NAME_why.

`analysis.score --scorer` writes them: of a run to analysis/scores/NAME.parquet, of a file as columns of its scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.rationales.joining import rows_of_scores
from analysis.sources import Source
from star.row_files import RowFileError, read_rows, stem
from star.run import Run, RunError, read_table

SAID = {"p_unsound": pa.float64(), "first_error_step": pa.int32(), "status": pa.string(), "why": pa.string()}
FIRST = "_p_unsound"
"""A column of a file's scores whose name ends so tells a scorer's name."""


def score_files(path: Path) -> list[Path]:
    """Files beside a record file that may hold its scores: its name with "scores" or "soundness" put behind."""
    marks = [mark + word for word in ("scores", "soundness", "scored") for mark in ".-_"]
    candidates = [path.with_name(stem(path) + mark + suffix) for mark in marks for suffix in (".jsonl", ".jsonl.gz", ".parquet")]
    return [candidate for candidate in candidates if candidate.is_file()]


def scorer_files(run: Run) -> list[str]:
    """Names of the files of single scorers in a run, from its directory on."""
    return [f"analysis/scores/{file.name}" for file in sorted((run.path / "analysis" / "scores").glob("*.parquet"))]


def scorer_columns(source: Source, ids: Sequence[str], notes: list[str]) -> dict[str, pd.DataFrame]:
    """Name of a scorer -> its columns, row by row, missing where it was not asked. `notes`: gets what cannot be read."""
    columns: dict[str, pd.DataFrame] = {}
    for file, name, lines in _places(source):
        prefix = "" if source.kind == "run" else f"{name}_"
        try:
            table = _read(file, "attempt_id" if source.kind == "run" else "id", prefix, lines)
        except (RunError, RowFileError, OSError, ValueError, OverflowError, pa.ArrowException) as error:
            notes.append(f"What {name} said cannot be read: {error}".replace(f"{source.path}/", ""))
            continue
        rows = rows_of_scores(ids, table.column(1).to_pylist(), table.column(0).to_pylist())
        joined = table.drop_columns(table.column_names[:2]).take(pa.array(rows, mask=rows < 0))
        columns[name] = joined.rename_columns([f"{name}_{column}" for column in SAID]).to_pandas()
    return columns


def _places(source: Source) -> Iterator[tuple[Path, str, list[dict[str, object]]]]:
    """(file, name of the scorer, rows of a file of lines, which is read once for all scorers)."""
    if source.kind == "run":
        run = Run(source.path)
        for name in scorer_files(run):
            try:
                yield run.file(name), Path(name).stem, []
            except RunError:  # a link that leads out of the run
                continue
        return
    for file in score_files(source.path)[:1]:
        try:
            is_table = file.name.endswith(".parquet")
            lines = [] if is_table else [dict(row) for _, row in read_rows(file) if isinstance(row, Mapping)]
            names = pq.read_schema(file).names if is_table else list(next(iter(lines), {}))
        except (OSError, RowFileError, pa.ArrowException):  # the reader of the scores has said so
            continue
        yield from ((file, name.removesuffix(FIRST), lines) for name in names if name.endswith(FIRST))


def _read(file: Path, identifier: str, prefix: str, lines: list[dict[str, object]]) -> pa.Table:
    columns = [("place", pa.int64()), (identifier, pa.string()), *((prefix + name, kind) for name, kind in SAID.items())]
    schema = pa.schema(columns)
    if file.name.endswith(".parquet"):
        return read_table(file, schema)
    return pa.Table.from_pylist([row | {"id": str(row.get("id"))} for row in lines], schema=schema)
