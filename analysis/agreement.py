"""Is the automatic score to be trusted? People's labels against it, and people against each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.labels import Labels, Ranking
from analysis.soundness.grades import THRESHOLD, flagged
from star.statistics import bootstrap

KS = (5, 10, 20, 50)
"""Cut-offs of precision at k."""
LEAST_FOR_KAPPA = 20
"""Rationales that both sides must have judged before a kappa is shown; below that its interval spans nearly everything."""
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Edges of the reliability table."""


@dataclass(frozen=True)
class Agreement:
    """Labels against the automatic score. Intervals are (value, low, high, n)."""

    n: int
    unsure: int
    """Labelled unsure, or not scored: left out."""
    both_unsound: int
    both_sound: int
    only_person: int
    """Unsound to the person, not flagged by the score."""
    only_score: int
    kappa: tuple[float, float, float]
    """Cohen's kappa with a 95 % bootstrap interval."""
    precision: tuple[tuple[int, int], ...]
    """(k, unsound among the k labelled rationales with the highest p_unsound)."""
    reliability: tuple[tuple[float, float, int, float, int], ...]
    """(from, to, n, mean p_unsound, labelled unsound) per bin that has labels."""
    steps: tuple[int, int] = (0, 0)
    """(same first wrong step, unsound to both with a step named by both)."""


def agreement(
    verdicts: Mapping[str, str],
    scores: Mapping[str, float],
    cut: float = THRESHOLD,
    steps: Mapping[str, tuple[int | None, int]] | None = None,
) -> Agreement:
    """Compare verdicts (id -> sound, unsound, unsure) with p_unsound by id; a score of `cut` or more is a flag.

    `steps` gives (the person's first wrong step, the score's) by id.
    """
    pairs = [
        (identifier, verdict == "unsound", scores[identifier])
        for identifier, verdict in verdicts.items()
        if verdict in ("sound", "unsound") and not math.isnan(scores.get(identifier, math.nan))
    ]
    person = np.array([unsound for _, unsound, _ in pairs], dtype=bool)
    p = np.array([score for _, _, score in pairs], dtype=float)
    score = flagged(p, cut)
    order = np.argsort(-p, kind="stable")
    named = [(a, b) for name, u, s in pairs if u and flagged(s, cut) for a, b in [(steps or {}).get(name, (None, -1))]]
    both_named = [(a, b) for a, b in named if a is not None and b >= 0]
    bins = []
    for low, high in itertools.pairwise(BINS):
        inside = (p >= low) & ((p < high) | (high == BINS[-1]))
        if inside.any():
            bins.append((low, high, int(inside.sum()), float(p[inside].mean()), int(person[inside].sum())))
    return Agreement(
        n=len(pairs),
        unsure=len(verdicts) - len(pairs),
        both_unsound=int((person & score).sum()),
        both_sound=int((~person & ~score).sum()),
        only_person=int((person & ~score).sum()),
        only_score=int((~person & score).sum()),
        kappa=_kappa(person, score),
        precision=tuple((k, int(person[order[:k]].sum())) for k in KS if k <= len(pairs)),
        reliability=tuple(bins),
        steps=(sum(a == b for a, b in both_named), len(both_named)),
    )


def _kappa(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Cohen's kappa of two yes/no raters (Cohen 1960) with a 95 % bootstrap interval over items."""

    def kappa(sums: np.ndarray) -> np.ndarray:
        both, first, second, n = sums.T
        chance = (first * second + (n - first) * (n - second)) / n**2
        return ((n - first - second + 2 * both) / n - chance) / (1 - chance)

    interval = bootstrap(kappa, [list(column) for column in (a & b, a, b, np.ones(len(a)))])
    return interval.value, interval.low, interval.high


def between_people(labels: Labels) -> list[tuple[str, str, int, int, tuple[float, float, float]]]:
    """(person, person, rationales both called sound or unsound, agreed, kappa) for each pair with any."""
    rows = []
    for first, second in itertools.combinations(labels.labellers, 2):
        left, right = labels.verdicts(first), labels.verdicts(second)
        shared = [x for x in left if x in right and "unsure" not in (left[x], right[x])]
        if shared:
            a, b = (np.array([said[x] == "unsound" for x in shared]) for said in (left, right))
            rows.append((first, second, len(shared), int((a == b).sum()), _kappa(a, b)))
    return rows


def ranking_results(rankings: Iterable[Ranking]) -> list[tuple[str, int, int, float]]:
    """(origin, times ranked, times first, mean place from 1) of each origin, best mean place first."""
    places: dict[str, list[int]] = {}
    for ranking in rankings:
        for place, origin in enumerate(ranking.origins, start=1):
            places.setdefault(origin, []).append(2 if ranking.tie else place)
    rows = [(origin, len(taken), taken.count(1), sum(taken) / len(taken)) for origin, taken in places.items()]
    return sorted(rows, key=lambda row: (row[3], row[0]))
