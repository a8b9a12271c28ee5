"""The equations that a step states; the calculations on their sides are read by `calculations.py`.

"In total she can pick 6 quarts + 5 quarts = <<6+5=11>>11 quarts" -> operands 6 and 5, operator +, value 11, stated result 11.
Only an expression of numbers, bounded on both sides by something that cannot belong to it, counts as `checkable`: in
"x + 30 = 50" and "2 sin 4 = 8" the numbers alone say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from analysis.checks.calculations import (
    FUNCTIONS,
    JOINING,
    SINGLE_UNITS,
    Expression,
    Operand,
    Parser,
    converts,
    kind_at,
)
from analysis.checks.numbers import SCALES, Token, same, tokenize, words

MARK = re.compile(r"<<([^<>]{1,400})>>")
_AMBIGUOUS = re.compile(r"[x*]\s?10\s?-\s?\d|^-\s?\d+/\d+$|/\s?[\d.]+\s?[x*]\s?10\s?\^")
"""A power of ten that lost its sign ("1.2 x 10-5") or its brackets ("/ 6 x 10^23"), or a label ("for m = -1/2 = ...")."""
_MAX_EQUATIONS = 400
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
_TAKEN_OF = words("reciprocal inverse square cube root half third quarter negative opposite") | FUNCTIONS
"""What is taken of an expression: "the reciprocal of 7/9 is 9/7"."""
_COMPARED = words("more less greater higher lower times fewer")
_RANGE = re.compile(r"(\d+)-(\d+)")


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
    margin: float
    """How far rounding alone may move the result: half of its last decimal, of its last digit where it is a percentage or
    approximate; 0 where it is calculated or a whole number."""


def read_equations(text: str, tokens: Sequence[Token] | None = None) -> list[Equation]:
    """The equations of a plain text without calculator marks, in order; at most 400 of them."""
    tokens = tokenize(text) if tokens is None else tokens
    if not any(token.kind in ("equal", "arrow") or token.text in JOINING for token in tokens):
        return []
    parser = Parser(tokens)
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
            if right is None or (implied and (right.operators or kind_at(tokens, right.stop) == "equal")):
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


def _holds(parser: Parser, tokens: Sequence[Token], index: int) -> bool:
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


def _equals(tokens: Sequence[Token], left: Expression) -> int | None:
    """Index of the first token behind the equals sign that follows an expression; None where none follows."""
    if left.stop >= len(tokens):
        return None
    token = tokens[left.stop]
    if token.kind == "equal" or (token.kind == "arrow" and left.operators):
        return left.stop + 1
    if token.kind == "word" and token.text in JOINING and left.operators:
        start = left.stop + (2 if token.text == "equal" and kind_at(tokens, left.stop + 1) == "word" else 1)
        compared = start + 1 < len(tokens) and tokens[start + 1].text in _COMPARED  # "3 + 4 is 2 less than 9"
        return None if compared else start
    return None


def _equation(text: str, tokens: Sequence[Token], left: Expression, right: Expression, approximate: bool) -> Equation:
    units = left.units | right.units
    start, stop = min(left.start, right.start), max(left.stop, right.stop)
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
        checkable=_opens(tokens, start)
        and _closes(tokens, stop)
        and len(units) < 2
        and (_agree(left, right) or not converts(tokens, left, right))
        and not _AMBIGUOUS.search(written)
        and not _is_range(written, right.value)
        and not _takes_percent(left)
        and not _counts_percents(left, right)
        and not (right.operators and tokens[right.start - 1].kind == "word")  # "50 % of 8 is 1.5 * 8 = 12" explains
        and not (units & {"cent", "cents"} and any(token.text == "$" for token in tokens[left.start : right.stop]))
        and _is_claimed(tokens, start, stop),
        approximate=approximate,
        start=tokens[left.start].start,
        margin=_margin(tokens, right, approximate),
    )


def _margin(tokens: Sequence[Token], right: Expression, approximate: bool) -> float:
    """Half of what the last written digit is worth: 0.005 for "17%", 50,000 for "1.5 million"."""
    if len(right.operands) != 1:
        return 0.0
    (stated,) = right.operands
    following = tokens[right.stop].text.lower() if right.stop < len(tokens) else ""
    decimals = len(stated.text.partition(".")[2])
    if not (decimals or approximate or stated.percent or following == "percent"):
        return 0.0
    number = float(stated.text.replace(",", ""))
    scale = stated.value / number if number else 0.01 if stated.percent else 1.0
    return 0.501 * scale * 10.0**-decimals  # .501: binary fractions are not exact


def _agree(left: Expression, right: Expression) -> bool:
    """Whether the numbers are equal as they stand, in any unit, or cannot be compared."""
    return left.value is None or right.value is None or same(left.value, right.value, 0.01)


def _is_range(written: str, result: float | None) -> bool:
    """ "Pages 10-15 = 6 pages": from a to b, and not a difference."""
    ends = _RANGE.fullmatch(written)
    return ends is not None and float(ends[1]) < float(ends[2]) and result is not None and result > 0


def _takes_percent(expression: Expression) -> bool:
    """ "100 - 15 %": may be meant as 15 % of the 100."""
    first, *rest = expression.operands
    return not first.percent and first.value > 1 and any(
        operand.percent and sign in "+-" for sign, operand in zip(expression.operators, rest, strict=False)
    )


def _counts_percents(left: Expression, right: Expression) -> bool:
    """ "48 = 100 % + 20 %": an amount that stands for so many percent."""
    shares = all(operand.percent for operand in left.operands) and set(left.operators) <= {"+", "-"}
    return shares and len(right.operands) == 1 and not right.operands[0].percent and right.operands[0].value > 1.5


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
        return len(lower) > 1 and lower not in FUNCTIONS and lower not in _NAMED and before.value is None
    return before.kind == "currency" and start == 1


def _closes(tokens: Sequence[Token], stop: int) -> bool:
    """Whether nothing from a token on can belong to the expression before it."""
    after = tokens[stop] if stop < len(tokens) else None
    if after is not None and after.text == ":" and kind_at(tokens, stop + 1) == "number":
        return False  # a ratio: "= 3 : 6 : 1"
    if after is None or after.kind in ("end", "equal", "arrow", "close", "currency"):
        return True
    if after.kind == "word":
        touching = after.start == tokens[stop - 1].end
        return (
            (not touching or len(after.text) > 1)
            and after.text.lower() not in SCALES
            and (len(after.text) > 1 or after.text in SINGLE_UNITS)
        )
    return after.kind == "percent"
