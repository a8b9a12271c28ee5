"""Checks of what a step computes: false equations, inexact ones, and values that contradict earlier ones."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import cache

from analysis.checks.base import Flag, generic_check, shorten
from analysis.checks.equations import Equation
from analysis.checks.generic.known import CONSTANTS, all_form_keys, key
from analysis.checks.numbers import same, show
from analysis.checks.reading import Reading

TOLERANCE = Fraction(1, 100)
"""Relative: a result that is off by less was rounded on the way. Twice as much where the text says "about"."""
_PERCENT = re.compile(r"%|percent|\brate\b|\bratio\b", re.I)
_WHOLE = re.compile(r"remainder|left ?over|round|whole|floor|ceil|at least|nearest|integer|full|//", re.I)
_OTHER_SUMS = re.compile(
    r"\bbase[ -]?(?:\d|two|three|five|eight|sixteen)|\bbinary\b|\boctal\b|\bhexadecimal\b|\bmod(?:ulo)?\b|≡|\bclock\b"
    r"|\d\s?[ap]\.?m\b|\bZ_\(?\d|\bnew operation|\boperation.{0,40}\bdefin|\bdefin.{0,40}\boperation"
    r"|\briddle|\bmatchstick|\bin this puzzle|\bboolean|\bxor\b|\binteger division|\bin (?:C|Java)\b"
    r"|\bdefine[sd]?\s+[a-z]\s?[^\w\s=]{1,2}\s?[a-z]\s?=",
    re.I,
)
"""Numbers that are not added in the usual way: of another base, of a clock, by a sign that is given another meaning."""
_DRAWN = re.compile(
    r"\bmaps?\b|\bscaled?\b|\bmodels?\b|\bdraw|\bblueprint|\brepresent|\bcorrespond|\bfloor plan|\bdiagram|\bphoto|\bsketch"
    r"|\bpicture|\bstands? for\b",
    re.I,
)
"""Where "1 cm = 10 km" is a scale."""
_POINTED = re.compile(r"(?<![\d.])\d{1,3}\.\d{3}(?!\d)")
"""A thousand as German writes it."""
_BULLETED = re.compile(r"(?:^|\n)\s*[-−–]$")
"""A minus that opens a line may be a bullet: "-5 + 3 = 8"."""
_SIGNED_POWER = re.compile(r"(?:^|[-+*/^(])\s?-\s?[\d.,]{1,40}\s?(?:\^|\*\*)")
"""Many write -2^2 for (-2)^2."""
_SHIFTS = frozenset(Fraction(10) ** power for power in (-9, -6, -3, -2, 2, 3, 6, 9))
"""Cents for dollars, thousands for ones: a unit was changed without a word."""


@generic_check
def equation_false(reading: Reading) -> list[Flag]:
    """`expression = result` that is not so.

    Severity 1 is a proof: whole numbers that are added, subtracted and multiplied must come out exactly, all else up to rounding.
    A whole number where a fraction is due is a soft finding (`equation_rounded`).
    """
    flags: list[Flag] = []
    other_sums = cache(lambda: _OTHER_SUMS.search(reading.question.text))  # once, and only where an equation is false
    for index, step in enumerate(reading.steps):
        for equation in step.equations:
            if not equation.checkable:
                continue
            if equation.left.value is None:
                if "/" in equation.left.operators and any(operand.value == 0 for operand in equation.left.operands):
                    flags.append(Flag(index, "equation_undefined", f"{shorten(equation.left.text)} divides by zero"))
                continue
            name, severity = judge(equation, step.text)
            if name == "equation_false" and other_sums():
                severity = 0.3
            if name:
                flags.append(Flag(index, name, _message(name, equation), severity))
    return flags


def _message(name: str, equation: Equation) -> str:
    value, stated = equation.left.value or Fraction(0), equation.right.value or Fraction(0)
    right = f"{shorten(equation.left.text)} = {f'{show(value * 100)}%' if equation.percent_result else show(value)}"
    if name == "equation_rounded":
        return f"{right}, rounded here to {result(equation)}"
    return f"{right}, but {result(equation)} = {show(stated)}" if equation.right.operators else f"{right}, not {result(equation)}"


@generic_check
def statement_false(reading: Reading) -> list[Flag]:
    """A percentage, conversion, congruence or equation with letters that is false whatever the letters stand for."""
    statements = [(index, statement) for index, step in enumerate(reading.steps) for statement in step.statements]
    texts = [reading.question.text, *(step.text for step in reading.steps)] if statements else []
    drawn = any(map(_DRAWN.search, texts))
    return [
        Flag(index, statement.check, shorten(statement.message, 200), 0.3 if drawn and statement.check == "conversion_false" else 1)
        for index, statement in statements
    ]


def judge(equation: Equation, text: str) -> tuple[str, float]:
    """(name of the finding, severity) of one checkable equation with a value; ("", 0) where it holds."""
    value, right = equation.left.value, equation.right.value
    assert value is not None and right is not None
    if value == right:
        return "", 0.0
    start = equation.start
    positive = -value if {*equation.left.operators} <= {*"*/"} else value + 2 * abs(equation.left.operands[0].value or 0)
    bulleted = right == positive > 0 and _BULLETED.search(text[max(0, start - 40) : start + 1])
    text = text[max(0, start - 120) : start + len(equation.left.text) + 120]  # what is near, not a whole page
    readings = [value]
    if equation.percent_result or any(operand.percent for operand in equation.left.operands) or _PERCENT.search(text):
        readings += [value * 100, value / 100]
    if any(reading == right for reading in readings):
        return "", 0.0
    if not _is_exact(equation):
        name = _rounding(equation, readings, text)
        if name is not None:
            return name, 0.3 if name else 0.0
    first = next((atom.exact for atom in equation.right.atoms if atom.kind == "number"), None)
    if (right and value / right in _SHIFTS) or (first == value and equation.right.operators):
        return "equation_false", 0.6  # the second: "8 * 45 = 360 / 5 = 72", written as one talks
    pointed = _POINTED.search(equation.left.text) and _POINTED.search(equation.right.text)
    loose = pointed or bulleted or _SIGNED_POWER.search(equation.left.text) or _OTHER_SUMS.search(text)
    return "equation_false", 0.3 if loose else 1.0


def _is_exact(equation: Equation) -> bool:
    """Whether nothing is rounded: whole numbers, of which a division, if there is one, is the last and leaves no remainder."""
    value, operands = equation.left.value, (*equation.left.operands, *equation.right.operands)
    in_full = all(operand.text.replace(",", "").isdigit() and not operand.percent for operand in operands)
    if not in_full or equation.left.rounded or equation.approximate or value is None:
        return False
    return value.denominator == 1 and "/" not in equation.left.operators.removesuffix("/")


def _rounding(equation: Equation, readings: list[Fraction], text: str) -> str | None:
    """The finding where the result is right up to rounding ("" where that is fine); None where it is not."""
    value, right = readings[0], equation.right.value
    assert right is not None
    tolerance = TOLERANCE * (2 if equation.approximate else 1) * (3 if "^" in equation.left.operators else 1)
    if any(abs(reading - right) <= tolerance * abs(reading) for reading in readings):
        return ""
    rounded = [value]
    if equation.percent_result and any(operand.value == 100 for operand in equation.left.operands):
        rounded.append(value / 100)  # "1 / 6 * 100 = 17%"
    elif len(readings) > 1 and not equation.percent_result:
        rounded.append(value * 100)  # "1 / 6 = 17 percent"
    if equation.margin and any(abs(reading - right) <= equation.margin for reading in rounded):
        return ""
    if "/" in equation.left.operators and right in (math.floor(value), math.ceil(value)):
        return "" if equation.approximate or _WHOLE.search(text) else "equation_rounded"
    is_whole = right.denominator == 1 and "." not in equation.right.text
    is_nearest = is_whole and abs(value - right) <= Fraction(1, 2) and abs(value) > 1
    return "equation_rounded" if is_nearest and value.denominator > 1 else None


def result(equation: Equation) -> str:
    """The stated result as written, without a unit of more than a word."""
    return shorten(equation.right.text, 40)


@generic_check
def value_contradicted(reading: Reading) -> list[Flag]:
    """The same expression with another result than before, or a known quantity restated with a number of no source."""
    flags: list[Flag] = []
    results: dict[tuple[tuple[float, ...], str], tuple[float, str]] = {}
    quantities = _question_quantities(reading)
    known = all_form_keys(mention.value for mention in reading.question.mentions)
    for index, step in enumerate(reading.steps):
        for equation in step.equations:
            if not equation.checkable:  # only supposed, or part of something longer
                continue
            expression = (tuple(operand.value for operand in equation.left.operands), equation.left.operators)
            before = results.setdefault(expression, (equation.result, equation.right.text))
            agrees = any(same(before[0], value, 0.01) for value in (equation.result, equation.result * 100))
            if not equation.right.operators and not agrees:
                message = f"{shorten(equation.left.text)} is {result(equation)} here and was {shorten(before[1], 40)} before"
                flags.append(Flag(index, "value_contradicted", message, 0.8))
        flags += _restated(reading, index, quantities, known)
        known |= all_form_keys([*(mention.value for mention in step.mentions), *(each.result for each in step.equations)])
    return flags


def _question_quantities(reading: Reading) -> dict[str, float]:
    """Noun -> its number, for nouns that the question counts exactly once."""
    values: dict[str, set[float]] = {}
    for mention in reading.question.mentions:
        if len(mention.noun) > 2 and not mention.word:
            values.setdefault(mention.noun, set()).add(mention.value)
    return {noun: next(iter(amounts)) for noun, amounts in values.items() if len(amounts) == 1}


def _restated(reading: Reading, index: int, quantities: dict[str, float], known: set[str]) -> list[Flag]:
    step = reading.steps[index]
    if step.equations:
        return []
    for mention in step.mentions:
        stated = quantities.get(mention.noun)
        if stated is None or mention.word or mention.percent or key(mention.value) in known or mention.value in CONSTANTS:
            continue
        message = f"{mention.text} {mention.noun} here, {show(stated)} in the question"
        return [Flag(index, "value_contradicted", message, 0.6)]
    return []
