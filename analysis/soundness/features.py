"""What the score without a model sees of a step: named numbers about position, length, notation, findings and the answer.

A feature is looked up by name: one that the fitted file does not know is ignored, one that is absent counts as 0. The soft
findings of every check are features ("flag:result_unused"), so that a new check appears here by itself and changes no score
before the next fit. What is proven is no feature: it decides by itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from analysis.checks import EXACT, Flag
from analysis.checks.generic.known import key
from analysis.checks.reading import Reading

Domain = Literal["school", "competition", "exam", "symbolic", "other"]
BASELINE = ("place", "steps_left", "steps", "is_last", "step_words", "words")
"""Position and length: what a score has to be better than."""
FEATURES = (
    *BASELINE,
    "only_answer",
    "equations",
    "fractional_result",
    "answer_fractional",
    "answer_negative",
    "answer_is_last_result",
    "question_numbers_unused",
    "flag:question_number_unused",
    "flag:answer_differs",
    "flag:result_unused",
    "flag:equation_rounded",
)
"""The features that are fitted."""

_FORMULA = re.compile(r"\\[a-zA-Z(\[]|\$[^$\n]{0,200}?[^$\s=+*/(-]\$(?![\d.])|\[asy\]")
_TERMS = re.compile(
    r"\b(?:integers?|primes?|divisors?|divisible|polynomials?|vert(?:ex|ices)|digits?|coordinates?|functions?|solve|evaluate"
    r"|simplify|compute|remainder|factors?|sequence|real numbers?|arrange(?:d|ments?)|probability|circle|radius|triangles?"
    r"|angles?|polygon|express(?:ed)?|permutations?|palindromes?|multiples?)\b",
    re.I,
)
"""Words of competition problems that school word problems hardly use."""
_PREMISE = re.compile(r"\s*#\d{1,3}[.:]\s")
"""A numbered statement that later steps refer to: chains of these restate the question, and no score of steps told them apart."""


def domain_of(question: str, reading: Reading, kind: str) -> Domain:
    """What sort of problem this is, told from its text: the score was validated domain by domain.

    `question` as it is written, `kind` as `analysis.checks.detect_kind` names it. School: a word problem in plain words whose
    rationale calculates and is not a chain of numbered premises.
    """
    if kind in EXACT:
        return "symbolic"
    if kind == "multiple_choice" or reading.choices:
        return "exam"
    if kind != "math_word" or not reading.question.mentions or not any(step.equations for step in reading.steps):
        return "other"
    if sum(bool(_PREMISE.match(step.text)) for step in reading.steps[:8]) > 1:
        return "other"
    return "competition" if _is_competition(question[:20_000]) else "school"


@lru_cache(maxsize=256)
def _is_competition(head: str) -> bool:
    """Whether a question is told as competitions do; it comes several times in a row, once with each rationale."""
    return bool(_FORMULA.search(head) or _TERMS.search(head))


def describe(reading: Reading, flags: Sequence[Flag]) -> list[dict[str, float]]:
    """The named features of each step; counts as log(1 + count), shares and yes/no in 0 to 1. `flags` are those of the reading."""
    count, answer, last = len(reading.steps), reading.answer, reading.last_equation
    # 1 where the question counts in whole numbers, 100 where it counts in hundredths.
    fine = 10.0 ** max((min(6, len(m.text.partition(".")[2])) for m in reading.question.mentions), default=0)
    asked = {key(mention.value) for mention in reading.question.mentions}
    said = {key(mention.value) for step in reading.steps for mention in step.mentions}
    said |= {key(operand.value) for step in reading.steps for e in step.equations for operand in e.left.operands}
    whole = {
        "steps": math.log1p(count),
        "words": math.log1p(sum(len(step.words) for step in reading.steps)),
        "answer_fractional": float(answer is not None and _is_fractional(answer, fine)),
        "answer_negative": float(answer is not None and answer < 0),
        "answer_is_last_result": float(answer is not None and last is not None and abs(answer - last.result) < 1e-6),
        "question_numbers_unused": len(asked - said - {key(1.0)}) / max(1, len(asked)),
    }
    rows = [
        whole
        | {
            "place": math.log1p(index),
            "steps_left": math.log1p(count - 1 - index),
            "is_last": float(index == count - 1),
            "step_words": math.log1p(len(step.words)),
            "only_answer": float(step.is_answer),
            "equations": math.log1p(len(step.equations)),
            "fractional_result": float(any(_is_fractional(equation.result, fine) for equation in step.equations)),
        }
        for index, step in enumerate(reading.steps)
    ]
    for flag in flags:
        if flag.severity < 1 and 0 <= flag.step < count:
            name, row = f"flag:{flag.check}", rows[flag.step]
            row[name] = max(row.get(name, 0.0), flag.severity)
    return rows


def _is_fractional(value: float, fine: float) -> bool:
    """More finely than the numbers of the question."""
    return math.isfinite(value * fine) and abs(value * fine - round(value * fine)) > 1e-6
