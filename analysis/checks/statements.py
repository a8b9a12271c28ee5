"""False statements that are no calculation: percentages, conversions of units, congruences, equations with letters.

    "0.4 = 4%", "1 kg = 100 g", "9 ≡ 3 (mod 5)", "2(x + 3) = 2x + 5"

An equation with letters is false only where it is false for all their values, that is where its sides differ by a constant that
is not 0: told by exact trials at a few points, then decided by SymPy on an expression built from the tokens.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

from analysis.checks.calculation import evaluate
from analysis.checks.expressions import Expression
from analysis.checks.numbers import Token, close, show
from analysis.checks.units import UNITS, conversion

_POINTS = ((2, 7, 13, 29), (3, 11, 17, 31), (-5, 19, 23, -37), (Fraction(41, 43), Fraction(-47, 53), Fraction(59, 61), 67))
"""Values of up to four letters at which an equation is tried."""
_MAX_LETTERS = 4
_MAX_ATOMS = 60
_LOOSE = Fraction(15, 100)
"""How far a conversion between systems of units may be off: 1 kg is about 2 pounds."""


class FalseStatement(NamedTuple):
    """Something that a text says and that is certainly false."""

    check: str
    message: str


def judge_bare(left: Expression, right: Expression, behind: list[Token]) -> FalseStatement | None:
    """ "0.4 = 4%" and "1 kg = 100 g": two numbers without a calculation; `behind` are the next two tokens."""
    if left.value is None or right.value is None or len(left.operands) != 1 or len(right.operands) != 1:
        return None
    shares = [side.operands[0].percent for side in (left, right)]
    if shares[0] != shares[1]:
        number, share = (right, left) if shares[0] else (left, right)
        text = number.operands[0].text
        assert number.value is not None and share.value is not None
        margin = _last_digit(text) + _last_digit(share.operands[0].text) / 100
        plain = not left.units and not right.units and behind[0].kind in ("end", "equal", "close")
        if plain and "." in text and 0 < number.value < 1 and abs(number.value - share.value) > margin:
            right_value = f"{show(left.value * 100)}%" if shares[1] else show(left.value)
            return FalseStatement("percent_false", f"{left.text} = {right_value}, not {right.text}")
        return None
    unit = next(iter(left.units), "")
    other = behind[0].text
    factor = conversion(unit, other) if unit and other != "in" and left.stop - left.start == 2 else None
    goes_on = behind[1].kind == "op" or behind[1].text in ("of", "per", "and", "a", "an")
    if factor is None or shares[0] or left.value == 0 or goes_on:
        return None
    value = left.value * factor
    exact = factor.numerator == 1 or factor.denominator == 1
    margin = abs(value) * (0 if exact else _LOOSE) + _last_digit(right.operands[0].text) * ("." in right.operands[0].text)
    if abs(value - right.value) > margin and UNITS[unit][1] != UNITS[other.lower()][1]:
        return FalseStatement("conversion_false", f"{left.text} = {show(value)} {other}, not {right.text} {other}")
    return None


def _last_digit(text: str) -> Fraction:
    """Half of what the last written digit is worth, a little more for what was rounded upwards."""
    return Fraction(501, 1000) / 10 ** len(text.partition(".")[2])


def read_modulus(tokens: list[Token], index: int) -> tuple[int | None, int]:
    """(the n of "(mod n)" or "mod n" at a token, the index behind it); (None, the index) where none stands there."""
    first = index + (tokens[index].kind == "open")
    number, named = tokens[first + 1], tokens[first].text in ("mod", "modulo")
    value = number.exact if named and number.kind == "number" else None
    if not value or value.denominator > 1:
        return None, index
    return int(value), first + 2 + (first > index and tokens[first + 2].kind == "close")


def judge_congruence(left: Expression, right: Expression, modulus: int) -> FalseStatement | None:
    """ "9 ≡ 3 (mod 5)"."""
    if left.value is None or right.value is None or left.value.denominator > 1 or right.value.denominator > 1:
        return None
    if (left.value - right.value) % modulus == 0:
        return None
    return FalseStatement("congruence_false", f"{left.text} ≡ {left.value % modulus} (mod {modulus}), not {right.text}")


def judge_letters(left: Expression, right: Expression) -> FalseStatement | None:
    """ "2(x + 3) = 2x + 5": false for every x. "x = x + 1" gives x a new value, and "64 - 2xy = 40" asks for one."""
    letters = sorted(left.symbols | right.symbols)
    if left.symbols == right.symbols == {"π"}:
        one, other = (evaluate(side.atoms, {"π": Fraction(math.pi)}) for side in (left, right))
        false = one is not None and other is not None and not close(one, other)
        return FalseStatement("identity_false", f"{left.text} is not {right.text}") if false else None
    lone = min(len(side.atoms) - (side.atoms[0].text == "-") for side in (left, right)) < 2
    if lone or len(letters) > _MAX_LETTERS or len(left.atoms) + len(right.atoms) > _MAX_ATOMS:
        return None
    differences = []
    for point in _POINTS:
        names = dict(zip(letters, [Fraction(value) for value in point], strict=False))
        one, other = evaluate(left.atoms, names), evaluate(right.atoms, names)
        if one is None or other is None:
            return None
        differences.append(one - other)
        if differences[-1] == 0 or differences[-1] != differences[0]:
            return None
    if not _differ_by_a_constant(left, right, letters):
        return None
    return FalseStatement("identity_false", f"{left.text} = {right.text} is false for every {' and '.join(letters)}")


def _differ_by_a_constant(left: Expression, right: Expression, letters: list[str]) -> bool:
    """SymPy's word; expressions are small, and powers of letters are at most 12, so this takes no time that matters."""
    import sympy

    names: dict[str, Any] = {letter: sympy.Symbol(letter) for letter in letters}
    difference = sympy.cancel(evaluate(left.atoms, names) - evaluate(right.atoms, names))
    return bool(difference.is_number) and bool(difference.is_nonzero)
