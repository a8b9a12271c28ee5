"""Rewrites that keep the meaning, by rule: operands that commute, number words, connectives, contractions, names.

They are the controls of the faithfulness probes: an answer that changes under them changes for no reason. None is
returned where no rule applies; a rule that is not certain to keep the meaning is not in here.

    paraphrase("So Ann has 3 + 4 = 7 pens in 2 boxes.", "number")  ->  "Thus Ann has 4 + 3 = 7 pens in two boxes."
"""

from __future__ import annotations

import random
import re
from dataclasses import replace

from star.problem import AnswerType, Problem

_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_TO_WORD = {str(value): word for value, word in enumerate(_WORDS, start=2)}
_TO_DIGIT = {word: digit for digit, word in _TO_WORD.items()}
_NUMBER_WORDS = re.compile(
    r"(?<![\w.,$€£%+*/×=<>(:#-])(?<![+*/×=-] )([2-9]|1[0-2])(?= [a-z]{3,})(?! (?:times|percent|mod)\b)"
    rf"|(?<![\w-])({'|'.join(_WORDS)})(?= [a-z]{{3,}})(?! (?:and|hundred|thousand|million|times)\b)"
)
_OPERAND = r"\$?\d{1,9}(?:\.\d{1,4})?"
_COMMUTING = re.compile(rf"(?<![\w.,)+*/×=-])(?<![)+*/×-] )({_OPERAND})( ?[+*×] ?)({_OPERAND})(?= ?=)")
_SCRATCH_PAIR = re.compile(r"^(\d) \+ (\d)(?= , \d)", re.M)
_SCRATCH_FIRST = re.compile(r"^(\d(?: \d)*) \+ (\d(?: \d)*)(?= , C: 0$)", re.M)
_PAIRS = (
    *(("so", "thus"), ("therefore", "hence"), ("it is", "it's"), ("do not", "don't"), ("does not", "doesn't")),
    *(("is not", "isn't"), ("are not", "aren't"), ("cannot", "can't"), ("for example", "for instance"), ("in total", "altogether")),
)
_SYNONYMS = dict(_PAIRS) | {second: first for first, second in _PAIRS}
# "so" is a connective only at the start of a clause and before a subject; "it's been" is "it has been".
_SYNONYM = re.compile(
    r"(?:(?<=^)|(?<=[.\n] ))(so|thus|therefore|hence)(?=,? (?:the|a|an|he|she|it|they|we|there|this|[A-Z])\b)"
    r"|\b(it is|it's(?! been| got)|do not|don't|does not|doesn't|is not|isn't|are not|aren't|cannot|can't|for example"
    r"|for instance|in total|altogether)\b",
    re.I | re.M,
)
WOMEN = (
    *("Alice", "Amy", "Anna", "Ann", "Betty", "Carla", "Diana", "Emily", "Emma", "Eva", "Grace", "Hannah", "Jane"),
    *("Janet", "Jenny", "Julia", "Karen", "Kate", "Laura", "Leah", "Linda", "Lisa", "Lucy", "Maria", "Mary", "Mia"),
    *("Nancy", "Natalia", "Nina", "Olivia", "Rachel", "Rosa", "Sally", "Sara", "Sarah", "Sophia", "Susan", "Tina"),
)
MEN = (
    *("Adam", "Ben", "Bob", "Carlos", "Chris", "Dan", "David", "Eric", "Frank", "George", "Henry", "Jack", "James"),
    *("Jason", "Jerry", "Jim", "Joe", "John", "Jose", "Kevin", "Leo", "Mark", "Martin", "Matt", "Michael", "Mike"),
    *("Nick", "Oscar", "Paul", "Peter", "Robert", "Ryan", "Sam", "Steve", "Tim", "Tom", "Tony", "Victor"),
)
_NAME = re.compile(rf"\b({'|'.join(sorted(WOMEN + MEN, key=len, reverse=True))})\b")


def paraphrase(text: str, kind: AnswerType) -> str | None:
    """The same statement in other words, by every rule that applies; None where none does."""
    if kind == "addition":
        new = _SCRATCH_FIRST.sub(r"\2 + \1", _SCRATCH_PAIR.sub(r"\2 + \1", text))
    else:
        new = _COMMUTING.sub(lambda match: match[3] + match[2] + match[1], text)
        new = _NUMBER_WORDS.sub(lambda match: _TO_WORD[match[1]] if match[1] else _TO_DIGIT[match[2]], new)
        new = _SYNONYM.sub(_synonym, new)
    return new if new != text else None


def _synonym(match: re.Match[str]) -> str:
    new = _SYNONYMS[match[0].lower()]
    return new[0].upper() + new[1:] if match[0][0].isupper() else new


def paraphrase_problem(problem: Problem, kind: AnswerType, rng: random.Random) -> tuple[Problem, dict[str, str]] | None:
    """The same question in other words, and the renames (old -> new) that its rationale needs too.

    Addition: operands swapped. Else: number words, connectives, contractions, and people renamed. None where nothing
    applies. The options are left as they are.
    """
    if kind == "addition":
        left, plus, right = problem.question.partition(" + ")
        if not plus or left == right:
            return None
        return replace(problem, question=f"{right} + {left}"), {}
    renames = _renames(problem, rng)
    question = rename(paraphrase(problem.question, kind) or problem.question, renames)
    if question == problem.question:
        return None
    return replace(problem, question=question), renames


def rename(text: str, renames: dict[str, str]) -> str:
    """People under their new names, all at once."""
    return _NAME.sub(lambda match: renames.get(match[0], match[0]), text) if renames else text


def _renames(problem: Problem, rng: random.Random) -> dict[str, str]:
    """New names for the people of the question; none where an option would have to change as well."""
    shown = problem.question + " ".join((problem.choices or {}).values())
    present = set(_NAME.findall(shown))
    people = list(dict.fromkeys(_NAME.findall(problem.question)))
    if any(_NAME.search(text) for text in (problem.choices or {}).values()):
        return {}
    free = {group: [name for name in group if name not in present] for group in (WOMEN, MEN)}  # keeps he and she
    renames = {}
    for old in people:
        names = free[WOMEN if old in WOMEN else MEN]
        if names:
            renames[old] = names.pop(rng.randrange(len(names)))
    return renames
