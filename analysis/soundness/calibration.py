"""Labels beside scorers' outputs -> a calibrated judgement of a rationale.

A discrete hazard: h_i is the probability that step i is wrong, given that none before it is. Its log-odds are linear in
what the scorers say of the step, in soft flags and in the step's place; P(unsound) = 1 - prod(1 - h_i), and the first error
is the step with the largest h_i * prod_{j<i}(1 - h_j). A label that names the first error, one that names none, and one that
only says "unsound" each have their likelihood, so all of them are fitted at once. The weights are pulled towards taking
each scorer at its word (log-odds h = -log-odds P(step right)), which is what thirty labels can correct and no more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.checks.base import Flag
from analysis.soundness.hazard import error_at, sigmoid
from star.errors import InputError

VERSION = 1
LEAST_LABELS = 30
SOUND = -1
FOLDS = 5
PULLS = (3.0, 10.0, 30.0, 100.0)
"""Strengths of the pull that are tried, in units of one step's information; the cross-fitted likelihood chooses."""
EXTREME = 1e-3
"""P(step right) is read between this and 1 - this: a scorer's certainty is worth that much at most."""
PLACE = ("place", "last", "length")


class CalibrationError(InputError):
    """Labels or a file that cannot be used; the message says what was found and what to do."""


@dataclass(frozen=True)
class Evidence:
    """What is known of one rationale before it is judged."""

    n_steps: int
    step_ok: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    """Scorer -> P(step right) per step; a scorer that says nothing of this rationale is left out."""
    hints: Sequence[float] = ()
    """Summed severity of the soft flags on each step; empty: none."""
    proven: int | None = None
    """The first step that an exact check shows false."""


def evidence(n_steps: int, flags: Sequence[Flag], step_ok: Mapping[str, Sequence[float | None]]) -> Evidence:
    """What checks found and scorers said of one rationale."""
    hints = [0.0] * n_steps
    for flag in flags:
        if flag.severity < 1:
            hints[flag.step] += flag.severity
    proven = min((flag.step for flag in flags if flag.severity >= 1), default=None)
    return Evidence(n_steps, step_ok, hints, proven)


@dataclass(frozen=True)
class Labelled:
    """A rationale with a label."""

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
    """The most probable first error; -1 where p_unsound is below the model's threshold."""
    likeliest: int
    """The most probable first error, whatever p_unsound is."""


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

    def judge(self, evidence: Evidence) -> Judged | None:
        """None where no scorer of this model has said anything and nothing is proven: not judged."""
        if evidence.proven is not None:
            return Judged(1.0, evidence.proven, evidence.proven)
        if not evidence.n_steps or (self.scorers and not any(name in evidence.step_ok for name in self.scorers)):
            return None
        names, rows = features(evidence, self.scorers)
        weights = np.array([self.weights.get(name, 0.0) for name in names])
        hazard = sigmoid(rows @ weights + self.weights.get("intercept", 0.0))
        raw, likeliest = _survived(hazard)
        p = float(sigmoid(np.array(self.offset + self.slope * _logit(raw))))
        return Judged(p, likeliest if p >= self.threshold else SOUND, likeliest)

    def save(self, path: Path) -> None:
        """Write readable JSON, whole or not at all."""
        from star.run import write_json

        content = {"version": VERSION, **{name: getattr(self, name) for name in self.__dataclass_fields__}}
        write_json(path, content)

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Raises CalibrationError for a file that `save` did not write."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["version"] != VERSION:
                raise CalibrationError(f"{path} has version {content['version']}, expected {VERSION}: calibrate again.")
            return cls(
                scorers=tuple(map(str, content["scorers"])),
                weights={str(name): float(value) for name, value in content["weights"].items()},
                threshold=float(content["threshold"]),
                slope=float(content["slope"]),
                offset=float(content["offset"]),
                domains=tuple(map(str, content["domains"])),
                labels=int(content["labels"]),
            )
        except CalibrationError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CalibrationError(
                f"{path} is not a calibration ({type(error).__name__}: {error}). `python -m analysis.calibrate` writes one."
            ) from error


def features(evidence: Evidence, scorers: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """(names, one row a step). Of each scorer: the log-odds of a wrong step, how far it stands above the rationale's median
    and above every earlier step; 0 and `:missing` 1 where it says nothing. Beside them: soft flags, place and length.
    """
    n = evidence.n_steps
    names, columns = [], []
    for scorer in scorers:
        said = evidence.step_ok.get(scorer)
        known = np.array([value is not None for value in said], dtype=bool) if said is not None else np.zeros(n, dtype=bool)
        wrong = np.zeros(n)
        if known.any() and said is not None:
            wrong[known] = -_logit(np.array([value for value in said if value is not None], dtype=float))
        median = float(np.median(wrong[known])) if known.any() else 0.0
        highest = np.maximum.accumulate(np.where(known, wrong, -np.inf))
        earlier = np.concatenate([[-np.inf], highest[:-1]])
        above = np.where(known & np.isfinite(earlier), wrong - np.where(np.isfinite(earlier), earlier, 0), 0.0)
        names += [f"{scorer}:wrong", f"{scorer}:above_median", f"{scorer}:above_earlier", f"{scorer}:missing"]
        columns += [wrong, np.where(known, wrong - median, 0.0), np.clip(above, -5, 5), (~known).astype(float)]
    hints = np.array(list(evidence.hints) or [0.0] * n, dtype=float)
    place = np.arange(n) / max(1, n - 1)
    last = (np.arange(n) == n - 1).astype(float)
    names += ["hints", *PLACE]
    columns += [hints, place, last, np.full(n, np.log(n))]
    return names, np.column_stack(columns)


def fit(rows: Sequence[Labelled], scorers: Sequence[str], *, seed: int = 0) -> tuple[Calibration, list[Judged | None]]:
    """The model of all labels, and what models that have not seen its question say of each row (None: not judged).

    Raises CalibrationError for fewer than LEAST_LABELS rows that a scorer judges, or labels of one kind.
    """
    usable = [row for row in rows if row.evidence.proven is None and _judgeable(row, scorers)]
    if len(usable) < LEAST_LABELS or len({row.unsound for row in usable}) < 2:
        unsound, proven = sum(row.unsound for row in usable), sum(row.evidence.proven is not None for row in rows)
        raise CalibrationError(
            f"{len(usable)} labelled rationales of {len(rows)} can be used ({unsound} unsound; {proven} are left out because a "
            f"check proves a step false); expected at least {LEAST_LABELS}, sound and "
            "unsound ones among them. Label more, or give a scorer that judges more of them."
        )
    questions = len({row.question for row in usable})
    if questions < FOLDS:
        raise CalibrationError(f"the labels are of {questions} questions; expected at least {FOLDS}: label other questions too.")
    pull = max(PULLS, key=lambda strength: _held_out_likelihood(usable, scorers, strength, seed))
    unseen: dict[int, Judged | None] = {}
    for inside, outside in _folds(rows, FOLDS, seed):
        model = _fit_one([rows[i] for i in inside], scorers, pull, seed)
        unseen |= {i: model.judge(rows[i].evidence) for i in outside}
    return _fit_one(rows, scorers, pull, seed), [unseen[i] for i in range(len(rows))]


def _judgeable(row: Labelled, scorers: Sequence[str]) -> bool:
    return row.evidence.n_steps > 0 and (not scorers or any(name in row.evidence.step_ok for name in scorers))


def _fit_one(rows: Sequence[Labelled], scorers: Sequence[str], pull: float, seed: int) -> Calibration:
    """Weights from all rows; scaling and threshold from what the same fit says of rows that it has not seen."""
    usable = [row for row in rows if row.evidence.proven is None and _judgeable(row, scorers)]
    raw = np.zeros(len(usable))
    likeliest = np.zeros(len(usable), dtype=int)
    for inside, outside in _folds(usable, FOLDS, seed + 1):
        weights = _weights([usable[i] for i in inside], scorers, pull)
        for i in outside:
            raw[i], likeliest[i] = _survived(_hazard(usable[i], scorers, weights))
    unsound = np.array([row.unsound for row in usable])
    slope, offset = _platt(_logit(raw), unsound)
    scaled = sigmoid(offset + slope * _logit(raw))
    return Calibration(
        scorers=tuple(scorers),
        weights=_weights(usable, scorers, pull),
        threshold=_best_threshold(scaled, likeliest, usable),
        slope=slope,
        offset=offset,
        domains=tuple(sorted({row.domain for row in rows if row.domain})),
        labels=len(rows),
    )


def _weights(rows: Sequence[Labelled], scorers: Sequence[str], pull: float) -> dict[str, float]:
    """Maximum of the penalised likelihood: labels as in the module's docstring, a Gaussian prior around the scorers' word."""
    from scipy.optimize import minimize

    tables = [features(row.evidence, scorers) for row in rows]
    names = tables[0][0]
    x = np.concatenate([table for _, table in tables])
    starts = np.cumsum([0, *(len(table) for _, table in tables)])
    prior = np.array([1.0 / len(scorers) if name.endswith(":wrong") else 0.0 for name in names])
    scale = np.maximum(x.std(axis=0), 1e-3)
    at_risk, event, vague = _risk(rows, starts)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ parameters[1:] + parameters[0]
        log_ok, log_wrong = -np.logaddexp(0, z), -np.logaddexp(0, -z)
        hazard = np.exp(log_wrong)
        value = -(log_ok[at_risk].sum() + log_wrong[event].sum())
        slope = np.zeros_like(z)
        slope[at_risk] += hazard[at_risk]
        slope[event] -= 1 - hazard[event]
        for begin, end in vague:
            survived = min(float(np.exp(log_ok[begin:end].sum())), 1 - 1e-9)
            value -= np.log1p(-survived)
            slope[begin:end] -= survived / (1 - survived) * hazard[begin:end]
        away = (parameters[1:] - prior) * scale
        value += pull / 2 * float(away @ away)
        return float(value), np.concatenate([[slope.sum()], x.T @ slope + pull * away * scale])

    done = minimize(loss, np.concatenate([[0.0], prior]), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return {"intercept": float(done.x[0]), **{name: float(value) for name, value in zip(names, done.x[1:], strict=True)}}


def _risk(rows: Sequence[Labelled], starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """Steps that are known to be right, steps that are the first error, and spans that hold one somewhere."""
    right: list[int] = []
    wrong: list[int] = []
    somewhere: list[tuple[int, int]] = []
    for row, begin, end in zip(rows, starts[:-1], starts[1:], strict=True):
        if not row.unsound:
            right.extend(range(begin, end))
        elif row.first_error is None or not 0 <= row.first_error < end - begin:
            somewhere.append((int(begin), int(end)))
        else:
            right.extend(range(begin, begin + row.first_error))
            wrong.append(int(begin) + row.first_error)
    return np.array(right, dtype=int), np.array(wrong, dtype=int), somewhere


def _hazard(row: Labelled, scorers: Sequence[str], weights: Mapping[str, float]) -> np.ndarray:
    names, table = features(row.evidence, scorers)
    return sigmoid(table @ np.array([weights[name] for name in names]) + weights["intercept"])


def _survived(hazard: np.ndarray) -> tuple[float, int]:
    """(P(some step is wrong), the most probable first error)."""
    errors = error_at(hazard)
    return float(errors.sum()), int(np.argmax(errors))


def _held_out_likelihood(rows: Sequence[Labelled], scorers: Sequence[str], pull: float, seed: int) -> float:
    total = 0.0
    for inside, outside in _folds(rows, FOLDS, seed):
        weights = _weights([rows[i] for i in inside], scorers, pull)
        for i in outside:
            hazard = np.clip(_hazard(rows[i], scorers, weights), 1e-6, 1 - 1e-6)
            survival = np.cumprod(1 - hazard)
            error = rows[i].first_error
            if not rows[i].unsound:
                total += float(np.log(survival[-1]))
            elif error is None or not 0 <= error < len(hazard):
                total += float(np.log(max(1 - survival[-1], 1e-9)))
            else:
                total += float(np.log(hazard[error]) + (np.log(survival[error - 1]) if error else 0.0))
    return total


def _folds(rows: Sequence[Labelled], folds: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """(inside, outside) of each fold; the rows of one question are on one side."""
    questions = sorted({row.question for row in rows})
    np.random.default_rng(seed).shuffle(questions)
    fold = {question: place % folds for place, question in enumerate(questions)}
    split = []
    for k in range(folds):
        outside = [i for i, row in enumerate(rows) if fold[row.question] == k]
        inside = [i for i, row in enumerate(rows) if fold[row.question] != k]
        if outside and inside:
            split.append((inside, outside))
    return split


def _platt(score: np.ndarray, unsound: np.ndarray) -> tuple[float, float]:
    """(slope, offset) of sigmoid(offset + slope * score), pulled towards (1, 0): few labels move them little."""
    from scipy.optimize import minimize

    def loss(parameters: np.ndarray) -> float:
        z = parameters[0] * score + parameters[1]
        away = 5.0 * (parameters[0] - 1) ** 2 + parameters[1] ** 2
        return float(np.logaddexp(0, np.where(unsound, -z, z)).sum() + away)

    slope, offset = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(0.05, 5), (-5, 5)]).x
    return float(slope), float(offset)


def _best_threshold(p: np.ndarray, likeliest: np.ndarray, rows: Sequence[Labelled]) -> float:
    """The threshold with the best harmonic mean of accuracy on unsound and on sound rows, in the middle of a flat top."""
    candidates = np.unique(np.round(np.concatenate([p, [0.5]]), 3))
    hit = np.array([row.first_error is None or row.first_error == place for row, place in zip(rows, likeliest, strict=True)])
    unsound = np.array([row.unsound for row in rows])
    flagged = p[:, None] >= candidates
    wrong = (flagged & hit[:, None])[unsound].mean(axis=0)
    clean = (~flagged)[~unsound].mean(axis=0)
    quality = 2 * wrong * clean / np.maximum(wrong + clean, 1e-9)
    width = max(1, len(candidates) // 20)
    smooth = np.convolve(np.pad(quality, width, mode="edge"), np.ones(2 * width + 1) / (2 * width + 1), mode="valid")
    return float(candidates[int(np.argmax(smooth))])


def _logit(p: Any) -> Any:
    clipped = np.clip(p, EXTREME, 1 - EXTREME)
    return np.log(clipped / (1 - clipped))
