"""How good a judgement is, on labelled rationales: every measure with its interval, questions as units."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analysis.soundness.calibration import Judged, Labelled
from star.statistics import EMPTY, FEWEST_UNITS, Interval, bootstrap, clustered, share


def measures(rows: Sequence[Labelled], said: Sequence[Judged | None]) -> dict[str, Interval]:
    """Name -> value, of labels and what was said of each; of judged rows, except for coverage.

    f1: harmonic mean of accuracy_unsound (flagged, and at the labelled step where one is labelled) and accuracy_sound
    (Zheng et al. 2024, ProcessBench, section 4). auroc; ece: expected calibration error, the mean distance between predicted and
    observed share over ten bins of equal size (Naeini et al. 2015), without an interval, for resampling inflates it; brier.
    right_unsound_precision, right_unsound_recall: of flagged among rationales with a right answer.
    """
    coverage = share([found is not None for found in said], [row.question for row in rows]) if rows else EMPTY
    judged = [(row, found) for row, found in zip(rows, said, strict=True) if found is not None]
    if not judged:
        return {"coverage": coverage}
    questions = [row.question for row, _ in judged]
    unsound = np.array([row.unsound for row, _ in judged])
    flagged = np.array([found.first_error >= 0 for _, found in judged])
    hit = flagged & np.array([row.first_error in (None, found.first_error) for row, found in judged])
    right, clean = np.array([row.answer_correct is True for row, _ in judged]), ~flagged
    p = np.array([found.p_unsound for _, found in judged], dtype=float)

    def ratio(event: np.ndarray, among: np.ndarray) -> Interval:
        own = np.flatnonzero(among)
        return share(event[own].tolist(), [questions[place] for place in own]) if len(own) else EMPTY

    of_both = min(len({q for q, one in zip(questions, unsound, strict=True) if one == kind}) for kind in (True, False))

    def if_enough(found: Interval) -> Interval:
        """Without bounds where either kind is of too few questions to be resampled."""
        return found if of_both >= FEWEST_UNITS else Interval(found.value, math.nan, math.nan, found.n)

    f1 = bootstrap(_f1, [each.tolist() for each in (hit & unsound, unsound, clean & ~unsound, ~unsound)], questions)
    bins = [part for part in np.array_split(np.argsort(p, kind="stable"), 10) if len(part)]
    ece = float(sum(abs(p[part].mean() - unsound[part].mean()) * len(part) for part in bins) / len(p))
    return {
        "f1": if_enough(f1),
        "accuracy_unsound": ratio(hit, unsound),
        "accuracy_sound": ratio(clean, ~unsound),
        "auroc": if_enough(clustered(lambda rows: auroc(p[rows], unsound[rows]), questions)),
        "ece": Interval(ece, math.nan, math.nan, len(set(questions))),
        "brier": bootstrap(lambda c: c[:, 0] / c[:, 1], [((p - unsound) ** 2).tolist(), [1.0] * len(p)], questions),
        "right_unsound_precision": ratio(unsound, flagged & right),
        "right_unsound_recall": ratio(flagged, unsound & right),
        "coverage": coverage,
    }


def _f1(sums: np.ndarray) -> np.ndarray:
    wrong, clean = sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]
    return 2 * wrong * clean / (wrong + clean)


def auroc(p: np.ndarray, unsound: np.ndarray) -> float:
    """Probability that an unsound rationale scores higher than a sound one, ties as a half; NaN without both."""
    from scipy.stats import rankdata

    unsound = np.asarray(unsound) == 1
    positive, negative = int(unsound.sum()), int((~unsound).sum())
    if not positive or not negative:
        return math.nan
    return float((rankdata(p)[unsound].sum() - positive * (positive + 1) / 2) / (positive * negative))
