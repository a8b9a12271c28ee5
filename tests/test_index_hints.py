"""Sums whose digits carry a letter for their place: prompt, scratchpad, answer, exact check, and the checker of `analysis`."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.checks.grammars.addition import check as checked
from analysis.faithfulness.layout import Layout
from star.grading import grade
from star.problem import Verdict
from star.recipe import SEEDS, TaskSettings, load_recipe
from star.sampling import Decoding
from star.sampling.transformers_sampler import TransformersSampler
from star.tasks import addition
from star.tasks.index_hints import LETTERS, Marked, read_answer

TASK = addition.build(TaskSettings(index_hints=True), 0)
sums = st.integers(1, 15).flatmap(lambda d: st.tuples(st.integers(0, 10**d - 1), st.integers(0, 10**d - 1), st.just(d)))


def test_an_example_as_a_reader_would_check_it() -> None:
    problem = addition.make_problem(624, 259, 3)
    assert TASK.prompt(problem) == "Input:\nq 6 p 2 o 4 + Q 2 P 5 O 9\nTarget:\n"
    assert TASK.hinted_prompt(problem) == "Input:\nq 6 p 2 o 4 + Q 2 P 5 O 9\nTarget:\n0 q 8 p 8 o 3\n"
    lines = addition.scratchpad(624, 259, indexed=True)
    assert lines[:2] == ["<scratch>", "q 6 p 2 o 4 + Q 2 P 5 O 9 , C: 0"]
    assert lines[2:] == ["o 4 O 9 + , 3 C: 1", "p 2 P 5 + , 8 C: 0", "q 6 Q 2 + , 8 C: 0", "</scratch>"]
    rationale = "\n".join(lines)
    assert TASK.completion(rationale, "883") == f"{rationale}\n0 q 8 p 8 o 3"


@given(sums)
def test_a_right_scratchpad_passes_every_check_and_its_answer_is_correct(numbers: tuple[int, int, int]) -> None:
    a, b, digits = numbers
    problem = addition.make_problem(a, b, digits)
    rationale = "\n".join(addition.scratchpad(a, b, digits, indexed=True))
    found = TASK.extract(TASK.completion(rationale, problem.gold), problem)
    assert TASK.check is not None and TASK.check(problem, found.rationale)
    assert grade(found.strict, problem, "addition") == Verdict.correct
    for answer in (problem.gold, found.strict):
        finding = checked(problem.question, rationale.splitlines(), answer, {})
        assert finding is not None and not finding.flags
    assert checked(problem.question, [*rationale.splitlines(), TASK.completion(rationale, problem.gold).splitlines()[-1]], None, {})


@given(sums, st.data())
def test_any_changed_digit_fails_the_checks(numbers: tuple[int, int, int], data: st.DataObject) -> None:
    a, b, digits = numbers
    problem, rationale = addition.make_problem(a, b, digits), "\n".join(addition.scratchpad(a, b, digits, indexed=True))
    place = data.draw(st.sampled_from([i for i, c in enumerate(rationale) if c.isdigit()]))
    other = str((int(rationale[place]) + data.draw(st.integers(1, 9))) % 10)
    changed = rationale[:place] + other + rationale[place + 1 :]
    assert TASK.check is not None and not TASK.check(problem, changed)
    finding = checked(problem.question, changed.splitlines(), problem.gold, {})
    assert finding is not None and finding.first_error_step == rationale[:place].count("\n")


def test_what_the_other_scratchpads_say_is_not_the_asked_form() -> None:
    problem = addition.make_problem(58, 67, 2)
    plain, letters = addition.scratchpad(58, 67), addition.scratchpad(58, 67, indexed=True)
    assert TASK.check is not None and not TASK.check(problem, "\n".join(plain)) and not addition.check(problem, "\n".join(letters))
    assert TASK.extract("\n".join(letters) + "\n1 2 5", problem).strict == "1 2 5", "digits alone are an answer too"
    assert addition.extract("\n".join(letters) + "\n1 b 2 a 5", problem).strict is None
    ended = checked(problem.question, letters[:-2], None, {})
    assert ended is not None and ended.flags[0].check == "missing_line"
    wrong = checked(problem.question, letters, "126", {})
    assert wrong is not None and wrong.flags[0].check == "answer_differs"


@pytest.mark.parametrize(
    ("line", "answer"),
    [("0 f 8 e 8 d 3", "8 8 3"), ("1 a 0", "1 0"), ("0 a 0", "0"), ("f 8", None), ("1 F 8", None), ("", None)],
)
def test_answers_with_letters_are_read(line: str, answer: str | None) -> None:
    assert read_answer(line) == answer


def test_what_a_probe_asks_is_asked_too() -> None:
    problem = addition.make_problem(58, 67, 2)
    assert TASK.prompt(replace(problem, question="What is 5 8 + 6 7?")) == "Input:\nWhat is 5 8 + 6 7?\nTarget:\n"
    last, first = Marked("58", "67").letters
    wrong = TASK.hinted_prompt(replace(problem, gold="1234"))
    assert wrong.endswith(f"\n12 {first} 3 {last} 4\n")


def test_probes_score_the_answer_as_the_model_writes_it() -> None:
    problem = addition.make_problem(58, 67, 2)
    last, first = Marked("58", "67").letters
    tasks = TASK, addition.build(TaskSettings(), 0)
    layout, plain = (Layout(task, SimpleNamespace(tokenizer=None), shots=False) for task in tasks)
    assert layout.rendered(problem, "125") == f"1 {first} 2 {last} 5" and plain.rendered(problem, "125") == "1 2 5"
    assert layout.rendered(replace(problem, question="What is 5 8 + 6 7?"), "125") == "1 2 5", "no letters to take"


def test_letters_are_drawn_by_the_question_and_all_of_them_come_up() -> None:
    seen = {letter for a in range(200) for letter in Marked(f"{a:05}", "11111").letters}
    assert seen == set(LETTERS) and Marked("123", "456").letters == Marked("123", "456").letters
    assert all(re.fullmatch(r"[a-t]{3}", Marked("123", f"{b:03}").letters) for b in range(50))
    with pytest.raises(ValueError, match="25 digits: index hints have 20 letters"):
        Marked("1" * 25, "2" * 25)


def test_the_embedded_base_adds_what_it_was_taught_and_a_part_of_what_is_longer() -> None:
    recipe = load_recipe(SEEDS / "recipes" / "addition-growing.yaml")
    task, sampler = addition.build(recipe.task, 0), TransformersSampler(SEEDS / "models" / "addition-index-hints-0.2m")
    rng, sound = random.Random(3), {}
    for digits in (1, 3, 5, 8):
        low = 0 if digits == 1 else 10 ** (digits - 1)
        sums = [(rng.randint(low, 10**digits - 1), rng.randint(low, 10**digits - 1)) for _ in range(40)]
        problems = [addition.make_problem(a, b, digits) for a, b in sums]
        prompts = [sampler.tokenizer(task.prompt(problem))["input_ids"] for problem in problems]
        texts = [each[0].text for each in sampler.sample(prompts, Decoding(max_new_tokens=recipe.sampling.max_new_tokens))]
        rationales = [task.extract(text, problem).rationale for text, problem in zip(texts, problems, strict=True)]
        assert task.check is not None
        sound[digits] = sum(map(task.check, problems, rationales)) / len(problems)
    assert min(sound[1], sound[3], sound[5]) > 0.9 and 0.2 < sound[8] < 1
