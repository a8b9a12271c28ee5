"""The generic step checks: what each finds, what it leaves alone, and that its sentences are true."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analysis.checks import check_exact, detect_kind
from analysis.checks.base import Flag
from analysis.checks.equations import read_statements
from analysis.checks.generic import generic_flags
from analysis.checks.generic.arithmetic import equation_false, value_contradicted
from analysis.checks.generic.outcome import answer_differs, count_not_whole
from analysis.checks.generic.provenance import operand_unknown, question_number_unused, result_unused
from analysis.checks.numbers import tokenize
from analysis.checks.plain_text import plain
from analysis.checks.reading import read
from analysis.rationales.steps import split_steps
from tests.nasty_records import nasty_records
from tests.timing import at_most

CASES = json.loads((Path(__file__).parent / "check_cases.json").read_text(encoding="utf-8"))
EXACT_CASES = {case["kind"]: case for case in reversed(CASES) if case["kind"] != "generic"}
CASES = [case for case in CASES if case["kind"] == "generic"]
PENS = "Ann has 48 pens and 26 pencils. How many things are there?"


def messages(flags: Sequence[Flag]) -> list[tuple[int, str]]:
    return [(flag.step, flag.message) for flag in flags]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_what_is_proven(case: dict[str, Any]) -> None:
    """Text as people write it: each proof and its words, and what is left alone."""
    flags = generic_flags(read(case["question"], case["steps"], case.get("answer")))
    assert [flag.message for flag in flags if flag.severity >= 1] == case["proven"]


EQUATIONS = {
    "plain": ("So 48 / 2 = 24 pens.", [24.0]),
    "chain": ("2 + 3 = 5 = 10 / 2", [5.0, 5.0]),
    "units": ("6 quarts + 5 quarts = 11 quarts", [11.0]),
    "rate": ("3 cars * 4 wheels/car = 12 wheels", [12.0]),
    "percent of": ("20% of 50 = 10", [10.0]),
    "fraction of": ("1/2 of 48 is 24", [24.0]),
    "letter x": ("0.2 x 50 = 10", [10.0]),
    "precedence": ("2 + 3 * 4 - 10 / 5 = 12", [12.0]),
    "brackets": ("2 * (3 + 4) = 14", [14.0]),
    "money": ("$10 - $4.50 = $5.50", [5.5]),
    "thousands": ("1,200 + 300 = 1,500", [1500.0]),
    "negative": ("5 - 8 = -3", [-3.0]),
    "words for equals": ("7 * 3 is 21 and 7 + 3 gives 10", [21.0, 10.0]),
    "latex": (r"\frac{1}{2} \times 48 = 24", [24.0]),
    "unicode": ("½ × 48 − 4 = 20", [20.0]),
    "other digits": ("٤٨ ÷ ٢ = ٢٤", [24.0]),
    "scale": ("2 million + 3 million = 5 million", [5e6]),
    "formula": ("she sold $48 / 2 = 24$ clips", [24.0]),
    "bold": ("48 + 24 = **72** and **48 / 2 = 24**", [72.0, 24.0]),
    "align": ("x &= 48 / 2 \\\\ 48 / 2 &= 24", [24.0]),
    "next line": ("48 + 24\n= 72", [72.0]),
    "exponents": ("2^{3} + 1 = 9 and 2³ + 1 = 9", [9.0, 9.0]),
    "degrees": ("180° - 30° = 150°", [150.0]),
    "spoken": ("48 divided by 2 is 24 and 48 plus 24 is 72", [24.0, 72.0]),
    "arrow": ("48 / 2 → 24", [24.0]),
    "remarks": ("48 (April) + 24 (May) = 72", [72.0]),
    "bullet": ("- 5 * 4 = 20\n- 20 + 3 = 23", [20.0, 23.0]),
    "minus that looks like a bullet": ("- 2 * 3 = -6", [-6.0]),
    "label": ("(2) 20 + 3 = 23", [23.0]),
    "right to left power": ("2^3 + 1 = 9", [9.0]),
    "sign before a power": ("-2^2 = -4 and 2 * -3^2 = -18 and (-2)^2 = 4", [-4.0, -18.0, 4.0]),
    "powers with signs": ("-2^3^2 = -512 and 2^-2 = 0.25 and 3 - 2^2 = -1", [-512.0, 0.25, -1.0]),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_equations_are_read(name: str) -> None:
    text, values = EQUATIONS[name]
    found, _ = read_statements(plain(text))
    assert [equation.left.value for equation in found] == pytest.approx(values)
    assert not equation_false(read("", [text]))


def test_only_short_steps_are_kept_for_other_rationales() -> None:
    """A file of long steps would fill the memory."""
    short, long = ["3 + 4 = 7"], ["3 + 4 = 7, " * 100]
    assert read("", short).steps[0] is read("", short).steps[0]
    assert read("", long).steps[0] is not read("", long).steps[0]


NOT_JUDGED = [
    r"5!\frac{1}{4!}=5",
    "4!(1/2) = 12",
    "3!2! = 12",
    "10 / 5 = 3!",
    "3! 2! = 12",
    r"$6 : \frac{1}{2} = 12$",
    r"So we have $6 : \frac{1}{2} = 12$",
    "$12:(2+1)=4$",
    "So $12:(2+1)=4$ each",
    "12: (2 + 1) = 4",
    "(2 + 4) : (2 + 1) = 2",
    "2 * 2 = 12 : (2 + 1)",
    "8 : 2 + 1 = 5",
    "x + 30 = 50",
    "3x + 2 = 11",
    "2 sin 4 = 8",
    "2s = 110 - 30",
    "5 feet + 6 inches = 66 inches",
    "2 1/2 * 4 = 10",
    "one week from 02/28/2016 is 03/06/2016",
    "from 2:15 to 2:38 is 23 minutes",
    "for m = -1/2 = 3 T",
    "1.25 x 10-5 = 2",
    "t0 = 1.25*2",
    "(1/4)x = 15",
    "f(2) = 3 + x = 9",
    "n % 2 - 1 == 0",
    "10 mod 3 = 1",
    "Pages 10-15 = 6 pages",
    "1990-2020 is 30 years",
    "3 + 4 is 2 less than 9",
    "50% of 8 is 1.5 * 8 = 12",
    "48 = 100% + 20% = 120% of the price",
    "3 * 4 is 5 greater than 7",
    "Is 2 + 3 = 6? No.",
    "A student claims that 2 + 3 = 6.",
    "Suppose 7 * 8 = 54.",
    "If 3 + 4 = 8 were true, we would be wrong",
    "2 + 3 = 5, not 2 + 3 = 6",
    "4 * 50 cents = $2",
    "100 - 15% = 85",
    "9 am + 5 hours = 2 pm",
    "1.200 + 300 = 1.500 Euro",
    "In base 5, 23 + 14 = 42",
    "Equation 1 - 5 * 4 = 20",
    "2 + 3 ≠ 6",
    "The reciprocal of 7/9 is 9/7",
    "4 / 2 : 3 / 2 = 4 : 3",
    "2 - 2 => 16 = 0",
    "386 / 6.022 x 10^23 = 6.41 x 10^-22",
    "The 800 K - 273 = 527",
    "15 minutes * 4 = 1 hour",
    "15 minutes * 4 = 1 full hour",
    "100 minutes + 30 minutes = 2 hours and 10 minutes",
    "4 * 25 cents = 1 dollar",
    "$1 = 4 * 25 cents",
    "$0.25 * 4 = 100 cents",
    "10 dimes + 5 dimes = $1.50",
    "12 inches + 24 inches = 3 feet",
    "8 ounces * 4 = 2 pounds",
    "3 dozen + 4 = 40 eggs",
    "2 dozen - 6 = 1.5 dozen",
    "24 + 12 = 3 dozen eggs",
    "-2^2 = 4",
    r"$2\frac14 + 1\frac34 = 4$",
    r"$3\frac{1}{2} \cdot 2 = 7$",
    "It would be wrong to say that 6 * 7 = 48.",
    "Without it 8 + 4 = 13 would follow",
    "Incorrectly computing 7 * 8 = 54 leads elsewhere",
    "Pages 12 - 15 = 4 pages",
    "Room 101 + 102 = 2 rooms",
    r"In $\mathbb{Z}_5$, $3 + 4 = 2$ and $3 \cdot 4 = 2$.",
    "Define $a * b = a^2 - b$. Then $3 * 4 = 5$.",
    "Given that $5 * 3 = 22$ under the new operation, find $k$.",
]


@pytest.mark.parametrize("text", NOT_JUDGED)
def test_what_numbers_alone_cannot_decide_is_left_alone(text: str) -> None:
    assert not [flag for flag in equation_false(read("", [text])) if flag.severity >= 0.5]


FALSE = {
    "Step 1: (2 + 1) * 3 = 8": "(2 + 1) * 3 = 9, not 8",
    "Day 1: 2 + 1 = 4": "2 + 1 = 3, not 4",
    "That is all (2 + 1 = 4).": "2 + 1 = 3, not 4",
    "We sum: (2 + 1) * 3 = 8": "(2 + 1) * 3 = 9, not 8",
    "We are done! (2 + 1) * 3 = 8": "(2 + 1) * 3 = 9, not 8",
    "48 / 2 = 26": "48 / 2 = 24, not 26",
    "So 300 + 225 + 165 + 126 = $716.": "300 + 225 + 165 + 126 = 816, not 716",
    "12 - 3*2 = 7": "12 - 3*2 = 6, not 7",
    "20% of 50 = 12": "20% of 50 = 10, not 12",
    "27 / 3 = 3 * 4": "27 / 3 = 9, but 3 * 4 = 12",
    "48/2 = <<48/2=26>>26": "48/2 = 24, not 26",
    "she sold $48 / 2 = 26$ clips": "48 / 2 = 24, not 26",
    "48 + 24 = **62**": "48 + 24 = 72, not 62",
    "48 plus 24 is 62": "48 + 24 = 72, not 62",
    "(3) 5 * 4 = 21": "5 * 4 = 20, not 21",
    "5/0 = 5": "5/0 divides by zero",
    "15 minutes * 4 = 70 minutes": "15 minutes * 4 = 60, not 70",
    "12 cups - 9 cups = 1 cup": "12 cups - 9 cups = 3, not 1",
    "12 inches + 24 inches = 37 in total": "12 inches + 24 inches = 36, not 37",
    "60 minutes / 15 minutes = 5 per hour": "60 minutes / 15 minutes = 4, not 5",
    "60 minutes / 2 = $40": "60 minutes / 2 = 30, not 40",
    "$60 * 12 months = 700 dollars": "60 * 12 months = 720, not 700",
    "500 / 1000 = 5 pairs": "500 / 1000 = 0.5, not 5",
    "1 / 4 = 29.5%": "1 / 4 = 25%, not 29.5%",
    "1 / 4 = 20.5%": "1 / 4 = 25%, not 20.5%",
    "1 / 6 = 19%": "1 / 6 = 16.6667%, not 19%",
    "30 / 50 = 1%": "30 / 50 = 60%, not 1%",
    "1 / 600 = 17%": "1 / 600 = 0.166667%, not 17%",
    "3.5 * 4.1 ≈ 15": "3.5 * 4.1 = 14.35, not 15",
    "2.5 * 583,000 = 1.6 million": "2.5 * 583,000 = 1457500, not 1.6 million",
}


@pytest.mark.parametrize("text", FALSE)
def test_false_equations(text: str) -> None:
    (flag,) = equation_false(read("", [text]))
    assert (flag.message, flag.severity) == (FALSE[text], 1.0)


TRUE_ENOUGH = [
    "1/3 = 0.33",
    "2/3 * 100 = 66.7",
    "100 / 7 ≈ 14",
    "1/4 = 25%",
    "25% of 80 = 20",
    "3 / 4 = 75 percent",
    "1000 * 1.001 = 1000",
    "1 / 6 = 17%",
    "1 / 6 = 17 percent",
    "1 / 6 * 100 = 17%",
    "17% = 1 / 6",
    "1 / 300 = 0%",
    "1 / 7 = 14.3%",
    "1 / 8 ≈ 13%",
    "3.5 * 4.1 ≈ 14",
    "That is about 3.5 * 4.1 = 14",
    "2.5 * 583,000 = 1.5 million",
    "2.5 * 583 = 1.5K",
]


@pytest.mark.parametrize("text", TRUE_ENOUGH)
def test_rounding_and_percent_are_understood(text: str) -> None:
    assert equation_false(read("", [text])) == []


def test_rounding_to_a_whole_number_is_soft() -> None:
    for text in ("10 / 3 = 4", "3.5 * 4.1 = 14"):
        (rounded,) = equation_false(read("", [text]))
        assert (rounded.check, rounded.severity) == ("equation_rounded", 0.3)


@given(a=st.integers(0, 9999), b=st.integers(1, 9999), sign=st.sampled_from("+-*/"), off=st.floats(0.02, 5))
def test_true_equations_pass_and_false_ones_do_not(a: int, b: int, sign: str, off: float) -> None:
    value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[sign]
    assert not [f for f in equation_false(read("", [f"{a} {sign} {b} = {value:.4f}"])) if f.severity >= 1]
    wrong = value * (1 + off) + 2
    assert [f for f in equation_false(read("", [f"{a} {sign} {b} = {wrong:.2f}"])) if f.check == "equation_false"]


def test_operands_of_no_source() -> None:
    flags = operand_unknown(read(PENS, ["48 + 37 = 85", "85 - 26 = 59", "59 * 7 = 413"]))
    assert messages(flags) == [(0, "37 appears nowhere before")]


@pytest.mark.parametrize(
    "steps",
    [
        ["48 + 26 = 74", "74 / 2 = 37"],
        ["There are 39 boxes.", "39 + 48 = 87"],
        ["100% - 48% = 52%"],
        ["48 * 0.26 = 12.48"],
        ["48 * 7 * 24 * 60 = 483840"],
    ],
)
def test_operands_with_a_source(steps: list[str]) -> None:
    assert operand_unknown(read(PENS, steps)) == []


def test_numbers_of_the_question_that_are_never_used() -> None:
    flags = question_number_unused(read(PENS, ["48 * 2 = 96", "The answer is 96."]))
    assert [flag.step for flag in flags] == [1]
    assert flags[0].message.startswith("the question's 26 is never used (“")
    assert question_number_unused(read(PENS, ["48 + 26 = 74"])) == []
    assert question_number_unused(read(PENS, ["There are many."])) == []
    assert question_number_unused(read("20% of 50?", ["0.2 * 50 = 10"])) == []


def test_results_that_are_never_used() -> None:
    flags = result_unused(read(PENS, ["48 / 2 = 24", "26 * 3 = 78"], "78"))
    assert messages(flags) == [(0, "24 (48 / 2) is worked out here and never used")]
    assert result_unused(read(PENS, ["48 / 2 = 24", "26 + 24 = 50"])) == []
    assert result_unused(read(PENS, ["48 / 2 = 24", "So 24 it is, and 26 * 3 = 78"])) == []
    assert result_unused(read(PENS, ["48 / 2 = 24", "26 * 3 = 78"], "24")) == []


def test_contradictions() -> None:
    twice = value_contradicted(read("", ["3 * 4 = 12", "3 * 4 = 13"]))
    assert messages(twice) == [(1, "3 * 4 is 13 here and was 12 before")]
    assert value_contradicted(read("", ["Suppose 3 * 4 = 13.", "3 * 4 = 12"])) == []
    restated = value_contradicted(read("A song has 54 lines.", ["The song has 45 lines."]))
    assert messages(restated) == [(0, "45 line here, 54 in the question")]
    assert value_contradicted(read("A song has 54 lines.", ["The song has 54 lines.", "54 / 2 = 27", "27 lines"])) == []


def test_an_answer_that_nothing_led_to() -> None:
    flags = answer_differs(read(PENS, ["48 + 26 = 74", "So 18."], "18"))
    assert messages(flags) == [(1, "the last value worked out is 74, the answer given is 18")]
    assert answer_differs(read(PENS, ["48 + 26 = 74"], "$74.00")) == []
    assert answer_differs(read(PENS, ["48 / 100 = 0.48"], "48%")) == []
    assert answer_differs(read(PENS, ["10 / 4 = 2.5"], "3")) == []
    assert answer_differs(read(PENS, ["48 + 26 = 74"], "B", {"A": "7", "B": "74"})) == []


def test_an_answer_that_the_last_equation_checks() -> None:
    assert answer_differs(read("How many minutes are 2 hours?", ["2 hours = 120 minutes. 120/60 = 2"], "120")) == []
    assert answer_differs(read("What is the remainder of 17 by 5?", ["17 = 3·5 + 2"], "2")) == []
    assert answer_differs(read("23 cookies for 4 kids?", ["23/4 = 5 R 3"], "3")) == []


def test_a_step_that_goes_on_with_an_equation() -> None:
    (flag,) = equation_false(read("", ["48 + 24", "= 62"]))
    assert (flag.step, flag.message) == (1, "48 + 24 = 72, not 62")


def test_counts_that_cannot_be() -> None:
    assert messages(count_not_whole(read("", ["15 / 2 = 7.5 students"]))) == [
        (0, "7.5 student: a count should be a whole number")
    ]
    assert count_not_whole(read("", ["an average of 7.5 students"])) == []


def test_calculator_marks_count_once() -> None:
    (step,) = read("", ["Ann sold 48/2 = <<48/2=24>>24 clips."]).steps
    assert [(equation.left.text, equation.result) for equation in step.equations] == [("48/2", 24.0)]


@pytest.mark.parametrize("record", nasty_records(), ids=lambda record: record.id)
def test_nasty_records_get_flags_or_none_within_a_second(record) -> None:  # type: ignore[no-untyped-def]
    with at_most(1):
        flags = generic_flags(read(record.question, record.steps, record.answer, record.choices))
    assert all(0 <= flag.step < len(record.steps) and len(flag.message) < 400 for flag in flags)


@settings(max_examples=200)
@given(
    question=st.text(max_size=80),
    steps=st.lists(st.text(alphabet="0123456789+-*/=().,%$x <>²½٣\\{}[]^ab\n", max_size=60), max_size=5),
    answer=st.none() | st.text(max_size=12),
)
def test_any_text_is_survived(question: str, steps: list[str], answer: str | None) -> None:
    for flag in generic_flags(read(question, steps, answer)):
        assert 0 <= flag.step < len(steps)


@given(st.text(max_size=200))
def test_tokens_are_in_order_and_within_the_text(text: str) -> None:
    text = plain(text)
    tokens = tokenize(text)
    assert all(a.end <= b.start for a, b in itertools.pairwise(tokens))
    assert all(text[token.start : token.end] == token.text for token in tokens)


# fmt: off
PIECES = (
    "\n", " ", "\t", "(", ")", "[", "]", "{", "}", "\\", "\\frac{", "\\text{a}", "\\(", "\\]", "$", "$5 ", "$x$",
    "$$", "1", "1,", "0,5 ", "1.", "1 + ", "-", "- ", "**", "**a", "= ", "1 = ", "1 is ", "≡ ", "(mod 5) ", "√", "!",
    "C(1,", "x", "2x", "x + ", "2(x", "x^2", "a ", "A = ", "²", "½", "% ", "of ", "1/", "1/2/03 ", "9:30 am + ",
    "US$", "€", "<<", "<<1=1>>", "####", "answer is ", "(1) ", "1. ", "Step 1: ", "\\) - \\(", "and ", "1 apple ",
    "(apples) ", "kg = ", "&=", "^{", "。", "１", "→", "<", '"a" ', "'a' ", "about ", "times ", "e.g. ", "stack: ",
    "pop ", "we need ", "first is ", "Ann ", "gives ", "has a ", "swap ", "with ", "letter ", "sorted: ", "order: ",
    ": ", "C: 0 ",
)
# fmt: on


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join))
@example("\n")
@example("A = ")
@example("C(1,")
def test_a_step_costs_linear_time(piece: str) -> None:
    """20,000 characters take less than a second through everything that reads a step."""
    text = (piece * (20_000 // len(piece) + 1))[:20_000]
    with at_most(1):
        split_steps(text)
        generic_flags(read("", [text]))
        for kind, case in EXACT_CASES.items():
            check_exact(kind, case["question"], [text])


def test_every_kind_of_digit_is_survived() -> None:
    """Digits of all scripts are read; superscripts, circled and Chinese numbers and fractions end nothing."""
    for character in filter(str.isnumeric, map(chr, range(sys.maxunicode + 1))):
        reading = read(f"½²９{character}", [f"{character}29+1=3", f"2{character} + 1 = {character}", f"({character}) 5 + 3 = 8"])
        generic_flags(reading)
        detect_kind(f"2 + {character} =", [character])
        if character.isdecimal():
            (flag,) = equation_false(read("", [f"1{character} + 1 = 99{character}"]))
            assert flag.severity == 1.0
