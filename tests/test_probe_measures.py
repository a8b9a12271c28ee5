"""Rows of probes -> measures beside their controls, corrections, curves."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from analysis.faithfulness.effects import measure
from analysis.faithfulness.measures import truncation_curves
from analysis.faithfulness.rows import Row
from star.statistics import wilson
from tests.scripted_probes import measures_of, scripted


def test_a_control_near_one_leaves_nothing_to_measure() -> None:
    values = [(str(k), 1.0) for k in range(30)]
    noisy = [(str(k), float(k > 0)) for k in range(30)]
    found = measure(values, ("paraphrase", noisy), rate=True)
    assert found["corrected"] is None
    assert "nothing left to measure" in found["note"]
    assert found["control"]["value"] > 0.9
    assert "no control" in measure(values, ("paraphrase", []), rate=True)["note"]
    calm = measure(values, ("paraphrase", [(p, 0.0) for p, _ in values]), rate=True)
    assert calm["corrected"]["value"] == 1.0


def test_the_larger_control_is_the_one_that_corrects() -> None:
    values = [(str(k), float(k < 20)) for k in range(30)]
    calm, noisy = [(p, 0.0) for p, _ in values], [(p, float(k < 10)) for k, (p, _) in enumerate(values)]
    for controls in ((("a", calm), ("b", noisy)), (("b", noisy), ("a", calm)), (("b", noisy), ("a", []))):
        found = measure(values, *controls, rate=True)
        assert found["control"]["name"] == "b"
        assert [control["name"] for control in found["controls"]] == [name for name, rows in controls if rows]
        assert found["corrected"]["value"] == pytest.approx((2 / 3 - 1 / 3) / (1 - 1 / 3))


@pytest.mark.parametrize("changed", [1.0, 0.0])
def test_effects_that_all_agree_claim_no_certainty(changed: float) -> None:
    effect, still = [(str(k), changed) for k in range(20)], [(str(k), 0.0) for k in range(20)]
    found = measure(effect, ("paraphrase", still), rate=True)["corrected"]
    bound = wilson(0, 20).high
    expected = (1 - 2 * bound) / (1 - bound) if changed else bound
    assert found["value"] == changed
    assert (found["low"] if changed else found["high"]) == pytest.approx(expected)
    mixed = measure(effect, ("paraphrase", [(p, float(k < 3)) for k, (p, _) in enumerate(still)]), rate=True)
    assert mixed["corrected"]["low"] < mixed["corrected"]["high"]


def test_a_control_that_never_changes_is_no_certainty_either() -> None:
    effect, still = [(str(k), float(k < 10)) for k in range(20)], [(str(k), 0.0) for k in range(20)]
    found = measure(effect, ("paraphrase", still), rate=True)["corrected"]
    alone, bound = wilson(10, 20), wilson(0, 20).high
    assert (found["value"], found["high"]) == (0.5, alone.high)
    assert found["low"] == pytest.approx(0.5 - math.hypot(0.5 - alone.low, 0.5 - (0.5 - bound) / (1 - bound)))
    few = measure(effect, ("paraphrase", still[:5]), rate=True)["corrected"]
    assert 0 <= few["low"] < found["low"] < alone.low


def test_giving_the_other_questions_answer_stands_beside_its_chance() -> None:
    blank = Row("", "", None, "shuffled_rationale", 0, 1, 0, answer_before="1", injected_value="2")
    blank = replace(blank, logprob_before=-0.1, logprob_after=-0.2)
    rows = []
    for k in range(10):
        row = replace(blank, attempt_id=f"r{k}", problem_id=f"p{k}")
        rows.append(replace(row, changed=True, answer_after="2", outcome="follows"))
        after = "2" if k < 3 else "5"  # it changes always, to the other question's answer at times
        rows.append(replace(row, probe="paraphrase", changed=True, answer_after=after, injected_value=None))
    found = measures_of(rows)["shuffled_follows"]
    assert (found["value"], found["control"]["value"]) == (1.0, pytest.approx(0.3))
    assert found["corrected"]["value"] == 1.0


@pytest.mark.parametrize(
    "flips, area", [("1", 1.0), ("01", 0.5), ("100", 0.25), ("0110", 2 / 3), ("1.1", 1.0), ("01..1", 0.875)]
)
def test_the_flip_area_runs_from_the_first_changed_step_to_the_last(flips: str, area: float) -> None:
    rows = [
        Row("r", "p", None, "added_mistake", k, len(flips), 0, changed=flip == "1", outcome="other")
        for k, flip in enumerate(flips, start=1)
        if flip != "."
    ]
    assert measures_of(rows)["added_mistake_aoc"]["value"] == pytest.approx(area)


def test_an_effect_of_the_form_alone_is_marked() -> None:
    rows = []
    for k in range(30):
        blank = Row(f"r{k}", f"p{k}", None, "early_answering", 0, 1, 0, answer_before="1")
        rows += [
            replace(blank, changed=True, logprob_after=-9.0),
            replace(blank, position=1, changed=False, logprob_after=-0.1),
        ]
        rows.append(replace(blank, probe="shuffled_rationale", changed=False, answer_after="1", injected_value="2"))
    assert "missing form" in measures_of(rows)["reliance"]["note"]
    thrown = [replace(row, changed=True) if row.probe == "shuffled_rationale" else row for row in rows]
    assert "missing form" not in str(measures_of(thrown)["reliance"]["note"])


def test_truncation_curves_by_length() -> None:
    points = truncation_curves([row.as_dict() for row in scripted(1.0, 20, ("early_answering",))])
    for n in {point["n_steps"] for point in points}:
        assert [point["same"] for point in points if point["n_steps"] == n] == [0.0] * n + [1.0]
