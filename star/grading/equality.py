"""When two answers are the same one: `same_answer`, and what follows from it, a verdict and a majority vote.

    >>> same_answer("$36/2", "x = 18 apples", "number")
    True

The rules are those of `star/grading/verdicts.py`, applied in both directions: what a grader accepts for a gold answer is the
same answer as it, and what it refuses is another one. Nothing (None, blanks) is the same as nothing. An answer that
no grader can read ("3 or 4") is the same as itself alone, as written but for case, blanks and closing punctuation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from star.grading.mathematics import MAX_MATH, grade_math
from star.grading.numbers import MAX_NUMBER, Number, parse_number
from star.grading.verdicts import (
    as_digits,
    choice_of,
    fold,
    grade_choice,
    grade_digits,
    grade_number,
    grade_text,
    same_numbers,
    same_text,
)
from star.problem import AnswerType, Problem, Verdict

_SPACED_DIGITS = re.compile(r"\d(?: \d)+")
_MATHEMATICS = re.compile(r"[\\^=√π]|\d[a-zA-Z]\b|\b[a-zA-Z] ?[-+*/] ?\w\b|[(\[][^()\[\]]*,[^()\[\]]*[)\]]$")

Choices = Mapping[str, str] | None


def answer_type_of(answer: str | None, choices: Choices = None) -> AnswerType:
    """How an answer without a task is to be compared, by its looks: preferably the gold answer's."""
    text = (answer or "").strip()
    if choices:
        return "choice"
    if _SPACED_DIGITS.fullmatch(text):
        return "addition"
    if _number(text) is not None:
        return "number"
    return "math" if _MATHEMATICS.search(text[:MAX_MATH]) else "text"


def grade(span: str | None, problem: Problem, answer_type: AnswerType | None = None) -> Verdict:
    """Verdict on an answer span; `answer_type` is the task's, by default that of the gold answer's looks.

    None gives `no_answer`; whether a completion was truncated is the engine's to say. Raises ValueError when the gold
    answer is not of the type.
    """
    if span is None or not span.strip():
        return Verdict.no_answer
    answer_type = answer_type or answer_type_of(problem.gold, problem.choices)
    if answer_type == "choice":
        return grade_choice(span, problem.choices or {}, problem.gold)
    if answer_type == "number":
        return grade_number(span, problem.gold, problem.question)
    return {"addition": grade_digits, "text": grade_text, "math": grade_math}[answer_type](span, problem.gold)


def same_answer(a: str | None, b: str | None, answer_type: AnswerType, choices: Choices = None, question: str = "") -> bool:
    """Whether two answers to one question are the same: symmetric, and in agreement with `grade`.

    Of a task: `same_answer(a, b, task.answer_type, problem.choices, problem.question)`; where no task is known, as of a rationale
    record: `same_answer(a, b, answer_type_of(gold, choices), choices, question)`. `choices` are the options that labels name
    (without them labels are compared alone); `question` tells whether "3 million" is 3 (it asks for millions).
    Not transitive in mathematics: a bare 5 answers x = 5 as well as y = 5, which are two answers (`votes` compares with the first
    of each group).
    """
    if a is None or b is None or not (a := a.strip()) or not (b := b.strip()):
        return False
    if a == b:
        return True
    if answer_type == "choice":
        return _same_choice(a, b, choices or {})
    if answer_type == "math":
        return Verdict.correct in (grade_math(a, b), grade_math(b, a))  # math-verify reads its two sides differently
    read = {"addition": as_digits, "number": _number}.get(answer_type, lambda text: None)
    one, other = read(a), read(b)
    if one is None and other is None:
        return same_text(a, b)
    if one is None or other is None:
        return False
    return one == other if answer_type == "addition" else same_numbers(one, other, question)


def is_right(answer: str | None, gold: str | None, choices: Choices = None, question: str = "") -> bool | None:
    """Whether an answer is the gold answer, by the looks of the latter; None where one is missing or cannot be read."""
    if not answer or not answer.strip() or not gold or not gold.strip():
        return None
    answer_type = answer_type_of(gold, choices)
    if same_answer(answer, gold, answer_type, choices, question):
        return True
    label = gold if not choices or gold in choices else choice_of(gold, choices)
    if not label or grade(answer, Problem("", question, label, choices), answer_type) != Verdict.incorrect:
        return None
    return False


_cached_number = lru_cache(maxsize=20_000)(parse_number)


def _number(text: str) -> Number | None:
    return _cached_number(text) if len(text) <= MAX_NUMBER else None


def _same_choice(a: str, b: str, choices: Mapping[str, str]) -> bool:
    """The same option, by label or text; or the same words, where neither names one."""
    named = [choice_of(text, choices) for text in (a, b)]
    for place, text in enumerate((b, a)):  # a label can be known for one although it reads like another option's text, too
        if named[place] and not named[1 - place] and text in choices:
            named[1 - place] = text
    one, other = named
    if one and other:
        return fold(choices[one]) == fold(choices[other])
    return not one and not other and same_text(a, b)


def votes(answers: Sequence[tuple[str | None, str]], problem: Problem) -> list[int | None]:
    """The group that each (answer, verdict) to a problem votes with: 0 for right ones, then wrong ones that are the same.

    None for what is no answer. A right answer never votes with a wrong one, however alike they are: for the gold answer
    0.5, 50% is right and 50 is not. A wrong one joins the first group whose first answer is the same, by the type of the
    gold answer's looks: a vote asks math-verify only where the gold answer is more than a number.
    """
    answer_type = answer_type_of(problem.gold, problem.choices)
    wrong: list[str] = []
    groups: list[int | None] = []
    for answer, verdict in answers:
        if answer is None or verdict not in (Verdict.correct, Verdict.incorrect):
            groups.append(None)
        elif verdict == Verdict.correct:
            groups.append(0)
        else:
            same = (same_answer(answer, first, answer_type, problem.choices, problem.question) for first in wrong)
            place = next((n for n, is_same in enumerate(same) if is_same), len(wrong))
            wrong += [answer] if place == len(wrong) else []
            groups.append(1 + place)
    return groups
