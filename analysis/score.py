"""Is each rationale sound, and where does it go wrong first?

    python -m analysis.score runs/addition-1a2b3c            # adds analysis/soundness.parquet to the run
    python -m analysis.score rationales.jsonl -o scores.jsonl

Reads a run directory or a file of rationale records and writes one row per record: p_unsound, first_error_step, the grade of
the judgement (proven, checked, scored, not_judged), who judged, task_kind and what was found in each step. Labels are never
read, but the table at the end shows those of the file first. A proof gives p_unsound 1 and its step; p_unsound is null where
nothing is judged, and `status` says why. `--use-gold` lets scores depend on the gold answer and says so in the output; proofs
and the checks of whole tasks do not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import tyro

from star.command_line import parse, run_command
from star.errors import UsageError
from star.progress import bar

if TYPE_CHECKING:
    import pandas as pd

    from analysis.rationales.records import BrokenLine, Record
    from analysis.soundness.judging import Judgement

CHUNK = 1_000
"""Records that are in memory at a time."""
RUN_COLUMNS = ("round", "mode", "split")


@dataclass(frozen=True)
class Arguments:
    """Score rationales: p_unsound, the first wrong step, and what was found in each step."""

    input: Path
    """A run directory, or a file of rationale records (.jsonl, .jsonl.gz, .parquet)."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Where to write, .jsonl or .parquet. Needed for a file; a run gets analysis/soundness.parquet."""
    use_gold: bool = False
    """Let scores depend on whether the answer is the gold answer; what is proven or checked does not. The output says so."""
    strict: bool = False
    """Stop at the first broken line instead of naming it at the end."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_command(lambda: score(parse(Arguments, __doc__, argv)), stopped="Nothing was written.")


def score(arguments: Arguments) -> int:
    """Score, write, and name the lines that could not be scored; 1 where there are any."""
    broken = score_file(arguments, output_path(arguments))
    for line in broken[:20]:
        print(f"Not scored: {line}", file=sys.stderr)
    if broken:
        print(f"{len(broken):,} broken line{'s are' if len(broken) > 1 else ' is'} not scored.", file=sys.stderr)
    return 1 if broken else 0


def output_path(arguments: Arguments) -> Path:
    """Where the scores go. Raises UsageError where that cannot be."""
    from star.run import Run

    output = arguments.output
    if output is None:
        if not arguments.input.is_dir():
            raise UsageError(f"Say where the scores of {arguments.input} go: add -o scores.jsonl (or .parquet).")
        return Run(arguments.input).file("analysis/soundness.parquet")
    if not output.name.endswith((".jsonl", ".parquet")):
        raise UsageError(f"{output} has an unknown ending. Scores are written to .jsonl or .parquet.")
    if output.resolve() == arguments.input.resolve():
        raise UsageError(f"{output} is the input itself. Give another name for the scores.")
    return output


def score_file(arguments: Arguments, output: Path) -> list[BrokenLine]:
    """Score the input in chunks, write the output under a temporary name, rename it, print the table."""
    from analysis.rationales.records import read_records
    from analysis.soundness.score_table import Tally

    broken: list[BrokenLine] = []
    records = read_records(arguments.input, strict=arguments.strict, broken=broken)
    first = next(records, None)
    is_run = arguments.input.is_dir()
    tally = Tally()
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(output.name + ".tmp")
    stream = _chained(first, records)
    progress = bar("scoring", count_rows(arguments.input), "record")
    try:
        with Writer(temporary, is_run=is_run, used_gold=arguments.use_gold) as writer, progress:
            for chunk in iter(lambda: list(islice(stream, CHUNK)), []):
                judgements = _judged(chunk, arguments.use_gold)
                writer.write(chunk, judgements)
                tally.add(chunk, judgements)
                progress.update(len(chunk))
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    tally.show(used_gold=arguments.use_gold)
    print(f"Scores of {tally.records:,} records are in {output}")
    return broken


def _chained(first: Record | None, rest: Iterator[Record]) -> Iterator[Record]:
    if first is not None:
        yield first
        yield from rest


def _judged(records: Sequence[Record], use_gold: bool) -> list[Judgement]:
    from analysis.soundness.judging import judge

    return judge(records, use_gold=use_gold)


def count_rows(path: Path) -> int | None:
    """How many records there will be, where that is known without reading them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from star.run import Run

    files = [path] if path.name.endswith(".parquet") else []
    if path.is_dir():
        files = [path / name for name in Run(path).attempt_files()]
    try:
        return sum(pq.read_metadata(file).num_rows for file in files) or None
    except (pa.ArrowException, OSError):
        return None


class Writer:
    """Rows to a .jsonl or .parquet file, chunk by chunk."""

    def __init__(self, path: Path, *, is_run: bool, used_gold: bool):
        self.path, self.is_run, self.used_gold = path, is_run, used_gold
        self.written = 0
        self.lines: TextIO | None = None
        self.table: Any = None

    def __enter__(self) -> Writer:
        if self.path.name.endswith(".parquet.tmp"):
            import pyarrow.parquet as pq

            self.table = pq.ParquetWriter(
                self.path, schema(is_run=self.is_run, used_gold=self.used_gold), compression="zstd"
            )
        else:
            self.lines = self.path.open("w", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self.lines is not None:
            self.lines.close()
        if self.table is not None:
            self.table.close()

    def write(self, records: Sequence[Record], judgements: Sequence[Judgement]) -> None:
        rows = [
            row_of(record, judgement, is_run=self.is_run) | {"place": place}
            for place, (record, judgement) in enumerate(zip(records, judgements, strict=True), start=self.written)
        ]
        self.written += len(rows)
        if self.used_gold:
            rows = [{**row, "used_gold": True} for row in rows]
        if self.lines is not None:
            self.lines.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
            return
        for row in rows:
            row["flags"] = json.dumps(row["flags"], ensure_ascii=False)
        self.table.write_table(table_of(rows, schema(is_run=self.is_run, used_gold=self.used_gold)))


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


def schema(*, is_run: bool, used_gold: bool) -> Any:
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
    return pa.schema(columns)


def row_of(record: Record, judgement: Judgement, *, is_run: bool = False) -> dict[str, Any]:
    """One output row."""
    row: dict[str, Any] = {
        "attempt_id" if is_run else "id": record.id,
        "p_unsound": judgement.p_unsound,
        "first_error_step": judgement.first_error_step,
        "grade": judgement.grade,
        "scorer": judgement.scorer,
        "status": judgement.status,
        "task_kind": judgement.task_kind,
        "n_steps": judgement.n_steps,
        "checks": sorted({flag.check for flag in judgement.flags}),
        "flags": [asdict(flag) for flag in judgement.flags],
    }
    return row | {name: record.meta.get(name) for name in RUN_COLUMNS} if is_run else row


def score_records(records: Iterable[Record], *, use_gold: bool = False) -> pd.DataFrame:
    """One row per record, in order; the columns of the command (see `schema`), p_unsound NaN where nothing is judged.

    `flags` holds lists of {step, check, message, severity}; severity 1 is proven.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    stream = iter(records)
    for chunk in iter(lambda: list(islice(stream, CHUNK)), []):
        rows += [row_of(r, j) for r, j in zip(chunk, _judged(chunk, use_gold), strict=True)]
    frame = pd.DataFrame(rows, columns=schema(is_run=False, used_gold=False).names)
    frame["p_unsound"] = frame["p_unsound"].astype(float)
    frame["first_error_step"] = frame["first_error_step"].astype("Int32")
    return frame


if __name__ == "__main__":
    sys.exit(main())
