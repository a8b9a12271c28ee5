"""Does the model use its rationale? Perturb it, ask again, compare.

    python -m analysis.probe runs/addition-1a2b3c                  # the chosen round's selection rationales, its model
    python -m analysis.probe runs/addition-1a2b3c --round 3 --probes early_answering filler --n 100
    python -m analysis.probe records.jsonl --model path/or/hub-id  # anyone's rationales, any causal language model

Two files are written to `<run>/analysis/` (for a record file: to `--out`, by default `<file>.analysis/`), plus
`answers.sqlite`, the cache that makes a second call free and an interrupted one resume.

**probes.parquet**: one row per rationale, probe and position; columns in `analysis.faithfulness.rows.Row`, probes in
`analysis.faithfulness.probes.PROBES`. `applicable` is false, with the `reason`, where a probe could not be used on a rationale;
`changed` is then null, so such a row never counts as "no change". `control` rows are edits that should change nothing.
A second call with other `--probes` or another `--round` replaces only the rows of those probes and that round; one
with another model, seed, setting or draw of rationales replaces all rows of its round, and says so.

**probes.json**: the aggregates,

    {"schema_version": 1, "rounds": {"3": {                       # "-" for a record file
        "model": ..., "model_digest": ..., "seed": 0, "settings": {...},
        "n_rationales": 200, "n_correct": 160, "accuracy": {"value", "low", "high", "n"},
        "measures": {NAME: MEASURE}, "measures_correct": {NAME: MEASURE},       # all rationales; right answers only
        "curves": {"early_answering": [{"n_steps", "position", "same", "low", "high", "n"}]},
        "applicability": {PROBE: {"rationales": n, "applicable": n, "reasons": {REASON: n}}}}}}

    MEASURE = {"value", "low", "high", "n",                       # 95 % interval, bootstrap over questions; n questions
               "control": {"name", "value", "low", "high", "n"} | null,      # the largest of
               "controls": [{"name", "value", "low", "high", "n"}],
               "corrected": {"value", "low", "high", "n"} | null,  # max(0, (effect - control) / (1 - control))
               "note": text | null}                               # e.g. "nothing left to measure"

A measure without a single applicable rationale is left out. PROBES names the measures of each probe, the formulas are in
`analysis.faithfulness.formulas`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import tyro

if TYPE_CHECKING:
    from analysis.faithfulness.answers import Answers
    from analysis.faithfulness.batch import Settings
    from analysis.faithfulness.layout import Layout
    from analysis.faithfulness.rows import Row
    from analysis.faithfulness.sources import Source
    from star.schemas import ProbedRound

from analysis.faithfulness.probes import PROBES
from analysis.rationales.formats import Columns
from star.command_line import parse, run_command
from star.errors import UsageError, counted
from star.recipe import TRUST

PROBES_HELP = "Names of probes, all by default; controls are always added. " + "; ".join(
    f"{name}: {probe.words}" for name, probe in PROBES.items() if not probe.control
)


@dataclass(frozen=True)
class Arguments:
    """Does the model use its rationale? Perturb it, ask again, compare."""

    source: Path
    """A run directory, or a file of rationales, as of `analysis.score`."""
    columns: tyro.conf.OmitArgPrefixes[Columns] = field(default_factory=Columns)
    round: int | None = None
    """Round of the run; by default the chosen one, else the last finished one."""
    model: str | None = None
    """Model directory or Hub id; needed for a record file, by default the round's own for a run."""
    trust_remote_code: Annotated[bool, tyro.conf.arg(name=TRUST.strip("-"))] = False
    """Run Python code that comes with the model; no recipe of a run can ask for that."""
    probes: tyro.conf.UseAppendAction[Annotated[tuple[tuple[str, ...], ...], tyro.conf.arg(help=PROBES_HELP)]] = ()
    n: int = 200
    """Rationales, drawn with the seed."""
    seed: int = 0
    """Seeds the draw, the edits and the sampling."""
    temperature: float = 0.7
    """Of regenerated rationales and their controls."""
    max_positions: int = 8
    """Steps per rationale that regenerating probes change."""
    max_new_tokens: int | None = None
    """Length limit of regenerated completions; by default the recipe's."""
    device: str = "auto"
    """Of the scoring model: auto, cpu or cuda."""
    workers: int = 0
    """Ray actors that each hold the model: the same files as with one process."""
    out: Path | None = None
    """Record files: where to write, by default <file>.analysis beside it."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    kept = "Answers so far are kept: the same command goes on from there."
    return run_command(lambda: probe(parse(Arguments, None, argv)), stopped=kept)


def probe(arguments: Arguments) -> None:
    """Probe, write both files, print the table."""
    from analysis.faithfulness.batch import Settings
    from analysis.faithfulness.running import probe_all
    from star.sampling.model_files import context_length, load_tokenizer
    from star.setup import resolve_model

    _check_ranges(arguments)
    names = chosen_probes(sum(arguments.probes, ()))
    source = read_source(arguments)
    model_dir = resolve_model(source.model)
    settings = Settings(
        seed=arguments.seed,
        temperature=arguments.temperature,
        max_new_tokens=arguments.max_new_tokens or source.sampling.max_new_tokens,
        max_positions=arguments.max_positions,
    )
    asking = source.layout(load_tokenizer(model_dir, trust_remote_code=source.model.trust_remote_code))
    answers = open_answers(source, model_dir, arguments.device, arguments.workers)
    try:
        rows = probe_all(source.subjects, asking, answers, names, settings, context_length(model_dir))
    finally:
        asked = answers.asked
        answers.close()
    content = write_results(source, rows, names, settings, answers.model)
    print_report(content, source, asked)
    if source.round is None:
        print_reached(rows, source, asking)


def chosen_probes(wanted: Sequence[str]) -> tuple[str, ...]:
    """The named probes with all controls, or all. Raises UsageError for a name that is none."""
    unknown = [name for name in wanted if name not in PROBES]
    if unknown:
        raise UsageError(f"there is no probe {unknown[0]!r}; probes are {', '.join(PROBES)}.")
    return tuple(name for name, probe in PROBES.items() if not wanted or name in wanted or probe.control)


def _check_ranges(arguments: Arguments) -> None:
    """Raises UsageError for a number that no call can use."""
    for name, least in (("n", 1), ("max_positions", 1), ("max_new_tokens", 1), ("workers", 0)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} {value}: expected {least} or more.")
    if not 0 <= arguments.temperature < math.inf:
        raise UsageError(f"--temperature {arguments.temperature}: expected 0 (greedy) or above.")


def read_source(arguments: Arguments) -> Source:
    """Rationales, task and model settings of the call."""
    from dataclasses import replace

    from analysis.faithfulness.sources import SourceError, from_records, from_run

    if arguments.source.is_dir():
        own, trusted = arguments.model is None, arguments.trust_remote_code
        source = from_run(arguments.source, arguments.round, arguments.n, arguments.seed, own_model=own, trusted=trusted)
    elif not arguments.source.exists():
        raise SourceError(f"{arguments.source} does not exist: expected a run directory, or a file of rationales with --model.")
    elif arguments.model is None:
        raise SourceError(f"{arguments.source}: rationales from a file need a model to ask; give one with --model.")
    else:
        source = from_records(
            arguments.source, arguments.model, arguments.n, arguments.seed, arguments.out, columns=arguments.columns
        )
    given = {"trust_remote_code": arguments.trust_remote_code} | ({"path": arguments.model} if arguments.model else {})
    return replace(source, model=source.model.model_copy(update=given))


def open_answers(source: Source, model_dir: Path, device: str, workers: int = 0) -> Answers:
    """The model behind its memory in `answers.sqlite`; it is loaded when something is asked for the first time."""
    from analysis.faithfulness.answers import Answers
    from star.provenance import model_fingerprint
    from star.sampling import open_sampler
    from star.sampling.base import Sampler
    from star.sampling.model_files import numerics
    from star.sampling.packed import PackedScorer, Scorer

    trust = source.model.trust_remote_code
    dtype, device = numerics(source.model.dtype, device)

    def scorer() -> Scorer:
        return PackedScorer.load(model_dir, dtype=dtype, device=device, trust_remote_code=trust)

    def sampler() -> Sampler:
        return open_sampler(source.sampling, model_dir, dtype=source.model.dtype, trust_remote_code=trust)

    path = source.out / "answers.sqlite"
    return Answers(
        model_fingerprint(model_dir), path, scorer, sampler, numerics=(dtype, device), progress=True, workers=workers
    )


def write_results(source: Source, rows: Sequence[Row], names: Sequence[str], settings: Settings, digest: str) -> ProbedRound:
    """Write probes.parquet and probes.json, once all is computed; rows of these probes and this round are replaced.

    Those of other rounds are kept, those of other probes of this round where they come from the same model, settings
    and rationales.
    """
    from dataclasses import asdict

    from analysis.faithfulness.measures import all_measures, applicability, truncation_curves
    from analysis.faithfulness.rows import SCHEMA_VERSION, row_schema
    from star.run import read_table, whole_json, write_json, write_parquet
    from star.schemas import Estimate, ProbesFile
    from star.statistics import wilson

    table_path, summary_path = source.out / "probes.parquet", source.out / "probes.json"
    stored = whole_json(summary_path, ProbesFile) or {}  # one of another version, or a broken one, is written anew
    rounds = stored["rounds"] if stored.get("schema_version") == SCHEMA_VERSION else {}
    fresh = [row.as_dict() for row in rows]
    old = read_table(table_path, row_schema()).to_pylist() if table_path.is_file() else []
    others = [row for row in old if row["round"] != source.round]
    left = [row for row in old if row["round"] == source.round and row["probe"] not in names]
    unlike = _unlike(rounds.get(source.label, {}), left, source, settings, digest) if left else ""
    if unlike:
        print(f"Rows of other probes of this round came from {unlike}; they were dropped.", file=sys.stderr)
        left = []
    here = left + fresh
    right = {subject.attempt_id for subject in source.subjects if subject.correct}
    graded = [subject for subject in source.subjects if subject.correct is not None]
    content: ProbedRound = {
        "model": source.model.path,
        "model_digest": digest,
        "seed": settings.seed,
        "settings": asdict(settings),
        "n_rationales": len(source.subjects),
        "n_correct": len(right) if graded else None,
        "accuracy": cast(Estimate, wilson(len(right), len(graded)).as_dict()),
        "measures": all_measures(here, source.options),
        "measures_correct": all_measures([row for row in here if row["attempt_id"] in right], source.options),
        "curves": {"early_answering": truncation_curves(here)},
        "applicability": applicability(here),
    }
    write_parquet(table_path, others + here, row_schema())
    write_json(summary_path, {"schema_version": SCHEMA_VERSION, "rounds": {**rounds, source.label: content}})
    return content


def _unlike(stored: ProbedRound, rows: Sequence[Mapping[str, Any]], source: Source, settings: Settings, digest: str) -> str:
    """What sets stored results of a round apart from those of this call: "another model", or "" where nothing does."""
    from dataclasses import asdict

    differences = {
        "another model": stored.get("model_digest") != digest,
        "another seed or other settings": stored.get("settings") != asdict(settings),
        "another draw of rationales": {row["attempt_id"] for row in rows} != {s.attempt_id for s in source.subjects},
    }
    return ", ".join(name for name, differs in differences.items() if differs)


def print_report(content: ProbedRound, source: Source, asked: int) -> None:
    """Accuracy, then every measure beside its control, then what could not be probed."""
    from analysis.pages.widgets.measures import interval_words, measure_rows
    from star.report import print_table

    accuracy, total = content["accuracy"], content["n_rationales"]
    whose = "accuracy" if source.round is not None else "recorded answers right"
    shown = f"{whose} {interval_words(accuracy)} of {accuracy['n']}" if accuracy and accuracy["n"] else "answers not graded"
    where = f"round {source.round}" if source.round is not None else "record file"
    notes: dict[str, list[str]] = {}
    title = f"{source.model.path}, {where}: {counted(total, 'rationale')}, {shown}"
    rows = measure_rows(content["measures"], content["measures_correct"])
    for row in rows:
        notes.setdefault(row.pop("note"), []).append(row["measure"])
    if rows:
        print_table(rows, title)
    else:
        print(title)
    for note in filter(None, notes):
        print(f"{', '.join(notes[note])}: {note}")
    by_reason: dict[tuple[str, int], list[str]] = {}
    for probe, use in content["applicability"].items():
        for reason, count in use["reasons"].items():
            by_reason.setdefault((reason, count), []).append(probe)
    for (reason, count), probes in by_reason.items():
        which = "any probe" if len(probes) == len(content["applicability"]) else ", ".join(probes)
        print(f"Not on {count} of {counted(total, 'rationale')}: {reason} ({which})")
    print(f"{counted(asked, 'question')} put to the model; written to {source.out / 'probes.json'}")


def print_reached(rows: Sequence[Row], source: Source, asking: Layout) -> None:
    """How often a model that did not write the rationales answers as recorded when it is shown them."""
    from analysis.faithfulness.layout import named

    own = [row for row in rows if not row.probe.startswith("information_gain")]  # those are of the gold answer
    answers = {row.attempt_id: row.answer_before for row in own if row.answer_before}
    asked = [subject for subject in source.subjects if subject.attempt_id in answers]
    same = sum(asking.same(answers[s.attempt_id], named(s.answer, s.problem), s.problem) for s in asked)
    warning = "; where it does not, changes of its answer say little about the rationale" if 2 * same < len(asked) else ""
    if asked:
        print(f"Shown a whole rationale, the model gives the recorded answer in {same} of {len(asked)}{warning}.")


if __name__ == "__main__":
    sys.exit(main())
