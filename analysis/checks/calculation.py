"""Tokens of an expression -> its exact value, by operator precedence. Nothing is evaluated as code.

`evaluate` works out + - * / ^, brackets, roots, factorials, C(n, k) and the other CALLS, and an implied product as in 3(7 + 5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from analysis.checks.numbers import NOTHING, Token, words

MAX_BITS = 2_000
"""Intermediate results beyond this size have no value here."""
MAX_TOKENS = 3_000
"""Expressions of more tokens than this have no value here."""
_MAX_DEPTH = 100
"""Expressions with more brackets and signs within each other than this have no value here."""
CALLS = {name: name for name in words("C gcd lcm floor ceil abs logbase")}
CALLS |= dict.fromkeys(words("GCD GCF HCF gcf hcf"), "gcd") | {"LCM": "lcm", "ceiling": "ceil"}
"""Functions of arguments in brackets. logbase(b, n) is made by `plain_text.py`: in people's log(b, n) nobody knows the base."""
_OF_ONE: Mapping[str, Any] = {"abs": abs, "floor": math.floor, "ceil": math.ceil}
_RANKS = {"+": 1, "-": 1, "*": 2, "/": 2, "implied": 2, "sign": 3, "^": 4, "√": 5}
_TIGHT_RANKS = _RANKS | {"/": 2.4, "implied": 2.5}


def evaluate(tokens: Sequence[Token], names: Mapping[str, Any] | None = None, *, tight: bool = False) -> Any:
    """The value, `names` giving the value of letters; None where there is none.

    A bracket too few at the end or too many is forgiven, because that is a slip of writing, not of arithmetic. `tight` reads
    12 / 3/4 as 12 / (3/4) and 1/2(5) as 1/(2(5)). The values of letters, and so the result, may be of any kind that calculates.
    """
    if len(tokens) == 1 and tokens[0].kind == "number":  # most expressions of a text
        return tokens[0].exact
    return _Calculation(tokens, names or {}, tight).value() if len(tokens) <= MAX_TOKENS else None


class _Calculation:
    """Precedence climbing over the tokens of an expression; None from any of its methods: there is no value."""

    def __init__(self, tokens: Sequence[Token], names: Mapping[str, Any], tight: bool) -> None:
        self.tokens = [*tokens, NOTHING]
        self.names = names
        self.ranks: Mapping[str, float] = _TIGHT_RANKS if tight else _RANKS
        self.from_right = "^/" if tight else "^"
        self.at = 0

    def value(self) -> Any:
        """Value of the whole; what stands before a bracket too many counts as within it."""
        value = self._operation(0, 0)
        while value is not None and self.tokens[self.at].kind == "close":
            self.at += 1
            value = self._operation(0, 0, value)
        return value if self.at == len(self.tokens) - 1 else None

    def _operation(self, lowest: float, depth: int, left: Any = None) -> Any:
        """Value of what the operators of at least a rank join, up to a closing bracket, a comma or the end."""
        left = self._operand(depth) if left is None else left
        while left is not None:
            token = self.tokens[self.at]
            if token.text == "!":
                self.at += 1
                left = calculate("!", None, left)
                continue
            if token.kind == "close" or token.text == "," or token is self.tokens[-1]:
                break
            operator = ("^" if token.text == "**" else token.text) if token.kind == "op" else "implied"
            rank = self.ranks[operator]
            if rank < lowest:
                break
            if operator != "implied":
                self.at += 1
            elif token.kind == self.tokens[self.at - 1].kind == "number":
                return None
            right = self._operation(rank if operator in self.from_right else rank + 0.1, depth + 1)
            left = None if right is None else calculate(operator, left, right)
        return left

    def _operand(self, depth: int) -> Any:
        token = self.tokens[self.at]
        if depth > _MAX_DEPTH or token is self.tokens[-1]:
            return None
        self.at += 1
        if token.kind == "number":
            return token.exact
        if token.kind == "op" and token.text in "+-":
            value = self._operation(self.ranks["sign"], depth + 1)
            return value if value is None or token.text == "+" else -value
        if token.kind == "root":
            value = self._operation(self.ranks["√"], depth + 1)
            return None if value is None else calculate("√", None, value)
        if token.kind == "call":
            return self._call(CALLS[token.text], depth)
        if token.kind != "open":
            return self.names.get(token.text)
        value = self._operation(0, depth + 1)
        if self.tokens[self.at].text == ",":
            return None
        self.at += self.tokens[self.at].kind == "close"
        return value

    def _call(self, function: str, depth: int) -> Any:
        begin, arguments = self.at, [self._operation(0, depth + 1)]
        while arguments[-1] is not None and self.tokens[self.at].text == ",":
            self.at += 1
            arguments.append(self._operation(0, depth + 1))
        if self.tokens[self.at].kind != "close" or not all(isinstance(each, Fraction) for each in arguments):
            return None
        if function in ("floor", "ceil") and self.at == begin + 1 and arguments[0].denominator == 1:
            return None  # "the rooms on floor(3) = 15"
        if any(token.kind == "number" and "," in token.text for token in self.tokens[begin : self.at]):
            return None  # how many numbers are gcd(12,180, 24) of?
        self.at += 1
        behind = self.tokens[self.at]
        if function == "logbase" and (behind.kind in ("number", "open", "root", "word", "call") or behind.text in ("^", "**", "!")):
            return None  # of what?
        return called(function, *arguments)


def calculate(operator: str, left: Any, right: Any) -> Any:
    """One operation; None where it has no value, or none of a size that is worth having. Roots are rounded where they must be."""
    if operator in ("^", "√", "!", "C"):
        return _power(left, right) if operator == "^" else _special(operator, left, right)
    if operator == "+":
        value = left + right
    elif operator == "-":
        value = left - right
    elif operator == "/":
        value = left / right if right != 0 else None
    else:
        value = left * right
    return value if not isinstance(value, Fraction) or _bits(value) <= MAX_BITS else None


def called(function: str, *arguments: Fraction) -> Fraction | None:
    """The value of one of CALLS; None for arguments that it does not take, and for a logarithm that is no whole number."""
    first, count = arguments[0], len(arguments)
    counting = all(each.denominator == 1 and each > 0 for each in arguments)
    if max(map(_bits, arguments)) > 400:
        return None
    if count == 1:
        rounded = function != "abs" and 0 < abs(first - round(first)) <= abs(first) / 10**9  # of roots, which are rounded
        return Fraction(_OF_ONE[function](first)) if function in _OF_ONE and not rounded else None
    if function in ("gcd", "lcm") and counting:
        return Fraction((math.gcd if function == "gcd" else math.lcm)(*map(int, arguments)))
    if function == "C" and count == 2:
        return _special("C", first, arguments[1])
    if function == "logbase" and count == 2 and counting and first > 1:
        return next((Fraction(k) for k in range(400) if first**k == arguments[1]), None)
    return None


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _power(base: Any, exponent: Any) -> Any:
    if not isinstance(exponent, Fraction):
        return None
    if exponent == Fraction(1, 2):
        return _special("√", None, base)
    if exponent.denominator > 1:
        base, exponent = _exact_root(base, exponent.denominator), Fraction(exponent.numerator)
        if base is None:
            return None
    if abs(exponent) > 1_000 or (base == 0 and exponent < 0):
        return None
    if not isinstance(base, Fraction):
        return base ** int(exponent) if abs(exponent) <= 12 else None
    return base ** int(exponent) if _bits(base) * abs(exponent) <= MAX_BITS else None


def _exact_root(base: Any, degree: int) -> Fraction | None:
    """The root of a fraction that has one; None for any other."""
    if not isinstance(base, Fraction) or base < 0 or _bits(base) > 50 or degree > 12:
        return None
    root = Fraction(*(round(number ** (1 / degree)) for number in (base.numerator, base.denominator)))
    return root if root**degree == base else None


def _special(operator: str, left: Any, right: Any) -> Any:
    if not isinstance(right, Fraction) or right < 0 or _bits(right) > 400:
        return None
    if operator == "√":
        top, bottom = math.isqrt(right.numerator), math.isqrt(right.denominator)
        exact = top * top == right.numerator and bottom * bottom == right.denominator
        return Fraction(top, bottom) if exact else Fraction(math.sqrt(right))
    if right.denominator > 1 or right > 150:
        return None
    if operator == "!":
        return Fraction(math.factorial(int(right)))
    whole = isinstance(left, Fraction) and left.denominator == 1 and 0 <= left <= 1_000
    return Fraction(math.comb(int(left), int(right))) if whole else None
