"""Intervals and paired comparisons: the only place where the project computes them.

Everything here takes plain sequences and returns plain numbers; scipy and statsmodels are imported where they are used,
so that reading this module costs nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

RESAMPLES = 2_000
"""Bootstrap resamples: the Monte-Carlo error of a 95 % bound is then about 0.05 standard errors."""
LEVEL = 0.95
FEWEST_UNITS = 5
"""Resampling fewer questions than this cannot hold 95 %: even from the smallest to the largest of four covers 87.5 %."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval and what it rests on."""

    value: float
    low: float
    high: float
    n: int
    """Independent units: questions (or clusters) where rows share one, else rows."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON; an estimate from nothing has nulls, one from too few units has null bounds."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}

    def percent(self, digits: int = 1) -> str:
        """ "72.5 [70.1, 74.9]", or "-" when it rests on nothing."""
        return Interval(100 * self.value, 100 * self.low, 100 * self.high, self.n).plain(digits)

    def plain(self, digits: int = 3) -> str:
        """ "0.725 [0.701, 0.749]", or "-" when it rests on nothing."""
        if self.n == 0 or math.isnan(self.value):
            return "-"
        if math.isnan(self.low) or self.low == self.high:
            return f"{self.value:.{digits}f} [-]"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def percent(share: float | None) -> str:
    """0.725 -> "72.5"; "-" where it is not known."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.1f}"


def amount(value: float | None) -> str:
    """Large numbers, short: 12,345 as it is, 3.1e+15 beyond a million million."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value < 1e12 else f"{value:.1e}"


EMPTY = Interval(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test on paired right/wrong outcomes."""

    only_a: int
    """Questions that only the first arm gets right."""
    only_b: int
    p: float
    n: int


def wilson(k: int, n: int) -> Interval:
    """Wilson score interval of a share k/n (Wilson 1927), at 95 %. n = 0 gives an empty interval.

    Raises ValueError unless 0 <= k <= n.
    """
    if not 0 <= k <= n:
        raise ValueError(f"{k} successes of {n} trials: expected 0 <= successes <= trials")
    if n == 0:
        return EMPTY
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share = k / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, min(max(0.0, center - half), share), max(min(1.0, center + half), share), n)


def bootstrap_mean(
    values: Sequence[float | bool], clusters: Sequence[Hashable] | None = None, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Mean with a 95 % bootstrap interval (see `bootstrap`); with `clusters`, whole clusters are resampled.

    Clusters are the questions when several rows share one (Field and Welsh 2007). Rows weigh equally.
    """
    return bootstrap(lambda columns: columns[:, 0] / columns[:, 1], [values, [1.0] * len(values)], clusters, seed, resamples)


def share(outcomes: Sequence[bool | float], clusters: Sequence[Hashable] | None = None) -> Interval:
    """Share of true outcomes (0/1) with a 95 % interval; n is the number of questions (`clusters`).

    Wilson's where every question has one row, and where all rows agree: resampling those would claim certainty. Else a
    bootstrap over whole questions.
    """
    questions = len(set(clusters)) if clusters is not None else len(outcomes)
    true = int(sum(outcomes))
    if questions == len(outcomes) or true in (0, len(outcomes)):
        return wilson(min(true, questions), questions)  # all or none of the rows is all or none of the questions
    return bootstrap_mean(outcomes, clusters)


def mean_of_runs(values: Sequence[float], *, shares: bool = False) -> Interval:
    """Mean over training runs with Student's 95 % interval; n is the number of runs. NaN bounds for a single one, and where
    all have one value, which would claim certainty.

    For what another seed would give; intervals over questions say what these same models would do on other questions.
    `shares`: the values lie within 0 and 1, so the bounds are kept there.
    """
    from scipy import stats

    n = len(values)
    if n == 0:
        return EMPTY
    mean, vary = float(np.mean(values)), len(set(values)) > 1
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n)) if vary else math.nan
    low, high = mean - half, mean + half
    if shares and vary:
        low, high = max(0.0, low), min(1.0, high)
    return Interval(mean, low, high, n)


def slope(x: Sequence[float], y: Sequence[float], groups: Sequence[Hashable] | None = None) -> tuple[Interval, float]:
    """Slope of y on x by least squares with Student's 95 % interval, and its two-sided p; n is the number of points.

    With `groups` each group has a level of its own (fixed effects), so that only points of one group are compared with each
    other. Where no degree of freedom is left, bounds and p are NaN; where no x differs within a group, the slope is too.
    """
    from scipy import stats

    table, n = np.array([x, y], dtype=float), len(x)
    rounded = 1e-12 * float(table[0] @ table[0])  # what equal x may still differ by once their mean is taken off
    names = list(groups) if groups is not None else [None] * n
    members = [[each == name for each in names] for name in dict.fromkeys(names)]
    for member in members:
        table[:, member] -= table[:, member].mean(axis=1, keepdims=True)
    spread, free = float(table[0] @ table[0]), n - len(members) - 1
    spread = spread if spread > rounded else 0.0
    value = float(table[0] @ table[1]) / spread if spread else math.nan
    if free < 1 or not spread:
        return Interval(value, math.nan, math.nan, n), math.nan
    error = math.sqrt(float(((table[1] - value * table[0]) ** 2).sum()) / free / spread)
    half = float(stats.t.ppf((1 + LEVEL) / 2, free) * error)
    p = float(2 * stats.t.sf(abs(value) / error, free)) if error else float(value == 0)
    return Interval(value, value - half, value + half, n), p


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray],
    columns: Sequence[Sequence[float | bool]],
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Expanded percentile bootstrap (Efron 1979; Hesterberg 2015, section 4.2.3) of a function of column sums.

    `columns` are c sequences over the same rows; `statistic` maps sums of shape (resamples, c) to (resamples,). That
    covers means, ratios and differences of shares at the cost of one matrix product. Plain percentiles are too narrow for
    few units, by sqrt((n - 1) / n) and by the normal in Student's place; the levels make up for both. Fewer than
    FEWEST_UNITS give no interval, nor do units that all agree, which would claim certainty: its bounds are NaN.
    """
    table = np.asarray(columns, dtype=float).T if len(columns[0]) else np.empty((0, len(columns)))
    if clusters is not None:
        table = _sum_by(table, clusters)
    n = len(table)
    if n == 0:
        return EMPTY
    # Rows with equal values are interchangeable, so drawing how often each distinct row occurs is the same bootstrap;
    # for right/wrong outcomes that is 2 to 4 numbers a resample in place of n.
    distinct, counts = np.unique(table, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    chunk = max(1, 20_000_000 // len(distinct))  # at most 160 MB of counts at a time
    draws = []
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(table.sum(axis=0, keepdims=True))[0])
        for start in range(0, resamples, chunk):
            drawn = rng.multinomial(n, counts / n, size=min(chunk, resamples - start))
            draws.append(statistic(drawn @ distinct))
    sampled = np.concatenate(draws)
    sampled = sampled[np.isfinite(sampled)]
    if n < FEWEST_UNITS or not len(sampled) or math.isnan(value):
        return Interval(value, math.nan, math.nan, n)
    from scipy.special import stdtrit  # Student's quantile; scipy.stats takes a second to import

    student = float(stdtrit(n - 1, (1 + LEVEL) / 2))
    level = NormalDist().cdf(-math.sqrt(n / (n - 1)) * student)
    return Interval(value, *_bounds(sampled, [level, 1 - level]), n)


def _bounds(sampled: np.ndarray, levels: Sequence[float]) -> tuple[float, float]:
    low, high = map(float, np.nanquantile(sampled, levels))
    return (low, high) if np.nanmin(sampled) < np.nanmax(sampled) else (math.nan, math.nan)


def clustered(
    measure: Callable[[np.ndarray], float], groups: Sequence[Hashable] | np.ndarray, *, resamples: int = 300
) -> Interval:
    """A measure of row numbers that is no function of sums (for those see `bootstrap`), with a 95 % percentile interval from
    resampling whole groups: questions."""
    if not len(groups):
        return EMPTY
    number = np.unique(np.array(groups), return_inverse=True)[1]
    members = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    value, rng = measure(np.arange(len(number))), np.random.default_rng(0)
    if len(members) < FEWEST_UNITS or np.isnan(value):
        return Interval(value, math.nan, math.nan, len(members))
    drawn = [measure(np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))])) for _ in range(resamples)]
    return Interval(value, *_bounds(np.array(drawn), [0.025, 0.975]), len(members))


def _sum_by(table: np.ndarray, clusters: Sequence[Hashable]) -> np.ndarray:
    if len(clusters) != len(table):
        raise ValueError(f"{len(clusters)} cluster labels for {len(table)} rows: expected one each")
    index: dict[Hashable, int] = {}
    rows = np.array([index.setdefault(label, len(index)) for label in clusters], dtype=int)
    sums = np.zeros((len(index), table.shape[1]))
    np.add.at(sums, rows, table)
    return sums


def paired_difference(
    a: Sequence[float | bool], b: Sequence[float | bool], clusters: Sequence[Hashable] | None = None
) -> Interval:
    """mean(b) - mean(a) of outcomes `a[i]` and `b[i]` on the same question, with a 95 % interval.

    Right or wrong on one row a question: Newcombe's (1998, Statistics in Medicine 17, method 10), which stays open where few
    questions differ. Else a bootstrap of whole questions, both arms together. Raises ValueError when the lengths differ.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} outcomes against {len(b)}: a paired comparison needs the same questions")
    if len(a) >= FEWEST_UNITS and {*a, *b} <= {0, 1} and (clusters is None or len(set(clusters)) == len(a)):
        return _newcombe(np.array(a, dtype=float), np.array(b, dtype=float))
    return bootstrap_mean([float(y) - float(x) for x, y in zip(a, b, strict=True)], clusters)


def _newcombe(a: np.ndarray, b: np.ndarray) -> Interval:
    """Difference of two paired shares from Wilson's interval of each and the correlation of both, corrected for continuity."""
    n, (x, y) = len(a), (wilson(int(each.sum()), len(each)) for each in (a, b))
    cross = float((a * b).sum() * ((1 - a) * (1 - b)).sum() - (a * (1 - b)).sum() * ((1 - a) * b).sum())
    scale = math.sqrt(float(a.sum() * (n - a.sum()) * b.sum() * (n - b.sum())))
    phi = (max(cross - n / 2, 0.0) if cross > 0 else cross) / scale if scale else 0.0

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))

    value = y.value - x.value
    below = reach(y.value - y.low, x.high - x.value)
    return Interval(value, max(-1.0, value - below), min(1.0, value + reach(x.value - x.low, y.high - y.value)), n)


def bootstrap_p(difference: Interval) -> float:
    """Two-sided p-value of "no difference" from an interval, by Student's t of its width on the side of zero; NaN without one.

    Where FEWEST_UNITS or more all differ by the same amount, which has no interval either, it is the sign test's. For measures
    that have no exact test of their own, so that Holm's correction can take them in.
    """
    from scipy.stats import t

    if difference.n < 2 or math.isnan(difference.value):
        return math.nan
    if math.isnan(difference.low):
        if difference.n < FEWEST_UNITS:
            return math.nan
        return 1.0 if difference.value == 0 else 2.0 ** (1 - difference.n)
    degrees = difference.n - 1
    half = difference.value - difference.low if difference.value > 0 else difference.high - difference.value
    error = half / float(t.ppf((1 + LEVEL) / 2, degrees))
    return float(2 * t.sf(abs(difference.value) / error, degrees)) if error else float(difference.value == 0)


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> McNemar:
    """Exact (binomial) McNemar test (McNemar 1947) of two arms on the same questions, in the same order."""
    if len(a) != len(b):
        raise ValueError(f"{len(a)} outcomes against {len(b)}: a paired comparison needs the same questions")
    both = Counter((bool(x), bool(y)) for x, y in zip(a, b, strict=True))
    only_a, only_b = both[True, False], both[False, True]
    if only_a + only_b == 0:
        return McNemar(0, 0, 1.0, len(a))
    from statsmodels.stats.contingency_tables import mcnemar as test

    table = [[both[True, True], only_a], [only_b, both[False, False]]]
    return McNemar(only_a, only_b, min(1.0, float(test(table, exact=True).pvalue)), len(a))


def holm(pvalues: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values (Holm 1979), in the order given; NaN stays NaN and does not count."""
    known = [i for i, p in enumerate(pvalues) if not math.isnan(p)]
    adjusted = [math.nan] * len(pvalues)
    if not known:
        return adjusted
    from statsmodels.stats.multitest import multipletests

    for i, p in zip(known, multipletests([pvalues[i] for i in known], method="holm")[1], strict=True):
        adjusted[i] = float(p)
    return adjusted


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased probability that one of k samples is right, from c right ones of n: 1 - C(n-c, k) / C(n, k).

    Chen et al. 2021 (arXiv 2107.03374), section 2.1. Raises ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} from {c} right of {n} samples: expected 0 <= right <= samples, 1 <= k <= samples")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def powers_up_to(most: int) -> list[int]:
    """The k for which figures of k samples are shown: 1, 2, 4, ... and `most`."""
    return [k for k in (1, 2, 4, 8, 16, 32, 64, 128) if k < most] + [most]


def best_of_k(scores: Sequence[float], correct: Sequence[bool], k: int) -> float:
    """Unbiased probability that of k of N samples the one with the highest score is right; samples of one score count alike.

    sum_i correct_i C(N-i-1, k-1) / C(N, k) over samples by falling score, i from 0 (V-STaR, arXiv 2402.06457, Eq. 3). Raises
    ValueError unless 1 <= k <= samples.
    """
    n = len(scores)
    if not 1 <= k <= n:
        raise ValueError(f"best-of-{k} of {n} samples: expected 1 <= k <= samples")
    by_score: dict[float, list[bool]] = {}
    for score, is_right in zip(scores, correct, strict=True):
        by_score.setdefault(score, []).append(is_right)
    total, above = 0.0, 0
    for score in sorted(by_score, reverse=True):
        tied = by_score[score]
        chosen = math.comb(n - above, k) - math.comb(n - above - len(tied), k)
        total += sum(tied) / len(tied) * chosen
        above += len(tied)
    return total / math.comb(n, k)


def maj_at_k(votes: Sequence[Hashable], correct: Sequence[bool], k: int, scores: Sequence[float] | None = None) -> float:
    """Probability that the majority vote of k samples is right; a tie is broken at random, so counts as a share.

    Wang et al. 2022 (arXiv 2203.11171). `votes` are equal for answers that are the same (`star.grading.votes`), `correct[i]` tells
    whether `votes[i]` is right; None does not vote, and nobody voting is wrong. The mean over as many blocks of k samples
    as there are, so that maj@1 is pass@1. `scores`: log-likelihoods that the votes are weighted by. Raises ValueError unless
    1 <= k <= samples.
    """
    if not 1 <= k <= len(votes):
        raise ValueError(f"maj@{k} of {len(votes)} samples: expected 1 <= k <= samples")
    starts = range(0, len(votes) - k + 1, k)
    counted = [0.0] * len(votes) if scores is None else scores
    return sum(_majority(votes[at : at + k], correct[at : at + k], counted[at : at + k]) for at in starts) / len(starts)


def _majority(votes: Sequence[Hashable], correct: Sequence[bool], scores: Sequence[float]) -> float:
    counts: Counter[Hashable] = Counter()
    best = max((score for vote, score in zip(votes, scores, strict=True) if vote is not None), default=0.0)
    for vote, score in zip(votes, scores, strict=True):
        counts.update({vote: math.exp(score - best)} if vote is not None else {})
    right = {vote for vote, is_right in zip(votes, correct, strict=True) if is_right}
    winners = [vote for vote, count in counts.items() if count == max(counts.values())]
    return sum(vote in right for vote in winners) / len(winners) if winners else 0.0


def binomial_above(k: int, n: int, p0: float) -> float:
    """One-sided exact binomial p-value of "k right of n is no better than chance p0".

    With p0 = 0 a single right answer is proof (p = 0), none is no evidence (p = 1). This is the bootstrap gate: STaR's
    few-shot model must beat chance (Zelikman et al. 2022, section 5).
    """
    if not (0 <= k <= n and 0 <= p0 < 1):
        raise ValueError(f"{k} right of {n} against chance {p0}: expected 0 <= right <= n and 0 <= chance < 1")
    if k == 0:
        return 1.0
    if p0 == 0:
        return 0.0
    from scipy.stats import binomtest

    return float(binomtest(k, n, p0, alternative="greater").pvalue)
