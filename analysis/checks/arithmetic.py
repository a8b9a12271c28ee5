"""Checks of what a step computes: false equations, inexact ones, and values that contradict earlier ones."""

from __future__ import annotations

import math
import re

from analysis.checks.base import Flag
from analysis.checks.equations import Equation
from analysis.checks.known import CONSTANTS, Known
from analysis.checks.numbers import same, show
from analysis.checks.reading import Reading

TOLERANCE = 0.01
_PERCENT = re.compile(r"%|percent|\brate\b|\bratio\b", re.I)
_WHOLE = re.compile(r"remainder|left ?over|round|whole|floor|ceil|at least|nearest|integer|full|//", re.I)
_OTHER_SUMS = re.compile(
    r"\bbase[ -]?(?:\d|two|three|five|eight|sixteen)|\bbinary\b|\boctal\b|\bhexadecimal\b|\bmod(?:ulo)?\b|≡|\bclock\b"
    r"|\d\s?[ap]\.?m\b",
    re.I,
)
"""Numbers that are not added in the usual way: of another base, of a clock."""
_POINTED = re.compile(r"(?<![\d.])\d{1,3}\.\d{3}(?!\d)")
"""A thousand as German writes it."""
_SIGNED_POWER = re.compile(r"(?:^|[-+*/^(])\s?-\s?[\d.,]+\s?(?:\^|\*\*)")
"""Many write -2^2 for (-2)^2."""


def equation_false(reading: Reading) -> list[Flag]:
    """`expression = result` that is not so: off by more than 1 %, whether the result is read as it stands or in percent.

    Rounded results count as true. A whole number where the division leaves a fraction is a soft finding
    (`equation_rounded`), a whole-number sum that is off by less than 1 % is one too (`equation_inexact`).
    """
    flags: list[Flag] = []
    for index, step in enumerate(reading.steps):
        for equation in step.equations:
            if not equation.checkable:
                continue
            if equation.value is None:
                if "/" in equation.operators and any(operand.value == 0 for operand in equation.operands):
                    flags.append(Flag(index, "equation_undefined", f"{shorten(equation.text)} divides by zero"))
                continue
            name, severity = judge(equation, step.text)
            if name == "equation_false" and _OTHER_SUMS.search(reading.question.text):
                severity = 0.3
            if name == "equation_rounded":
                message = f"{shorten(equation.text)} = {show(equation.value)}, rounded here to {shorten(equation.result_text)}"
                flags.append(Flag(index, name, message, severity))
            elif name:
                flags.append(Flag(index, name, _false(equation), severity))
    return flags


def _false(equation: Equation) -> str:
    if equation.computed_result:
        return f"{shorten(equation.text)} = {_right(equation)}, but {result(equation)} = {show(equation.result)}"
    return f"{shorten(equation.text)} = {_right(equation)}, not {result(equation)}"


def judge(equation: Equation, text: str) -> tuple[str, float]:
    """(name of the finding, severity) of one checkable equation with a value; ("", 0) where it holds."""
    assert equation.value is not None
    if _close(equation.value, equation.result) and abs(equation.value - equation.result) < 0.5:
        return "", 0.0
    text = text[
        max(0, equation.start - 120) : equation.start + len(equation.text) + 120
    ]  # what is near, not a whole page
    readings = [equation.value]
    if equation.percent_result or any(operand.percent for operand in equation.operands) or _PERCENT.search(text):
        readings += [equation.value * 100, equation.value / 100]
    if any(_close(value, equation.result) for value in readings):
        exact = set(equation.operators) <= set("+-*") and "." not in equation.text + equation.result_text
        if exact and not equation.approximate and len(readings) == 1 and abs(equation.value - equation.result) >= 0.5:
            return "equation_inexact", 0.5
        return "", 0.0
    rounded = [equation.value]
    if equation.percent_result and any(operand.value == 100 for operand in equation.operands):
        rounded.append(equation.value / 100)  # "1 / 6 * 100 = 17%"
    elif len(readings) > 1 and not equation.percent_result:
        rounded.append(equation.value * 100)  # "1 / 6 = 17 percent"
    if equation.margin and any(abs(value - equation.result) <= equation.margin for value in rounded):
        return "", 0.0
    if "/" in equation.operators and equation.result in (math.floor(equation.value), math.ceil(equation.value)):
        return ("", 0.0) if equation.approximate or _WHOLE.search(text) else ("equation_rounded", 0.3)
    loose = _SIGNED_POWER.search(equation.text) or (
        _POINTED.search(equation.text) and _POINTED.search(equation.result_text)
    )
    return "equation_false", 0.3 if loose or _OTHER_SUMS.search(text) else 1.0


def _close(value: float, result_value: float) -> bool:
    return abs(value - result_value) <= TOLERANCE * max(abs(value), 1e-9)


def _right(equation: Equation) -> str:
    value = equation.value if equation.value is not None else 0.0
    return f"{show(value * 100)}%" if equation.percent_result else show(value)


def result(equation: Equation) -> str:
    """The stated result as written, without a unit of more than a word."""
    return shorten(equation.result_text, 40)


def shorten(text: str, limit: int = 90) -> str:
    """One line, at most `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def value_contradicted(reading: Reading) -> list[Flag]:
    """The same expression with another result than before, or a known quantity restated with a number of no source."""
    flags: list[Flag] = []
    results: dict[tuple[tuple[float, ...], str], tuple[float, str]] = {}
    quantities = _question_quantities(reading)
    known = Known(mention.value for mention in reading.question.mentions)
    for index, step in enumerate(reading.steps):
        for equation in step.equations:
            if not equation.checkable:  # only supposed, or part of something longer
                continue
            expression = (tuple(operand.value for operand in equation.operands), equation.operators)
            before = results.setdefault(expression, (equation.result, equation.result_text))
            if (
                not equation.computed_result
                and not same(before[0], equation.result, TOLERANCE)
                and not same(before[0], equation.result * 100, TOLERANCE)
            ):
                message = f"{shorten(equation.text)} is {result(equation)} here and was {shorten(before[1], 40)} before"
                flags.append(Flag(index, "value_contradicted", message, 0.8))
        flags += _restated(reading, index, quantities, known)
        for mention in step.mentions:
            known.add(mention.value)
        for equation in step.equations:
            known.add(equation.result)
    return flags


def _question_quantities(reading: Reading) -> dict[str, float]:
    """Noun -> its number, for nouns that the question counts exactly once."""
    values: dict[str, set[float]] = {}
    for mention in reading.question.mentions:
        if len(mention.noun) > 2 and not mention.word:
            values.setdefault(mention.noun, set()).add(mention.value)
    return {noun: next(iter(found)) for noun, found in values.items() if len(found) == 1}


def _restated(reading: Reading, index: int, quantities: dict[str, float], known: Known) -> list[Flag]:
    step = reading.steps[index]
    if step.equations:
        return []
    for mention in step.mentions:
        stated = quantities.get(mention.noun)
        if stated is None or mention.word or mention.percent or mention.value in known or mention.value in CONSTANTS:
            continue
        message = f"{mention.text} {mention.noun} here, {show(stated)} in the question"
        return [Flag(index, "value_contradicted", message, 0.6)]
    return []
