"""The paired comparison: two arms on the same problems, which is better, and by how much.

`paired` is the only one of the project: the report compares runs with it, `analysis.comparing` rounds, sizes and writers.
Runs of one recipe with several seeds are one arm: each problem counts with its mean over the seeds, and whole problems
are resampled. McNemar's test needs one outcome per problem, so it is left out for such arms.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from star.run_summary import ARMS, RunSummary
from star.statistics import Interval, bootstrap_p, holm, mcnemar, paired_difference

Outcomes = Mapping[str, float]
"""problem_id -> outcome: 1 right, 0 wrong, or any other number."""


@dataclass(frozen=True)
class Comparison:
    """Two arms on the problems that both have an outcome for."""

    a: str
    b: str
    difference: Interval
    """Mean of b minus mean of a, with a paired bootstrap interval over problems."""
    test: Literal["McNemar", "bootstrap"] | None
    """None where an arm has several seeds."""
    only_a: int | None
    """Problems that only a has right; None without McNemar's test."""
    only_b: int | None
    p: float
    """NaN without a test."""
    p_holm: float = math.nan
    """Filled in by `corrected`."""
    left_out: int = 0
    """Problems that some set of outcomes holds and another does not."""
    measure: str = "accuracy"

    @property
    def n(self) -> int:
        """Problems compared."""
        return self.difference.n


def paired(
    names: tuple[str, str],
    a: Sequence[Outcomes],
    b: Sequence[Outcomes],
    *,
    measure: str = "accuracy",
    right_or_wrong: bool = True,
) -> Comparison | None:
    """Compare two arms, each one set of outcomes or several (seeds); None where they share no problem.

    McNemar's exact test where `right_or_wrong` and every outcome is 0 or 1, else a p-value from the bootstrap interval.
    """
    sets = [*a, *b]
    shared = sorted(set.intersection(*map(set, sets))) if a and b else []
    if not shared:
        return None
    x, y = ([fmean(one[key] for one in arm) for key in shared] for arm in (a, b))
    difference = paired_difference(x, y)
    comparison = Comparison(*names, difference, None, None, None, math.nan, measure=measure)
    comparison = replace(comparison, left_out=len(set().union(*sets)) - len(shared))
    if len(sets) > 2:
        return comparison
    if not right_or_wrong or not {*x, *y} <= {0, 1}:
        return replace(comparison, test="bootstrap", p=bootstrap_p(difference))
    exact = mcnemar([value == 1 for value in x], [value == 1 for value in y])
    return replace(comparison, test="McNemar", only_a=exact.only_a, only_b=exact.only_b, p=exact.p)


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same with Holm's correction over all of them; those without a test do not count."""
    adjusted = holm([one.p for one in comparisons])
    return [replace(one, p_holm=p) for one, p in zip(comparisons, adjusted, strict=True)]


def order(summary: RunSummary) -> tuple[int, str, str, int]:
    """The paper's order of rows, then variants by name, then seeds."""
    base = summary.arm.split(",")[0]
    return (ARMS.index(base) if base in ARMS else len(ARMS), summary.arm, summary.group, summary.seed or 0)


def groups(summaries: Sequence[RunSummary]) -> list[list[RunSummary]]:
    """Runs of one recipe together, whatever their seeds."""
    return [list(same) for _, same in itertools.groupby(sorted(summaries, key=order), key=lambda s: (s.arm, s.group))]


def one_a_seed(runs: Sequence[RunSummary]) -> list[RunSummary]:
    """The finished runs of one recipe, the first of each seed: another one with it is no other seed."""
    first: dict[int, RunSummary] = {}
    for run in runs:
        if run.finished:
            first.setdefault(run.seed or 0, run)  # the seed of a recipe that names none
    return list(first.values())


def same_seeds(summaries: Sequence[RunSummary]) -> list[list[str]]:
    """Names of the finished runs that share recipe and seed, those that `one_a_seed` takes first."""
    finished = [run for run in sorted(summaries, key=order) if run.finished]
    shared = [[run.path.name for run in same] for _, same in itertools.groupby(finished, key=order)]
    return [names for names in shared if len(names) > 1]


def compare_runs(summaries: Sequence[RunSummary]) -> list[Comparison]:
    """Every two arms, finished runs only, on the same test problems."""
    arms = [[run for run in one_a_seed(runs) if run.outcomes] for runs in groups(summaries)]
    arms = [arm for arm in arms if arm]
    comparisons = [
        paired((_arm_label(a, arms), _arm_label(b, arms)), [run.outcomes for run in a], [run.outcomes for run in b])
        for a, b in itertools.combinations(arms, 2)
    ]
    return corrected([one for one in comparisons if one is not None])


def _arm_label(runs: Sequence[RunSummary], arms: Sequence[Sequence[RunSummary]]) -> str:
    """The arm's name, with the run's where two arms have the same."""
    name = runs[0].arm
    return name if sum(other[0].arm == name for other in arms) == 1 else f"{name} ({runs[0].path.name})"
