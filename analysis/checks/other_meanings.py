"""What an equation that looks false may have meant: another unit, a range, a share, another binding of its signs.

An equation that may have meant something else is not judged ("24 + 12 = 3 dozen", "pages 10-15 = 6 pages", "25 / 1/3 = 75").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import takewhile

from analysis.checks.calculation import evaluate
from analysis.checks.expressions import CONJUNCTIONS, JOINING, Expression
from analysis.checks.numbers import MULTIPLES, Token, close, words
from analysis.checks.units import UNITS, may_convert

_AMBIGUOUS = re.compile(r"[x*]\s?10\s?-\s?\d|^-\s?\d+/\d+$|/\s?[\d.]+\s?[x*]\s?10\s?\^|\^\s?1\s?/")
"""A power of ten that lost its sign ("1.2 x 10-5") or its brackets ("/ 6 x 10^23"), a label ("for m = -1/2 = ..."), or a root
("64^1/3")."""
_MIXED = re.compile(r"(?<![\d.])\d+-\d+/\d+(?![\d.])")
"""A whole number and a fraction: 2-1/2 for 2 1/2."""
_NAMED = re.compile(r"[a-z]")
"""Of operators: a function such as gcd or floor."""
_LINKING = CONJUNCTIONS | JOINING | words("in of per a an each every for to from by with on at after before")
"""A word behind one of these is no unit of the number before: "4 per hour", "36 in total"."""
_RANGE = re.compile(r"(\d+)-(\d+)")


def may_mean_otherwise(tokens: Sequence[Token], left: Expression, right: Expression, start: int, stop: int) -> bool:
    """Whether `left = right`, the tokens from `start` to `stop`, may have meant something else than it says."""
    return (
        _AMBIGUOUS.search(left.text) is not None
        or _MIXED.search(f"{left.text} = {right.text}") is not None
        or _is_range(left.text, right)
        or (tokens[start - 1].text == "-" and _are_opposite(left, right))  # "-gcd(4, 6) = -2"
        or (_NAMED.search(left.operators) is not None and "." in right.text)  # "ceil(10/3) = 3.33"
        or _takes_percent(left)
        or _counts_percents(left, right)
        or (tokens[right.start - 1].kind == "word" and (bool(right.operators) or _is_share(left, right)))  # "8 is 1.5 * 8 = 12"
        or any(token.text == "of" for token in tokens[right.start : right.stop])  # "3/3 - 2/3 = 1/3 of $150"
        or _changes_unit(tokens, left, right, start, stop)
        or _holds_otherwise(left, right)
    )


def _holds_otherwise(left: Expression, right: Expression) -> bool:
    """Whether an equation is false as it stands and true where the last quotient binds first ("25 / 1/3 = 75") or digits in
    brackets repeat ("0.1(6) = 1/6").
    """
    if left.value == right.value:
        return False
    for tight in (True, False):
        one, other = (evaluate(side.atoms if tight else _repeating(side.atoms), tight=tight) for side in (left, right))
        changes = one != left.value or other != right.value
        if changes and (close(one, right.value) or close(left.value, other) or close(one, other)):
            return True
    return False


def _repeating(atoms: list[Token]) -> list[Token]:
    """The tokens with "1.2(3)" as 1.2333..."""
    expanded: list[Token] = []
    for atom in atoms:
        expanded.append(atom)
        number, opening, period = expanded[-4:-1] if atom.text == ")" and len(expanded) > 3 else (None, atom, atom)
        if number and number.exact is not None and "." in number.text and number.end == opening.start and period.text.isdigit():
            worth = 10 ** len(number.text.partition(".")[2]) * (10 ** len(period.text) - 1)
            expanded[-4:] = [number._replace(exact=number.exact + Fraction(int(period.text), worth))]
    return expanded


def _is_range(left: str, right: Expression) -> bool:
    """ "Pages 10-15 = 6 pages": from a to b, and not a difference."""
    ends = _RANGE.fullmatch(left)
    return ends is not None and int(ends[1]) < int(ends[2]) and right.value is not None and right.value > 0


def _are_opposite(left: Expression, right: Expression) -> bool:
    return left.value is not None and right.value is not None and left.value == -right.value


def _is_share(left: Expression, right: Expression) -> bool:
    """ "4/7 is equal to $24": so much of something."""
    return left.operators == "/" and left.value is not None and right.value is not None and left.value < 1 < right.value


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


def _changes_unit(tokens: Sequence[Token], left: Expression, right: Expression, start: int, stop: int) -> bool:
    """Whether the sides may count different things: "15 minutes * 4 = 1 hour", "3 dozen + 4 = 40 eggs"."""
    units, signs = left.units | right.units, left.operators + right.operators
    several = any(UNITS[word][0] == "several" for word in units)
    if signs and not several and _cancel(tokens, left, right):
        return False
    adds = {"+", "-"} & {*signs} or signs.count("/") > 1 or several
    if may_convert(units) or (adds and len({UNITS[word][1] for word in units}) > 1):
        return True
    if units & {"cent", "cents"} and any(token.text == "$" for token in tokens[start:stop]):
        return True
    if left.value is None or right.value is None or close(left.value, right.value):
        return False
    words_behind = takewhile(lambda token: token.kind == "word" and token.text.lower() not in _LINKING, tokens[stop : stop + 3])
    behind = {token.text.lower() for token in words_behind} & UNITS.keys()
    counted = MULTIPLES.get(next(iter(behind), ""))
    if counted and not several:  # "24 + 12 = 3 dozen"
        return left.value == right.value * counted or right.value == left.value * counted
    priced = {"dollars"} if any(token.text == "$" for token in tokens[max(0, start - 1) : stop]) else set()
    named = _NAMED.search(left.operators) is not None  # "lcm(15, 20) = 1 hour"
    return several or may_convert(units | behind | priced) or (named and bool(units | behind))


def _cancel(tokens: Sequence[Token], left: Expression, right: Expression) -> bool:
    """Whether the units of a product cancel to that of the result: "8 hours/day * 5 days/week = 40 hours/week"."""
    if set(left.operators) != {"*"} or right.operators:
        return False
    powers: Counter[str] = Counter()
    for sign, side in ((1, tokens[left.start : left.stop]), (-1, tokens[right.start : right.stop + 3])):
        power = sign
        for token in takewhile(lambda token: token.kind not in ("end", "close"), side):
            if token.kind == "number":
                power = sign
            elif token.text in ("/", "per"):
                power = -sign
            elif token.text.lower() in UNITS:
                powers[UNITS[token.text.lower()][1]] += power
    return bool(powers) and not any(powers.values())
