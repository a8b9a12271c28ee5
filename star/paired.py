"""Two arms on the same problems: which is better, and by how much.

Runs of one recipe with several seeds are one arm: each problem counts with its mean over the seeds, and whole problems
are resampled. McNemar's test needs one outcome per problem, so it is left out for such arms.
"""

from __future__ import annotations

import itertools
import math
import statistics as plain
from collections.abc import Sequence
from dataclasses import dataclass, replace

from star.run_summary import ARMS, RunSummary
from star.statistics import Interval, holm, mcnemar, paired_difference


@dataclass(frozen=True)
class Comparison:
    """Two arms on the problems that both answered; with several seeds, each problem's mean over them."""

    a: str
    b: str
    n: int
    difference: Interval
    """Accuracy of b minus accuracy of a."""
    only_a: int | None
    only_b: int | None
    p: float
    """Exact McNemar; NaN where an arm has several seeds, for which there is no such test."""
    p_holm: float
    left_out: int = 0
    """Problems that some run answered and another did not."""


def order(summary: RunSummary) -> tuple[int, str, str, int]:
    """The paper's order of rows, then variants by name, then seeds."""
    base = summary.arm.split(",")[0]
    return (ARMS.index(base) if base in ARMS else len(ARMS), summary.arm, summary.group, summary.seed or 0)


def groups(summaries: Sequence[RunSummary]) -> list[list[RunSummary]]:
    """Runs of one recipe together, whatever their seeds."""
    return [list(found) for _, found in itertools.groupby(sorted(summaries, key=order), key=lambda s: (s.arm, s.group))]


def outcomes(runs: Sequence[RunSummary]) -> dict[str, float]:
    """problem_id -> share of the runs that got it right, over the problems that all of them answered."""
    shared = set.intersection(*(set(run.outcomes) for run in runs)) if runs else set()
    return {key: plain.mean(run.outcomes[key] for run in runs) for key in sorted(shared)}


def compare(summaries: Sequence[RunSummary]) -> list[Comparison]:
    """Every two arms, finished runs only, on the same test problems."""
    arms = [[run for run in runs if run.finished and run.outcomes] for runs in groups(summaries)]
    arms = [arm for arm in arms if arm]
    found = []
    for left, right in itertools.combinations(arms, 2):
        names = _arm_label(left, arms), _arm_label(right, arms)
        comparison = _compare(names, left, right)
        found += [comparison] if comparison else []
    adjusted = holm([comparison.p for comparison in found])
    return [replace(comparison, p_holm=p) for comparison, p in zip(found, adjusted, strict=True)]


def _compare(names: tuple[str, str], left: Sequence[RunSummary], right: Sequence[RunSummary]) -> Comparison | None:
    a, b = outcomes(left), outcomes(right)
    shared = [key for key in a if key in b]
    everything = {key for run in (*left, *right) for key in run.outcomes}
    if not shared:
        return None
    x, y = [a[key] for key in shared], [b[key] for key in shared]
    single = len(left) == len(right) == 1
    test = mcnemar([value > 0 for value in x], [value > 0 for value in y]) if single else None
    return Comparison(
        *names,
        n=len(shared),
        difference=paired_difference(x, y),
        only_a=test.only_a if test else None,
        only_b=test.only_b if test else None,
        p=test.p if test else math.nan,
        p_holm=math.nan,
        left_out=len(everything) - len(shared),
    )


def _arm_label(runs: Sequence[RunSummary], arms: Sequence[Sequence[RunSummary]]) -> str:
    """The arm's name, with the run's where two arms have the same."""
    name = runs[0].arm
    return name if sum(other[0].arm == name for other in arms) == 1 else f"{name} ({runs[0].path.name})"
