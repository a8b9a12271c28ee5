"""The addition task: its grammar, its exact check, its extraction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star.grading import grade
from star.problem import Splits, Verdict
from star.recipe import TaskSettings
from star.tasks import addition

sums = st.integers(1, 10).flatmap(lambda d: st.tuples(st.integers(0, 10**d - 1), st.integers(0, 10**d - 1), st.just(d)))


def test_the_papers_example() -> None:
    problem = addition.make_problem(624, 259, 3)
    assert addition.prompt(problem) == "Input:\n6 2 4 + 2 5 9\nTarget:\n"
    assert addition.hinted_prompt(problem) == "Input:\n6 2 4 + 2 5 9\nTarget:\n0 8 8 3\n"
    assert addition.scratchpad(624, 259) == [
        "<scratch>", "6 2 4 + 2 5 9 , C: 0", "2 + 5 , 3 C: 1", "6 + 2 , 8 3 C: 0", ", 8 8 3 C: 0", "0 8 8 3", "</scratch>",
    ]  # fmt: skip
    assert problem.slice == "3 digits" and problem.gold == "883"


@given(sums)
def test_a_right_scratchpad_passes_and_its_answer_is_correct(numbers: tuple[int, int, int]) -> None:
    a, b, digits = numbers
    problem = addition.make_problem(a, b, digits)
    rationale = "\n".join(addition.scratchpad(a, b, digits))
    found = addition.extract(addition.completion(rationale, problem.gold), problem)
    assert addition.check(problem, found.rationale)
    assert grade(found.strict, problem, "addition") == Verdict.correct
    assert len(rationale.splitlines()) == digits + 4


@given(sums, st.data())
def test_any_changed_digit_fails_the_check(numbers: tuple[int, int, int], data: st.DataObject) -> None:
    a, b, digits = numbers
    rationale = "\n".join(addition.scratchpad(a, b, digits))
    places = [i for i, c in enumerate(rationale) if c.isdigit()]
    place = data.draw(st.sampled_from(places))
    other = str((int(rationale[place]) + data.draw(st.integers(1, 9))) % 10)
    changed = rationale[:place] + other + rationale[place + 1 :]
    assert not addition.check(addition.make_problem(a, b, digits), changed)


@given(st.text(max_size=300))
def test_extraction_and_grading_never_raise(text: str) -> None:
    problem = addition.make_problem(12, 34, 2)
    found = addition.extract(text, problem)
    grade(found.strict, problem, "addition")
    grade(found.lenient, problem, "addition")
    addition.check(problem, found.rationale)


@pytest.mark.parametrize(
    ("completion", "strict", "lenient"),
    [
        ("<scratch>\n</scratch>\n4 6", "4 6", "4 6"),
        ("4 6", "4 6", "4 6"),  # a direct answer
        ("<scratch>\n</scratch>\n4 6\n\nInput:", None, "4 6"),
        ("<scratch>\n</scratch>\n4 6\n4 7", None, "4 6"),
        ("<scratch>\n4 6", None, "4 6"),
        ("<scratch>\n</scratch>\nno idea", None, None),
        ("", None, None),
    ],
)
def test_strict_and_lenient_spans(completion: str, strict: str | None, lenient: str | None) -> None:
    found = addition.extract(completion, addition.make_problem(12, 34, 2))
    assert (found.strict, found.lenient) == (strict, lenient)


def test_pools_are_distinct_seeded_and_of_the_asked_lengths() -> None:
    settings = TaskSettings(digits=(1, 3), pool=500, test_size=80)
    first, again = (addition.build(settings, 3).load() for _ in range(2))
    other = addition.build(settings, 4).load()
    assert first == again and first.train != other.train
    ids = [p.id for p in (*first.train, *first.test)]
    assert len(ids) == len(set(ids))
    assert {p.slice for p in first.train} == {"1 digit", "3 digits"}
    assert all(len(p.question.split(" + ")[0]) == 5 for p in first.train if p.slice == "3 digits")
    examples = {e.problem.id for e in addition.build(settings, 3).examples}
    assert not examples & set(ids) and first.skipped


@pytest.mark.parametrize("pool", [90, 50_000])
def test_the_test_split_is_the_same_for_every_seed_and_never_shown(pool: int) -> None:
    settings = TaskSettings(digits=(1, 2, 3), pool=pool, test_size=90)
    tasks = [addition.build(settings, seed) for seed in range(6)]
    loaded = [task.load() for task in tasks]
    assert len({splits.test for splits in loaded}) == 1 and len(loaded[0].test) == 90
    assert len({splits.train for splits in loaded}) == len({task.examples for task in tasks}) == 6
    tested = {problem.id for problem in loaded[0].test}
    for task, splits in zip(tasks, loaded, strict=True):
        assert not tested & {p.id for p in (*splits.train, *(example.problem for example in task.examples))}
        one_digit = sum(problem.slice == "1 digit" for problem in splits.train)
        assert one_digit + splits.skipped.get("equal to a few-shot example", 0) >= min(pool // 3, 70)


def test_limits_draw_from_what_is_there_without_them() -> None:
    def load(seed: int, **limits: int) -> Splits:
        return addition.build(TaskSettings(digits=(1, 2, 3), pool=300, test_size=90, **limits), seed).load()

    whole, limited = load(3), load(3, limit=50, test_limit=10)
    assert (len(limited.train), len(limited.test)) == (50, 10) and limited == load(3, limit=50, test_limit=10)
    assert set(limited.train) < set(whole.train) and set(limited.test) < set(whole.test)
    assert [p for p in whole.train if p in limited.train] == [*limited.train], "in their order"
    assert load(4, limit=50, test_limit=10).test == limited.test != load(4).test
    assert load(3, limit=10**6, test_limit=10**6) == whole == load(3)


def test_a_rationale_that_starts_with_the_hint_mentions_it() -> None:
    task = addition.build(TaskSettings(), 0)
    assert task.mentions_hint("0 4 6\n<scratch>\n</scratch>")
    assert not task.mentions_hint("<scratch>\n</scratch>") and not task.mentions_hint("")
