"""Graders, extraction and the hint audit. A new bug gets a row in grade_cases.json before it gets a fix."""

from __future__ import annotations

import json
import random
import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star.extraction import equations, extract_marked, extract_stated
from star.grading import (
    canonical_number,
    choice_of,
    grade_choice,
    grade_math,
    grade_number,
    grade_text,
    parse_number,
    show_number,
)
from star.hints import mentions_answer_hint, mentions_choice_hint
from star.math_grading import MathWorker
from star.recipe import TaskSettings
from star.tasks import load_task
from star.tasks.base import Problem, Task, Verdict

CASES = json.loads((Path(__file__).parent / "grade_cases.json").read_text(encoding="utf-8"))
CHOICES = {"A": "ignore", "B": "enforce", "C": "avoid"}


def records_task(kind: str) -> Task:
    return load_task(TaskSettings(name="records", path="unread.jsonl", answer_type=kind, choices="options"), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES, ids=[f"{case['id']}: {case['why']}" for case in CASES])
def test_case(case: dict) -> None:
    task = records_task(case["kind"])
    problem = Problem("id", "question", case["gold"], case.get("choices"))
    found = task.extract(case["completion"], problem)
    assert task.grade(found.strict, problem) == case["verdict"], found
    if "lenient" in case:
        assert task.grade(found.lenient, problem) == case["lenient"], found
    if found.strict is not None:
        assert found.lenient == found.strict


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
    problem = Problem("id", "question", "7"), Problem("id", "question", "B", CHOICES)
    started = time.process_time()
    for number, choice in [problem]:
        grade_number(extract_marked(text, numbers=True).strict, number.gold)
        extract_marked(text, numbers=False)
        grade_choice(extract_stated(text).strict, CHOICES, choice.gold)
        grade_number(text, "7"), grade_choice(text, CHOICES, "B"), grade_text(text, "x")
        equations(text), mentions_answer_hint(text), mentions_choice_hint(text)
    assert time.process_time() - started < 5


PIECES = [*"#\n 12.:QABT()", "The answer is ", "Question:", "#### ", "Wait, "]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_extraction_of_any_text(text: str) -> None:
    for found in (
        extract_marked(text, numbers=True),
        extract_marked(text, numbers=False),
        extract_stated(text, "(CORRECT)"),
    ):
        assert found.strict is None or (found.strict and found.lenient == found.strict)
        assert len(found.rationale) <= len(text)


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
    ],
)
def test_canonical_number(value: object, expected: str | None) -> None:
    assert canonical_number(value) == expected


def test_ten_thousand_rationales_in_ten_seconds() -> None:
    rng = random.Random(0)
    steps = "She sold 48 / 2 = 24 clips in May.\nThen 48 + 24 = 72 clips were gone.\n" * 3
    numbers, choices = records_task("number"), records_task("choice")
    gold = [(numbers, Problem("id", "q", str(rng.randrange(10**4)))) for _ in range(5_000)]
    gold += [(choices, Problem("id", "q", rng.choice("ABC"), CHOICES)) for _ in range(5_000)]
    texts = [task.completion(steps, problem.gold) for task, problem in gold]
    started = time.process_time()
    verdicts = [
        task.grade(task.extract(text, problem).strict, problem)
        for (task, problem), text in zip(gold, texts, strict=True)
    ]
    assert time.process_time() - started < 10
    assert set(verdicts) == {Verdict.correct}


# ---------------------------------------------------------------------- mathematics


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


# ---------------------------------------------------------------------- the hint audit, equations

HINTED = [
    "The answer is 18, as given.",
    "5 + 13 = 18, as given above.",
    "The answer is given as 18, so 9 + 9 = 18.",
    "The answer is given in the question.",
    "The correct answer was provided.",
    "According to the hint, she has 18.",
    "The hint says 18.",
    "Hint: 18",
    "We are told the answer is 18.",
    "I was given the answer, so I work backwards.",
    "Given that the answer is 18, she must have 9 + 9.",
    "Since the answer must be 18, the rest is 9.",
    "Working back from the given answer, we find 9.",
    "9 + 9 = 18 to match the given answer.",
    "This matches the expected answer.",
    "The number in parentheses is 18.",
    "The answer in the parentheses says 18.",
    "How many apples does she have? (18)",
    "(18)",
    "We already know the answer, 18.",
    "We know that the correct answer is 18.",
    "From the answer key we take 18.",
    "9 + 9 = 18 (CORRECT)",
    "Using the hint, 9 + 9 = 18.",
    "It’s 18, as the answer is already stated.",
]
HINTED_CHOICE = [
    "(B) enforce (CORRECT)",
    "Option (B) is marked as correct.",
    "The choice is marked correct, so it is enforce.",
    "It is labelled as the correct answer.",
    "The correct option is given.",
    "The answer is (B) because it is marked (correct).",
    "(b) is indicated as correct.",
]
CLEAN = [
    "As given in the problem, each box holds 5 pens.",
    "Each box holds 5 pens, as stated in the question.",
    "The answer is given by 3 * 5 = 15.",
    "The answer is 15.",
    "The final answer is 15 dollars.",
    "Therefore, the answer is (B).",
    "The answer must be a place where people read.",
    "Of the given answer choices only a basket can carry a dog.",
    "Among the given answer options, avoid fits best.",
    "He was given 3 apples (2 red and 1 green).",
    "She gave 5 (half of 10) to her sister.",
    "Given that each box holds 5 pens, 3 boxes hold 15.",
    "The teacher told 12 pupils to sit down.",
    "He answered 12 of 15 questions correctly.",
    "She marked 10 answers, 8 of them were right.",
    "Then 8 + (2 * 3) = 14.",
    "The volume of the solution is given as 250 mL.",
    "We need to find how many are left. 12 - 5 = 7.",
    "So the correct choice must be something soft.",
    "He was right. The label said 5.",
    "A hint of vanilla costs $2.",
    "#### 18",
]


@pytest.mark.parametrize("text", HINTED)
def test_hint_is_noticed(text: str) -> None:
    assert mentions_answer_hint(text)
    assert mentions_answer_hint(f"First 4 + 5 = 9.\n{text}\nSo that is it.\n#### 18")


@pytest.mark.parametrize("text", HINTED_CHOICE)
def test_mark_of_a_choice_is_noticed(text: str) -> None:
    assert mentions_choice_hint(text)
    assert mentions_choice_hint(f"Sanctions punish.\n{text}\nTherefore, the answer is (B).")


@pytest.mark.parametrize("text", CLEAN)
def test_premises_are_no_hints(text: str) -> None:
    assert not mentions_answer_hint(text)
    assert not mentions_choice_hint(text)


def test_real_solutions_do_not_mention_hints(data_dir: Path) -> None:
    import gzip

    for file, column in (("gsm8k_train", "answer"), ("gsm8k_model_solutions", "steps")):
        with gzip.open(data_dir / f"{file}.jsonl.gz", "rt", encoding="utf-8") as handle:
            texts = [json.loads(line)[column] for line in handle]
        flagged = [text for text in texts if mentions_answer_hint(text if isinstance(text, str) else "\n".join(text))]
        assert not flagged, flagged[:3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Natalia sold 48/2 = <<48/2=24>>24 clips.\nIn all 48+24 = <<48+24=72>>72.", ("48/2=24", "48+24=72")),
        ("6 pens * $2 = $12", ("6*2=12",)),
        ("6 × 2 = 12. 12 ÷ 4 = 3.", ("6*2=12", "12/4=3")),
        ("3 times 4 = 12 and then 12 − 5 = 7", ("3*4=12", "12-5=7")),
        ("He pays 1,200 + 34.50 = 1,234.5 dollars", ("1200+34.5=1234.5",)),
        ("So (2 + 3) * 4 = 20", ("(2+3)*4=20",)),
        ("x = 5", ()),
        ("She has 5 apples.", ()),
        ("", ()),
        ("= = = 3", ()),
    ],
)
def test_equations(text: str, expected: tuple[str, ...]) -> None:
    assert equations(text) == expected


def test_same_equations_in_other_words() -> None:
    assert equations("First, 6 * 2 = 12 eggs.") == equations("We multiply: 6 boxes x 2 eggs = 12 eggs")


@given(st.text(max_size=200))
def test_equations_of_any_text(text: str) -> None:
    assert all(set(equation) <= set("0123456789.+-*/()=") for equation in equations(text))
