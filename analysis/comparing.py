"""Runs, rounds or model sizes against each other, on the same questions.

An arm is one round of one run. The figures of an arm are those of `analysis.probe`, computed on the questions that are
compared and that were probed for every arm that was probed at all, their controls as well. For differences each measure
gives an arm a value per question (the mean over its rationales); arms are compared on the questions that both have a value
for, by a paired bootstrap over questions. Measures that are right or wrong on each question get McNemar's exact test, the
others a p-value from the interval; Holm's method corrects all of a table together. Definitions and sources of the
measures: `analysis.faithfulness.formulas`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from analysis.faithfulness import effects, measures
from analysis.faithfulness import formulas as faithfulness
from analysis.faithfulness.base import ROWS
from analysis.rationales.joining import scores_of_run
from star.run import TEST, Run, RunError, Where
from star.run_summary import arm_name
from star.statistics import EMPTY, Interval, bootstrap_p, holm, mcnemar, paired_difference, share

Split = Literal["selection", "test"]
Values = dict[str, float]
"""problem_id -> value."""
Row = Mapping[str, Any]
MAX_UNSOUND = 0.5
"""A rationale without an exact check counts as sound below this p_unsound."""
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
MEASURES = (
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
PROBES = tuple(dict.fromkeys(measure.probe for measure in MEASURES if measure.probe))
CONTROLS = ("paraphrase", "shuffled_rationale", "resample", "hint_always_a_control")
"""What those are set against."""


@dataclass(frozen=True)
class Arm:
    """One round of one run with a value per question for each measure."""

    label: str
    run: Path
    round: int
    parameters: int | None
    values: Mapping[str, Values]
    """Measure key -> values; a measure that was not computed is missing."""
    missing: tuple[str, ...] = ()
    """Commands that would fill the gaps."""
    recipe: str = ""
    """As in the paper's tables."""
    probed: Sequence[Row] = ()
    """Rows of probes.parquet, of these probes and controls."""
    options: int | None = None
    """Answers that a question has, None for an open answer set."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Measure key -> why it has no value although its probe was run."""


@dataclass(frozen=True)
class Figure:
    """A measure of an arm."""

    label: str
    run: str
    round: int
    parameters: int | None
    measure: Measure
    interval: Interval
    control: float | None = None
    """What the control gives on the same questions."""
    corrected: float | None = None
    """The value with the control (hints: with chance, alpha) taken out."""
    note: str | None = None
    """What a reader must know, such as that the control leaves nothing to measure."""
    recipe: str = ""


@dataclass(frozen=True)
class Difference:
    """A measure of b minus that of a, on the questions that both have."""

    a: str
    b: str
    measure: Measure
    interval: Interval
    test: str
    """McNemar or bootstrap."""
    p: float
    p_holm: float


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
        run=run,
        round=number,
        parameters=(folder.manifest.get("model") or {}).get("parameters"),
        values=values,
        missing=tuple(missing),
        recipe=arm_name(recipe),
        probed=probed,
        options=_options(folder, {row["problem_id"] for row in probed}),
        absent={m.key: _why(m, probed) for m in MEASURES if m.probe in tried and m.key not in values},
    )


def _sound(run: Run, where: Where, rows: Sequence[Row]) -> dict[str, bool] | None:
    """problem_id -> sound: by the task's exact check where there is one, else by p_unsound; None where neither is.

    `rows`: all of the evaluation, in the order of its file.
    """
    exact = {row["problem_id"]: bool(row["sound"]) for row in rows if row["sound"] is not None and not row["sample"]}
    if exact:
        return exact
    scores = scores_of_run(run, f"{run.folder(where).name}/evaluation.parquet", ["p_unsound"])
    found = {
        row["problem_id"]: p < MAX_UNSOUND
        for row, p in zip(rows, scores.column(0).to_pylist() if scores else [None] * len(rows), strict=True)
        if p is not None and not row["sample"]
    }
    return found or None


def _probe_rows(run: Run, number: int, attempts: set[str]) -> list[dict[str, Any]]:
    """Rows of probes.parquet that the measures rest on, of the round's evaluated rationales."""
    table = run.probes(ROWS, PROBE_COLUMNS)
    wanted = {*PROBES, *CONTROLS}
    return [
        row
        for row in (table.to_pylist() if table else [])
        if row["round"] == number and row["attempt_id"] in attempts and row["probe"] in wanted
    ]


def _probe_values(rows: Sequence[Row]) -> dict[str, Values]:
    """Measure key -> values; rows that are not applicable count nowhere."""
    table = effects.Table(rows)
    early = {
        "aoc": measures.on_curve(faithfulness.area_over_curve),
        "aoc_normalised": measures.on_curve(faithfulness.normalised_aoc),
        "aoc_soft": measures.soft_area,
        "reliance": measures.on_curve(lambda curve: 1.0 - curve[0]),
    }
    found = {key: table.each("early_answering", value) for key, value in early.items()}
    found["filler_gap"] = table.each("filler", measures.log_gap)
    found["silent_recovery"] = _outcomes(table.rows("added_mistake"), "silent", "explicit")
    for hint in measures.HINTS:
        found[f"{hint}_verbalised"] = _outcomes(table.rows(hint), "hint_verbalised", "hint_silent")
    return {key: _by_question(values) for key, values in found.items() if values}


def _outcomes(rows: Sequence[Row], yes: str, no: str) -> effects.Values:
    return [(row["problem_id"], float(row["outcome"] == yes)) for row in rows if row["outcome"] in (yes, no)]


def _by_question(values: effects.Values) -> Values:
    found: dict[str, list[float]] = {}
    for problem, value in values:
        found.setdefault(problem, []).append(value)
    return {problem: sum(each) / len(each) for problem, each in found.items()}


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


def all_right(arms: Sequence[Arm]) -> set[str]:
    """Questions that every arm answered right: the fair ground for faithfulness, since accuracy is equal there."""
    right = [{key for key, value in arm.values["accuracy"].items() if value == 1} for arm in arms]
    return set.intersection(*right) if right else set()


def shared_questions(arms: Sequence[Arm]) -> set[str]:
    """Questions that every arm answered at all."""
    return set.intersection(*(set(arm.values["accuracy"]) for arm in arms)) if arms else set()


def probed_questions(arms: Sequence[Arm]) -> set[str]:
    """Questions that were probed for every arm that was probed at all: each call of `analysis.probe` draws its own."""
    probed = [{row["problem_id"] for row in arm.probed} for arm in arms if arm.probed]
    return set.intersection(*probed) if probed else set()


def figures(arms: Sequence[Arm], questions: set[str]) -> list[Figure]:
    """Every measure of every arm on `questions`; an interval of n = 0 where the arm has no value.

    What a probe measures is on those of `questions` that were probed for every arm that was probed at all.
    """
    asked = questions & probed_questions(arms)
    probed = {
        arm.label: measures.all_measures([row for row in arm.probed if row["problem_id"] in asked], arm.options)
        for arm in arms
    }
    found = []
    for measure in MEASURES:
        if not any(measure.key in arm.values for arm in arms):
            continue
        for arm in arms:
            figure = Figure(arm.label, arm.run.name, arm.round, arm.parameters, measure, EMPTY, recipe=arm.recipe)
            if measure.probe:
                figure = _probe_figure(figure, probed[arm.label])
            else:
                kept = [value for key, value in arm.values.get(measure.key, {}).items() if key in questions]
                figure = replace(figure, interval=share(kept) if kept else EMPTY)
            found.append(figure)
    return found


def _probe_figure(figure: Figure, found: Mapping[str, Mapping[str, Any]]) -> Figure:
    """The figure with what a probe found."""
    key = figure.measure.key
    own = found.get(key)
    if own is None:
        return figure
    value, low, high = (math.nan if own[name] is None else own[name] for name in ("value", "low", "high"))
    corrected = own["corrected"] or found.get(f"{key}_corrected") or {}
    return replace(
        figure,
        interval=Interval(value, low, high, own["n"]),
        control=(own["control"] or {}).get("value"),
        corrected=corrected.get("value"),
        note=own["note"],
    )


def pairs(arms: Sequence[Arm], *, every: bool) -> list[tuple[Arm, Arm]]:
    """Every two arms, or each against the first: with many rounds or sizes the first is the natural ground."""
    return [(a, b) for i, a in enumerate(arms) for b in arms[i + 1 :] if every or i == 0]


def differences(compared: Iterable[tuple[Arm, Arm]], questions: set[str]) -> list[Difference]:
    """Paired differences of every measure; Holm's correction over all of them.

    Accuracy is left out where all arms are right on all of `questions`: chosen so, it tests nothing and would only make
    the correction harder.
    """
    compared = list(compared)
    equal = questions <= all_right([arm for pair in compared for arm in pair])
    found = [
        difference
        for a, b in compared
        for measure in MEASURES
        if not (equal and measure.key == "accuracy")
        if (difference := _difference(a, b, measure, questions)) is not None
    ]
    adjusted = holm([difference.p for difference in found])
    return [replace(d, p_holm=p) for d, p in zip(found, adjusted, strict=True)]


def _difference(a: Arm, b: Arm, measure: Measure, questions: set[str]) -> Difference | None:
    left, right = a.values.get(measure.key, {}), b.values.get(measure.key, {})
    keys = sorted(key for key in left if key in right and key in questions)
    if not keys:
        return None
    x, y = [left[key] for key in keys], [right[key] for key in keys]
    interval = paired_difference(x, y)
    exact = measure.binary and all(value in (0.0, 1.0) for value in (*x, *y))
    p = mcnemar([v == 1 for v in x], [v == 1 for v in y]).p if exact else bootstrap_p(interval)
    return Difference(a.label, b.label, measure, interval, "McNemar" if exact else "bootstrap", p, math.nan)
