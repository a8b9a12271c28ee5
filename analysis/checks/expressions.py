"""Tokens -> expressions and their exact values. Nothing is evaluated as code.

`evaluate` works out tokens by operator precedence: + - * / ^, brackets, roots, factorials, C(n, k) and the other CALLS, and an
implied product as in 3(7 + 5). `ExpressionReader` finds where in a text such tokens stand: it passes over the units in "5 apples +
3 * (2 + 1) apples".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from analysis.checks.numbers import NOTHING, SCALES, Token, words
from analysis.checks.units import SHORT_UNITS, UNITS

MAX_BITS = 2_000
"""Intermediate results beyond this size have no value here."""
MAX_TOKENS = 3_000
"""Expressions of more tokens than this have no value here."""
_MAX_DEPTH = 100
"""Expressions with more brackets and signs within each other than this have no value here."""
_MAX_READ = 120
"""Tokens of one expression in running text."""
JOINING = words("is equals equal gives makes yields are")
FUNCTIONS = words(
    "sin cos tan sec csc cot log ln exp lim mod sqrt root square cube cubed squared gcd lcm max min det floor"
)
CALLS = {name: name for name in words("C gcd lcm floor ceil abs logbase")}
CALLS |= dict.fromkeys(words("GCD GCF HCF gcf hcf"), "gcd") | {"LCM": "lcm", "ceiling": "ceil"}
"""Functions of arguments in brackets. logbase(b, n) is made by `plain_text.py`: in people's log(b, n) nobody knows the base."""
_OF_ONE: Mapping[str, Any] = {"abs": abs, "floor": math.floor, "ceil": math.ceil}
CONJUNCTIONS = words("because since and so then when if but as or that which")
_ORDINALS = words("st nd rd th am pm")
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
    operators: str
    """In the order of the text, out of + - * / ^ ! √ and CALLS; a sign in front of a number is none."""
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
    """None with letters, for a division by zero or for a number out of range."""
    text: str = ""
    """As written, without a currency sign in front."""


class ExpressionReader:
    """Finds expressions in the tokens of a text. Linear: a bracket that once led nowhere is not tried again.

    The tokens are those of the text, padded (`numbers.padded`).
    """

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self.text = text
        self.tokens = tokens
        self._dead: set[int] = set()

    def read(self, start: int) -> Expression | None:
        """The longest expression that begins at a token; None where none does."""
        if start in self._dead:
            return None
        side = Expression([], [], "", start, start)
        whole: tuple[int, int, int] | None = None
        """Atoms, operands and operators up to the last place where the expression may end."""
        brackets: list[int] = []
        operand_next = True
        index, limit = start, min(len(self.tokens) - 4, start + _MAX_READ)
        while index < limit:
            if operand_next:
                following, operand_next = self._operand(index, side, brackets)
            else:
                following, operand_next = self._joint(index, side, brackets)
            if following == index:
                break
            index = following
            if not operand_next and not brackets:
                side.stop = index = self._pass_units(index, side)
                whole = len(side.atoms), len(side.operands), len(side.operators)
            elif not operand_next:
                index = self._pass_units(index, side)
        if whole is None:
            self._dead.update(brackets)
            return None
        del side.atoms[whole[0] :], side.operands[whole[1] :]
        side.operators = side.operators[: whole[2]]
        side.symbols = {atom.text for atom in side.atoms if atom.kind == "word"}
        side.value = None if side.symbols else evaluate(side.atoms)
        first = self.tokens[start + (self.tokens[start].kind == "currency")]
        side.text = self.text[first.start : self.tokens[side.stop - 1].end].strip()
        return side

    def _operand(self, index: int, side: Expression, brackets: list[int]) -> tuple[int, bool]:
        """Take what may stand where a number is due; returns the next place and whether a number is still due there."""
        token = self.tokens[index]
        following = self.tokens[index + 1]
        chosen = token.kind == "digits" and brackets and self.tokens[brackets[-1] - 1].text in CALLS  # C(5,2)
        if token.kind == "number" or chosen:
            return self._number(index, side), False
        if token.kind == "currency" and following.kind == "number":
            return index + 1, True
        if token.text == "-" and following.kind in ("number", "currency", "open", "root", "word"):
            if following.kind != "word" or self._is_symbol(index + 1):
                side.atoms.append(token)
                return index + 1, True
        elif (token.kind == "open" and index not in self._dead) or token.kind == "root":
            if token.kind == "open":
                brackets.append(index)
            else:
                side.operators += "√"
            side.atoms.append(token)
            return index + 1, True
        elif token.text in CALLS and following.text == "(" and following.start == token.end and index + 1 not in self._dead:
            brackets.append(index + 1)
            side.atoms.append(token._replace(kind="call"))
            side.operators += CALLS[token.text]
            return index + 2, True
        elif token.kind == "word" and self._is_symbol(index):
            side.atoms.append(token)
            return index + 1, False
        return index, True

    def _number(self, index: int, side: Expression) -> int:
        token = self.tokens[index]
        assert token.exact is not None
        value, stop, percent = token.exact, index + 1, False
        following = self.tokens[stop]
        if following.kind == "word" and following.text.lower() in SCALES and self._is_scale(index):
            value *= SCALES[following.text.lower()]
            stop += 1
            side.rounded = True
        if self.tokens[stop].kind == "percent":
            value, stop, percent = value / 100, stop + 1, True
        sign, behind = self.tokens[stop], self.tokens[stop + 1]
        if sign.kind == "currency" and (sign.start == self.tokens[stop - 1].end or (sign.text == "€" and sign.end < behind.start)):
            stop += 1  # 10€, 10 €
        as_written = value is token.exact and token.kind == "number"
        side.atoms.append(token if as_written else token._replace(kind="number", exact=value))
        number = token.value if as_written and token.value is not None else float(value)
        side.operands.append(Operand(number, token.text, percent))
        return stop

    def _is_scale(self, index: int) -> bool:
        """Whether the word behind a number multiplies it: 4K is four times K, $4K is a price."""
        return len(self.tokens[index + 1].text) > 1 or self.tokens[index - 1].kind == "currency"

    def _joint(self, index: int, side: Expression, brackets: list[int]) -> tuple[int, bool]:
        """Take what may stand behind an operand; returns the next place and whether a number is due there."""
        token, before = self.tokens[index], self.tokens[index - 1]
        operator = self._operator(index)
        if operator:
            side.atoms.append(Token("op", operator, token.start, token.end))
            side.operators += operator
            return index + 1, True
        if token.kind == "close" and brackets:
            brackets.pop()
            side.atoms.append(token)
            return index + 1, False
        if token.text == "," and brackets and self.tokens[brackets[-1] - 1].text in CALLS:
            side.atoms.append(token)
            return index + 1, True
        touching = token.start == before.end
        if token.text == "!" and touching and self.tokens[index + 1].kind in ("op", "equal", "close"):
            side.atoms.append(token)
            side.operators += "!"
            return index + 1, False
        if token.kind in ("open", "root") and touching and before.kind in ("number", "close"):
            if self.tokens[index + 1].kind != "word" or self._is_symbol(index + 1):
                side.operators += "*"
                return self._operand(index, side, brackets)
        elif token.kind == "word" and touching and before.kind in ("number", "close") and self._is_product(token):
            for place, letter in enumerate(token.text):
                side.atoms.append(Token("word", letter, token.start + place, token.start + place + 1))
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

    def _pass_units(self, stop: int, side: Expression) -> int:
        """Behind the unit or remark of a number ("5 apples + ...", "5 (apples) + ...") where the expression goes on after it."""
        first = stop
        names: list[str] = []
        per = self.tokens[stop + 1].text if self.tokens[stop].text == "/" and "/" not in side.operators else ""
        if per in UNITS and per[-1] != "s" and UNITS[per][0] != "part":  # "$15/hour"
            names.append(per)
            stop += 2
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
        if self.tokens[stop].text == "^" and names and (names[-1] in UNITS or names[-1] in SHORT_UNITS):  # "4 cm^2", "9.8 m/s^2"
            power = self.tokens[stop + 1 : stop + 4]
            stop += 2 if power[0].text in ("2", "3") else 4 if power[1].text in ("2", "3") and power[2].text == ")" else 0
        stop = self._pass_remark(stop)
        after = self.tokens[stop]
        if stop == first or after.text in ("^", "**"):
            return first
        if after.kind in ("op", "equal", "close") or (after.kind == "word" and after.text in ("x", "X")):
            side.units.update(name for name in names if name in UNITS)
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
