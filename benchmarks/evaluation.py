"""Measures of `human_labels`, with intervals that resample whole questions."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.soundness.quality import auroc
from star.statistics import Interval, clustered, wilson


def first_error_f1(named: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Share of unsound rationales whose first wrong step is named, of sound ones for which none is named, and the harmonic mean
    of the two (ProcessBench's F1; Zheng et al. 2024). NaN where rows of one kind are missing."""
    wrong, sound = label >= 0, label == -1
    located = float(np.mean(named[wrong] == label[wrong])) if wrong.any() else float("nan")
    spared = float(np.mean(named[sound] == -1)) if sound.any() else float("nan")
    f1 = 0.0 if located + spared == 0 else 2 * located * spared / (located + spared)
    return {"found": located, "spared": spared, "f1": f1}


def reliability(probability: np.ndarray, label: np.ndarray, bins: int = 10) -> dict[str, Any]:
    """Brier score (and that of always saying the base rate), expected calibration error, and the table by tenths."""
    which = np.minimum((probability * bins).astype(int), bins - 1)
    rows = []
    error = 0.0
    for number in sorted(set(which)):
        inside = which == number
        observed, predicted = float(label[inside].mean()), float(probability[inside].mean())
        share = wilson(int(label[inside].sum()), int(inside.sum()))
        rows.append({"predicted": predicted, "observed": observed, "low": share.low, "high": share.high, "n": share.n})
        error += inside.mean() * abs(predicted - observed)
    base = float(label.mean())
    return {
        "brier": float(np.mean((probability - label) ** 2)),
        "brier_of_base_rate": base * (1 - base),
        "calibration_error": float(error),
        "bins": rows,
        "n": len(label),
    }


def auroc_interval(score: np.ndarray, label: np.ndarray, groups: np.ndarray, resamples: int = 500) -> Interval:
    """AUROC with an interval clustered by question."""
    return clustered(lambda rows: auroc(score[rows], label[rows]), groups, resamples=resamples)


def share_interval(hit: np.ndarray, groups: np.ndarray, resamples: int = 500) -> Interval:
    """A share with an interval clustered by question."""
    return clustered(lambda rows: float(hit[rows].mean()), groups, resamples=resamples)
