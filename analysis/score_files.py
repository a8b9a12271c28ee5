"""What a file of scores holds: its columns, its rows, and how it is written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from analysis.checks import Flag
    from analysis.rationales.records import Record
    from analysis.soundness.judging import Judgement
    from analysis.soundness.scorer import StepScores

RUN_COLUMNS = ("round", "mode", "split")
"""What rows of a run say besides."""


class Writer:
    """Rows to a .jsonl or .parquet file, chunk by chunk: under a temporary name, which is dropped where this ends in an error."""

    def __init__(self, path: Path, columns: Any):
        self.path, self.columns = path, columns
        self.temporary = path.with_name(path.name + ".tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lines: TextIO | None = None
        self.table: Any = None
        if path.name.endswith(".parquet"):
            import pyarrow.parquet as pq

            self.table = pq.ParquetWriter(self.temporary, columns, compression="zstd")
        else:
            self.lines = self.temporary.open("w", encoding="utf-8")

    def write(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows."""
        rows = list(rows)
        if self.lines is not None:
            self.lines.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        elif rows:
            texts = [row | {"flags": json.dumps(row["flags"], ensure_ascii=False)} if "flags" in row else row for row in rows]
            self.table.write_table(table_of(texts, self.columns))

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for file in (self.table, self.lines):
            if file is not None:
                file.close()
        if kind is None:
            self.temporary.replace(self.path)
        self.temporary.unlink(missing_ok=True)


def table_of(rows: Sequence[dict[str, Any]], columns: Any) -> Any:
    """Rows as a pyarrow table. By way of JSON, because pyarrow's conversion of Python lists imports pandas, which costs more
    than scoring a thousand records."""
    import pyarrow as pa
    from pyarrow import json as arrow_json

    text = "\n".join(json.dumps(row, allow_nan=False) for row in rows).encode("ascii")
    return arrow_json.read_json(
        pa.BufferReader(text),
        read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=arrow_json.ParseOptions(explicit_schema=columns),
    )


def schema(*, is_run: bool, used_gold: bool, scorers: Sequence[str] = ()) -> Any:
    """Columns of a parquet file of scores. `flags` is JSON: a list of {step, check, message, severity}. `place`: row of the
    rationale in the order of its file, for ids may repeat."""
    import pyarrow as pa

    columns = [
        ("attempt_id" if is_run else "id", pa.string()),
        ("p_unsound", pa.float64()),
        ("first_error_step", pa.int32()),
        ("grade", pa.string()),  # proven | checked | scored | not_judged
        ("scorer", pa.string()),  # who judged; null where a generic check proves it, and where nobody judged
        ("status", pa.string()),  # ok, or why nothing is judged: outside, too_long, unparsed, error
        ("task_kind", pa.string()),
        ("n_steps", pa.int32()),
        ("checks", pa.list_(pa.string())),
        ("flags", pa.string()),
        ("place", pa.int64()),
    ]
    if is_run:
        columns += [("round", pa.int32()), ("mode", pa.string()), ("split", pa.string())]
    if used_gold:
        columns.append(("used_gold", pa.bool_()))
    for name in scorers:
        columns += [(f"{name}_{field.name}", field.type) for field in score_schema()]
    return pa.schema(columns)


def score_schema(identifier: str | None = None) -> Any:
    """Columns of one scorer's scores; in a file of their own they begin with the id and the place of the rationale."""
    import pyarrow as pa

    from analysis.soundness.scorer import Usage

    columns = [
        ("p_unsound", pa.float64()),  # P(some step is wrong); null: not judged
        ("first_error_step", pa.int32()),  # what the scorer names (-1: none), else the likeliest one; null: not judged
        ("step_ok", pa.list_(pa.float64())),  # P(step right | those before it are)
        ("error_at", pa.list_(pa.float64())),  # P(the first wrong step is this one)
        ("status", pa.string()),  # see `analysis.soundness.scorer.STATUSES`
        ("why", pa.string()),  # for a person, where the status is not ok
        ("features", pa.string()),  # JSON: name -> a number per step, for a calibration; null where there are none
        ("fingerprint", pa.string()),  # what decides the scores besides the rationale
        ("usage", pa.struct([(each.name, pa.int64() if each.type == "int" else pa.float64()) for each in fields(Usage)])),
    ]
    return pa.schema([*([(identifier, pa.string()), ("place", pa.int64())] if identifier else []), *columns])


def score_row(result: StepScores) -> dict[str, Any]:
    """One scorer's result as a row of `score_schema`."""
    return {
        "p_unsound": result.p_unsound,
        "first_error_step": result.first_error,
        "step_ok": list(result.step_ok) or None,
        "error_at": None if result.error_at is None else list(result.error_at),
        "status": result.status,
        "why": result.why or None,
        "features": json.dumps(dict(result.features)) if result.features else None,
        "fingerprint": result.fingerprint,
        "usage": asdict(result.usage),
    }


def output_rows(
    records: Sequence[Record],
    judgements: Sequence[Judgement],
    scores: Mapping[str, Sequence[StepScores]],
    *,
    is_run: bool,
    first: int,
) -> list[dict[str, Any]]:
    """Rows of `schema`, from place `first` on, with the columns of the scorers whose `scores` are given."""
    pairs = enumerate(zip(records, judgements, strict=True), start=first)
    rows = [row_of(record, judgement, is_run=is_run) | {"place": place} for place, (record, judgement) in pairs]
    for name, results in scores.items():
        for row, result in zip(rows, results, strict=True):
            row |= {f"{name}_{key}": value for key, value in score_row(result).items()}
    return rows


def row_of(record: Record, judgement: Judgement, *, is_run: bool = False) -> dict[str, Any]:
    """One output row."""
    row = {"attempt_id" if is_run else "id": record.id, **vars(judgement)}
    flags: Sequence[Flag] = row.pop("flags")
    row |= {"checks": sorted({flag.check for flag in flags}), "flags": [asdict(flag) for flag in flags]}
    return row | {name: record.meta.get(name) for name in RUN_COLUMNS} if is_run else row
