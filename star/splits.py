"""Who is trained on, who chooses the round, who is drawn: all seeded, all disjoint."""

from __future__ import annotations

import random
from collections.abc import Sequence

from star.errors import counted
from star.problem import Problem
from star.recipe import RecipeError


def cut_selection(train: Sequence[Problem], size: int, seed: int) -> tuple[list[Problem], list[Problem]]:
    """(pool, selection): the selection split is cut from train, at most half of it, spread over the slices."""
    if len(train) < 2:
        raise RecipeError(
            f"the task has {counted(len(train), 'training problem')}; at least 2 are needed. Check task.path and task.limit."
        )
    chosen = {problem.id for problem in draw(train, min(size, len(train) // 2), f"selection-{seed}", at_most=0.5)}
    return [p for p in train if p.id not in chosen], [p for p in train if p.id in chosen]


def draw(problems: Sequence[Problem], count: int | None, seed: str, at_most: float = 1.0) -> list[Problem]:
    """`count` problems without replacement, spread evenly over the slices as far as they reach; None or enough: all of them.

    A slice that runs short (there are only 100 sums of one digit) leaves its share to the others; `at_most` is the share
    of a slice that may be taken while others have enough.
    """
    if count is None or count >= len(problems):
        return list(problems)
    rng = random.Random(seed)
    slices: dict[str, list[Problem]] = {}
    for problem in problems:
        slices.setdefault(problem.slice, []).append(problem)
    chosen: list[Problem] = []
    open_slices = sorted(slices, key=lambda name: (len(slices[name]), name))
    for position, name in enumerate(open_slices):
        share = -(-(count - len(chosen)) // (len(open_slices) - position))
        limit = share if position == len(open_slices) - 1 else min(share, max(1, int(len(slices[name]) * at_most)))
        chosen += rng.sample(slices[name], min(limit, len(slices[name])))
    rest = count - len(chosen)
    if rest > 0:
        taken = {problem.id for problem in chosen}
        chosen += rng.sample([p for p in problems if p.id not in taken], rest)
    rng.shuffle(chosen)
    return chosen
