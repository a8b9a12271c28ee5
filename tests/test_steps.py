"""Step splitting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.rationales.steps import split_steps

CASES = {
    "nothing": ("", []),
    "blank": (" \n\n \t", []),
    "lines": ("48 / 2 = 24\n\n48 + 24 = 72\n", ["48 / 2 = 24", "48 + 24 = 72"]),
    "windows lines": ("a b\r\nc d", ["a b", "c d"]),
    "sentences": (
        "He has 3.5 kg. Mr. Lee adds 2 kg. So 5.5 kg!",
        ["He has 3.5 kg.", "Mr. Lee adds 2 kg.", "So 5.5 kg!"],
    ),
    "sentence after money": (
        "It costs $5. She pays $7.50 more. Total $12.50.",
        ["It costs $5.", "She pays $7.50 more.", "Total $12.50."],
    ),
    "headed": (
        "Step 1: add\n3 + 4 = 7\nStep 2: double\n7 * 2 = 14",
        ["Step 1: add\n3 + 4 = 7", "Step 2: double\n7 * 2 = 14"],
    ),
    "bold headings": ("**Step 1:** add\n**Step 2:** stop", ["**Step 1:** add", "**Step 2:** stop"]),
    "preface": ("Let us see.\nStep 1: add\nStep 2: stop", ["Let us see.", "Step 1: add", "Step 2: stop"]),
    "items": ("1. add\nall of it\n2. stop", ["1. add\nall of it", "2. stop"]),
    "labels": (
        "#1. Ann has 3.\n#2. (by #1) So 6.\n7 is not it.",
        ["#1. Ann has 3.", "#2. (by #1) So 6.\n7 is not it."],
    ),
    "answer after headings": (
        "Step 1: add\nStep 2: stop\nSolution: Choice_B",
        ["Step 1: add", "Step 2: stop", "Solution: Choice_B"],
    ),
    "inline headings": ("Step 1: 3 + 4 = 7. Step 2: 7 * 2 = 14.", ["Step 1: 3 + 4 = 7.", "Step 2: 7 * 2 = 14."]),
    "inline items": ("1. Add 3. 2. Double it.", ["1. Add 3.", "2. Double it."]),
    "numbers that are no items": ("There are 2. Then 3 come.", ["There are 2.", "Then 3 come."]),
    "scratchpad": (
        "2 9 + 5 7 , C: 0\n2 + 5 , 6 C: 1\n, 8 6 C: 0",
        ["2 9 + 5 7 , C: 0", "2 + 5 , 6 C: 1", ", 8 6 C: 0"],
    ),
    "calculator marks": (
        "Ann sold 48/2 = <<48/2=24>>24.\nSo <<48+24=72>>72.",
        ["Ann sold 48/2 = <<48/2=24>>24.", "So <<48+24=72>>72."],
    ),
    "latex display": ("So\n\\[\nx = 2.\n\\]\nDone", ["So", "\\[\nx = 2.\n\\]", "Done"]),
    "latex align": (
        "\\begin{align}\na &= 1 \\\\\nb &= 2\n\\end{align}\nThen c",
        ["\\begin{align}\na &= 1 \\\\\nb &= 2\n\\end{align}", "Then c"],
    ),
    "latex inline": ("Let $f(x) = 2. Y$ be it. Then stop.", ["Let $f(x) = 2. Y$ be it.", "Then stop."]),
    "display that never closes": ("\\[ x\ny\nz", ["\\[ x", "y", "z"]),
}


@pytest.mark.parametrize("name", CASES)
def test_split(name: str) -> None:
    text, steps = CASES[name]
    assert split_steps(text) == steps


@given(st.text(max_size=400))
def test_nothing_but_white_space_is_lost(text: str) -> None:
    steps = split_steps(text)
    assert "".join("".join(steps).split()) == "".join(text.split())
    assert all(step.strip() for step in steps)


@given(st.lists(st.text(alphabet="ab1 .=+$\\[]{}<>#", min_size=1, max_size=30), max_size=12))
def test_splitting_what_was_split_changes_nothing(lines: list[str]) -> None:
    steps = split_steps("\n".join(lines))
    if len(steps) > 1:
        assert split_steps("\n".join(steps)) == steps


@pytest.mark.timeout(20)
@pytest.mark.parametrize("unit", ["a. B", "1. ", "Step 1: ", "$", "\\[", "\\begin{a}", "( ", "# "])
def test_long_text_is_quick(unit: str) -> None:
    split_steps(unit * (200_000 // len(unit)))
