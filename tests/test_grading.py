"""Graders, extraction and the hint audit. A new bug gets a row in grade_cases.json before it gets a fix."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from star.attempts import judge
from star.grading import grade, math_process, same_answer
from star.grading.extraction import extract_marked, extract_stated
from star.grading.hints import mentions_answer_hint, mentions_choice_hint
from star.grading.math_process import MathWorker
from star.grading.mathematics import grade_math
from star.grading.numbers import canonical_number, parse_number, show_number
from star.grading.verdicts import choice_of, grade_choice, grade_number, grade_text
from star.problem import Problem, Task, Verdict
from star.recipe import TaskSettings
from star.sampling.base import Completion
from star.tasks import load_task
from tests.timing import at_most, slowness

CASES = json.loads((Path(__file__).parent / "grade_cases.json").read_text(encoding="utf-8"))
CHOICES = {"A": "ignore", "B": "enforce", "C": "avoid"}


def records_task(kind: str) -> Task:
    return load_task(TaskSettings(name="records", path="unread.jsonl", answer_type=kind, choices="options"), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES, ids=[f"{case['id']}: {case['why']}" for case in CASES])
def test_case(case: dict) -> None:
    task = records_task(case["kind"])
    problem = Problem("id", "question", case["gold"], case.get("choices"))
    found = task.extract(case["completion"], problem)
    assert grade(found.strict, problem, task.answer_type) == case["verdict"], found
    if "lenient" in case:
        assert grade(found.lenient, problem, task.answer_type) == case["lenient"], found
    if found.strict is not None:
        assert found.lenient == found.strict


@pytest.mark.parametrize(
    ("kind", "text", "gold", "verdict"),
    [
        ("choice", "I think the answer is (A).", "A", "correct"),
        ("choice", "Therefore, the answer is (B).\nAnswer: A", "A", "ungradable"),
        ("choice", "- It is odd\n- Nobody minds\n\nTherefore, the answer is (A).", "A", "correct"),
        ("choice", "It is odd.\n\nAnswer: A", "A", "correct"),
        ("choice", "**Answer: (A) ignore**", "A", "correct"),
        ("choice", "\\boxed{A}", "A", "correct"),
        ("number", "9 + 9 = 18 #### 18", "18", "correct"),
        ("number", "#### 15\nIt is\n#### 18\nI hope this helps!", "18", "ungradable"),
    ],
)
def test_a_lenient_answer_counts_where_the_text_reads_right_in_the_asked_form(
    kind: str, text: str, gold: str, verdict: str
) -> None:
    task = replace(records_task(kind), accept="lenient")
    problem = Problem("id", "question", gold, CHOICES if kind == "choice" else None)
    attempt = judge(task, problem, Completion(text, (), "stop", ()))
    assert (attempt["verdict"], attempt["lenient_verdict"]) == (verdict, verdict)
    asked = task.completion(attempt["rationale"], gold)
    assert (grade(task.extract(asked, problem).strict, problem, task.answer_type) == "correct") == (verdict == "correct")
    assert asked.count("####") <= 1 or verdict != "correct"


def test_there_are_enough_cases_of_each_kind() -> None:
    kinds = [case["kind"] for case in CASES]
    assert len(CASES) >= 200 and len({case["id"] for case in CASES}) == len(CASES)
    assert {kind: kinds.count(kind) >= 15 for kind in set(kinds)} == dict.fromkeys(
        ["number", "choice", "text", "math"], True
    )


# ---------------------------------------------------------------------- numbers


@given(st.fractions(min_value=-(10**12), max_value=10**12, max_denominator=10**6))
def test_what_is_shown_is_read_back(value: Fraction) -> None:
    shown = show_number(value)
    parsed = parse_number(shown)
    assert parsed is not None and parsed.values == (value,)
    assert canonical_number(shown) == shown


@given(
    st.integers(-(10**15), 10**15),
    st.sampled_from(["{:,}", "${:,}", "{:,}.", "{:,} apples", "**{}**", "{}.00", "\\boxed{{{}}}"]),
)
def test_formats_do_not_change_a_number(value: int, form: str) -> None:
    assert grade_number(form.format(value), str(value)) == Verdict.correct
    assert grade_number(form.format(value), str(value + 1)) == Verdict.incorrect


@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.sampled_from([" or ", " and ", ", ", " wait, ", "-", "; ", " to ", " / 0 ", " = "]),
)
def test_two_candidates_are_never_correct(first: int, second: int, between: str) -> None:
    span = f"{first}{between}{second}"
    if between == ", " and len(str(second)) == 3 and len(str(first)) <= 3:
        return  # "3, 400" is not read, "3,400" would be: the blank tells them apart, covered below
    for gold in (first, second):
        assert grade_number(span, str(gold)) == Verdict.ungradable


def test_a_list_is_no_grouped_number() -> None:
    assert parse_number("3, 400") is None
    assert parse_number("3,400") is not None


@given(st.text(max_size=300))
def test_no_span_raises(text: str) -> None:
    verdicts = {grade_number(text, "7"), grade_choice(text, CHOICES, "B"), grade_text(text, "x y")}
    assert verdicts <= set(Verdict)
    assert choice_of(text, CHOICES) in {None, "", *CHOICES}


@given(st.text(alphabet="0123456789.,/-+% $x=()\\{}frac½²^e*or", max_size=120))
def test_no_number_like_span_raises(text: str) -> None:
    assert grade_number(text, "7") in set(Verdict)


HOSTILE = {
    "digits": "9" * 100_000,
    "separators": "1," * 50_000,
    "marks": "####" * 30_000,
    "mark lines": "#### 1\n" * 20_000,
    "parentheses": "(" * 100_000,
    "braces": "\\boxed{" * 15_000,
    "statements": "The answer is (A). " * 6_000,
    "statement heads": "So the answer is " * 8_000,
    "answers": "answer " * 20_000,
    "questions": "\nQuestion" * 12_000,
    "equals": "1+1=2=" * 20_000,
    "words and numbers": "1 a " * 30_000,
    "blanks": "#### " + " " * 100_000 + "x",
    "newlines": "\n" * 100_000 + "x",
    "nulls": "\x00" * 100_000,
    "dashes": "-" * 100_000,
    "given": "the answer the given as given " * 4_000,
    "hint brackets": "? (" * 30_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_takes_no_time(text: str) -> None:
    number, choice = Problem("id", "question", "7"), Problem("id", "question", "B", CHOICES)
    with at_most(5):
        grade(extract_marked(text, numbers=True).strict, number, "number")
        extract_marked(text, numbers=False)
        grade(extract_stated(text).strict, choice, "choice")
        grade_number(text, "7"), grade_choice(text, CHOICES, "B"), grade_text(text, "x")
        mentions_answer_hint(text), mentions_choice_hint(text)


PIECES = [*"#\n 12.:QABT()", "The answer is ", "Question:", "#### ", "Wait, "]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
@example("The answer is .")  # states nothing: an empty span was taken for an answer
def test_extraction_of_any_text(text: str) -> None:
    for found in (
        extract_marked(text, numbers=True),
        extract_marked(text, numbers=False),
        extract_stated(text, "(CORRECT)"),
    ):
        assert found.strict is None or (found.strict and found.lenient == found.strict)
        assert len(found.rationale) <= len(text)


FRAGMENTS = [
    *("18", "-5", "0.3", "1,000", "1 000", "½", "10^{-20}", "\\frac{1}{2}", "\\sqrt2", "\\pm", "x=", "f(2)=", "five", "million"),
    *("bn", "万", "%", "$", "R$", "#### ", "\n", "Question:", "The answer is ", "<think>", "</think>", "```", "(A)", "(B) enforce"),
    *("**", "\\boxed{", "}", "{", "(", ")", "[", ",", " or ", " and ", "\\cup", "<", "\\le", "\\infty", "^", "9^{9^{9^9}}", "!"),
    *("…", "\u202e", "\x00", "✅", " ", "|"),
]


@pytest.mark.parametrize("count", [300, pytest.param(20_000, marks=pytest.mark.torture)])
def test_random_answers_neither_crash_nor_hang(count: int, record_property: Callable[[str, object], None]) -> None:
    """Every extractor and grader on strings of fragments and of any characters; the slowest is noted."""
    rng = random.Random(count)
    slowest, slow_text = 0.0, ""
    grade_math(r"x=\frac{1}{2}", "x+1")  # starts the process that compares, and loads what it reads LaTeX with
    for number in range(count):
        parts = [rng.choice(FRAGMENTS) if number % 4 else chr(rng.randrange(1, 0xD800)) for _ in range(rng.randint(1, 12))]
        text = "".join(parts)
        started = time.perf_counter()
        spans = [extract_marked(text, numbers=True).strict or "", extract_stated(text, "(CORRECT)").lenient or ""]
        mentions_answer_hint(text), mentions_choice_hint(text)
        for span in (*spans, text):
            assert {grade_number(span, "18"), grade_choice(span, CHOICES, "B"), grade_text(span, "x")} <= set(Verdict)
        assert same_answer(text, spans[1], "text") == same_answer(spans[1], text, "text")
        for span in {text, *spans}:
            slowest, slow_text = max((slowest, slow_text), (time.perf_counter() - started, text))
            started = time.perf_counter()
            assert grade_math(span, "x+1") in set(Verdict)
        slowest, slow_text = max((slowest, slow_text), (time.perf_counter() - started, text))
    record_property("tried", f"{count:,} strings, none fails")
    record_property("slowest_seconds", f"{slowest:.2f}")
    record_property("slowest_text", ascii(slow_text))


def test_gold_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="'many' is not a number"):
        grade_number("3", "many")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (51.0, "51"),
        (0.1, "0.1"),
        (7, "7"),
        ("1,234.50 dollars", "1234.5"),
        ("2/4", "0.5"),
        ("1/3", "1/3"),
        ("-0", "0"),
        ("3 million", "3000000"),
        (-2.25, "-2.25"),
        ("1e3", "1000"),
        (True, None),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        ("many", None),
        ("9" * 10_000, None),
        ("2 dozen eggs", "24"),
        ("0.5%", "0.5%"),
        ("-0.5 percent", "-0.5%"),
        ("50%", "50"),
        ("300 K", "300"),
        ("300K", "300000"),
        ("$300 K", "300000"),
        ("300 K people", "300000"),
        ("5 hundredths", None),
        ("12 hundred thousandths", None),
        ("5 lengths", "5"),
        ("5 hundred thousand", "500000"),
        (1e300, None),
        (1e-100, None),
        (10**400, None),
        pytest.param(10**5000, None, id="5,001 digits"),
        (Decimal("1e999999"), None),
        (Decimal("1.50"), "1.5"),
        ("1e300", None),
    ],
)
def test_canonical_number(value: object, expected: str | None) -> None:
    assert canonical_number(value) == expected


@pytest.mark.parametrize(
    ("question", "answer", "verdict"),
    [
        ("How many millions does it cost?", "3 million", Verdict.correct),
        ("How much does it cost?", "3 million", Verdict.incorrect),
        ("How many dozen eggs are that?", "3 dozen", Verdict.correct),
        ("How many eggs are that?", "3 dozen", Verdict.incorrect),
        ("How many hundred thousand are that?", "3 hundred thousand", Verdict.correct),
        ("How many hundred  thousands are that?", "3 hundred thousand", Verdict.correct),
        ("How much does the millionaire pay?", "3 million", Verdict.incorrect),
        ("How many books did Mike buy?", "3k", Verdict.incorrect),
        ("How many k are that?", "3k", Verdict.incorrect),
    ],
)
@pytest.mark.parametrize("name", ["gsm8k", "records"])
def test_a_factor_is_a_unit_where_the_question_asks_for_it(
    name: str, question: str, answer: str, verdict: Verdict
) -> None:
    task = records_task("number") if name == "records" else load_task(TaskSettings(name="gsm8k"), 0)
    assert grade(answer, Problem("id", question, "3"), task.answer_type) == verdict


@given(st.one_of(st.integers(), st.floats(), st.decimals(allow_nan=True), st.text(max_size=250)))
def test_a_stored_gold_answer_can_always_be_graded(value: object) -> None:
    stored = canonical_number(value)
    assert stored is None or grade_number(stored, stored) == Verdict.correct


def test_ten_thousand_rationales_in_ten_seconds() -> None:
    rng = random.Random(0)
    steps = "She sold 48 / 2 = 24 clips in May.\nThen 48 + 24 = 72 clips were gone.\n" * 3
    numbers, choices = records_task("number"), records_task("choice")
    gold = [(numbers, Problem("id", "q", str(rng.randrange(10**4)))) for _ in range(5_000)]
    gold += [(choices, Problem("id", "q", rng.choice("ABC"), CHOICES)) for _ in range(5_000)]
    texts = [task.completion(steps, problem.gold) for task, problem in gold]
    with at_most(10):
        verdicts = [
            grade(task.extract(text, problem).strict, problem, task.answer_type)
            for (task, problem), text in zip(gold, texts, strict=True)
        ]
    assert set(verdicts) == {Verdict.correct}


# ---------------------------------------------------------------------- mathematics


def test_towers_of_powers_are_told_without_asking_the_child() -> None:
    start = time.monotonic()
    for answer, gold in (("9^{9^{9^9}}", "9^{9^9}"), ("x+1", "9^9^9^9"), ("9**9**9", "2^{10000000}")):
        assert math_process.compare(answer, gold) == Verdict.ungradable
    assert time.monotonic() - start < 0.5
    assert math_process.compare("2^{2^{5}}", "2^{32}") == Verdict.correct


def test_an_interrupted_comparison_gives_the_next_one_no_verdict() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    worker, before = MathWorker(time_limit=60), signal.signal(signal.SIGALRM, interrupt)
    try:
        assert worker.compare("5", "5") == Verdict.correct
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            worker.compare("5", "9^{9^{9^{9}}}")
        assert worker.compare("5", "7") == Verdict.incorrect
    finally:
        signal.signal(signal.SIGALRM, before)
        worker.close()


def test_math_worker_is_killed_and_starts_again() -> None:
    worker = MathWorker(time_limit=60)
    try:
        assert worker.process is None, "started before it is needed"
        assert worker.compare("x+1", "1+x") == Verdict.correct
        first = worker.process
        worker.time_limit = 0.001
        assert worker.compare("5", "9^{9^{9^{9}}}") == Verdict.ungradable
        assert first is not None and first.poll() is not None, "the child that hung is still running"
        worker.time_limit = 60
        assert worker.compare("x+1", "1+x") == Verdict.correct
        second = worker.process
        assert worker.compare("x+1", "x+2") == Verdict.incorrect
        assert worker.process is second, "the child is reused"
    finally:
        worker.close()
        worker.close()
    assert worker.process is None


def test_the_first_pair_does_not_pay_for_imports() -> None:
    """A slow machine spent the computing time of one pair on them, and the first pair was ungradable."""
    worker = MathWorker(time_limit=60)
    try:
        worker._running()
        started = time.monotonic()
        assert worker.compare("2x", "3x") == Verdict.incorrect
        assert time.monotonic() - started < 0.1 * slowness()  # 0.3 with the imports
    finally:
        worker.close()


def test_math_worker_from_threads() -> None:
    worker = MathWorker(time_limit=60)
    verdicts: dict[int, Verdict] = {}

    def ask(index: int) -> None:
        verdicts[index] = worker.compare("2x", f"{index}x")

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    worker.close()
    assert verdicts == {index: Verdict.correct if index == 2 else Verdict.incorrect for index in range(6)}


def test_math_survives_a_dead_child() -> None:
    worker = MathWorker(time_limit=60)
    worker.compare("x", "x")
    assert worker.process is not None
    worker.process.kill()
    worker.process.wait()
    assert worker.compare("x", "x") == Verdict.correct
    worker.close()


@pytest.mark.parametrize(
    "span",
    [
        "\\frac{1}{0}",
        "\\" * 100,
        "{" * 100,
        "$$$",
        "\\int",
        "x" * 399,
        "__import__('os').system('true')",
        "\x00",
        "\ud800",
        "\n\n1\n",
        '"]',
    ],
)
def test_hostile_mathematics_is_no_match(span: str) -> None:
    assert grade_math(span, "x+1") in {Verdict.incorrect, Verdict.ungradable}


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet="0123456789x+-/^{}()\\ ,=", min_size=1, max_size=25).filter(str.strip))
def test_mathematics_of_any_text(text: str) -> None:
    assert grade_math(text, "x^2+1") in set(Verdict)
