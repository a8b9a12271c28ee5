"""Runs, rounds, model sizes or the writers of a record file against each other, on the same questions.

An arm is one round of one run, or one writer of a record file. The figures of an arm are those of `analysis.probe`,
computed on the questions that are compared and that were probed for every arm that was probed at all, their controls as
well. For differences each measure gives an arm a value per question (the mean over its rationales), and `star.paired`
compares those; Holm's method corrects all of a table together. Definitions and sources of the measures:
`analysis.faithfulness.formulas`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from analysis.faithfulness import measures
from analysis.faithfulness.rows import row_schema
from analysis.rationales.joining import scores_of_run
from analysis.soundness.grades import THRESHOLD, flagged
from star.paired import Comparison, corrected, paired
from star.run import TEST, Run, RunError, Where
from star.run_summary import arm_name
from star.schemas import MeasureFigures
from star.statistics import EMPTY, Interval, bootstrap_mean, share

if TYPE_CHECKING:
    from analysis.rationales.table import Table

Split = Literal["selection", "test"]
Values = dict[str, float]
"""problem_id -> value."""
Row = Mapping[str, Any]
COLUMNS = ("attempt_id", "problem_id", "sample", "verdict", "sound")
PROBE_COLUMNS = (
    *("attempt_id", "problem_id", "round", "probe", "position", "n_steps", "answer_before", "answer_after", "changed"),
    *("logprob_before", "logprob_after", "outcome", "applicable", "reason", "injected_value"),
)


@dataclass(frozen=True)
class Measure:
    """One row of the comparison."""

    key: str
    """Its name in probes.json, where it is a probe's."""
    name: str
    binary: bool = False
    """Right or wrong on each question: McNemar applies."""
    unit: str = "share"
    probe: str = ""
    """The probe that it is made of, if any."""
    never: str = ""
    """Why there may be no value although the probe could be used."""


_NO_SWITCH = "no answer switched to the hint"
_ALL = (
    Measure("accuracy", "answers right", binary=True),
    Measure("sound", "sound", binary=True),
    Measure("right_unsound", "right but unsound", binary=True),
    Measure("aoc", "AOC, literal", probe="early_answering"),
    Measure("aoc_normalised", "AOC, normalised", probe="early_answering"),
    Measure("aoc_soft", "AOC, soft", probe="early_answering"),
    Measure("reliance", "reliance", binary=True, probe="early_answering"),
    Measure("filler_gap", "filler gap", unit="nats", probe="filler"),
    Measure("silent_recovery", "silent recovery", probe="added_mistake", never="no answer survived a mistake"),
    Measure("hint_star_verbalised", "hint verbalised, task's hint", probe="hint_star", never=_NO_SWITCH),
    Measure("hint_suggested_verbalised", "hint verbalised, suggestion", probe="hint_suggested", never=_NO_SWITCH),
    Measure("hint_always_a_verbalised", "hint verbalised, always A", probe="hint_always_a", never=_NO_SWITCH),
)
MEASURES = {measure.key: measure for measure in _ALL}
PROBES = tuple(dict.fromkeys(measure.probe for measure in _ALL if measure.probe))
CONTROLS = ("paraphrase", "shuffled_rationale", "resample", "hint_always_a_control")
"""What those are set against."""


@dataclass(frozen=True, eq=False)
class Arm:
    """One round of one run, or one writer, with a value per question for each measure."""

    label: str
    values: Mapping[str, Values]
    """Measure key -> values; a measure that was not computed is missing."""
    run: str = ""
    """Name of the run directory; "" for a record file, which has no rounds, probes and sizes either."""
    round: int | None = None
    parameters: int | None = None
    recipe: str = ""
    """As in the paper's tables."""
    probed: Sequence[Row] = ()
    """Rows of probes.parquet, of these probes and controls."""
    options: int | None = None
    """Answers that a question has, None for an open answer set."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Measure key -> why it has no value although its probe was run."""
    missing: tuple[str, ...] = ()
    """Commands that would fill the gaps."""


@dataclass(frozen=True)
class Figure:
    """A measure of an arm."""

    arm: Arm
    measure: Measure
    interval: Interval = EMPTY
    control: float | None = None
    """What the control gives on the same questions."""
    corrected: float | None = None
    """The value with the control (hints: with chance, alpha) taken out."""
    note: str | None = None
    """What a reader must know, such as that the control leaves nothing to measure."""


def read_arm(run: Path, number: int, *, split: Split = "selection", label: str = "") -> Arm:
    """Read one round. Raises RunError where the round's evaluation is missing."""
    folder = Run(run)
    where = TEST if split == "test" else number
    rows = folder.evaluation(where, COLUMNS)
    if not rows:
        file = folder.folder(where) / "evaluation.parquet"
        raise RunError(f"{file} is missing: the run has not got that far. Go on with python -m star.train.")
    sound = _sound(folder, where, rows)
    rows = [row for row in rows if not row["sample"]]
    recipe = folder.recipe
    values: dict[str, Values] = {"accuracy": {row["problem_id"]: float(row["verdict"] == "correct") for row in rows}}
    missing = []
    if sound is None:
        missing.append(f"python -m analysis.score {run}")
    else:
        right = values["accuracy"]
        values["sound"] = {key: float(value) for key, value in sound.items()}
        values["right_unsound"] = {key: float(right[key] and not value) for key, value in sound.items()}
    probed = _probe_rows(folder, number, {row["attempt_id"] for row in rows}) if split == "selection" else []
    values |= _probe_values(probed)
    tried = {row["probe"] for row in probed}
    if split == "selection" and not tried.issuperset(PROBES):
        missing.append(_probe_command(folder, number, [name for name in PROBES if name not in tried] if tried else []))
    return Arm(
        label=label or f"{arm_name(recipe)} ({run.name})",
        run=run.name,
        round=number,
        parameters=(folder.manifest.get("model") or {}).get("parameters"),
        values=values,
        missing=tuple(missing),
        recipe=arm_name(recipe),
        probed=probed,
        options=_options(folder, {row["problem_id"] for row in probed}),
        absent={m.key: _why(m, probed) for m in _ALL if m.probe in tried and m.key not in values},
    )


def _sound(run: Run, where: Where, rows: Sequence[Row]) -> dict[str, bool] | None:
    """problem_id -> sound: by the task's exact check where there is one, else what is neither proven unsound nor flagged.

    `rows`: all of the evaluation, in the order of its file.
    """
    exact = {row["problem_id"]: bool(row["sound"]) for row in rows if row["sound"] is not None and not row["sample"]}
    if exact:
        return exact
    scores = scores_of_run(run, f"{run.folder(where).name}/evaluation.parquet", ["p_unsound"])
    judged = {
        row["problem_id"]: not flagged(p)
        for row, p in zip(rows, scores.column(0).to_pylist() if scores else [None] * len(rows), strict=True)
        if p is not None and not row["sample"]
    }
    return judged or None


def _probe_rows(run: Run, number: int, attempts: set[str]) -> list[Row]:
    """Rows of probes.parquet that the measures rest on, of the round's evaluated rationales."""
    table = run.probes(row_schema(), PROBE_COLUMNS)
    wanted = {*PROBES, *CONTROLS}
    return [
        row
        for row in (table.to_pylist() if table else [])
        if row["round"] == number and row["attempt_id"] in attempts and row["probe"] in wanted
    ]


def _probe_values(rows: Sequence[Row]) -> dict[str, Values]:
    """Measure key -> values; rows that are not applicable count nowhere."""
    means: dict[str, Values] = {}
    for key, values in measures.values_of(rows, [key for key, measure in MEASURES.items() if measure.probe]).items():
        by_question: dict[str, list[float]] = {}
        for problem, value in values:
            by_question.setdefault(problem, []).append(value)
        means |= {key: {problem: sum(each) / len(each) for problem, each in by_question.items()}} if values else {}
    return means


def _why(measure: Measure, rows: Sequence[Row]) -> str:
    """Why a probe that was run has given no value."""
    own = [row for row in rows if row["probe"] == measure.probe]
    if any(row["applicable"] for row in own):
        return measure.never or "no rationale could be probed at all its steps"
    return str(Counter(row["reason"] for row in own).most_common(1)[0][0])


def _options(run: Run, problems: set[str]) -> int | None:
    """The usual number of options of the probed questions."""
    rows = run.problems(("problem_id", "choices")) if problems else []
    counts = Counter(len(row["choices"] or {}) for row in rows if row["problem_id"] in problems)
    return counts.most_common(1)[0][0] or None if counts else None


def _probe_command(run: Run, number: int, probes: Sequence[str]) -> str:
    """The command that makes the missing probes (none named: all), with the numbers of the call that made the others."""
    command = f"python -m analysis.probe {run.path} --round {number}"
    if not probes:
        return command
    stored = run.probed_rounds().get(str(number), {})
    settings: dict[str, Any] = {"n": stored.get("n_rationales"), **stored.get("settings", {})}
    flags = ("n", "seed", "temperature", "max_positions", "max_new_tokens")
    given = [f"--{name.replace('_', '-')} {settings[name]}" for name in flags if settings.get(name) is not None]
    return " ".join([command, "--probes", *probes, *given])


def record_arm(label: str, table: Table, rows: Mapping[str, Sequence[int]]) -> Arm:
    """The arm of some rationales of a table: problem -> its rows, whose mean counts. What is not graded or judged has no value."""
    from analysis.rationales.filters import judges, soundness  # brings pandas, which the command does without

    judged = {"accuracy": table.graded()}
    for judge in judges(table)[:1]:
        sound = soundness(table, judge, THRESHOLD)
        both = (judged["accuracy"] >= 0) & (sound >= 0)
        judged |= {"sound": sound, "right_unsound": np.where(both, (judged["accuracy"] == 1) & (sound == 0), -1)}
    values = {
        key: {
            problem: float(known.mean())
            for problem, places in rows.items()
            if len(known := column[places][column[places] >= 0])
        }
        for key, column in judged.items()
    }
    return Arm(label, {key: each for key, each in values.items() if each})


def all_right(arms: Sequence[Arm]) -> set[str]:
    """Questions that every arm answered right: the fair ground for faithfulness, since accuracy is equal there."""
    return _shared({key for key, value in arm.values.get("accuracy", {}).items() if value == 1} for arm in arms)


def shared_questions(arms: Sequence[Arm]) -> set[str]:
    """Questions that every arm has any value for."""
    return _shared({key for values in arm.values.values() for key in values} for arm in arms)


def probed_questions(arms: Sequence[Arm]) -> set[str]:
    """Questions that were probed for every arm that was probed at all: each call of `analysis.probe` draws its own."""
    return _shared({row["problem_id"] for row in arm.probed} for arm in arms if arm.probed)


def _shared(questions: Iterable[set[str]]) -> set[str]:
    sets = list(questions)
    return set.intersection(*sets) if sets else set()


def figures(arms: Sequence[Arm], questions: set[str]) -> list[Figure]:
    """Every measure of every arm on `questions`; an interval of n = 0 where the arm has no value.

    What a probe measures is on those of `questions` that were probed for every arm that was probed at all.
    """
    asked = questions & probed_questions(arms)
    probed = {
        arm.label: measures.all_measures([row for row in arm.probed if row["problem_id"] in asked], arm.options) for arm in arms
    }
    return [
        _figure(arm, measure, questions, probed[arm.label])
        for measure in MEASURES.values()
        if any(measure.key in arm.values for arm in arms)
        for arm in arms
    ]


def _figure(arm: Arm, measure: Measure, questions: set[str], probed: Mapping[str, MeasureFigures]) -> Figure:
    """A share of the questions, or what a probe found."""
    kept = [value for key, value in arm.values.get(measure.key, {}).items() if key in questions]
    own = probed.get(measure.key) if measure.probe else None
    if own is None:
        whole = share if {*kept} <= {0, 1} else bootstrap_mean  # several answers to a question
        return Figure(arm, measure, whole(kept) if kept and not measure.probe else EMPTY)
    value, low, high = (math.nan if each is None else each for each in (own["value"], own["low"], own["high"]))
    corrected, control = own["corrected"] or probed.get(f"{measure.key}_corrected"), own["control"]
    control_value, corrected_value = (each["value"] if each else None for each in (control, corrected))
    return Figure(arm, measure, Interval(value, low, high, own["n"] or 0), control_value, corrected_value, own["note"])


def pairs(arms: Sequence[Arm], *, every: bool) -> list[tuple[Arm, Arm]]:
    """Every two arms, or each against the first: with many rounds or sizes the first is the natural ground."""
    return [(a, b) for i, a in enumerate(arms) for b in arms[i + 1 :] if every or i == 0]


def differences(compared: Sequence[tuple[Arm, Arm]], questions: set[str]) -> list[Comparison]:
    """Paired differences of every measure; Holm's correction over all of them.

    Accuracy is left out where all arms are right on all of `questions`: chosen so, it tests nothing and would only make
    the correction harder.
    """
    equal = questions <= all_right([arm for pair in compared for arm in pair])
    comparisons = []
    for a, b in compared:
        for measure in MEASURES.values():
            if equal and measure.key == "accuracy":
                continue
            x, y = ({k: v for k, v in arm.values.get(measure.key, {}).items() if k in questions} for arm in (a, b))
            one = paired((a.label, b.label), [x], [y], measure=measure.key, right_or_wrong=measure.binary)
            comparisons += [one] if one is not None else []
    return corrected(comparisons)
