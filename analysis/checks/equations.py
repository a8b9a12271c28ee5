"""The equations that a step states; the expressions on their sides are read by `expressions.py`.

"In total she can pick 6 quarts + 5 quarts = <<6+5=11>>11 quarts" -> operands 6 and 5, operator +, value 11, stated result 11.
Only an expression of numbers, bounded on both sides by something that cannot belong to it, counts as `checkable`: in "x + 30 = 50",
"2 sin 4 = 8" and "the units digit of 7^2 is 9" the numbers alone say nothing. What is no calculation ("0.4 = 4%", "1 kg = 100 g",
"9 ≡ 3 (mod 5)") or holds letters is judged by `statements.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from analysis.checks.expressions import (
    CONJUNCTIONS,
    FUNCTIONS,
    JOINING,
    Expression,
    ExpressionReader,
    Operand,
    evaluate,
)
from analysis.checks.numbers import MULTIPLES, SCALES, Token, as_float, padded, same, tokenize, words
from analysis.checks.statements import Statement, judge_bare, judge_congruence, judge_letters, read_modulus
from analysis.checks.units import SHORT_UNITS, UNITS, may_convert

MARK = re.compile(r"<<([^<>]{1,400})>>")
_AMBIGUOUS = re.compile(r"[x*]\s?10\s?-\s?\d|^-\s?\d+/\d+$|/\s?[\d.]+\s?[x*]\s?10\s?\^")
"""A power of ten that lost its sign ("1.2 x 10-5") or its brackets ("/ 6 x 10^23"), or a label ("for m = -1/2 = ...")."""
_MAX_EQUATIONS = 400
_APPROXIMATE = re.compile(r"≈|~|\b(?:about|approx|around|round|nearly|almost|roughly|nearest|estimat)", re.I)
_NEAR = 80
"""Characters to either side in which a word makes an equation an approximate one."""
_ASSUMING = words(
    "suppose supposing assume assuming imagine if whether unless pretend instead rather not never claim claims claimed says wrote"
    " think thinks thought believe believes doubt contradiction without false wrong wrongly incorrect incorrectly mistake mistaken"
    " mistakenly erroneously erroneous error typo misread miscalculated someone cannot can't impossible"
)
"""What stands behind one of these in its clause is not claimed by the rationale."""
_DENYING = words(
    "not impossible contradiction contradicts false incorrect wrong cannot can't isn't doesn't never invalid would true absurd"
    " mistake mistaken error corrected"
)
"""What stands before one of these in its sentence is taken back."""
_UNSOLVABLE = re.compile(r"\bno\b|contradict|impossible|never|inconsistent|parallel|extraneous", re.I)
"""Where an equation with letters may be false on purpose."""
_NAMED = words(
    "equation eq example case part line option method theorem lemma rule clue step problem question statement page pages room"
    " rooms chapter chapters section sections figure figures won lost drew beat series"
)
"""Words whose number is a name: "Equation 1 - 5 * 4 = 20"."""
_TAKEN_OF = FUNCTIONS | words(
    "reciprocal inverse half third quarter negative opposite digit digits remainder remainders factor factors divisor divisors"
    " multiple multiples expansion part power term coefficient sign number absolute numerator denominator conjugate factorization"
    " average mean median"
)
"""What is taken of an expression: "the reciprocal of 7/9 is 9/7"."""
_WHOLE_OF = words("total sum result amount cost price value score profit product difference quotient answer earnings")
"""What an expression after "of" is: "a total of 3 + 4 is 7"."""
_COMPARED = words("more less greater higher lower times fewer")
_LINKING = CONJUNCTIONS | JOINING | words("in of per a an each every for to from by with on at after before")
"""A word behind one of these is no unit of the number before: "4 per hour", "36 in total"."""
_RANGE = re.compile(r"(\d+)-(\d+)")
_STARTING = frozenset(("number", "currency", "open", "op", "root", "word"))
_CONTINUING = frozenset(("op", "equal", "close", "arrow", "congruent", "open", "root", "currency"))
_BOUNDS = frozenset(("end", "equal", "arrow", "comparison", "congruent"))


class Equation(NamedTuple):
    """`expression = result`, both of numbers."""

    text: str
    """The expression as written."""
    operands: tuple[Operand, ...]
    operators: str
    """Operators in the order of the text, out of + - * / ^ ! C."""
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
    left: Fraction | None
    """The exact value of the expression."""
    right: Fraction
    """The exact value of the result."""
    first_result: Fraction | None
    """The first number of the right side."""
    whole: bool
    """Every number is a whole one and is written in full, so that nothing but the exact result is right."""


class Found(NamedTuple):
    """What a text states."""

    equations: list[Equation]
    statements: list[Statement]
    """What else is certainly false."""


def read_equations(text: str, tokens: list[Token] | None = None) -> list[Equation]:
    """The equations of a plain text without calculator marks, in order; at most 400 of them."""
    return read_statements(text, tokens).equations


def read_statements(text: str, tokens: list[Token] | None = None) -> Found:
    """The equations of a plain text, and its false statements of other kinds."""
    tokens = tokenize(text) if tokens is None else tokens
    if not any(token.kind in ("equal", "arrow", "congruent") or token.text in JOINING for token in tokens):
        return Found([], [])
    return _TextReader(text, padded(tokens)).read()


@lru_cache(maxsize=16_384)
def read_mark(text: str) -> tuple[Equation, ...]:
    """The equations of the text of one calculator mark ("48/2=24")."""
    return tuple(read_equations(text))


class _TextReader:
    def __init__(self, text: str, tokens: list[Token]) -> None:
        self.text = text
        self.tokens = tokens
        self.expressions = ExpressionReader(tokens)
        self._approximate: list[int] | None = None
        self._unsolvable: bool | None = None
        self.found = Found([], [])

    def read(self) -> Found:
        index = 0
        while index < len(self.tokens) - 4 and len(self.found.equations) < _MAX_EQUATIONS:
            left = self.expressions.read(index) if self._may_start(index) else None
            index = index + 1 if left is None else self._chain(left)
        return self.found

    def _may_start(self, index: int) -> bool:
        """Whether an expression that matters may begin at a token: saves most of the attempts to read one."""
        token = self.tokens[index]
        if token.kind not in _STARTING:
            return False
        if token.kind == "word":
            following = self.tokens[index + 1]
            return len(token.text) == 1 and (following.kind in ("op", "equal", "congruent") or following.text == "(")
        if token.kind == "number":
            return not self._stands_alone(index)
        return not marks_item(self.expressions, index)

    def _stands_alone(self, index: int) -> bool:
        for place, token in enumerate(self.tokens[index + 1 : index + 7]):
            if token.kind != "word":
                return token.kind not in _CONTINUING and token.text != "!" and (place > 0 or token.kind != "percent")
            touching = place == 0 and token.start == self.tokens[index].end
            if touching or token.text in ("x", "X", "of") or token.text.lower() in SCALES:
                return False
        return True

    def _chain(self, left: Expression) -> int:
        """Take in all equations of "a = b = c"; returns the place behind them."""
        tokens = self.tokens
        if tokens[left.stop].kind == "congruent":
            return self._congruences(left)
        index = left.stop
        while (equal := equals(self.tokens, left)) is not None:
            right = self.expressions.read(equal)
            implied = tokens[equal - 1].kind == "arrow" and right is not None
            if right is None or (implied and (right.operators or tokens[right.stop].kind == "equal")):
                break
            self._pair(left, right, tokens[equal - 1].kind == "word")
            left, index = right, right.stop
        return index

    def _congruences(self, left: Expression) -> int:
        """Take in "a ≡ b ≡ c (mod n)"."""
        sides, stop = [left], left.stop
        while self.tokens[stop].kind in ("congruent", "equal"):
            right = self.expressions.read(stop + 1)
            if right is None:
                return stop + 1
            sides.append(right)
            stop = right.stop
        modulus = read_modulus(self.tokens, stop)
        if modulus and opens(self.tokens, left.start, False) and _is_claimed(self.tokens, left.start, stop):
            for one, other in pairwise(sides):
                judge_congruence(self._written(one), self._written(other), one, other, modulus, self.found.statements)
        return stop

    def _pair(self, left: Expression, right: Expression, spoken: bool) -> None:
        if left.symbols or right.symbols:
            if spoken or self._on_purpose() or "√" in (*left.operators, *right.operators) or self._is_approximate(left, right):
                return
            if _bounded(self.tokens, left.start, right.stop, spoken):
                judge_letters(self._written(left), self._written(right), left, right, self.found.statements)
        elif left.operators:
            if right.value is not None:
                self.found.equations.append(self._equation(left, right, spoken))
        elif right.operators and left.value is not None and len(left.atoms) == 1 and not left.units:  # "36 = 6 * 6"
            labelled = self.tokens[right.stop].kind == "equal" and left.value != right.value  # "Step 2 = 5 + 3 = 8"
            if left.value is not None and not labelled and left.stop - left.start <= 2:
                self.found.equations.append(self._equation(right, left, spoken))
        elif not spoken and _bounded(self.tokens, left.start, right.stop, spoken):
            behind = self.tokens[right.stop : right.stop + 2]
            judge_bare(self._written(left), self._written(right), left, right, behind, self.found.statements)

    def _on_purpose(self) -> bool:
        """Whether the text says that an equation has no solution."""
        if self._unsolvable is None:
            self._unsolvable = _UNSOLVABLE.search(self.text) is not None
        return self._unsolvable

    def _is_approximate(self, left: Expression, right: Expression) -> bool:
        if self._approximate is None:
            self._approximate = [match.start() for match in _APPROXIMATE.finditer(self.text)]
        if not self._approximate:
            return False
        start = self.tokens[min(left.start, right.start)].start - _NEAR
        stop = self.tokens[max(left.stop, right.stop) - 1].end + _NEAR
        return any(start <= place < stop for place in self._approximate)

    def _equation(self, left: Expression, right: Expression, spoken: bool) -> Equation:
        tokens = self.tokens
        start, stop = min(left.start, right.start), max(left.stop, right.stop)
        written = self._written(left)
        approximate = right.rounded or self._is_approximate(left, right)
        assert right.value is not None
        checkable = (
            _bounded(tokens, start, stop, spoken)
            and not _AMBIGUOUS.search(written)
            and not _is_range(written, right.value)
            and not _takes_percent(left)
            and not _counts_percents(left, right)
            and not (right.operators and tokens[right.start - 1].kind == "word")  # "50 % of 8 is 1.5 * 8 = 12" explains
            and not any(token.text == "of" for token in tokens[right.start : right.stop])  # "3/3 - 2/3 = 1/3 of $150"
            and self._same_unit(left, right, start, stop)
            and not _holds_otherwise(left, right)
        )
        return Equation(
            text=written,
            operands=tuple(left.operands),
            operators="".join(left.operators),
            value=None if left.value is None else as_float(left.value),
            result=as_float(right.value),
            result_text=self._written(right),
            computed_result=bool(right.operators),
            percent_result=bool(right.operands and right.operands[-1].percent),
            checkable=checkable,
            approximate=approximate,
            start=tokens[left.start].start,
            margin=_margin(tokens, right, approximate),
            left=left.value,
            right=right.value,
            first_result=next((atom.exact for atom in right.atoms if atom.kind == "number"), None),
            whole=not (left.rounded or right.rounded) and all(o.text.replace(",", "").isdigit() and not o.percent
                                                              for o in (*left.operands, *right.operands)),
        )  # fmt: skip

    def _written(self, side: Expression) -> str:
        first = side.start + (self.tokens[side.start].kind == "currency")
        return self.text[self.tokens[first].start : self.tokens[side.stop - 1].end].strip()

    def _same_unit(self, left: Expression, right: Expression, start: int, stop: int) -> bool:
        units = left.units | right.units
        signs = [*left.operators, *right.operators]
        adds = {"+", "-"} & {*signs} or signs.count("/") > 1 or "several" in {UNITS[word][0] for word in units}
        if may_convert(units) or (adds and len({UNITS[word][1] for word in units}) > 1):
            return False
        if units & {"cent", "cents"} and any(token.text == "$" for token in self.tokens[start:stop]):
            return False
        agree = left.value is None or right.value is None or same(as_float(left.value), as_float(right.value), 0.01)
        return agree or not _converts(self.tokens, left, right, start, stop)


def equals(tokens: Sequence[Token], left: Expression) -> int | None:
    """Index after the equals sign or word behind an expression; None where none follows."""
    token = tokens[left.stop]
    if token.kind == "equal" or (token.kind == "arrow" and left.operators):
        return left.stop + 1
    if token.kind == "word" and token.text in JOINING and left.operators:
        start = left.stop + (2 if token.text == "equal" and tokens[left.stop + 1].kind == "word" else 1)
        behind = tokens[start + 1]
        compared = behind.text in _COMPARED or (behind.kind == "word" and behind.text.endswith("ed"))
        return None if compared else start  # "3 + 4 is 2 less than 9", "5^8 is 5 raised to ..."
    return None


def _holds_otherwise(left: Expression, right: Expression) -> bool:
    """Whether an equation is false as it stands and true where the last quotient binds first ("25 / 1/3 = 75") or digits in
    brackets repeat ("0.1(6) = 1/6").
    """
    values = [left.value, right.value]
    if left.value == right.value:
        return False
    for tight in (True, False):
        readings = [evaluate(side.atoms if tight else _repeating(side.atoms), tight=tight) for side in (left, right)]
        pairs = ((readings[0], right.value), (left.value, readings[1]), readings) if readings != values else ()
        if any(one is not None and other is not None and same(as_float(one), as_float(other), 0.01) for one, other in pairs):
            return True
    return False


def _repeating(atoms: list[Token]) -> list[Token]:
    """The tokens with "1.2(3)" as 1.2333..."""
    found: list[Token] = []
    for atom in atoms:
        found.append(atom)
        number, opening, period = found[-4:-1] if atom.text == ")" and len(found) > 3 else (None, atom, atom)
        if number and number.exact is not None and "." in number.text and number.end == opening.start and period.text.isdigit():
            worth = 10 ** len(number.text.partition(".")[2]) * (10 ** len(period.text) - 1)
            found[-4:] = [number._replace(exact=number.exact + Fraction(int(period.text), worth))]
    return found


def marks_item(reader: ExpressionReader, index: int) -> bool:
    """Whether the sign at a token begins an item of a list: not where an equation is true with it, as in "- 2 * 3 = -6"."""
    if not _is_bullet(reader.tokens, index):
        return False
    left = reader.read(index)
    behind = equals(reader.tokens, left) if left else None
    right = reader.read(behind) if behind else None
    if left is None or right is None or left.value is None or right.value is None:
        return True
    return not same(as_float(left.value), as_float(right.value), 0.01)


def _is_bullet(tokens: Sequence[Token], index: int) -> bool:
    """Whether a sign begins a line and a blank follows it: "- 5 * 4 = 20"."""
    if tokens[index].text not in ("-", "*", "•") or (index and tokens[index - 1].text != "\n"):
        return False
    return index + 1 < len(tokens) and tokens[index + 1].start > tokens[index].end


def _bounded(tokens: list[Token], start: int, stop: int, spoken: bool) -> bool:
    """Whether nothing around an equation can belong to it, and the rationale claims it."""
    if tokens[stop].text == "!" and any(token.text == "!" for token in tokens[start:stop]):
        return False  # "11! = 11 * 10!"
    if _lists(tokens, start, stop):
        return False
    return opens(tokens, start, spoken) and closes(tokens, stop) and _is_claimed(tokens, start, stop)


def _lists(tokens: list[Token], start: int, stop: int) -> bool:
    """Whether several terms have several results: "(3-2), (5-2) = 1, 3"."""
    before = tokens[start - 1].text == "," and tokens[start - 2].kind in ("close", "number", "digits")
    behind = tokens[stop].text == "," and (tokens[stop + 1].kind == "number" or tokens[stop + 1].text == "-")
    return before and (behind or tokens[start - 2].kind != "number" or tokens[start - 1].end == tokens[start].start)


def opens(tokens: list[Token], start: int, spoken: bool) -> bool:
    """Whether nothing in front of a token can belong to its expression."""
    before, earlier = tokens[start - 1], tokens[start - 2]
    if before.text in (":", "!") and earlier.kind in ("number", "close") and _joins(tokens, start):
        return False
    if before.text == "." and earlier.end == before.start and earlier.kind == "number" and before.end == tokens[start].start:
        return False  # "2.(3) * 3 = 7"
    if before.kind in _BOUNDS or (start and _is_bullet(tokens, start - 1)):
        return before.kind != "comparison"
    if before.text == ")" and earlier.kind == "number" and (start < 3 or tokens[start - 3].text == "\n"):
        return before.end < tokens[start].start  # "1) 3 * 4 = 12"
    if before.kind == "open":
        return earlier.kind in ("word", "end") and (earlier.end < before.start or earlier.kind == "end")
    if before.kind != "word" or len(before.text) < 2 or before.value is not None:
        return False
    if tokens[start].kind == "open" and before.end == tokens[start].start:
        return False  # "arr[0] + 2"
    lower = before.text.lower()
    if lower in FUNCTIONS or lower in _NAMED or lower == "than" or (spoken and lower == "to"):
        return False
    if lower == "as" and earlier.text in ("many", "much"):
        return False
    if lower in UNITS and earlier.kind == "number" and tokens[start + 1].text.lower() in UNITS:
        return False  # "2 hours 30 minutes / 5 = 30 minutes"
    if lower == "of" and earlier.text.lower() not in _WHOLE_OF and (spoken or earlier.text.lower() in _TAKEN_OF):
        return False
    if tokens[start].kind == "word" and tokens[start + 1].kind == "equal":
        return True  # "and B = 3 * 4"
    if lower == "and" and earlier.kind == "number" and tokens[start + 1].text == "/":
        return False  # "12 x 1 and 1/4 = 15"
    if lower == "and" and earlier.kind == "number" and tokens[start - 3].text == "of":
        return False  # "the sum of 2 and 3 times 4 is 14"
    return not _goes_back(tokens, start - 1)


def _joins(tokens: list[Token], start: int) -> bool:
    """Whether the sign in front of a token, behind a number, goes on with it: "3!2!", "12:(2 + 1)", not "Step 1: (2 + 1)"."""
    earlier, sign = tokens[start - 2], tokens[start - 1]
    if sign.text == "!":
        return earlier.end == sign.start
    evenly = (earlier.end == sign.start) == (sign.end == tokens[start].start)
    return evenly or (tokens[start].kind == "open" and tokens[start - 3].kind != "word")


def _goes_back(tokens: list[Token], index: int) -> bool:
    """Whether words lead back to an operator: "his 25 classmates + his 1 teacher + 1 himself = 27"."""
    for place in range(index, max(-1, index - 30), -1):
        token = tokens[place]
        if token.kind in _BOUNDS or token.text in JOINING or (token.text in CONJUNCTIONS and token.text != "and"):
            return False
        if token.kind in ("op", "root", "other"):
            hyphen = place and tokens[place - 1].kind == "word" and tokens[place - 1].end == token.start
            if not (hyphen and tokens[place + 1].start == token.end) and not _is_bullet(tokens, place):
                return True
    return False


def closes(tokens: list[Token], stop: int) -> bool:
    """Whether nothing from a token on can belong to the expression before it."""
    after, following = tokens[stop], tokens[stop + 1]
    if after.text == ":" and following.kind in ("number", "open"):
        return False  # a ratio: "= 3 : 6 : 1"
    if after.text == "!" and tokens[stop - 1].end == after.start and tokens[stop - 1].text in ("3", "4", "5", "6", "7"):
        return False
    if after.kind in ("end", "equal", "arrow", "close", "currency", "percent"):
        return True
    if after.kind == "open":
        return after.start > tokens[stop - 1].end and following.kind == "word" and following.text != "mod"
    if after.kind != "word":
        return False
    lower, touching = after.text.lower(), after.start == tokens[stop - 1].end
    if touching and lower not in UNITS and len(lower) < 4:
        return False  # 2xy
    if lower in ("and", "to", "or") and following.kind == "number":
        return lower == "and" and tokens[stop + 2].kind in ("op", "equal") and (
            tokens[stop + 2].start > following.end
        )
    if lower == "square" and following.text.lower() in UNITS:
        return True
    return lower not in SCALES and lower not in FUNCTIONS and (len(after.text) > 1 or after.text in SHORT_UNITS)


def _is_claimed(tokens: Sequence[Token], start: int, stop: int) -> bool:
    """False for an equation that is only supposed, denied, quoted from somebody or asked about."""
    for token in reversed(tokens[max(0, start - 30) : start]):
        if token.kind == "end" and token.text not in (":", '"'):  # "Wrong: 3 + 4 = 8", "Tim says "3 + 4 = 8""
            break
        if token.text.lower() in _ASSUMING:
            return False
    for token in tokens[stop : stop + 30]:
        if token.text.lower() in _DENYING or token.text == "?":
            return False
        if token.kind == "end" and token.text not in (",", '"'):  # '"3 + 4 = 8" would be a mistake'
            return True
    return True


def _margin(tokens: Sequence[Token], right: Expression, approximate: bool) -> float:
    """Half of what the last written digit is worth: 0.005 for "17%", 50,000 for "1.5 million"."""
    if len(right.operands) != 1 or right.operators:
        return 0.0
    (stated,) = right.operands
    following = tokens[right.stop].text.lower() if right.stop < len(tokens) else ""
    decimals = len(stated.text.partition(".")[2])
    if not (decimals or approximate or stated.percent or following == "percent"):
        return 0.0
    number = float(stated.text.replace(",", ""))
    scale = stated.value / number if number else 0.01 if stated.percent else 1.0
    zeros = len(stated.text) - len(stated.text.rstrip("0")) if approximate and not decimals else 0  # "about 20 * 48 = 1,000"
    return 0.501 * scale * 10.0 ** (min(zeros, 2) - decimals)  # .501: binary fractions are not exact


def _is_range(written: str, result: Fraction) -> bool:
    """ "Pages 10-15 = 6 pages": from a to b, and not a difference."""
    ends = _RANGE.fullmatch(written)
    return ends is not None and int(ends[1]) < int(ends[2]) and result > 0


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


def _converts(tokens: Sequence[Token], left: Expression, right: Expression, start: int, stop: int) -> bool:
    """Whether two sides may count different things: "15 minutes * 4 = 1 hour", "3 dozen + 4 = 40 eggs"."""
    found = left.units | right.units
    if any(UNITS[word][0] == "several" for word in found):
        return True
    behind = _unit_behind(tokens, stop)
    several = MULTIPLES.get(behind)
    if several and left.value is not None and right.value is not None:  # "24 + 12 = 3 dozen"
        return left.value == right.value * several or right.value == left.value * several
    found |= {behind} if behind else set()
    if any(token.text == "$" for token in tokens[max(0, start - 1) : stop]):
        found |= {"dollars"}
    return may_convert(found)


def _unit_behind(tokens: Sequence[Token], stop: int) -> str:
    """The unit among the first words behind an equation: "hour" of "1 full hour"; "" where there is none."""
    for token in tokens[stop : stop + 3]:
        word = token.text.lower()
        if token.kind != "word" or word in _LINKING:
            break
        if word in UNITS:
            return word
    return ""
