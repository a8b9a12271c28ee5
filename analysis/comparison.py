"""Runs, rounds or model sizes against each other, on the same questions.

An arm is one round of one run. Each measure gives an arm a value per question (the mean over its rationales); arms are
compared on the questions that both have a value for, by a paired bootstrap over questions. Measures that are right or
wrong on each question get McNemar's exact test, the others a p-value from the interval; Holm's method corrects all of a
table together. Definitions and sources of the measures: `analysis.faithfulness`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from analysis import faithfulness
from star import runs
from star.run_summary import arm_name, read_recipe
from star.statistics import Interval, bootstrap_mean, bootstrap_p, holm, mcnemar, paired_difference, wilson

Split = Literal["selection", "test"]
Values = dict[str, float]
"""problem_id -> value."""
MAX_UNSOUND = 0.5
"""A rationale without an exact check counts as sound below this p_unsound."""
_CORRECTED = "_corrected"
COLUMNS = ("attempt_id", "problem_id", "sample", "verdict", "sound")


@dataclass(frozen=True)
class Measure:
    """One row of the comparison."""

    key: str
    """Its name in probes.json, where it is a probe's."""
    name: str
    binary: bool = False
    """Right or wrong on each question: McNemar applies."""
    unit: str = "share"
    needs: str = ""
    """The command that makes it available: score, probe, or nothing."""


MEASURES = (
    Measure("accuracy", "answers right", binary=True),
    Measure("sound", "sound", binary=True, needs="score"),
    Measure("right_unsound", "right but unsound", binary=True, needs="score"),
    Measure("aoc", "AOC, literal", needs="probe"),
    Measure("aoc_normalised", "AOC, normalised", needs="probe"),
    Measure("aoc_soft", "AOC, soft", needs="probe"),
    Measure("reliance", "reliance", binary=True, needs="probe"),
    Measure("filler_gap", "filler gap", unit="nats", needs="probe"),
    Measure("silent_recovery", "silent recovery", needs="probe"),
    Measure("hint_star_verbalised", "hint verbalised, task's hint", needs="probe"),
    Measure("hint_suggested_verbalised", "hint verbalised, suggestion", needs="probe"),
    Measure("hint_always_a_verbalised", "hint verbalised, always A", needs="probe"),
)


@dataclass(frozen=True)
class Arm:
    """One round of one run with a value per question for each measure."""

    label: str
    run: Path
    round: int
    parameters: int | None
    values: Mapping[str, Values]
    """Measure key -> values; a measure that was not computed is missing."""
    controls: Mapping[str, float]
    """Measure key -> what its control gives, from probes.json."""
    missing: tuple[str, ...] = ()
    """Commands that would fill the gaps."""
    corrected: Mapping[str, float] = field(default_factory=dict)
    """Measure key -> its value with the control (hints: with chance, alpha) taken out, from probes.json."""


@dataclass(frozen=True)
class Figure:
    """A measure of an arm."""

    label: str
    run: str
    round: int
    parameters: int | None
    measure: Measure
    interval: Interval
    control: float | None
    corrected: float | None = None


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
    probed = _probe_values(run, number, {row["attempt_id"] for row in rows}) if split == "selection" else {}
    if not probed and split == "selection":
        missing.append(f"python -m analysis.probe {run} --round {number}")
    values |= probed
    measures = _probe_measures(run, number) if split == "selection" else {}
    return Arm(
        label=label or f"{arm_name(recipe)} ({run.name})",
        run=run,
        round=number,
        parameters=_parameters(run),
        values=values,
        controls=_known({key: (found.get("control") or {}).get("value") for key, found in measures.items()}),
        missing=tuple(missing),
        corrected=_known(
            {key: (found.get("corrected") or {}).get("value") for key, found in measures.items()}
            | {
                key.removesuffix("_corrected"): found.get("value")
                for key, found in measures.items()
                if _CORRECTED in key
            }
        ),
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


def _probe_values(run: Path, number: int, attempts: set[str]) -> dict[str, Values]:
    """Values per question from probes.parquet, of the round's evaluated rationales; rows not applicable count nowhere."""
    file = run / "analysis" / "probes.parquet"
    if not file.is_file():
        return {}
    columns = ["attempt_id", "problem_id", "round", "probe", "position", "changed", "logprob_before", "logprob_after",
               "outcome", "applicable"]  # fmt: skip
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in runs.read_rows(file, columns):
        if row["applicable"] and row["round"] == number and row["attempt_id"] in attempts:
            rows.setdefault(row["probe"], {}).setdefault(row["attempt_id"], []).append(row)
    early = rows.get("early_answering", {})
    found = {
        "aoc": _each(early, lambda r: faithfulness.area_over_curve(_same(r)) if len(r) > 1 else None),
        "aoc_normalised": _each(early, lambda r: faithfulness.normalised_aoc(_same(r)) if len(r) > 1 else None),
        "aoc_soft": _each(early, _soft),
        "reliance": _each(early, lambda r: r[0]["changed"]),
        "filler_gap": _each(rows.get("filler", {}), _gap),
        "silent_recovery": _each(rows.get("added_mistake", {}), lambda r: _ratio(r, "silent", "explicit")),
    }
    for hint in ("hint_star", "hint_suggested", "hint_always_a"):
        said = _each(rows.get(hint, {}), lambda r: _ratio(r, "hint_verbalised", "hint_silent"))
        found[f"{hint}_verbalised"] = said
    return {key: values for key, values in found.items() if values}


def _each(
    rationales: Mapping[str, list[dict[str, Any]]], value: Callable[[list[dict[str, Any]]], float | None]
) -> Values:
    by_problem: dict[str, list[float]] = {}
    for rows in rationales.values():
        number = value(sorted(rows, key=lambda row: row["position"]))
        if number is not None and math.isfinite(number):
            by_problem.setdefault(rows[0]["problem_id"], []).append(float(number))
    return {key: sum(numbers) / len(numbers) for key, numbers in by_problem.items()}


def _same(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [float(not row["changed"]) for row in rows]


def _soft(rows: Sequence[Mapping[str, Any]]) -> float | None:
    logprobs = [row["logprob_after"] for row in rows]
    return faithfulness.soft_aoc(logprobs) if len(logprobs) > 1 and None not in logprobs else None


def _gap(rows: Sequence[Mapping[str, Any]]) -> float | None:
    before, after = rows[0]["logprob_before"], rows[0]["logprob_after"]
    return None if before is None or after is None else before - after


def _ratio(rows: Sequence[Mapping[str, Any]], yes: str, no: str) -> float | None:
    hits, misses = (sum(row["outcome"] == outcome for row in rows) for outcome in (yes, no))
    return hits / (hits + misses) if hits + misses else None


def _probe_measures(run: Path, number: int) -> dict[str, dict[str, Any]]:
    """The aggregates of a round in probes.json; empty without it."""
    file = run / "analysis" / "probes.json"
    if not file.is_file():
        return {}
    return ((runs.read_json(file).get("rounds") or {}).get(str(number)) or {}).get("measures") or {}


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {key: float(value) for key, value in values.items() if value is not None}


def all_right(arms: Sequence[Arm]) -> set[str]:
    """Questions that every arm answered right: the fair ground for faithfulness, since accuracy is equal there."""
    right = [{key for key, value in arm.values["accuracy"].items() if value == 1} for arm in arms]
    return set.intersection(*right) if right else set()


def shared_questions(arms: Sequence[Arm]) -> set[str]:
    """Questions that every arm answered at all."""
    return set.intersection(*(set(arm.values["accuracy"]) for arm in arms)) if arms else set()


def figures(arms: Sequence[Arm], questions: set[str]) -> list[Figure]:
    """Every measure of every arm on `questions`; an interval of n = 0 where the arm has no value."""
    found = []
    for measure in MEASURES:
        if not any(measure.key in arm.values for arm in arms):
            continue
        for arm in arms:
            kept = [value for key, value in arm.values.get(measure.key, {}).items() if key in questions]
            binary = measure.binary and all(value in (0.0, 1.0) for value in kept)
            interval = wilson(int(sum(kept)), len(kept)) if binary else bootstrap_mean(kept)
            beside = arm.controls.get(measure.key), arm.corrected.get(measure.key)
            found.append(Figure(arm.label, arm.run.name, arm.round, arm.parameters, measure, interval, *beside))
    return found


def pairs(arms: Sequence[Arm], *, every: bool) -> list[tuple[Arm, Arm]]:
    """Every two arms, or each against the first: with many rounds or sizes the first is the natural ground."""
    return [(a, b) for i, a in enumerate(arms) for b in arms[i + 1 :] if every or i == 0]


def differences(compared: Iterable[tuple[Arm, Arm]], questions: set[str]) -> list[Difference]:
    """Paired differences of every measure; Holm's correction over all of them."""
    found = [
        difference
        for a, b in compared
        for measure in MEASURES
        if (difference := _difference(a, b, measure, questions)) is not None
    ]
    adjusted = holm([difference.p for difference in found])
    return [Difference(**{**vars(d), "p_holm": p}) for d, p in zip(found, adjusted, strict=True)]


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
