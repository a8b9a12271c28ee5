"""The equations that a step states, read by a small parser of its own: nothing is ever evaluated as code.

"In total she can pick 6 quarts + 5 quarts = <<6+5=11>>11 quarts" -> operands 6 and 5, operator +, value 11, stated result 11.
Only an expression of numbers, bounded on both sides by something that cannot belong to it, counts as `checkable`: in
"x + 30 = 50" and "2 sin 4 = 8" the numbers alone say nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from analysis.consistency.numbers import SCALES, Token, same, tokenize, words

MARK = re.compile(r"<<([^<>]{1,400})>>")
_AMBIGUOUS = re.compile(r"[x*]\s?10\s?-\s?\d|^-\s?\d+/\d+$|/\s?[\d.]+\s?[x*]\s?10\s?\^")
"""A power of ten that lost its sign ("1.2 x 10-5") or its brackets ("/ 6 x 10^23"), or a label ("for m = -1/2 = ...")."""
_MAX_DEPTH = 12
_MAX_TOKENS = 120
_MAX_EQUATIONS = 400
_JOINING = {"is", "equals", "equal", "gives", "makes", "are"}
_FUNCTIONS = words(
    """
    sin cos tan sec csc cot log ln exp lim mod sqrt root square cube cubed squared gcd lcm max min det floor
    """
)
_CONJUNCTIONS = {"because", "since", "and", "so", "then", "when", "if", "but", "as", "or", "that", "which"}
_APPROXIMATE = re.compile(r"≈|~|\b(?:about|approx|around|round|nearly|almost|roughly|nearest|estimat)", re.I)
_ASSUMING = words(
    """
    suppose supposing assume assuming imagine if whether unless pretend instead not claim claims claimed says think
    thinks believe believes
    """
)
"""What stands behind one of these in its clause is not claimed by the rationale."""
_NAMED = words("equation eq example case part line option method theorem lemma rule clue")
"""Words whose number is a name: "Equation 1 - 5 * 4 = 20"."""
_TAKEN_OF = words("reciprocal inverse square cube root half third quarter negative opposite") | _FUNCTIONS
"""What is taken of an expression: "the reciprocal of 7/9 is 9/7"."""
_COMPARED = words("more less greater higher lower times fewer")
_RANGE = re.compile(r"(\d+)-(\d+)")
_SINGLE_UNITS = {"m", "g", "h", "s", "l", "L", "a"}
_CONVERTED = words(
    """
    hour hours minute minutes second seconds day days week weeks month months year years hr hrs min mins sec
    secs feet foot inch inches ft in yard yards mile miles km m cm mm meter meters kilometer kilometers g kg
    gram grams kilogram kilograms pound pounds lb lbs ounce ounces oz ton tons cent cents dollar dollars dime
    dimes nickel nickels penny pennies quarter quarters gallon gallons quart quarts pint pints cup cups liter
    liters ml dozen dozens pair pairs half halves percent
    """
)


class Operand(NamedTuple):
    """One number of an expression."""

    value: float
    text: str
    percent: bool = False


class Equation(NamedTuple):
    """`expression = result`, both of numbers."""

    text: str
    """The expression as written."""
    operands: tuple[Operand, ...]
    operators: str
    """Operators in the order of the text, out of + - * / ^."""
    value: float | None
    """What the expression comes to; None for a division by zero or a number out of range."""
    result: float
    """What the text says it comes to."""
    result_text: str
    computed_result: bool
    """The right side is an expression itself: "27 / 3 = 3 * 3"."""
    percent_result: bool
    checkable: bool
    approximate: bool
    start: int


@dataclass(slots=True)
class _Expression:
    value: float | None
    operands: list[Operand]
    operators: list[str]
    start: int
    """Index of the first token."""
    stop: int
    """Index after the last token."""
    units: set[str]


class _Parser:
    """Precedence climbing over a list of tokens, bounded in depth and length."""

    def __init__(self, tokens: Sequence[Token]):
        self.tokens = tokens

    def kind(self, index: int) -> str:
        return self.tokens[index].kind if 0 <= index < len(self.tokens) else "end"

    def parse(self, start: int) -> _Expression | None:
        """The longest expression that begins at a token; None where none does."""
        return self._chain(start, 0, min(len(self.tokens), start + _MAX_TOKENS))

    def _chain(self, start: int, depth: int, limit: int) -> _Expression | None:
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

    def _operand(self, index: int, depth: int, limit: int) -> _Expression | None:
        if index >= limit:
            return None
        token = self.tokens[index]
        if token.kind == "op" and token.text == "-" and self.kind(index + 1) in ("number", "currency", "open"):
            inner = self._operand(index + 1, depth + 1, limit) if depth < _MAX_DEPTH else None
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

    def _number(self, index: int, token: Token) -> _Expression:
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
        expression = _Expression(value, [Operand(value, token.text, percent)], [], index, stop, set())
        self._units(expression)
        return expression

    def _units(self, expression: _Expression) -> None:
        """Pass over the unit behind a number ("5 apples + ...") when an operator, equals sign or bracket follows it."""
        stop = expression.stop
        if self.kind(stop) != "word":
            return
        words: list[str] = []
        while len(words) < 4 and self.kind(stop) == "word" and self.tokens[stop].text.lower() not in _JOINING:
            text = self.tokens[stop].text
            touching = self.tokens[stop].start == self.tokens[stop - 1].end
            if len(text) == 1 and (touching or text not in _SINGLE_UNITS):
                return
            if text[0].isupper() or text in _CONJUNCTIONS:
                return
            words.append(text.lower())
            stop += 1
        if not words or words[0] in _FUNCTIONS:
            return
        if self.kind(stop) == "op" and self.tokens[stop].text == "/" and self.kind(stop + 1) == "word":
            words.append(self.tokens[stop + 1].text.lower())  # "$2 per hour" written as "2 dollars/hour"
            stop += 2
        if self.kind(stop) == "op" and self.tokens[stop].text in ("^", "**"):
            return
        if self.kind(stop) in ("op", "equal", "close") or (
            self.kind(stop) == "word" and self.tokens[stop].text in ("x", "X")
        ):
            expression.units.update(word for word in words if word in _CONVERTED)
            expression.stop = stop


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


def read_equations(text: str, tokens: Sequence[Token] | None = None) -> list[Equation]:
    """The equations of a plain text without calculator marks, in order; at most 400 of them."""
    tokens = tokenize(text) if tokens is None else tokens
    if not any(token.kind in ("equal", "arrow") or token.text in _JOINING for token in tokens):
        return []
    parser = _Parser(tokens)
    approximate = bool(_APPROXIMATE.search(text))
    equations: list[Equation] = []
    index = 0
    while index < len(tokens) and len(equations) < _MAX_EQUATIONS:
        kind = tokens[index].kind
        if kind not in _STARTING or (kind == "number" and _stands_alone(tokens, index)):
            index += 1
            continue
        left = None if _is_bullet(tokens, index) and not _holds(parser, tokens, index) else parser.parse(index)
        if left is None:
            index += 1
            continue
        index = left.stop
        while (equal := _equals(tokens, left)) is not None:
            right = parser.parse(equal)
            implied = tokens[equal - 1].kind == "arrow" and right is not None
            if right is None or (implied and (right.operators or _kind(tokens, right.stop) == "equal")):
                break
            if left.operators and right.value is not None:
                equations.append(_equation(text, tokens, left, right, approximate))
            elif right.operators and left.value is not None and left.stop == left.start + 1:  # "36 = 6 * 6"
                equations.append(_equation(text, tokens, right, left, approximate))
            left, index = right, right.stop
    return equations


_STARTING = frozenset(("number", "currency", "open", "op"))
_CONTINUING = frozenset(("op", "equal", "close", "arrow"))


def _is_bullet(tokens: Sequence[Token], index: int) -> bool:
    """Whether a sign begins a line and a blank follows it: "- 5 * 4 = 20"."""
    if tokens[index].text not in ("-", "*", "•") or (index and tokens[index - 1].text != "\n"):
        return False
    return index + 1 < len(tokens) and tokens[index + 1].start > tokens[index].end


def _holds(parser: _Parser, tokens: Sequence[Token], index: int) -> bool:
    """Whether an equation is true with the sign in front of it: "- 2 * 3 = -6" has no bullet."""
    left = parser.parse(index)
    equal = _equals(tokens, left) if left else None
    right = parser.parse(equal) if equal else None
    if left is None or right is None or left.value is None or right.value is None:
        return False
    return same(left.value, right.value, 0.01)


def _stands_alone(tokens: Sequence[Token], index: int) -> bool:
    """Whether a number is certainly part of no expression, told from what follows it: saves the parser most of its calls."""
    for place, token in enumerate(tokens[index + 1 : index + 7]):
        if token.kind != "word":
            return token.kind not in _CONTINUING and (place > 0 or token.kind != "percent")
        if token.text in ("x", "X", "of") or token.text.lower() in SCALES:
            return False
    return True


@lru_cache(maxsize=16_384)
def read_mark(text: str) -> tuple[Equation, ...]:
    """The equations of the text of one calculator mark ("48/2=24")."""
    return tuple(read_equations(text))


def _equals(tokens: Sequence[Token], left: _Expression) -> int | None:
    """Index of the first token behind the equals sign that follows an expression; None where none follows."""
    if left.stop >= len(tokens):
        return None
    token = tokens[left.stop]
    if token.kind == "equal" or (token.kind == "arrow" and left.operators):
        return left.stop + 1
    if token.kind == "word" and token.text in _JOINING and left.operators:
        start = left.stop + (2 if token.text == "equal" and _kind(tokens, left.stop + 1) == "word" else 1)
        compared = start + 1 < len(tokens) and tokens[start + 1].text in _COMPARED  # "3 + 4 is 2 less than 9"
        return None if compared else start
    return None


def _kind(tokens: Sequence[Token], index: int) -> str:
    return tokens[index].kind if 0 <= index < len(tokens) else "end"


def _equation(text: str, tokens: Sequence[Token], left: _Expression, right: _Expression, approximate: bool) -> Equation:
    units = left.units | right.units
    written = text[tokens[left.start].start : tokens[left.stop - 1].end].strip()
    return Equation(
        text=written,
        operands=tuple(left.operands),
        operators="".join(left.operators),
        value=left.value,
        result=right.value if right.value is not None else 0.0,
        result_text=text[tokens[right.start].start : tokens[right.stop - 1].end].strip(),
        computed_result=bool(right.operators),
        percent_result=bool(right.operands and right.operands[-1].percent),
        checkable=_opens(tokens, min(left.start, right.start))
        and _closes(tokens, max(left.stop, right.stop))
        and len(units) < 2
        and not _AMBIGUOUS.search(written)
        and not _is_range(written, right.value)
        and not _takes_percent(left)
        and not (units & {"cent", "cents"} and any(token.text == "$" for token in tokens[left.start : right.stop]))
        and _is_claimed(tokens, min(left.start, right.start), max(left.stop, right.stop)),
        approximate=approximate,
        start=tokens[left.start].start,
    )


def _is_range(written: str, result: float | None) -> bool:
    """ "Pages 10-15 = 6 pages": from a to b, and not a difference."""
    ends = _RANGE.fullmatch(written)
    return ends is not None and float(ends[1]) < float(ends[2]) and result is not None and result > 0


def _takes_percent(expression: _Expression) -> bool:
    """ "100 - 15 %": may be meant as 15 % of the 100."""
    first, *rest = expression.operands
    return not first.percent and first.value > 1 and any(
        operand.percent and sign in "+-" for sign, operand in zip(expression.operators, rest, strict=False)
    )


def _is_claimed(tokens: Sequence[Token], start: int, stop: int) -> bool:
    """False for an equation that is only supposed, denied, quoted from somebody or asked about."""
    for token in reversed(tokens[max(0, start - 30) : start]):
        if token.kind == "end":
            break
        if token.text.lower() in _ASSUMING:
            return False
    following = (token.text for token in tokens[stop : stop + 30] if token.kind == "end" and token.text != ",")
    return next(following, "") != "?"


def _opens(tokens: Sequence[Token], start: int) -> bool:
    """Whether nothing in front of a token can belong to its expression."""
    before = tokens[start - 1] if start > 0 else None
    if before is None or before.kind in ("end", "equal", "arrow") or _is_bullet(tokens, start - 1):
        return True
    if before.text == "of" and start > 1 and tokens[start - 2].text.lower() in _TAKEN_OF:
        return False
    if before.kind == "word":
        lower = before.text.lower()
        return len(lower) > 1 and lower not in _FUNCTIONS and lower not in _NAMED and before.value is None
    return before.kind == "currency" and start == 1


def _closes(tokens: Sequence[Token], stop: int) -> bool:
    """Whether nothing from a token on can belong to the expression before it."""
    after = tokens[stop] if stop < len(tokens) else None
    if after is not None and after.text == ":" and _kind(tokens, stop + 1) == "number":
        return False  # a ratio: "= 3 : 6 : 1"
    if after is None or after.kind in ("end", "equal", "arrow", "close", "currency"):
        return True
    if after.kind == "word":
        touching = after.start == tokens[stop - 1].end
        return (
            (not touching or len(after.text) > 1)
            and after.text.lower() not in SCALES
            and (len(after.text) > 1 or after.text in _SINGLE_UNITS)
        )
    return after.kind == "percent"
