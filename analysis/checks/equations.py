"""The equations that a step states; the expressions on their sides are read by `expressions.py`.

"In total she can pick 6 quarts + 5 quarts = <<6+5=11>>11 quarts" -> operands 6 and 5, operator +, value 11, stated result 11.
Only an expression of numbers that the text claims as it stands (`claims.py`) and that can mean nothing else (`other_meanings.py`)
is `checkable`. What is no calculation ("0.4 = 4%", "1 kg = 100 g", "9 ≡ 3 (mod 5)") or holds letters is judged by `statements.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from analysis.checks.calculation import CALLS
from analysis.checks.claims import equals, is_claimed, is_claimed_whole, marks_item, opens
from analysis.checks.expressions import JOINING, Expression, ExpressionReader
from analysis.checks.numbers import Token, as_float, padded, tokenize
from analysis.checks.other_meanings import may_mean_otherwise
from analysis.checks.statements import FalseStatement, judge_bare, judge_congruence, judge_letters, read_modulus

MARK = re.compile(r"<<([^<>]{1,400})>>")
_MAX_EQUATIONS = 400
_APPROXIMATE = re.compile(r"≈|~|\b(?:about|approx|around|round|nearly|almost|roughly|nearest|estimat)", re.I)
_NEAR = 80
"""Characters to either side in which a word makes an equation an approximate one."""
_UNSOLVABLE = re.compile(r"\bno\b|contradict|impossible|never|inconsistent|parallel|extraneous", re.I)
"""Where an equation with letters may be false on purpose."""
_EQUALS = frozenset(("equal", "arrow", "congruent"))
_STARTING = frozenset(("number", "currency", "open", "op", "root"))


@dataclass(eq=False)
class Equation:
    """`left = right`, both of numbers; in "36 = 6 * 6" the calculation counts as the left side. Most are true and asked nothing
    more, so that what the text around says of them is worked out when it is asked.
    """

    left: Expression
    right: Expression
    """Has a value."""
    spoken: bool
    """A word stands for the equals sign."""
    around: _Text

    @cached_property
    def result(self) -> float:
        """What the text says it comes to."""
        assert self.right.value is not None
        return as_float(self.right.value)

    @property
    def start(self) -> int:
        """Where the calculation begins in the text."""
        return self.left.atoms[0].start

    @property
    def percent_result(self) -> bool:
        """The result is a percentage."""
        return bool(self.right.operands) and self.right.operands[-1].percent

    @cached_property
    def checkable(self) -> bool:
        """The text claims it as it stands, and it can mean nothing else."""
        tokens = self.around.tokens
        start, stop = min(self.left.start, self.right.start), max(self.left.stop, self.right.stop)
        whole = is_claimed_whole(tokens, start, stop, self.spoken)
        return whole and not may_mean_otherwise(tokens, self.left, self.right, start, stop)

    @cached_property
    def approximate(self) -> bool:
        """The text says so, or a number has a scale."""
        return self.right.rounded or self.around.is_approximate(self.left, self.right)

    @cached_property
    def margin(self) -> float:
        """How far rounding alone may move the result: half of its last decimal, of its last digit where it is a percentage or
        approximate; 0 where it is calculated or a whole number.
        """
        return _margin(self.around.tokens, self.right, self.approximate)


def read_statements(text: str, tokens: list[Token] | None = None) -> tuple[list[Equation], list[FalseStatement]]:
    """The equations of a plain text, in order and at most 400 of them, and its false statements of other kinds."""
    reader = _TextReader(text, padded(tokenize(text)) if tokens is None else tokens)
    reader.read()
    return reader.equations, reader.statements


@lru_cache(maxsize=16_384)
def read_mark(text: str) -> list[Equation]:
    """The equations of the text of one calculator mark ("48/2=24")."""
    return read_statements(text)[0]


class _Text:
    """A text and its tokens; its equations hold it, so it does not hold them: circles wait for the collection of garbage."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self.text = text
        self.tokens = tokens

    @cached_property
    def unsolvable(self) -> bool:
        """Whether the text says that an equation has no solution."""
        return _UNSOLVABLE.search(self.text) is not None

    @cached_property
    def _approximations(self) -> list[int]:
        return [match.start() for match in _APPROXIMATE.finditer(self.text)]

    def is_approximate(self, left: Expression, right: Expression) -> bool:
        """Whether a word near an equation says that it is rounded."""
        start = self.tokens[min(left.start, right.start)].start - _NEAR
        stop = self.tokens[max(left.stop, right.stop) - 1].end + _NEAR
        return any(start <= place < stop for place in self._approximations)


class _TextReader:
    def __init__(self, text: str, tokens: list[Token]) -> None:
        self.around = _Text(text, tokens)
        self.tokens = tokens
        self.expressions = ExpressionReader(text, tokens)
        self.equations: list[Equation] = []
        self.statements: list[FalseStatement] = []

    def read(self) -> None:
        """Take in the whole text; behind the last token that may join two sides stands no left one."""
        places = range(len(self.tokens) - 1, 0, -1)
        last = next((k for k in places if self.tokens[k].kind in _EQUALS or self.tokens[k].text in JOINING), 0)
        index = 0
        while index < last and len(self.equations) < _MAX_EQUATIONS:
            token = self.tokens[index]
            may_start = token.kind in _STARTING or (token.kind == "word" and (len(token.text) == 1 or token.text in CALLS))
            left = self.expressions.read(index) if may_start and not marks_item(self.expressions, index) else None
            index = index + 1 if left is None else self._chain(left)

    def _chain(self, left: Expression) -> int:
        """Take in all equations of "a = b = c"; returns the place behind them."""
        tokens, index = self.tokens, left.stop
        while (equal := equals(self.tokens, left)) is not None:
            right = self.expressions.read(equal)
            implied = tokens[equal - 1].kind == "arrow" and right is not None
            if right is None or (implied and (right.operators or tokens[right.stop].kind == "equal")):
                break
            self._pair(left, right, tokens[equal - 1].kind == "word")
            left, index = right, right.stop
        congruent = tokens[index].kind == "congruent" or read_modulus(tokens, index)[0]
        return self._congruences(left) if congruent else index

    def _congruences(self, left: Expression) -> int:
        """Take in "a ≡ b ≡ c (mod n)" and "a mod n = b"."""
        sides, (modulus, stop) = [left], read_modulus(self.tokens, left.stop)
        while self.tokens[stop].kind in ("congruent", "equal"):
            right = self.expressions.read(stop + 1)
            if right is None:
                return stop + 1
            sides.append(right)
            stop = right.stop
        modulus, stop = (modulus, stop) if modulus else read_modulus(self.tokens, stop)
        if modulus and opens(self.tokens, left.start, False) and is_claimed(self.tokens, left.start, stop):
            self.statements += [false for one, other in pairwise(sides) if (false := judge_congruence(one, other, modulus))]
        return stop

    def _pair(self, left: Expression, right: Expression, spoken: bool) -> None:
        false: FalseStatement | None = None
        if left.symbols or right.symbols:
            unknown = self.around.unsolvable or "√" in left.operators + right.operators
            if spoken or unknown or self.around.is_approximate(left, right):
                return
            if is_claimed_whole(self.tokens, left.start, right.stop, spoken):
                false = judge_letters(left, right)
        elif left.operators:
            if right.value is not None:
                self.equations.append(Equation(left, right, spoken, self.around))
        elif right.operators and left.value is not None and len(left.atoms) == 1 and not left.units:  # "36 = 6 * 6"
            labelled = self.tokens[right.stop].kind == "equal" and left.value != right.value  # "Step 2 = 5 + 3 = 8"
            if not labelled and left.stop - left.start <= 2:
                self.equations.append(Equation(right, left, spoken, self.around))
        elif not spoken and is_claimed_whole(self.tokens, left.start, right.stop, spoken):
            false = judge_bare(left, right, self.tokens[right.stop : right.stop + 2])
        self.statements += [false] if false else []


def _margin(tokens: list[Token], right: Expression, approximate: bool) -> float:
    """Half of what the last written digit is worth: 0.005 for "17%", 50,000 for "1.5 million"."""
    if len(right.operands) != 1 or right.operators:
        return 0.0
    (stated,) = right.operands
    following = tokens[right.stop].text.lower()
    decimals = len(stated.text.partition(".")[2])
    if not (decimals or approximate or stated.percent or following == "percent"):
        return 0.0
    number = float(stated.text.replace(",", ""))
    scale = stated.value / number if number else 0.01 if stated.percent else 1.0
    zeros = len(stated.text) - len(stated.text.rstrip("0")) if approximate and not decimals else 0  # "about 20 * 48 = 1,000"
    return 0.501 * scale * 10.0 ** (min(zeros, 2) - decimals)  # .501: binary fractions are not exact
