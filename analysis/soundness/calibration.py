"""Labels beside scorers' outputs -> a calibrated judgement of a rationale.

A discrete hazard: h_i is the probability that step i is wrong, given that none before it is. Its log-odds are linear in
what the scorers say of the step, in soft flags and in the step's place; P(unsound) = 1 - prod(1 - h_i). The first error is the
first step with an h_i near the largest: scorers are low after an error too, so that the largest may come later. A label that
names the first error, one that names none, and one that only says "unsound" each have their likelihood, so all of them are fitted
at once. The weights are pulled towards taking each scorer at its word (log-odds h = -log-odds P(step right)) on a scale that is
fitted before, which is what thirty labels can correct and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from analysis.checks.base import SOUND, Flag
from analysis.soundness.hazard import FOLDS, SOMEWHERE, error_at, fit_weights, folds, logit, read_model, sigmoid
from analysis.soundness.judging import first_proven
from star.errors import InputError

FittedT = TypeVar("FittedT")
SaidT = TypeVar("SaidT")
LEAST_LABELS = 30
PULL = 100.0
"""Strength of the pull, in units of one step's information. Chosen by cross-fitted likelihood it came out too weak: F1 was a
point lower with thirty labels and no higher with 245 (made-up reward models on people's labels of three sets)."""
SCALE_PULL = 3.0
"""The same of the scale of the scorers' word."""
NEAR = 0.3
"""Of the largest hazard. By the most probable first error F1 is 1 to 2 points lower (made-up scores, processbench_math_dev)."""
EXTREME = 1e-3
"""P(step right) is read between this and 1 - this: a scorer's certainty is worth that much at most."""


@dataclass(frozen=True)
class Evidence:
    """What is known of one rationale before it is judged."""

    n_steps: int
    step_ok: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    """Scorer -> P(step right) per step, "SCORER:FEATURE" -> a feature (see StepScores); one that says nothing of this rationale is
    left out."""
    hints: Sequence[float] = ()
    """Summed severity of the soft flags on each step; empty: none."""
    proven: int | None = None
    """The first step that an exact check shows false."""

    def judgeable(self, scorers: Sequence[str]) -> bool:
        """Whether there are steps, and any of the scorers, where there are any, has said something of them."""
        return self.n_steps > 0 and (not scorers or any(name in self.step_ok for name in scorers))


def evidence(n_steps: int, flags: Sequence[Flag], step_ok: Mapping[str, Sequence[float | None]]) -> Evidence:
    """What checks found and scorers said of one rationale."""
    hints = [0.0] * n_steps
    for flag in flags:
        if flag.severity < 1:
            hints[flag.step] += flag.severity
    return Evidence(n_steps, step_ok, hints, first_proven(flags))


@dataclass(frozen=True)
class Labelled:
    evidence: Evidence
    question: str
    """Equal for the rationales of one question: they are never on both sides of a fit."""
    unsound: bool
    first_error: int | None
    """0-based; -1: sound; None: unsound, the place is not known."""
    answer_correct: bool | None = None
    domain: str = ""


@dataclass(frozen=True)
class Judged:
    """What a calibrated model says of one rationale."""

    p_unsound: float
    first_error: int
    """0-based; -1 where p_unsound is below the model's threshold."""
    likeliest: int
    """The first error if there is one, whatever p_unsound is."""

    def at(self, threshold: float) -> Judged:
        """The same, called unsound from another threshold on."""
        return replace(self, first_error=self.likeliest if self.p_unsound >= threshold else SOUND)


@dataclass(frozen=True)
class Calibration:
    """A fitted model: named weights over `features`, and the threshold from which on a rationale is called unsound."""

    scorers: tuple[str, ...]
    weights: Mapping[str, float]
    """Name of a feature (or "intercept") -> weight on the log-odds of the hazard; unknown names are ignored."""
    threshold: float
    slope: float = 1.0
    offset: float = 0.0
    """P(unsound) as reported: sigmoid(offset + slope * log-odds of what the hazards give); Platt's scaling."""
    domains: tuple[str, ...] = ()
    labels: int = 0
    version: Literal[1] = 1

    def judge(self, evidence: Evidence) -> Judged | None:
        """None where no scorer of this model has said anything and nothing is proven: not judged."""
        if evidence.proven is not None:
            return Judged(1.0, evidence.proven, evidence.proven)
        if not evidence.judgeable(self.scorers):
            return None
        raw, likeliest = _raw(evidence, self.scorers, self.weights)
        p = float(sigmoid(np.array(self.offset + self.slope * logit(raw, EXTREME))))
        return Judged(p, SOUND, likeliest).at(self.threshold)

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """From the JSON of `analysis.calibrate`. Raises InputError for another file."""
        return read_model(path, cls, "analysis.calibrate")


def features(evidence: Evidence, scorers: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """(names, one row a step). Of each scorer: the log-odds of a wrong step, how far it stands above the rationale's median
    and above every earlier step; 0 and `:missing` 1 where it says nothing. Beside them: soft flags, place and length.
    """
    n = evidence.n_steps
    columns: dict[str, np.ndarray] = {}
    for scorer in scorers:
        wrong = -logit(np.array(evidence.step_ok.get(scorer, [None] * n), dtype=float), EXTREME)  # NaN where nothing is said
        known, earlier = wrong[~np.isnan(wrong)], np.fmax.accumulate(np.append(np.nan, wrong[:-1]))
        columns[f"{scorer}:wrong"] = wrong
        columns[f"{scorer}:above_median"] = wrong - (np.median(known) if len(known) else 0.0)
        columns[f"{scorer}:above_earlier"] = np.clip(wrong - earlier, -5, 5)
        columns[f"{scorer}:missing"] = np.isnan(wrong)
    columns["hints"] = np.array(list(evidence.hints) or [0.0] * n)
    columns["place"] = np.arange(n) / max(1, n - 1)
    columns["last"] = np.arange(n) == n - 1
    columns["length"] = np.full(n, np.log(n))
    return list(columns), np.nan_to_num(np.column_stack(list(columns.values())))


def fit(rows: Sequence[Labelled], scorers: Sequence[str]) -> tuple[Calibration, list[Judged | None]]:
    """The model of all labels, and what models that have not seen its question say of each row (None: not judged).

    Raises InputError for fewer than LEAST_LABELS rows that a scorer judges, or labels of one kind.
    """
    usable, proven = _usable(rows, scorers), sum(row.evidence.proven is not None for row in rows)
    if len(usable) + proven < LEAST_LABELS or len({row.unsound for row in usable}) < 2:
        unsound = sum(row.unsound for row in usable)
        decided = "Where a check decides, no scorer is needed." if proven and not unsound else ""
        raise InputError(
            f"{len(usable)} labelled rationales of {len(rows)} can be used ({unsound} unsound; {proven} are left out because a "
            f"check proves a step false); expected at least {LEAST_LABELS}, sound and unsound ones among them. "
            f"{decided or 'Label more, or give a scorer that judges more of them.'}"
        )
    questions = len({row.question for row in usable})
    if questions < FOLDS:
        raise InputError(f"the labels are of {questions} questions; expected at least {FOLDS}: label other questions too.")
    return _fit_one(rows, scorers), _cross_fitted(rows, lambda others: _fit_one(others, scorers), Calibration.judge)


def _usable(rows: Sequence[Labelled], scorers: Sequence[str]) -> list[Labelled]:
    """Rows that teach something: a scorer has spoken, and no proof has decided."""
    return [row for row in rows if row.evidence.proven is None and row.evidence.judgeable(scorers)]


def _fit_one(rows: Sequence[Labelled], scorers: Sequence[str]) -> Calibration:
    """Weights from all rows; scaling and threshold from what the same fit says of rows that it has not seen."""
    usable = _usable(rows, scorers)
    unseen = _cross_fitted(usable, lambda others: _weights(others, scorers), lambda weights, row: _raw(row, scorers, weights)[0])
    raw = logit(np.array(unseen), EXTREME)
    slope, offset = _platt(raw, np.array([row.unsound for row in usable]))
    return Calibration(
        scorers=tuple(scorers),
        weights=_weights(usable, scorers),
        threshold=_best_threshold(sigmoid(offset + slope * raw)),
        slope=slope,
        offset=offset,
        domains=tuple(sorted({row.domain for row in rows if row.domain})),
        labels=len(rows),
    )


def _weights(rows: Sequence[Labelled], scorers: Sequence[str]) -> dict[str, float]:
    """Fitted around the scorers' word, whose own scale is fitted before: a few labels can correct that better than all weights."""
    tables = [features(row.evidence, scorers) for row in rows]
    names, x, lengths = tables[0][0], np.concatenate([table for _, table in tables]), [row.evidence.n_steps for row in rows]
    places = [SOUND if row.first_error is None else row.first_error for row in rows]
    placed = [place if 0 <= place < n else SOMEWHERE for place, n in zip(places, lengths, strict=True)]
    first = np.where([row.unsound for row in rows], placed, SOUND)
    layout = np.repeat(np.arange(len(rows)), lengths), first
    trusted = [names.index(f"{name}:wrong") for name in scorers if ":" not in name]  # features say nothing by themselves
    prior = np.zeros(len(names))
    prior[trusted] = fit_weights(x[:, trusted], *layout, pull=SCALE_PULL, prior=1.0 / max(1, len(trusted)))[1]
    intercept, weights = fit_weights(x, *layout, pull=PULL, prior=prior)
    return {"intercept": intercept, **dict(zip(names, weights.tolist(), strict=True))}


def _raw(evidence: Evidence, scorers: Sequence[str], weights: Mapping[str, float]) -> tuple[float, int]:
    """(P(some step is wrong) before scaling, the step that is called the first error)."""
    names, table = features(evidence, scorers)
    hazard = sigmoid(table @ np.array([weights.get(name, 0.0) for name in names]) + weights.get("intercept", 0.0))
    return float(error_at(hazard).sum()), int(np.argmax(hazard >= NEAR * hazard.max()))


def _cross_fitted(
    rows: Sequence[Labelled], fitted: Callable[[Sequence[Labelled]], FittedT], said_by: Callable[[FittedT, Evidence], SaidT]
) -> list[SaidT]:
    """What is said of each row by what was `fitted` on rows of other questions."""
    fold, said = folds(np.unique([row.question for row in rows], return_inverse=True)[1]), dict[int, SaidT]()
    for number in range(FOLDS):
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if len(inside) and len(outside):
            model = fitted([rows[i] for i in inside])
            said |= {i: said_by(model, rows[i].evidence) for i in outside.tolist()}
    if not rows or len(said) < len(rows):
        raise InputError("the labels that can be used are of too few questions: label rationales of other questions too.")
    return [said[i] for i in range(len(rows))]


def _platt(score: np.ndarray, unsound: np.ndarray) -> tuple[float, float]:
    """(slope, offset) of sigmoid(offset + slope * score), pulled towards (1, 0): few labels move them little."""
    from scipy.optimize import minimize

    def loss(parameters: np.ndarray) -> float:
        z = parameters[0] * score + parameters[1]
        away = 5.0 * (parameters[0] - 1) ** 2 + parameters[1] ** 2
        return float(np.logaddexp(0, np.where(unsound, -z, z)).sum() + away)

    slope, offset = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(0.05, 5), (-5, 5)]).x
    return float(slope), float(offset)


def _best_threshold(p: np.ndarray) -> float:
    """The threshold with the best harmonic mean of the accuracies on unsound and on sound rationales that calibrated probabilities
    let expect. Counted on labels in place of expected, thirty of them choose a threshold that costs up to 20 points."""
    candidates = np.unique(np.round(np.append(p, 0.5), 3))
    flagged = p[:, None] >= candidates
    wrong, clean = (p[:, None] * flagged).sum(axis=0) / p.sum(), ((1 - p)[:, None] * ~flagged).sum(axis=0) / (1 - p).sum()
    expected = 2 * wrong * clean / np.maximum(wrong + clean, 1e-9)
    return float(np.median(candidates[expected > expected.max() - 1e-9]))  # not the edge of those that are as good
