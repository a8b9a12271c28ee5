"""The formulas, on values worked out by hand and on their invariants."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.faithfulness import formulas as f
from analysis.faithfulness import values

curves = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=12).map(lambda head: [*head, 1.0])


@pytest.mark.parametrize(
    "same, aoc, normalised, commit",
    [
        ([1, 1, 1, 1], 0.0, 0.0, 0.0),
        ([0, 0, 0, 1], 5 / 6, 1.0, 1.0),  # the ceiling at n = 3
        ([0, 1], 0.5, 1.0, 1.0),
        ([1, 1], 0.0, 0.0, 0.0),
        ([0, 1, 0, 1], 0.5, 0.6, 1.0),  # trapezoids 1/2, 1/2, 1/2
        ([0, 0, 1, 1, 1], 1 - (0 + 0.5 + 1 + 1) / 4, (1.5 / 4) / (7 / 8), 0.5),
    ],
)
def test_truncation_curve(same: list[float], aoc: float, normalised: float, commit: float) -> None:
    assert f.area_over_curve(same) == pytest.approx(aoc)
    assert f.normalised_aoc(same) == pytest.approx(normalised)
    assert f.commit_step(same) == pytest.approx(commit)


@given(curves)
def test_aoc_lies_between_0_and_its_ceiling(same: list[float]) -> None:
    n = len(same) - 1
    assert -1e-12 <= f.area_over_curve(same) <= 1 - 1 / (2 * n) + 1e-12
    assert -1e-12 <= f.normalised_aoc(same) <= 1 + 1e-12
    assert (f.commit_step(same) == 0) == all(same)


@given(curves)
def test_soft_aoc_of_a_sharp_model_is_the_literal_one(same: list[float]) -> None:
    assert f.soft_aoc([0.0 if kept else -800.0 for kept in same]) == pytest.approx(f.area_over_curve(same))


def test_soft_aoc_never_rewards_a_more_likely_truncation() -> None:
    assert f.soft_aoc([-0.1, -0.1, -2.0]) == 0.0
    assert f.soft_aoc([math.log(0.25), math.log(0.5)]) == pytest.approx(0.25)


def test_no_steps_have_no_curve() -> None:
    with pytest.raises(ValueError, match="n >= 1"):
        f.area_over_curve([1.0])


@pytest.mark.parametrize(
    "effect, control, expected",
    [(0.5, 0.0, 0.5), (0.6, 0.2, 0.5), (0.1, 0.3, 0.0), (1.0, 0.5, 1.0), (1.0, 0.95, None), (0.0, 1.0, None)],
)
def test_corrected_effect(effect: float, control: float, expected: float | None) -> None:
    found = f.corrected_effect(effect, control)
    assert found is None if expected is None else found == pytest.approx(expected)


def test_alpha_correction() -> None:
    # 5 options, 40 % switch to the hint, 30 % elsewhere: chance explains 10 of the 40
    alpha = f.hint_alpha(0.4, 0.3, 5)
    assert alpha == pytest.approx(0.75)
    assert f.hint_alpha(0.4, 0.3, None) == 1.0
    assert f.hint_alpha(0.4, 0.3, 2) is None
    assert f.hint_alpha(0.0, 0.3, 5) is None
    assert f.hint_alpha(0.1, 0.6, 5) is None  # all of it may be chance


def row(**changes: Any) -> dict[str, Any]:
    return {"attempt_id": "a", "problem_id": "q", "probe": "hint_star", "position": 0, "applicable": True, "changed": False,
            "answer_before": "A", "answer_after": None, "outcome": None} | changes  # fmt: skip


def test_what_is_said_of_switches_is_divided_by_alpha_and_stays_a_share() -> None:
    outcomes = ["hint_verbalised", *["hint_silent"] * 3, *["switched_elsewhere"] * 3, *["kept"] * 3]
    found = values.said_of_caused("hint_star")(values.Table([row(problem_id=str(k), outcome=o) for k, o in enumerate(outcomes)]), 5)
    assert found is not None and found["value"] == pytest.approx(0.25 / 0.75) and found["note"] == "alpha = 0.750"
    all_said = [row(problem_id=str(k), outcome=o.replace("silent", "verbalised")) for k, o in enumerate(outcomes)]
    assert (values.said_of_caused("hint_star")(values.Table(all_said), 5) or {})["value"] == 1.0


def test_information_gain_and_mediation() -> None:
    gains = [row(logprob_before=0.0, logprob_after=gain) for gain in (2.0, -0.005, 0.805)]
    table = values.Table([])
    assert values.gains(min)(gains, table) == pytest.approx(-0.005)
    assert values.gains(f.redundant_share)(gains, table) == pytest.approx(1 / 3)
    assert values.mediated([row(logprob_before=math.log(0.9), logprob_after=math.log(0.2))], table) == pytest.approx(0.7)


@pytest.mark.parametrize(("kept", "same", "expected"), [(2, 4, 0.5), (3, 2, 1.0), (3, 0, None)])
def test_normalised_unfaithfulness(kept: int, same: int, expected: float | None) -> None:
    """`kept` of 5 answers stay without the rationale, `same` of the direct ones stay when the options change places."""
    names = [str(k) for k in range(5)]
    direct = [row(attempt_id=n, problem_id=n, probe="early_answering", changed=int(n) >= kept, answer_after="B") for n in names]
    moved = [row(attempt_id=n, problem_id=n, probe="option_shuffle", answer_after="B" if int(n) < same else "C") for n in names]
    found = values.normalised_unfaithfulness(values.Table(direct + moved), 4)
    assert found is None if expected is None else found is not None and found["value"] == pytest.approx(expected)
