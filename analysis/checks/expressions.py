"""Tokens -> expressions and their exact values. Nothing is evaluated as code, and nothing is recursive.

`evaluate` works out tokens by operator precedence: + - * / ^, brackets, roots, factorials, C(n, k) and an implied product as in
3(7 + 5). `read_expression` finds where in a text such tokens stand: it passes over the units in "5 apples + 3 * (2 + 1) apples".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from analysis.checks.numbers import SCALES, Token, words
from analysis.checks.units import SHORT_UNITS, UNITS

MAX_BITS = 2_000
"""Intermediate results beyond this size have no value here."""
MAX_TOKENS = 3_000
"""Expressions of more tokens than this have no value here."""
_MAX_READ = 120
"""Tokens of one expression in running text."""
JOINING = words("is equals equal gives makes are")
FUNCTIONS = words(
    "sin cos tan sec csc cot log ln exp lim mod sqrt root square cube cubed squared gcd lcm max min det floor"
)
CONJUNCTIONS = words("because since and so then when if but as or that which")
_ORDINALS = words("st nd rd th am pm")
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "implied": 2, "neg": 3, "^": 4, "√": 5}


def evaluate(tokens: Sequence[Token], names: Mapping[str, Any] | None = None, *, tight: bool = False) -> Any:
    """The value, `names` giving the value of letters; None where there is none.

    A bracket too few at the end or too many is forgiven, because that is a slip of writing, not of arithmetic. `tight` reads
    12 / 3/4 as 12 / (3/4) and 1/2(5) as 1/(2(5)). The values of letters, and so the result, may be of any kind that calculates.
    """
    if not tokens or len(tokens) > MAX_TOKENS:
        return None
    work = _Work(names or {}, tight)
    return work.values[0] if all(map(work.take, tokens)) and work.finish() else None


class _Work:
    """Values and operators of an expression that is being worked out."""

    def __init__(self, names: Mapping[str, Any], tight: bool) -> None:
        self.names = names
        self.precedence = _PRECEDENCE | {"implied": 2.5} if tight else _PRECEDENCE
        self.tight = tight
        self.values: list[Any] = []
        self.operators: list[str] = []
        self.operand_next = True
        self.number_before = False

    def take(self, token: Token) -> bool:
        """One token more; False where the whole has no value."""
        number_before, self.number_before = self.number_before, token.kind == "number"
        if token.kind == "op":
            readable = self._operator("^" if token.text == "**" else token.text)
        elif token.kind == "close":
            readable = not self.operand_next and self._close()
        elif token.text == "!":
            return not self.operand_next and self._apply("!")
        elif token.text == ",":
            readable = not self.operand_next and self._close(keep=True)
            self.operand_next = True
        elif number_before and token.kind == "number":
            readable = False
        else:
            readable = (self.operand_next or self._push("implied")) and self._operand(token)
        return readable

    def finish(self) -> bool:
        """Work out what is left; False where that is no single value."""
        while self.operators and not self.operand_next:
            operator = self.operators.pop()
            if operator == "C" or (operator != "(" and not self._apply(operator)):
                return False
        return not self.operand_next and len(self.values) == 1

    def _operator(self, sign: str) -> bool:
        if not self.operand_next:
            self.operand_next = True
            return self._push(sign)
        if sign == "-":
            self.operators.append("neg")
        return sign in "+-"

    def _operand(self, token: Token) -> bool:
        self.operand_next = token.kind in ("open", "root") or token.text == "C("
        if self.operand_next:
            self.operators.append({"root": "√", "open": "("}.get(token.kind, "C"))
            return True
        value = token.exact if token.kind == "number" else self.names.get(token.text)
        self.values.append(value)
        return value is not None

    def _close(self, keep: bool = False) -> bool:
        while self.operators and self.operators[-1] not in "(C":
            if not self._apply(self.operators.pop()):
                return False
        if keep:
            return bool(self.operators) and self.operators[-1] == "C"
        return not self.operators or self.operators.pop() == "(" or self._apply("C")

    def _push(self, operator: str) -> bool:
        rank = self.precedence[operator]
        while self.operators and self.operators[-1] not in "(C":
            before = self.precedence[self.operators[-1]]
            if before < rank or (before == rank and (operator == "^" or (self.tight and operator == "/"))):
                break
            if not self._apply(self.operators.pop()):
                return False
        self.operators.append(operator)
        return True

    def _apply(self, operator: str) -> bool:
        needed = 1 if operator in ("neg", "√", "!") else 2
        if len(self.values) < needed:
            return False
        right = self.values.pop()
        left = self.values.pop() if needed == 2 else None
        value = calculate(operator, left, right)
        self.values.append(value)
        return value is not None


def calculate(operator: str, left: Any, right: Any) -> Any:
    """One operation; None where it has no value, or none of a size that is worth having. Roots are rounded where they must be."""
    if operator == "neg":
        return -right
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


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _power(base: Any, exponent: Any) -> Any:
    if not isinstance(exponent, Fraction):
        return None
    if exponent.denominator > 1:
        return _special("√", None, base) if exponent == Fraction(1, 2) else None
    if abs(exponent) > 1_000 or (base == 0 and exponent < 0):
        return None
    if not isinstance(base, Fraction):
        return base ** int(exponent) if abs(exponent) <= 12 else None
    return base ** int(exponent) if _bits(base) * abs(exponent) <= MAX_BITS else None


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


def _value(atoms: list[Token]) -> Fraction | None:
    """`evaluate`, with a short way for two numbers and a sign between them: most expressions are that."""
    if len(atoms) == 3 and atoms[1].kind == "op" and atoms[0].exact is not None and atoms[2].exact is not None:
        value: Fraction | None = calculate(atoms[1].text, atoms[0].exact, atoms[2].exact)
        return value
    result: Fraction | None = evaluate(atoms)
    return result


class Operand(NamedTuple):
    """One number of an expression."""

    value: float
    text: str
    percent: bool = False


@dataclass(slots=True)
class Expression:
    """What was read: numbers and letters joined by operators."""

    atoms: list[Token]
    """What `evaluate` takes: without units, a percentage as a number."""
    operands: list[Operand]
    operators: list[str]
    start: int
    """Index of the first token, a currency sign included."""
    stop: int
    """Index after the last token, a unit included."""
    units: set[str] = field(default_factory=set)
    """Words of `UNITS` behind its numbers."""
    symbols: set[str] = field(default_factory=set)
    """Letters that stand for a number."""
    rounded: bool = False
    """A number has a scale ("2.5 million")."""
    value: Fraction | None = None


class ExpressionReader:
    """Finds expressions in the tokens of a text. Linear: a bracket that once led nowhere is not tried again.

    The tokens are padded (`numbers.padded`).
    """

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self._dead: set[int] = set()

    def read(self, start: int) -> Expression | None:
        """The longest expression that begins at a token; None where none does."""
        if start in self._dead:
            return None
        found = Expression([], [], [], start, start)
        good: tuple[int, int, int] | None = None
        """Atoms, operands and operators up to the last place where the expression may end."""
        brackets: list[int] = []
        operand_next = True
        index, limit = start, min(len(self.tokens) - 4, start + _MAX_READ)
        while index < limit:
            if operand_next:
                following, operand_next = self._operand(index, found, brackets)
            else:
                following, operand_next = self._joint(index, found, brackets)
            if following == index:
                break
            index = following
            if not operand_next and not brackets:
                found.stop = index = self._pass_units(index, found)
                good = len(found.atoms), len(found.operands), len(found.operators)
            elif not operand_next:
                index = self._pass_units(index, found)
        if good is None:
            self._dead.update(brackets)
            return None
        found.atoms, found.operands, found.operators = (
            found.atoms[: good[0]], found.operands[: good[1]], found.operators[: good[2]],
        )  # fmt: skip
        if len(found.atoms) == 1 and found.operands:
            found.value = found.atoms[0].exact
            return found
        found.symbols = {atom.text for atom in found.atoms if atom.kind == "word"}
        found.value = None if found.symbols else _value(found.atoms)
        return found

    def _operand(self, index: int, found: Expression, brackets: list[int]) -> tuple[int, bool]:
        """Take what may stand where a number is due; returns the next place and whether a number is still due there."""
        token = self.tokens[index]
        following = self.tokens[index + 1]
        chosen = token.kind == "digits" and brackets and self.tokens[brackets[-1] - 1].text == "C"  # C(5,2)
        if token.kind == "number" or chosen:
            return self._number(index, found), False
        if token.kind == "currency" and following.kind == "number":
            return index + 1, True
        if token.text == "-" and following.kind in ("number", "currency", "open", "root", "word"):
            if following.kind != "word" or self._is_symbol(index + 1):
                found.atoms.append(token)
                return index + 1, True
        elif (token.kind == "open" and index not in self._dead) or token.kind == "root":
            if token.kind == "open":
                brackets.append(index)
            else:
                found.operators.append("√")
            found.atoms.append(token)
            return index + 1, True
        elif token.text == "C" and following.text == "(" and following.start == token.end:
            brackets.append(index + 1)
            found.atoms.append(token._replace(kind="choose", text="C("))
            found.operators.append("C")
            return index + 2, True
        elif token.kind == "word" and self._is_symbol(index):
            found.atoms.append(token)
            return index + 1, False
        return index, True

    def _number(self, index: int, found: Expression) -> int:
        token = self.tokens[index]
        assert token.exact is not None
        value, stop, percent = token.exact, index + 1, False
        following = self.tokens[stop]
        if following.kind == "word" and following.text.lower() in SCALES and self._is_scale(index):
            value *= SCALES[following.text.lower()]
            stop += 1
            found.rounded = True
        if self.tokens[stop].kind == "percent":
            value, stop, percent = value / 100, stop + 1, True
        if self.tokens[stop].kind == "currency" and self.tokens[stop].start == self.tokens[stop - 1].end:
            stop += 1  # 10€
        as_written = value is token.exact and token.kind == "number"
        found.atoms.append(token if as_written else token._replace(kind="number", exact=value))
        number = token.value if as_written and token.value is not None else float(value)
        found.operands.append(Operand(number, token.text, percent))
        return stop

    def _is_scale(self, index: int) -> bool:
        """Whether the word behind a number multiplies it: 4K is four times K, $4K is a price."""
        return len(self.tokens[index + 1].text) > 1 or self.tokens[index - 1].kind == "currency"

    def _joint(self, index: int, found: Expression, brackets: list[int]) -> tuple[int, bool]:
        """Take what may stand behind an operand; returns the next place and whether a number is due there."""
        token, before = self.tokens[index], self.tokens[index - 1]
        operator = self._operator(index)
        if operator:
            found.atoms.append(Token("op", operator, token.start, token.end))
            found.operators.append(operator)
            return index + 1, True
        if token.kind == "close" and brackets:
            brackets.pop()
            found.atoms.append(token)
            return index + 1, False
        if token.text == "," and brackets and self.tokens[brackets[-1] - 1].text == "C":
            found.atoms.append(token)
            return index + 1, True
        touching = token.start == before.end
        if token.text == "!" and touching and self.tokens[index + 1].kind in ("op", "equal", "close"):
            found.atoms.append(token)
            found.operators.append("!")
            return index + 1, False
        if token.kind in ("open", "root") and touching and before.kind in ("number", "close"):
            if self.tokens[index + 1].kind != "word" or self._is_symbol(index + 1):
                found.operators.append("*")
                return self._operand(index, found, brackets)
        elif token.kind == "word" and touching and before.kind in ("number", "close") and self._is_product(token):
            for place, letter in enumerate(token.text):
                found.atoms.append(Token("word", letter, token.start + place, token.start + place + 1))
            return index + 1, False
        return index, False

    def _operator(self, index: int) -> str | None:
        """The operator at a token: a sign, an x between two numbers, or the "of" of "20 % of 50" and "1/2 of 48"."""
        token, following = self.tokens[index], self.tokens[index + 1]
        if token.kind == "op":
            return "^" if token.text == "**" else token.text
        if token.kind == "word" and token.text in ("x", "X") and following.kind in ("number", "currency", "open"):
            return "*"
        if token.text == "of" and following.kind in ("number", "currency"):
            before = self.tokens[index - 1].kind
            fraction = before == "number" and self.tokens[index - 2].text == "/"
            return "*" if before == "percent" or fraction else None
        return None

    def _is_product(self, token: Token) -> bool:
        """Letters behind a number that multiply it: "3x", "2xy", not "5cm" and not "3rd"."""
        text = token.text
        return len(text) == 1 or (len(text) <= 3 and not {text, text.lower()} & (UNITS.keys() | _ORDINALS | SCALES.keys()))

    def _is_symbol(self, index: int) -> bool:
        """Whether a word where a number is due is a letter that stands for one."""
        token, following = self.tokens[index], self.tokens[index + 1]
        if len(token.text) > 1 or token.text in ("I", "C"):
            return False
        if following.kind == "open":
            return following.start > token.end  # f(2)
        return following.kind in ("op", "equal", "close", "congruent") or (following.kind == "end" and token.text not in "aA")

    def _pass_units(self, stop: int, found: Expression) -> int:
        """Behind the unit or remark of a number ("5 apples + ...", "5 (apples) + ...") where the expression goes on after it."""
        first = stop
        names: list[str] = []
        while len(names) < 4 and self.tokens[stop].kind == "word" and self.tokens[stop].text.lower() not in JOINING:
            text = self.tokens[stop].text
            touching = self.tokens[stop].start == self.tokens[stop - 1].end
            if (touching and self._is_product(self.tokens[stop])) or (len(text) == 1 and text not in SHORT_UNITS):
                return first
            if text in ("x", "X") or text[0].isupper() or text in CONJUNCTIONS:
                return first
            names.append(text.lower())
            stop += 1
        if names and names[0] in FUNCTIONS:
            return first
        following = self.tokens[stop + 1]
        is_unit = following.text.islower() and (len(following.text) > 1 or following.text in SHORT_UNITS)
        if names and self.tokens[stop].text == "/" and following.kind == "word" and is_unit:  # "2 dollars/hour"
            names.append(following.text)
            stop += 2
        stop = self._pass_remark(stop)
        after = self.tokens[stop]
        if stop == first or after.text in ("^", "**"):
            return first
        if after.kind in ("op", "equal", "close") or (after.kind == "word" and after.text in ("x", "X")):
            found.units.update(name for name in names if name in UNITS)
            return stop
        return first

    def _pass_remark(self, stop: int) -> int:
        """Behind words in brackets: "4 hours (travel)"."""
        opening = self.tokens[stop]
        if opening.text != "(" or opening.start == self.tokens[stop - 1].end:
            return stop
        for place in range(stop + 1, min(stop + 6, len(self.tokens))):
            if self.tokens[place].kind == "close" and place > stop + 1:
                return place + 1
            if self.tokens[place].kind != "word" or len(self.tokens[place].text) < 2:
                break
        return stop
