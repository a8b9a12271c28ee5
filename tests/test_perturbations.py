"""Edits do what they say, leave the rest alone, and are the same for the same seed."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.faithfulness.paraphrase import paraphrase, paraphrase_problem, rename
from analysis.faithfulness.perturbations import (
    NUMBER,
    always_first,
    change_question,
    choose_donor,
    corrupt_step,
    other_number,
    relabel,
    shuffle_options,
    suggest,
    wrong_answer,
)
from star.problem import Example, Problem
from star.tasks import addition

MARKET = Problem("m", "Where do you buy bread?", "b", {"a": "bakery", "b": "market", "c": "river"})


def rng(seed: int = 0) -> random.Random:
    return random.Random(seed)


@pytest.mark.parametrize(
    "step, original, left_alone",
    [
        ("48 / 2 = 24 clips in May.", "24", "48 / 2 ="),
        ("She has 6 * 4 = <<6*4=24>>24 pens.", "24", "She has 6 * 4 ="),
        ("Step 2: 3 boxes hold 12 pens.", "12", "Step 2: 3 boxes hold"),
        ("\n1. That makes $1,200", "1,200", "\n1. That makes $"),
        ("The total is 2.50 dollars.", "2.50", "The total is"),
    ],
)
def test_a_number_is_falsified_with_all_its_copies(step: str, original: str, left_alone: str) -> None:
    edit = corrupt_step(step, "number", {}, rng())
    assert edit is not None
    assert edit.original == original
    assert edit.injected != original
    assert edit.text.startswith(left_alone)
    assert edit.text.count(edit.injected) == step.count(original)
    assert edit.text.replace(edit.injected, original) == step


def test_a_scratchpad_line_loses_the_digit_it_computes_and_the_sum_shifts_by_it() -> None:
    problem = addition.make_problem(624, 259, 3)
    lines = addition.scratchpad(624, 259, 3)[1:-1]
    for seed in range(20):
        for place, line in enumerate(lines[1:4]):
            edit = corrupt_step("\n" + line, "addition", {}, rng(seed))
            assert edit is not None
            assert edit.shift == (int(edit.injected) - int(edit.original)) * 10**place
            assert edit.original == problem.gold[2 - place]
            assert len(edit.text) == len(line) + 1
        last = corrupt_step(lines[-1], "addition", {}, rng(seed))
        assert last is not None
        assert int(last.text.replace(" ", "")) == 883 + (last.shift or 0)
    first = corrupt_step(lines[0], "addition", {}, rng())
    assert first is not None
    assert (first.text, first.shift) == ("6 2 4 + 2 5 9 , C: 1", 1)


def test_options_and_statements_are_falsified_where_there_is_no_number() -> None:
    edit = corrupt_step("Bread is sold at a market.", "choice", MARKET.choices or {}, rng())
    assert edit is not None
    assert (edit.original, edit.text) == ("market", f"Bread is sold at a {edit.injected}.")
    assert edit.injected in {"bakery", "river"}
    for seed in range(5):
        for said, denied in (("He can't swim.", "He can swim."), ("It isn’t so.", "It is so."), ("I cannot.", "I can.")):
            negated = corrupt_step(said, "text", {}, rng(seed))
            assert negated is not None and negated.text == denied
    assert corrupt_step("That's it.", "text", {}, rng()) is None
    stated = corrupt_step("Water can be cold.", "text", {}, rng())
    assert stated is not None
    assert stated.text == "Water can not be cold."
    denied = corrupt_step("It is not cold.", "text", {}, rng())
    assert denied is not None
    assert denied.text == "It is cold."
    assert corrupt_step("Because of rain!", "text", {}, rng()) is None
    assert corrupt_step("", "number", {}, rng()) is None


@given(st.text(max_size=80), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_any_text_is_edited_or_refused(text: str, seed: int) -> None:
    for kind in ("addition", "number", "choice", "text"):
        edit: Any = corrupt_step(text, kind, {"a": "x", "b": "y"}, rng(seed))
        assert edit is None or edit.text != text
        assert edit == corrupt_step(text, kind, {"a": "x", "b": "y"}, rng(seed))
        new = paraphrase(text, kind)
        assert new is None or new != text


@given(st.integers(0, 10**9), st.integers(0, 3))
def test_other_numbers_are_near_different_and_not_negative(value: int, seed: int) -> None:
    for text in (str(value), f"{value:,}", f"{value}.5"):
        new = other_number(text, rng(seed))
        assert new != text
        assert NUMBER.fullmatch(new)
        assert 0 < abs(float(new.replace(",", "")) - float(text.replace(",", ""))) <= 10


@pytest.mark.parametrize(
    "text, kind, expected",
    [
        ("So the sum is 3 + 4 = 7.", "number", "Thus the sum is 4 + 3 = 7."),
        ("10 - 3 + 4 = 11", "number", None),  # 4 + 3 would be another sum
        ("2 * 3 + 4 = 10", "number", None),
        ("He buys 2 boxes and it's done.", "number", "He buys two boxes and it is done."),
        ("She has three cats.", "number", "She has 3 cats."),
        ("It's been fun.", "text", None),
        ("2 + 5 , 3 C: 1", "addition", "5 + 2 , 3 C: 1"),
        ("6 2 4 + 2 5 9 , C: 0", "addition", "2 5 9 + 6 2 4 , C: 0"),
        (", 8 8 3 C: 0", "addition", None),
        ("3 + 3 , 6 C: 0", "addition", None),
        ("A plain remark.", "text", None),
    ],
)
def test_paraphrases_keep_the_meaning(text: str, kind: Any, expected: str | None) -> None:
    assert paraphrase(text, kind) == expected


def test_paraphrased_equations_still_hold() -> None:
    for a, b in ((2, 3), (7, 11), (12, 27), (100, 4)):
        new = paraphrase(f"That is {a} * {b} = {a * b} in all.", "number")
        assert new is not None
        assert re.findall(r"(\d+) \* (\d+) = (\d+)", new) == [(str(b), str(a), str(a * b))]
    assert paraphrase("That is 7 * 7 = 49 in all.", "number") is None


def test_a_paraphrased_question_renames_people_everywhere_but_not_into_the_options() -> None:
    problem = Problem("p", "Tom gives Anna 14 pens. How many does Tom have?", "3")
    found = paraphrase_problem(problem, "number", rng())
    assert found is not None
    new, renames = found
    assert set(renames) == {"Tom", "Anna"}
    assert "Tom" not in new.question
    assert rename("Anna has 14, Tom 3.", renames) == f"{renames['Anna']} has 14, {renames['Tom']} 3."
    named = Problem("p", "Who is it, Tom or Anna?", "a", {"a": "Tom", "b": "Anna"})
    assert paraphrase_problem(named, "choice", rng()) is None
    swapped = paraphrase_problem(addition.make_problem(12, 30, 2), "addition", rng())
    assert swapped is not None
    assert swapped[0].question == "3 0 + 1 2"
    assert paraphrase_problem(addition.make_problem(11, 11, 2), "addition", rng()) is None


@given(st.integers(0, 50))
def test_shuffled_options_keep_their_texts_and_the_right_one(seed: int) -> None:
    found = shuffle_options(MARKET, rng(seed))
    assert found is not None
    new, moved = found
    assert new.choices is not None and MARKET.choices is not None
    assert list(new.choices) == list(MARKET.choices)
    assert dict(new.choices) != dict(MARKET.choices)
    assert all(new.choices[moved[label]] == text for label, text in MARKET.choices.items())
    assert new.choices[new.gold] == "market"


def test_labels_in_a_rationale_move_with_their_options() -> None:
    moved = {"a": "c", "b": "a", "c": "b"}
    assert relabel("Not (a), so (B). The answer is b.", moved) == "Not (c), so (A). The answer is a."
    assert relabel("Option c is a river.", moved) == "Option b is a river."
    assert relabel("a bakery is a shop", moved) == "a bakery is a shop"


def test_always_first_moves_the_right_option() -> None:
    new = always_first(Example(MARKET, "So the answer is (b), not (a)."))
    assert new.problem.gold == "a"
    assert new.problem.choices == {"a": "market", "b": "bakery", "c": "river"}
    assert new.rationale == "So the answer is (a), not (b)."
    free = Example(Problem("x", "2 + 2?", "4"), "easy")
    assert always_first(free) is free


def test_hints_are_wrong_and_not_the_models_own() -> None:
    for seed in range(30):
        assert wrong_answer(MARKET, "a", "choice", rng(seed), []) == "c"
        number = wrong_answer(Problem("n", "?", "42"), "41", "number", rng(seed), [])
        assert number not in {"41", "42", None}
        total = wrong_answer(addition.make_problem(624, 259, 3), "8 8 3", "addition", rng(seed), [])
        assert total is not None and total.isdigit() and int(total) != 883
    two = Problem("t", "?", "a", {"a": "yes", "b": "no"})
    assert wrong_answer(two, "b", "choice", rng(), []) is None
    assert wrong_answer(Problem("f", "?", "Paris"), "Rome", "text", rng(), ["Paris", "rome", "Oslo"]) == "Oslo"
    assert wrong_answer(Problem("f", "?", "Paris"), "Rome", "text", rng(), []) is None
    assert "(c) river" in suggest(MARKET, "c").question


def test_a_changed_question_has_the_same_form() -> None:
    for seed in range(30):
        found = change_question(addition.make_problem(10, 99, 2), "1 0 9", "addition", rng(seed), [])
        assert found is not None
        new, _ = found
        left, right = addition.operands(new.question)
        assert left + right == int(new.gold) != 109
        assert len(new.question) == len("1 0 + 9 9")
        assert left >= 10 and right >= 10
    words = change_question(Problem("w", "3 boxes of 4 pens?", "12"), "12", "number", rng(), [])
    assert words is not None
    assert words[0].question == "3 boxes of 4 pens?".replace(words[1].original, words[1].injected)
    option = change_question(MARKET, "b", "choice", rng(), ["library", "river"])
    assert option is not None
    assert option[0].choices == {"a": "bakery", "b": "library", "c": "river"}
    assert change_question(MARKET, "b", "choice", rng(), []) is None
    assert change_question(Problem("w", "Why?", "so"), "so", "text", rng(), []) is None


def test_the_donor_is_another_question_of_like_length() -> None:
    ids, lengths = ["a", "a", *"bcdefghijkl"], [3, 3, 9, 0, *([3] * 9)]
    drawn = {choose_donor(0, ids, lengths, rng(seed)) for seed in range(200)}
    assert None not in drawn
    assert not drawn & {0, 1, 2, 3}
    assert choose_donor(0, ["a", "a"], [1, 2], rng()) is None
