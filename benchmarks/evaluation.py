"""Cross-validation by question, and the measures that `fit_detector` and `human_labels` report."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.soundness.detector import Curve
from analysis.soundness.judging import PROVEN, locate
from benchmarks.answer_rows import Answers
from benchmarks.feature_tables import StepTable
from benchmarks.fitting import calibrate, fit_hazard, unsound_from
from star.statistics import EMPTY, Interval, wilson

FOLDS = 5


def folds(groups: np.ndarray, count: int = FOLDS) -> list[tuple[np.ndarray, np.ndarray]]:
    """(train, test) rows; no question is in both."""
    from sklearn.model_selection import GroupKFold

    count = min(count, len(np.unique(groups)))
    return list(GroupKFold(count).split(groups, groups, groups))


def cross_validate_answer(answers: Answers, left_out: np.ndarray | None = None) -> np.ndarray:
    """Out-of-fold log-odds that the answer is right. Rows in `left_out` are never trained on, and are the only ones scored
    (the rest is NaN)."""
    scores = np.full(len(answers.right), np.nan)
    for train, test in folds(answers.groups):
        if left_out is not None:
            train, test = train[~left_out[train]], test[left_out[test]]
        scores[test] = answers.rows(train).fit().score(answers.table.rows(test), answers.contrast[test])
    return scores


def cross_validate_hazard(
    table: StepTable, first_error: np.ndarray, groups: np.ndarray, left_out: np.ndarray | None = None
) -> np.ndarray:
    """Out-of-fold hazard per step row; with `left_out` only its rows are scored and none of them is trained on."""
    hazard = np.full(len(table.rows), np.nan)
    for train, test in folds(groups):
        if left_out is not None:
            train, test = train[~left_out[train]], test[left_out[test]]
        if not len(test):
            continue
        model = fit_hazard(table, first_error, groups, train)
        rows = table.of(test)
        hazard[rows] = model.predict(table, rows)
    return hazard


def located(table: StepTable, hazard: np.ndarray, records: int, proven: np.ndarray | None = None) -> np.ndarray:
    """The most probable first error of each record, or a step before it that is proven wrong (`proven`; -1: none is)."""
    cuts = np.searchsorted(table.record, np.arange(records + 1))
    place = np.array([locate(hazard[a:b]) if b > a else -1 for a, b in itertools.pairwise(cuts)])
    return place if proven is None else np.where(proven >= 0, np.minimum(place, proven), place)


def raised(score: np.ndarray, proven: np.ndarray, curve: Curve) -> np.ndarray:
    """Scores with the rule of `analysis.soundness.judging` for what is proven wrong: at least the score of p_unsound = PROVEN."""
    least = curve.scores[min(int(np.searchsorted(curve.probabilities, PROVEN)), len(curve.scores) - 1)]
    return np.where(proven, np.maximum(score, least), score)


def first_error_f1(named: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Share of unsound rationales whose first wrong step is named, of sound ones that are called sound, and the harmonic mean
    of the two (ProcessBench's F1; Zheng et al. 2024). NaN where rows of one kind are missing."""
    wrong, sound = label >= 0, label == -1
    found = float(np.mean(named[wrong] == label[wrong])) if wrong.any() else float("nan")
    spared = float(np.mean(named[sound] == -1)) if sound.any() else float("nan")
    f1 = 0.0 if found + spared == 0 else 2 * found * spared / (found + spared)
    known = wrong | sound
    return {"found": found, "spared": spared, "f1": f1, "accuracy": float(np.mean(named[known] == label[known]))}


def best_threshold(probability: np.ndarray, table: StepTable, hazard: np.ndarray, label: np.ndarray) -> float:
    """The threshold on p_unsound with the best first-error F1."""
    place = located(table, hazard, len(label))
    candidates = np.round(np.arange(0.2, 0.86, 0.02), 2)
    f1 = [first_error_f1(np.where(probability > cut, place, -1), label)["f1"] for cut in candidates]
    return float(candidates[int(np.argmax(f1))])


def crossed_probabilities(
    score: np.ndarray, label: np.ndarray, groups: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """Probabilities from curves fitted on other questions than the ones they are applied to."""
    probability = np.zeros(len(score))
    for train, test in folds(groups):
        part = None if weight is None else weight[train]
        probability[test] = calibrate(score[train], label[train], part)(score[test])
    return probability


def reliability(
    probability: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None, bins: int = 10
) -> dict[str, Any]:
    """Brier score (and that of always saying the base rate), expected calibration error, and the table by tenths.

    With weights, n is the number of equally weighted rows that say as much.
    """
    weight = np.ones(len(label)) if weight is None else weight
    which = np.minimum((probability * bins).astype(int), bins - 1)
    rows = []
    error = 0.0
    for number in range(bins):
        inside = which == number
        if weight[inside].sum() > 0:
            w = weight[inside]
            n = round(float(w.sum() ** 2 / (w**2).sum()))
            observed, predicted = (float(np.average(value[inside], weights=w)) for value in (label, probability))
            share = wilson(round(observed * n), n)
            rows.append({"predicted": predicted, "observed": observed, "low": share.low, "high": share.high, "n": n})
            error += w.sum() / weight.sum() * abs(predicted - observed)
    base = float(np.average(label, weights=weight))
    brier = float(np.average((probability - label) ** 2, weights=weight))
    return {
        "brier": brier,
        "brier_of_base_rate": base * (1 - base),
        "calibration_error": float(error),
        "bins": rows,
        "n": len(label),
    }


def auroc(score: np.ndarray, label: np.ndarray) -> float:
    """Area under the ROC curve; NaN with one class only."""
    from scipy.stats import rankdata

    positive = label == 1
    p, n = int(positive.sum()), int((~positive).sum())
    if p == 0 or n == 0:
        return float("nan")
    return float((rankdata(score)[positive].sum() - p * (p + 1) / 2) / (p * n))


def clustered(
    measure: Callable[[np.ndarray], float], groups: np.ndarray, *, resamples: int = 500, seed: int = 0
) -> Interval:
    """A measure of row numbers with a 95 % percentile interval from resampling whole questions."""
    if not len(groups):
        return EMPTY
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups[order][0] - 1))
    members = np.split(order, starts[1:])
    rng = np.random.default_rng(seed)
    value = measure(np.arange(len(groups)))
    draws = [
        measure(np.concatenate([members[k] for k in rng.integers(0, len(members), len(members))]))
        for _ in range(resamples)
    ]
    finite = np.array([draw for draw in draws if draw == draw])
    if not len(finite) or value != value:
        return Interval(value, float("nan"), float("nan"), len(members))
    low, high = np.quantile(finite, [0.025, 0.975])
    return Interval(value, float(low), float(high), len(members))


def auroc_interval(score: np.ndarray, label: np.ndarray, groups: np.ndarray, resamples: int = 500) -> Interval:
    """AUROC with an interval clustered by question."""
    return clustered(lambda rows: auroc(score[rows], label[rows]), groups, resamples=resamples)


def share_interval(hit: np.ndarray, groups: np.ndarray, resamples: int = 500) -> Interval:
    """A share with an interval clustered by question."""
    return clustered(lambda rows: float(hit[rows].mean()), groups, resamples=resamples)


def precision_recall(score: np.ndarray, label: np.ndarray) -> list[dict[str, float]]:
    """The whole curve: one point for each cut, best scores first."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(label[order] == 1)
    total = max(1, int(hits[-1])) if len(hits) else 1
    ranks = np.arange(1, len(order) + 1)
    return [
        {"rank": int(k), "precision": float(h / k), "recall": float(h / total)}
        for k, h in zip(ranks, hits, strict=True)
    ]


def unsound_probability(table: StepTable, hazard: np.ndarray, records: int) -> np.ndarray:
    """1 - prod(1 - h) per record, with unscored steps as hazard 0."""
    return unsound_from(table, np.nan_to_num(hazard), records)


def as_text(content: dict[str, Any]) -> str:
    """A model as JSON text."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
