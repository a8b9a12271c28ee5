"""Splits and draws: seeded, disjoint, spread over the slices."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star.problem import Problem
from star.recipe import RecipeError
from star.splits import cut_selection, draw

PROBLEMS = [
    Problem(f"{name}{i}", f"q{name}{i}", "1", slice=name) for name, n in (("a", 6), ("b", 100), ("c", 400)) for i in range(n)
]


def test_a_short_slice_gives_all_and_leaves_its_share_to_the_others() -> None:
    counts = Counter(problem.slice for problem in draw(PROBLEMS, 96, "seed"))
    assert counts == {"a": 6, "b": 45, "c": 45}


@given(st.integers(1, 600), st.integers(0, 5))
def test_a_draw_has_the_asked_size_without_repeats_and_is_seeded(count: int, seed: int) -> None:
    chosen = draw(PROBLEMS, count, str(seed))
    assert len(chosen) == len({p.id for p in chosen}) == min(count, len(PROBLEMS))
    assert chosen == draw(PROBLEMS, count, str(seed))


def test_selection_takes_at_most_half_of_a_slice_and_is_disjoint() -> None:
    pool, selection = cut_selection(PROBLEMS, 60, seed=0)
    assert Counter(p.slice for p in selection)["a"] == 3
    assert len(selection) == 60 and not {p.id for p in pool} & {p.id for p in selection}
    assert len(pool) + len(selection) == len(PROBLEMS)


def test_too_few_problems_are_refused() -> None:
    with pytest.raises(RecipeError, match="1 training problem;"):
        cut_selection(PROBLEMS[:1], 10, seed=0)
