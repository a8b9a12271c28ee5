"""A small parser of calculations in the tokens of a text: "5 apples + 3 * (2 + 1) apples". Nothing is ever evaluated as code.

Which of the equations around such expressions a step really states is told by `equations.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from analysis.checks.numbers import MULTIPLES, SCALES, Token, same, words

_MAX_DEPTH = 12
_MAX_TOKENS = 120
JOINING = {"is", "equals", "equal", "gives", "makes", "are"}
FUNCTIONS = words(
    """
    sin cos tan sec csc cot log ln exp lim mod sqrt root square cube cubed squared gcd lcm max min det floor
    """
)
_CONJUNCTIONS = {"because", "since", "and", "so", "then", "when", "if", "but", "as", "or", "that", "which"}
SINGLE_UNITS = {"m", "g", "h", "s", "l", "L", "a"}
_KINDS = {
    "time": """
        second|seconds|sec|secs minute|minutes|min|mins hour|hours|hr|hrs day|days week|weeks month|months year|years
        """,
    "length": "inch|inches|in foot|feet|ft yard|yards mile|miles mm cm m|meter|meters km|kilometer|kilometers",
    "amount": """
        g|gram|grams kg|kilogram|kilograms ounce|ounces|oz pound|pounds|lb|lbs ton|tons cup|cups pint|pints
        quart|quarts gallon|gallons ml liter|liters
        """,
    "money": "cent|cents|penny|pennies nickel|nickels dime|dimes quarter|quarters dollar|dollars",
    "several": "dozen|dozens pair|pairs",
    "part": "half|halves percent",
}
UNITS = {
    word: (kind, unit) for kind, units in _KINDS.items() for unit in units.split() for word in unit.split("|")
}
"""Unit word -> its kind and a name of the unit. Ounces are both a weight and a volume: these two are one kind."""
_LINKING = _CONJUNCTIONS | JOINING | words("in of per a an each every for to from by with on at after before")
"""A word behind one of these is no unit of the number before: "4 per hour", "36 in total"."""


class Operand(NamedTuple):
    """One number of an expression."""

    value: float
    text: str
    percent: bool = False


@dataclass(slots=True)
class Expression:
    """What the parser read: numbers joined by operators."""

    value: float | None
    operands: list[Operand]
    operators: list[str]
    start: int
    """Index of the first token."""
    stop: int
    """Index after the last token."""
    units: set[str]


def kind_at(tokens: Sequence[Token], index: int) -> str:
    """The kind of a token; "end" before the first and behind the last one."""
    return tokens[index].kind if 0 <= index < len(tokens) else "end"


class Parser:
    """Precedence climbing over a list of tokens, bounded in depth and length."""

    def __init__(self, tokens: Sequence[Token]):
        self.tokens = tokens

    def kind(self, index: int) -> str:
        return kind_at(self.tokens, index)

    def parse(self, start: int) -> Expression | None:
        """The longest expression that begins at a token; None where none does."""
        return self._chain(start, 0, min(len(self.tokens), start + _MAX_TOKENS))

    def _chain(self, start: int, depth: int, limit: int) -> Expression | None:
        first = self._operand(start, depth, limit)
        if first is None:
            return None
        terms: list[tuple[str, float | None]] = [("+", first.value)]
        while first.stop < limit:
            operator = self._operator(first.stop)
            following = self._operand(first.stop + 1, depth, limit) if operator else None
            if operator is None or following is None:
                break
            terms.append((operator, following.value))
            first.operators += [operator, *following.operators]
            first.operands += following.operands
            first.units |= following.units
            first.stop = following.stop
        first.value = _evaluate(terms)
        return first

    def _operator(self, index: int) -> str | None:
        """The operator at a token: a sign, an x between two numbers, or the "of" of "20 % of 50"."""
        token = self.tokens[index] if index < len(self.tokens) else None
        if token is None:
            return None
        if token.kind == "op":
            return {"**": "^"}.get(token.text, token.text)
        if token.kind == "word" and token.text in ("x", "X") and self.kind(index + 1) in ("number", "currency", "open"):
            return "*"
        if token.text == "of" and self.kind(index - 1) == "percent" and self.kind(index + 1) in ("number", "currency"):
            return "*"
        fraction = (
            self.kind(index - 1) == "number" and self.kind(index - 2) == "op" and self.tokens[index - 2].text == "/"
        )
        if token.text == "of" and fraction and self.kind(index + 1) in ("number", "currency"):
            return "*"
        return None

    def _operand(self, index: int, depth: int, limit: int) -> Expression | None:
        if index >= limit:
            return None
        token = self.tokens[index]
        if token.kind == "op" and token.text == "-" and self.kind(index + 1) in ("number", "currency", "open"):
            inner = self._power(index + 1, depth + 1, limit) if depth < _MAX_DEPTH else None
            if inner is not None:
                inner.value = None if inner.value is None else -inner.value
                inner.start = index
            return inner
        if token.kind == "currency" and self.kind(index + 1) == "number":
            index += 1
            token = self.tokens[index]
        if token.kind == "number" and token.value is not None:
            return self._number(index, token)
        if token.kind == "open" and depth < _MAX_DEPTH:
            inner = self._chain(index + 1, depth + 1, limit)
            if inner is not None and inner.stop < limit and self.kind(inner.stop) == "close":
                inner.start, inner.stop = index, inner.stop + 1
                self._units(inner)
                return inner
        return None

    def _power(self, index: int, depth: int, limit: int) -> Expression | None:
        """What a sign stands in front of: -2^2 is -(2^2)."""
        base = self._operand(index, depth, limit)
        if base is None or base.stop >= limit or self._operator(base.stop) != "^" or depth >= _MAX_DEPTH:
            return base
        exponent = self._power(base.stop + 1, depth + 1, limit)
        if exponent is not None:
            base.value = _evaluate([("+", base.value), ("^", exponent.value)])
            base.operators += ["^", *exponent.operators]
            base.operands += exponent.operands
            base.units |= exponent.units
            base.stop = exponent.stop
        return base

    def _number(self, index: int, token: Token) -> Expression:
        value = token.value if token.value is not None else 0.0
        stop, percent = index + 1, False
        if (
            self.kind(stop) == "word"
            and self.tokens[stop].text.lower() in SCALES
            and (self.tokens[stop].text != "K" or self.tokens[stop].start == token.end)  # 300 K is a temperature
        ):
            value *= SCALES[self.tokens[stop].text.lower()]
            stop += 1
        if self.kind(stop) == "percent":
            value, stop, percent = value / 100, stop + 1, True
        expression = Expression(value, [Operand(value, token.text, percent)], [], index, stop, set())
        self._units(expression)
        return expression

    def _units(self, expression: Expression) -> None:
        """Pass over the unit behind a number ("5 apples + ...") when an operator, equals sign or bracket follows it."""
        stop = expression.stop
        if self.kind(stop) != "word":
            return
        words: list[str] = []
        while len(words) < 4 and self.kind(stop) == "word" and self.tokens[stop].text.lower() not in JOINING:
            text = self.tokens[stop].text
            touching = self.tokens[stop].start == self.tokens[stop - 1].end
            if len(text) == 1 and (touching or text not in SINGLE_UNITS):
                return
            if text[0].isupper() or text in _CONJUNCTIONS:
                return
            words.append(text.lower())
            stop += 1
        if not words or words[0] in FUNCTIONS:
            return
        if self.kind(stop) == "op" and self.tokens[stop].text == "/" and self.kind(stop + 1) == "word":
            words.append(self.tokens[stop + 1].text.lower())  # "$2 per hour" written as "2 dollars/hour"
            stop += 2
        if self.kind(stop) == "op" and self.tokens[stop].text in ("^", "**"):
            return
        if self.kind(stop) in ("op", "equal", "close") or (
            self.kind(stop) == "word" and self.tokens[stop].text in ("x", "X")
        ):
            expression.units.update(word for word in words if word in UNITS)
            expression.stop = stop


def converts(tokens: Sequence[Token], left: Expression, right: Expression) -> bool:
    """Whether two sides may count different things: "15 minutes * 4 = 1 hour", "3 dozen + 4 = 40 eggs"."""
    start, stop = min(left.start, right.start), max(left.stop, right.stop)
    found = {UNITS[word] for word in left.units | right.units}
    if any(kind == "several" for kind, _ in found):
        return True
    behind = _unit_behind(tokens, stop)
    several = MULTIPLES.get(behind)
    if several and left.value is not None and right.value is not None:  # "24 + 12 = 3 dozen"
        return same(left.value, right.value * several) or same(right.value, left.value * several)
    if behind:
        found.add(UNITS[behind])
    if any(token.text == "$" for token in tokens[max(0, start - 1) : stop]):
        found.add(UNITS["dollars"])
    return len({kind for kind, _ in found}) < len(found)


def _unit_behind(tokens: Sequence[Token], stop: int) -> str:
    """The unit among the first words behind an equation: "hour" of "1 full hour"; "" where there is none."""
    for token in tokens[stop : stop + 3]:
        word = token.text.lower()
        if token.kind != "word" or word in _LINKING:
            break
        if word in UNITS:
            return word
    return ""


def _evaluate(terms: Sequence[tuple[str, float | None]]) -> float | None:
    """Left to right with the usual precedence; None as soon as a part has no value."""
    stack: list[tuple[str, float]] = []
    for operator, value in terms:
        if value is None:
            return None
        while stack and stack[-1][0] in _TIGHTER.get(operator, "") and len(stack) > 1:
            joined = _apply(stack[-1][0], stack[-2][1], stack[-1][1])
            if joined is None:
                return None
            stack[-2:] = [(stack[-2][0], joined)]
        stack.append((operator, value))
    while len(stack) > 1:
        joined = _apply(stack[-1][0], stack[-2][1], stack[-1][1])
        if joined is None:
            return None
        stack[-2:] = [(stack[-2][0], joined)]
    return stack[0][1]


_TIGHTER = {"+": "+-*/^", "-": "+-*/^", "*": "*/^", "/": "*/^", "^": ""}


def _apply(operator: str, a: float, b: float) -> float | None:
    try:
        if operator == "^":
            if abs(b) > 64 or (a < 0 and b != int(b)):
                return None
            value = float(a**b)
        else:
            value = {"+": a + b, "-": a - b, "*": a * b}[operator] if operator != "/" else a / b
    except (ZeroDivisionError, OverflowError):
        return None
    return value if math.isfinite(value) and abs(value) < 1e30 else None
