"""Where expressions stand in the tokens of a text; their values are worked out by `calculation.py`.

`ExpressionReader` passes over the units in "5 apples + 3 * (2 + 1) apples".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from analysis.checks.calculation import CALLS, evaluate
from analysis.checks.numbers import SCALES, Token, words
from analysis.checks.units import SHORT_UNITS, UNITS

_MAX_READ = 120
"""Tokens of one expression in running text."""
JOINING = words("is equals equal gives makes yields are")
FUNCTIONS = words("sin cos tan sec csc cot log ln exp lim mod sqrt root square cube cubed squared gcd lcm max min det floor")
CONJUNCTIONS = words("because since and so then when if but as or that which")
_ORDINALS = words("st nd rd th am pm")


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
