"""How good is a scorer on your own labels, and what do its numbers mean?

    python -m analysis.calibrate rationales.jsonl --scorer file:prm.jsonl -o calibration.json        # labels in the records
    python -m analysis.calibrate rationales.jsonl --labels rationales.labels --scorer file:prm.jsonl  # labels of the app
    python -m analysis.calibrate --benchmark processbench-gsm8k --scorer file:prm.jsonl               # beside published figures

Thirty labels are enough to begin with. Every figure is of rationales whose question the fitted model has not seen; the written
model is fitted on all of them, and `analysis.score --calibration FILE` applies it. What it says holds for rationales like the
labelled ones: it keeps the kinds of task they came from, and scoring others prints a warning.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from analysis.rationales.formats import Columns
from analysis.soundness.scorers import Place, ScorerOptions, Specifications, open_scorers
from analysis.sources import check_output
from star.command_line import parse, run_command
from star.errors import UsageError, counted
from star.row_files import Row, parsed_rows

if TYPE_CHECKING:
    from analysis.rationales.records import Record
    from analysis.soundness.calibration import Calibration, Judged, Labelled
    from analysis.soundness.scorer import StepScores

Target = tuple[bool, int | None]
"""(unsound, first error: 0-based, -1 sound, None not known)."""

PUBLISHED = {
    "processbench-gsm8k": "Qwen2.5-Math-PRM-7B 82.4, Qwen2.5-Math-7B-PRM800K 68.2, Math-Shepherd 7B 47.9",
    "processbench-math": "Qwen2.5-Math-PRM-7B 77.6, Qwen2.5-Math-7B-PRM800K 62.6, Math-Shepherd 7B 29.5",
    "processbench-olympiadbench": "Qwen2.5-Math-PRM-7B 67.5, Qwen2.5-Math-7B-PRM800K 50.7, Math-Shepherd 7B 24.8",
    "processbench-omnimath": "Qwen2.5-Math-PRM-7B 66.3, Qwen2.5-Math-7B-PRM800K 44.3, Math-Shepherd 7B 23.8",
}
"""processbench-SPLIT of Qwen/ProcessBench on the Hub (Apache-2.0) -> F1 in percent as published: Zhang et al. 2025
(arXiv 2501.07301), Zheng et al. 2024 (arXiv 2412.06559)."""
HALF = 0.5
"""The threshold on P(step right) at which the published figures were taken."""


@dataclass(frozen=True)
class Arguments:
    """Fit scorers' outputs to labels, and print how good they are."""

    input: Annotated[Path | None, tyro.conf.Positional] = None
    """A run directory, or a file of rationales, as of `analysis.score`."""
    columns: tyro.conf.OmitArgPrefixes[Columns] = field(default_factory=Columns)
    labels: Path | None = None
    """A folder or file of labels from the app, any file of labelled rationales, or JSON lines with `id` and `first_error_step` (-1:
    sound) or `sound`. Default: the labels in the records themselves; those of a program (`label_source`: auto, as in rows of TRL
    and Math-Shepherd) count too, and a warning says how many: figures then say how well a scorer agrees with that program."""
    scorer: Specifications = ()
    """Scorers, for example file:scores.jsonl. None: soft flags and place alone."""
    scoring: tyro.conf.OmitArgPrefixes[ScorerOptions] = field(default_factory=ScorerOptions)
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Where to write the fitted model (JSON)."""
    benchmark: str | None = None
    """Print the figures published for processbench-gsm8k, -math, -olympiadbench or -omnimath beside the scorer's own. Its rows are
    fetched from the Hub where no INPUT is given."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""

    def body() -> None:
        calibrate(parse(Arguments, __doc__, argv))

    return run_command(body)


def calibrate(arguments: Arguments) -> Calibration:
    """Read, fit, print and write. Raises InputError."""
    from analysis.rationales.reading import read_whole
    from analysis.rationales.records import is_label
    from analysis.soundness.calibration import fit
    from analysis.soundness.scorer import Item, Totals, per_step
    from star.run import write_json

    if arguments.benchmark not in (None, *PUBLISHED):
        raise UsageError(f"--benchmark {arguments.benchmark}: expected one of {', '.join(PUBLISHED)}.")
    if arguments.input is not None:
        records = read_whole(arguments.input, arguments.columns)
    elif arguments.benchmark is not None:
        records = benchmark_records(arguments.benchmark)
    else:
        raise UsageError("nothing to calibrate on: give a run directory or a file of rationale records, or --benchmark.")
    if arguments.output is not None:
        if not arguments.output.resolve().parent.is_dir():
            raise UsageError(f"--output {arguments.output}: its folder does not exist.")
        check_output(arguments.output, (arguments.input, arguments.labels), sum(arguments.scorer, ()))
    placed = enumerate(targets_of(records, arguments.labels))
    targets = {place: target for place, target in placed if target is not None}
    estimated = 0 if arguments.labels is not None else sum(not is_label(records[place]) for place in targets)
    if estimated:
        warning = f"warning: {estimated:,} of {counted(len(targets), 'label')} are a program's (label_source: auto), not people's."
        print(warning, file=sys.stderr)
    items = [Item.of(records[place], place) for place in targets]
    place = Place(arguments.input, arguments.output, arguments.columns)
    with open_scorers(sum(arguments.scorer, ()), arguments.scoring, place) as scorers:
        scores = {scorer.name: scorer.score(items) for scorer in scorers}
    rows = [
        labelled(records[item.place], targets[item.place], per_step(scores, number, len(item.steps)))
        for number, item in enumerate(items)
    ]
    for name, column in scores.items():
        totals = Totals()
        totals.add(column)
        totals.show(name)
        if arguments.benchmark is not None:
            show_published(arguments.benchmark, rows, name, column)
    names = list(dict.fromkeys(name for row in rows for name in row.evidence.step_ok)) or list(scores)
    model, unseen = fit(rows, names)
    show(rows, model, unseen, baselines(rows))
    if arguments.output is not None:
        write_json(arguments.output, asdict(model))
        made = f"The model of {counted(len(rows), 'label')} is in {arguments.output}"
        print(f"{made}: analysis.score --calibration {arguments.output}")
    return model


def labelled(record: Record, target: Target, step_ok: dict[str, tuple[float | None, ...]]) -> Labelled:
    """A record, its label and all that is known of it without the label."""
    from analysis.soundness.calibration import Labelled, evidence
    from analysis.soundness.judging import judge

    (judged,) = judge([record])
    known = evidence(len(record.steps), judged.flags, step_ok)
    return Labelled(known, record.question, *target, record.answer_correct, judged.task_kind)


def targets_of(records: Sequence[Record], labels: Path | None) -> list[Target | None]:
    """The label of each record, None where it has none, or one that names a step beyond its rationale's; a repeated id has "#2"
    behind it, as in the app. Raises RecordError where nothing is left."""
    from analysis.rationales.records import RecordError, unique_ids

    if labels is None:
        own = [_target(record.sound, record.first_error_step) for record in records]
        if not any(own):
            raise RecordError("the records have no labels (sound, first_error_step): give --labels.")
        return _within(records, own)
    by_id = _app_labels(labels)
    if not by_id:
        if labels.is_dir():
            raise RecordError(f"{labels} holds no labels of the app: expected files of JSON lines such as ann.jsonl.")
        by_id = _label_lines(labels)
    placed = [by_id.get(identifier) for identifier in unique_ids([record.id for record in records])]
    if not any(placed):
        raise RecordError(f"{labels} labels {counted(len(by_id), 'rationale')}, but none of those given.")
    return _within(records, placed)


def _within(records: Sequence[Record], targets: Sequence[Target | None]) -> list[Target | None]:
    """Targets without those whose step their rationale does not have."""
    from analysis.rationales.records import RecordError

    steps = [-1 if target is None or target[1] is None else target[1] for target in targets]
    beyond = {place for place, (record, step) in enumerate(zip(records, steps, strict=True)) if step >= len(record.steps)}
    left = [None if place in beyond else target for place, target in enumerate(targets)]
    if beyond:
        first = min(beyond)
        length = counted(len(records[first].steps), "step")
        said = f"the first error of {records[first].id} is step {steps[first]} from 0, but it has {length}"
        if not any(left):
            raise RecordError(f"no label can be used: {said}.")
        print(f"warning: left out: {counted(len(beyond), 'label')}; {said}.", file=sys.stderr)
    return left


def _target(sound: bool | None, first_error: int | None) -> Target | None:
    if first_error is not None:
        return (first_error >= 0, first_error)
    return None if sound is None else (not sound, -1 if sound else None)


def _app_labels(path: Path) -> dict[str, Target]:
    """Verdicts of the app's labels, the majority where people disagree; empty for another kind of file."""
    from analysis.labels import read_labels

    labels = read_labels(path)
    steps = labels.error_steps()
    return {
        identifier: (verdict == "unsound", -1 if verdict == "sound" else steps.get(identifier))
        for identifier, verdict in labels.verdicts().items()
        if verdict != "unsure"
    }


def _label_lines(path: Path) -> dict[str, Target]:
    """Labels of a record file in any of its formats, or of lines that have only them."""
    from analysis.rationales.formats import format_of

    targets: dict[str, Target] = {}

    def read(_: int, row: Row) -> None:
        layout = format_of(row)
        for each in layout.read(row) if layout else [row]:
            target, name = _target(each.get("sound"), each.get("first_error_step")), str({**row, **each}["id"])
            if target is not None and targets.setdefault(name, target) != target:
                raise ValueError(f"{name} has another label before")

    parsed_rows(path, read, "label", '{"id": "...", "first_error_step": 2} (-1: sound) or "sound"')
    return targets


def baselines(rows: Sequence[Labelled]) -> dict[str, list[Judged | None]]:
    """What the same fit reaches without any scorer: with soft flags, and with place and length alone."""
    from analysis.soundness.calibration import fit

    bare = [replace(row, evidence=replace(row.evidence, step_ok={}, hints=(), proven=None)) for row in rows]
    flags = [replace(row, evidence=replace(row.evidence, step_ok={})) for row in rows]
    return {"flags and place": fit(flags, [])[1], "place and length": fit(bare, [])[1]}


def show(
    rows: Sequence[Labelled], model: Calibration, unseen: Sequence[Judged | None], others: dict[str, list[Judged | None]]
) -> None:
    """The table of measures: the model at its own threshold and at that of `analysis.score`, and each baseline at its own."""
    from analysis.soundness.grades import THRESHOLD
    from analysis.soundness.quality import measures
    from star.statistics import EMPTY

    shipped = [None if judged is None else judged.at(THRESHOLD) for judged in unseen]
    columns = {"calibrated": unseen, f"flagged at {THRESHOLD}": shipped, **others} if model.scorers else others
    table = {name: measures(rows, judged) for name, judged in columns.items()}
    unsound = sum(row.unsound for row in rows)
    print(f"{counted(len(rows), 'labelled rationale')}, {unsound:,} unsound; each figure is of questions that the fit has not seen")
    print(f"flagged: from the fitted threshold on, {model.threshold:.2f} here; analysis.score flags at {THRESHOLD}")
    print(f"{'':26}" + "".join(f"{name:>26}" for name in table))
    for name in next(iter(table.values())):
        cells = (column.get(name, EMPTY).plain() for column in table.values())
        print(f"{name.replace('_', ' '):26}" + "".join(f"{cell:>26}" for cell in cells))


def show_published(benchmark: str, rows: Sequence[Labelled], scorer: str, scores: Sequence[StepScores]) -> None:
    """The scorer as it is, by its verdict or its first step below one half, beside what has been published for others under the
    same protocol: what it does not score counts as wrong."""
    from analysis.soundness.calibration import Judged
    from analysis.soundness.quality import measures

    if not any(said.step_ok for said in scores):
        print(f"{benchmark}: {scorer} gives no step scores, so there is no F1 without a fit. Published: {PUBLISHED[benchmark]}.")
        return
    plain = []
    for row, said in zip(rows, scores, strict=True):
        low = [place for place, value in enumerate(said.step_ok) if value is not None and value < HALF]
        step = said.verdict if said.verdict is not None else low[0] if low else -1
        if said.p_unsound is None:
            step = -1 if row.unsound else len(said.step_ok)
        plain.append(Judged(said.p_unsound or 0.0, step, max(step, 0)))
    figures = measures(rows, plain)
    parts = f"{figures['accuracy_unsound'].percent()} on wrong, {figures['accuracy_sound'].percent()} on right ones"
    print(f"{benchmark}: F1 {figures['f1'].percent()} of {scorer} without any fit ({parts}). Published: {PUBLISHED[benchmark]}.")


def benchmark_records(name: str) -> list[Record]:
    """Public labelled rationales from the Hub. Raises TaskError when they cannot be had."""
    from analysis.rationales.formats import format_of
    from analysis.rationales.records import records_from
    from star.tasks.rows import read_hub

    rows = read_hub("Qwen/ProcessBench", None, name.removeprefix("processbench-"), (), instead="give a file of them as INPUT")
    return [record for each in rows for record in records_from(each.row, format_of(each.row), default_id="")]


if __name__ == "__main__":
    sys.exit(main())
