"""Runs, rounds or model sizes against each other, on the same questions.

An arm is one round of one run. The figures of an arm are those of `analysis.probe`, computed on the questions that are
compared and that were probed for every arm that was probed at all, their controls as well. For differences each measure
gives an arm a value per question (the mean over its rationales); arms are compared on the questions that both have a value
for, by a paired bootstrap over questions. Measures that are right or wrong on each question get McNemar's exact test, the
others a p-value from the interval; Holm's method corrects all of a table together. Definitions and sources of the
measures: `analysis.faithfulness.formulas`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from analysis.faithfulness import effects, measures
from star import run as runs
from star.run_summary import arm_name, read_recipe
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
    folder = run / "test" if split == "test" else run / f"round_{number:02d}"
    file = folder / "evaluation.parquet"
    if not file.is_file():
        raise runs.RunError(f"{file} is missing: the run has not got that far. Go on with python -m star.train.")
    rows = [row for row in runs.read_rows(file, COLUMNS) if not row["sample"]]
    recipe = read_recipe(run)
    values: dict[str, Values] = {"accuracy": {row["problem_id"]: float(row["verdict"] == "correct") for row in rows}}
    missing = []
    sound = _sound(run, rows)
    if sound is None:
        missing.append(f"python -m analysis.score {run}")
    else:
        right = values["accuracy"]
        values["sound"] = {key: float(value) for key, value in sound.items()}
        values["right_unsound"] = {key: float(right[key] and not value) for key, value in sound.items()}
    probed = _probe_rows(run, number, {row["attempt_id"] for row in rows}) if split == "selection" else []
    values |= _probe_values(probed)
    tried = {row["probe"] for row in probed}
    if split == "selection" and not tried.issuperset(PROBES):
        missing.append(_probe_command(run, number, [name for name in PROBES if name not in tried] if tried else []))
    return Arm(
        label=label or f"{arm_name(recipe)} ({run.name})",
        run=run,
        round=number,
        parameters=_parameters(run),
        values=values,
        missing=tuple(missing),
        recipe=arm_name(recipe),
        probed=probed,
        options=_options(run, {row["problem_id"] for row in probed}),
        absent={m.key: _why(m, probed) for m in MEASURES if m.probe in tried and m.key not in values},
    )


def _parameters(run: Path) -> int | None:
    manifest = run / "run.json"
    return ((runs.read_json(manifest).get("model") or {}) if manifest.is_file() else {}).get("parameters")


def _sound(run: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, bool] | None:
    """problem_id -> sound: by the task's exact check where there is one, else by p_unsound; None where neither is."""
    exact = {row["problem_id"]: bool(row["sound"]) for row in rows if row["sound"] is not None}
    if exact:
        return exact
    file = run / "analysis" / "soundness.parquet"
    if not file.is_file():
        return None
    problems = {row["attempt_id"]: row["problem_id"] for row in rows}
    scores = runs.read_rows(file, ["attempt_id", "p_unsound"])
    found = {
        problems[row["attempt_id"]]: row["p_unsound"] < MAX_UNSOUND
        for row in scores
        if row["attempt_id"] in problems and row["p_unsound"] is not None
    }
    return found or None


def _probe_rows(run: Path, number: int, attempts: set[str]) -> list[dict[str, Any]]:
    """Rows of probes.parquet that the measures rest on, of the round's evaluated rationales."""
    file = run / "analysis" / "probes.parquet"
    if not file.is_file():
        return []
    wanted = {*PROBES, *CONTROLS}
    return [
        row
        for row in runs.read_rows(file, PROBE_COLUMNS)
        if row["round"] == number and row["attempt_id"] in attempts and row["probe"] in wanted
    ]


def _probe_values(rows: Sequence[Row]) -> dict[str, Values]:
    """Measure key -> values; rows that are not applicable count nowhere."""
    each = measures.values_of(rows, [measure.key for measure in MEASURES if measure.probe])
    return {key: _by_question(values) for key, values in each.items() if values}


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


def _options(run: Path, problems: set[str]) -> int | None:
    """The usual number of options of the probed questions."""
    if not problems:
        return None
    rows = runs.read_rows(run / "problems.parquet", ("problem_id", "choices"))
    counts = Counter(len(json.loads(row["choices"] or "{}")) for row in rows if row["problem_id"] in problems)
    return counts.most_common(1)[0][0] or None if counts else None


def _probe_command(run: Path, number: int, probes: Sequence[str]) -> str:
    """The command that makes the missing probes (none named: all), with the numbers of the call that made the others."""
    command = f"python -m analysis.probe {run} --round {number}"
    if not probes:
        return command
    file = run / "analysis" / "probes.json"
    stored = ((runs.read_json(file).get("rounds") or {}) if file.is_file() else {}).get(str(number)) or {}
    settings = {"n": stored.get("n_rationales"), **(stored.get("settings") or {})}
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
