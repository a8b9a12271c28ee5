"""Is each rationale sound, and where does it go wrong first?

    python -m analysis.score runs/addition-1a2b3c            # adds analysis/soundness.parquet to the run
    python -m analysis.score rationales.jsonl -o scores.jsonl
    python -m analysis.score rationales.jsonl -o scores.jsonl --scorer file:prm.jsonl --calibration calibration.json

Reads a run directory or a file of rationale records and writes one row per record: p_unsound, first_error_step, the grade of
the judgement (proven, checked, scored, not_judged), who judged, task_kind and what was found in each step. Labels are never
read, but the table at the end shows those of the file first. A proof gives p_unsound 1 and its step; p_unsound is null where
nothing is judged, and `status` says why. `--use-gold` lets scores depend on the gold answer and says so in the output; proofs
and the checks of whole tasks do not.

`--scorer SPEC` adds what another scorer says: a run gets analysis/scores/<name>.parquet, a file's scores the columns
<name>_p_unsound, <name>_first_error_step, ... (see `score_schema`). SPEC is one of

    file:SCORES.jsonl                  P(step right) of anybody: `id` and `step_ok`
    prm:HUB_ID_OR_DIR                  a process reward model (--prm-format, --engine)
    judge:openai:MODEL                 a language model that names the first wrong step: any OpenAI-compatible server (--base-url,
                                       key from OPENAI_API_KEY; --dry-run says what it would take, --max-cost bounds it)
    judge:vllm:MODEL, judge:transformers:MODEL     the same with a chat model on this machine
    rollout[:RUN], likelihood:MODEL, verifier:RUN  see analysis/README.md

What models said is kept in scorers.sqlite beside the input, so that no command asks again: one that was stopped goes on.
`--calibration` takes a model of `analysis.calibrate` that judges in place of the score without a model.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from analysis.rationales.formats import Columns
from analysis.score_files import Writer, output_rows, row_of, schema, score_row, score_schema
from analysis.soundness.scorers import Place, ScorerOptions, Specifications, open_scorers
from analysis.sources import check_output
from star.command_line import parse, run_command
from star.errors import UsageError, counted
from star.progress import bar

if TYPE_CHECKING:
    import pandas as pd

    from analysis.rationales.records import BrokenLine, Record
    from analysis.soundness.calibration import Calibration
    from analysis.soundness.judging import Judgement
    from analysis.soundness.scorer import Scorer, StepScores

CHUNK = 1_000
"""Records that are in memory at a time."""


@dataclass(frozen=True)
class Arguments:
    """Score rationales: p_unsound, the first wrong step, and what was found in each step."""

    input: Path
    """A run directory, or a file of rationales (.jsonl, .json, .csv, .parquet and others; formats of other projects are known)."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Where to write, .jsonl or .parquet. Needed for a file; a run gets analysis/soundness.parquet."""
    use_gold: bool = False
    """Let scores depend on whether the answer is the gold answer; what is proven or checked does not. The output says so."""
    scorer: Specifications = ()
    """Scorers whose scores are added, for example file:scores.jsonl."""
    dry_run: bool = False
    """Print what the scorers would take, in calls, tokens, money and models to fetch. Nothing is fetched, loaded or written."""
    workers: int = 0
    """Ray actors that judge without a model, for many rationales; the scores are the same. Scorers of --scorer stay here."""
    scoring: tyro.conf.OmitArgPrefixes[ScorerOptions] = field(default_factory=ScorerOptions)
    calibration: Path | None = None
    """A model of `analysis.calibrate`; needs the scorers that it was fitted with."""
    columns: tyro.conf.OmitArgPrefixes[Columns] = field(default_factory=Columns)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    stopped = "No scores were written. What models said is kept: the same command goes on."
    return run_command(lambda: score(parse(Arguments, __doc__, argv)), stopped=stopped)


def score(arguments: Arguments) -> int:
    """Score, write, and name the lines that could not be scored; 1 where there are any."""
    if arguments.workers < 0:
        raise UsageError(f"--workers {arguments.workers}: expected 0 (this process alone) or more.")
    output = output_path(arguments)
    place = Place(arguments.input, output, arguments.columns, arguments.dry_run)
    with open_scorers(sum(arguments.scorer, ()), arguments.scoring, place) as scorers:
        if arguments.dry_run:
            return plan(arguments, scorers)
        broken = score_file(arguments, output, scorers)
    for line in broken[:20]:
        print(f"Not scored: {line}", file=sys.stderr)
    if broken:
        print(f"Not scored: {counted(len(broken), 'broken line')}.", file=sys.stderr)
    return 1 if broken else 0


def plan(arguments: Arguments, scorers: Sequence[Scorer]) -> int:
    """Print what the scorers would take, a line for each; broken lines are left out."""
    from analysis.rationales.reading import read_records
    from analysis.soundness.scorer import Item, Usage

    records = enumerate(read_records(arguments.input, broken=[], columns=arguments.columns))
    expected = {scorer.name: Usage() for scorer in scorers}
    while items := [Item.of(record, place) for place, record in islice(records, CHUNK)]:
        for scorer in scorers:
            expected[scorer.name] += scorer.plan(items)
    for scorer in scorers:
        most = expected[scorer.name]
        cost = "cost unknown: give --prices" if most.cost is None else f"cost at most {most.cost:.2f}"
        tokens = f"about {most.prompt_tokens:,} prompt tokens, at most {most.generated_tokens:,} generated tokens"
        fetched = f"; {scorer.to_fetch} is not a directory here: it is fetched or converted first" if scorer.to_fetch else ""
        print(f"{scorer.name}: {counted(most.calls, 'call')}, {tokens}, {cost}{fetched}")
    return 0


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
    check_output(output, (arguments.input,), sum(arguments.scorer, ()))
    return output


def score_file(arguments: Arguments, output: Path, scorers: Sequence[Scorer] = ()) -> list[BrokenLine]:
    """Score the input in chunks, write the output under a temporary name, rename it, print the table."""
    from analysis.rationales.reading import read_records
    from analysis.rationales.records import RecordError
    from analysis.soundness.score_table import Tally
    from analysis.soundness.scorer import Item, Totals

    gc.freeze()  # what is read and judged is made of small objects without circles: looking for some took a third of the time
    gc.set_threshold(100_000)
    calibration = _calibration(arguments, [scorer.name for scorer in scorers])
    unlike = 0
    broken: list[BrokenLine] = []
    notes: list[str] = []
    records = read_records(arguments.input, broken=broken, columns=arguments.columns, notes=notes)
    first = next(records, None)
    is_run = arguments.input.is_dir()
    if first is None and broken:  # before anything is written
        raise RecordError(f"{arguments.input} holds no rationale that can be read: {broken[0]}.")
    tally = Tally()
    totals = {scorer.name: Totals() for scorer in scorers}
    stream = chain([] if first is None else [first], records)
    progress = bar("scoring", None, "record")
    # A run gets a file for each scorer beside its judgements; the scores of a record file are columns of the one output.
    apart = list(totals) if is_run and output.parent.name == "analysis" else []
    together = [name for name in totals if name not in apart]
    with ExitStack() as files, progress:
        columns = schema(is_run=is_run, used_gold=arguments.use_gold, scorers=together)
        written = files.enter_context(Writer(output, columns))
        paths = {name: output.parent / "scores" / f"{name}.parquet" for name in apart}
        of_scorers = {name: files.enter_context(Writer(path, score_schema("attempt_id"))) for name, path in paths.items()}
        gold = {"used_gold": True} if arguments.use_gold else {}
        for chunk, judgements in judged_chunks(stream, arguments.use_gold, arguments.workers):
            items = [Item.of(record, tally.records + place) for place, record in enumerate(chunk)]
            results = {scorer.name: scorer.score(items) for scorer in scorers}
            for name, scored in results.items():
                totals[name].add(scored)
            if calibration is not None:
                judgements = calibrated(calibration, chunk, judgements, results)
                unlike += sum(judgement.task_kind not in calibration.domains for judgement in judgements)
            rows = output_rows(chunk, judgements, {name: results[name] for name in together}, is_run=is_run, first=tally.records)
            written.write(row | gold for row in rows)
            for name, writer in of_scorers.items():
                ids = ({"attempt_id": item.id, "place": item.place} for item in items)
                writer.write(each | score_row(result) for each, result in zip(ids, results[name], strict=True))
            tally.add(chunk, judgements)
            progress.update(len(chunk))
    tally.show(used_gold=arguments.use_gold)
    for name, total in totals.items():
        total.show(name)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if calibration is not None and unlike:
        print(
            f"warning: {unlike:,} of {tally.records:,} rationales are of other kinds of task than the labels of "
            f"{arguments.calibration} ({', '.join(calibration.domains)}): what it says of them has not been tried.",
            file=sys.stderr,
        )
    print(f"Scores of {counted(tally.records, 'record')} are in {output}")
    return broken


def _calibration(arguments: Arguments, names: Sequence[str]) -> Calibration | None:
    if arguments.calibration is None:
        return None
    from analysis.soundness.calibration import Calibration

    model = Calibration.load(arguments.calibration)
    if not {name.partition(":")[0] for name in model.scorers} <= set(names):
        raise UsageError(f"{arguments.calibration} was fitted with the scorers {', '.join(model.scorers)}: give --scorer for each.")
    return model


def judged_chunks(
    records: Iterator[Record], use_gold: bool, workers: int = 0
) -> Iterator[tuple[list[Record], list[Judgement]]]:
    """(records, judgements) of `CHUNK` records at a time, in order; by Ray actors where there are `workers`."""
    from analysis.soundness.judging import Judging, judge

    chunks = iter(lambda: list(islice(records, CHUNK)), [])
    if not workers:
        yield from ((chunk, judge(chunk, use_gold=use_gold)) for chunk in chunks)
        return
    from star.pool import Actors, Chunk

    parts = (Chunk(f"chunk {number} of {CHUNK:,} records", chunk) for number, chunk in enumerate(chunks, start=1))
    with closing(Actors[Chunk](Judging, (use_gold,), workers, gpus=0)) as actors:
        while block := list(islice(parts, 4 * workers)):
            judged = {part.label: judgements for part, judgements in actors.map(block)}
            yield from ((part.content, judged[part.label]) for part in block)


def calibrated(
    model: Calibration, records: Sequence[Record], judgements: Sequence[Judgement], results: Mapping[str, Sequence[StepScores]]
) -> list[Judgement]:
    """Judgements by a fitted model, where nothing is proven or checked."""
    from dataclasses import replace

    from analysis.soundness.calibration import SOUND, evidence
    from analysis.soundness.grades import flagged
    from analysis.soundness.judging import inside
    from analysis.soundness.scorer import per_step

    changed = []
    for place, (record, judgement) in enumerate(zip(records, judgements, strict=True)):
        judged = None
        if judgement.grade in ("scored", "not_judged"):
            judged = model.judge(evidence(len(record.steps), judgement.flags, per_step(results, place, len(record.steps))))
        if judged is not None:
            judgement = replace(
                judgement,
                p_unsound=inside(judged.p_unsound),
                first_error_step=judged.likeliest if flagged(judged.p_unsound) else SOUND,
                grade="scored",
                scorer=f"calibrated {' + '.join(model.scorers)}",
                status="ok",
            )
        changed.append(judgement)
    return changed


def score_records(records: Iterable[Record], *, use_gold: bool = False) -> pd.DataFrame:
    """One row per record, in order; the columns of the command (see `schema`), p_unsound NaN where nothing is judged.

    `flags` holds lists of {step, check, message, severity}; severity 1 is proven.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for chunk, judgements in judged_chunks(iter(records), use_gold):
        rows += map(row_of, chunk, judgements)
    frame = pd.DataFrame(rows, columns=schema(is_run=False, used_gold=False).names)
    frame["place"] = range(len(frame))
    frame["p_unsound"] = frame["p_unsound"].astype(float)
    frame["first_error_step"] = frame["first_error_step"].astype("Int32")
    return frame


if __name__ == "__main__":
    sys.exit(main())
