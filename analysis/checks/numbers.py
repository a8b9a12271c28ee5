"""Plain text -> tokens: numbers as exact values, operators, words. The first stage of every reading of numbers.

"She pays $1,200.50 a month" -> word, word, currency, number 1200.5, word, word. `plain_text.py` comes before it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from star.grading.numbers import CARDINALS

MAX_DIGITS = 30
"""A longer number is left unread."""

_NUMERAL = re.compile(r"[0-9]+(?:,[0-9]+)*(?:\.[0-9]+)*|(?<![0-9.])\.[0-9]+")
_TOKEN = re.compile(
    r"[^\S\n]*(?:"  # passing blanks one by one would try every kind at each of them
    r"(?P<word>[^\W\d_]+(?:'[a-z]{1,3}(?![^\W\d_]))?)"
    r"|(?P<date>[0-9]{1,4}/[0-9]{1,2}/[0-9]{2,4}(?![0-9/])|[0-9]{1,2}:[0-9]{2}(?![0-9]))"
    rf"|(?P<number>{_NUMERAL.pattern})"
    r"|(?P<arrow>[-=]>|[→⇒])"
    r"|(?P<comparison>[=!<>]=+|[≠≤≥<>±])"
    r"|(?P<op>\*\*|[-+*/^])"
    r"|(?P<equal>≈|~=|=)"
    r"|(?P<congruent>≡)"
    r"|(?P<open>[(\[])"
    r"|(?P<close>[)\]])"
    r"|(?P<currency>[$€£¥₹])"
    r"|(?P<percent>%)"
    r"|(?P<root>√)"
    r"|(?P<end>[.,;:?!\n\"])"
    r"|(?P<other>\S))"
)
_DOLLARS_OF = {"US", "C", "CA", "A", "AU", "HK", "NZ", "S", "R"}
SCALES = {"hundred": 100, "thousand": 1000, "k": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
SCALES |= {"lakh": 10**5, "crore": 10**7}
_PARTS = "half third quarter fifth sixth seventh eighth ninth tenth"
FRACTIONS = {word + plural: 1 / part for part, word in enumerate(_PARTS.split(), start=2) for plural in ("", "s")}
FRACTIONS |= {"halves": 1 / 2, "fourth": 1 / 4, "fourths": 1 / 4}
MULTIPLES = {
    word: float(value)
    for value, names in {
        1: "once", 2: "twice double doubled doubles pair pairs couple both twins", 3: "thrice triple tripled triples",
        4: "quadruple", 12: "dozen dozens", 20: "score",
    }.items()
    for word in names.split()
}  # fmt: skip
_WORD_VALUES = FRACTIONS | MULTIPLES | {word: float(value) for word, value in CARDINALS.items()}


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set: for word lists."""
    return frozenset(text.split())


class Token(NamedTuple):
    """One token; `value` is set for numbers and number words only."""

    kind: str
    """number, digits (a number that may be several or none: "0,5", "0900"), date (or time of day), word, arrow, comparison, op,
    equal, congruent, open, close, currency, percent, root, end, other."""
    text: str
    start: int
    end: int
    value: float | None = None
    exact: Fraction | None = None


class Number(NamedTuple):
    """A number and its place in the text; the sign in front is not part of it."""

    value: float
    start: int
    end: int


NOTHING = Token("end", "", 0, 0)
"""What stands before the first and behind the last token."""


def padded(tokens: list[Token]) -> list[Token]:
    """The tokens with some of NOTHING behind them, so that an index a little too large or too small needs no care."""
    return [*tokens, *[NOTHING] * 4]


def tokenize(text: str) -> list[Token]:
    """Tokens of a plain text, number words with their values. Linear."""
    tokens: list[Token] = []
    new = tuple.__new__  # what Token(...) does, without a call in between: most of the reading is spent here
    for match in _TOKEN.finditer(text.rstrip()):
        kind = match.lastgroup or "other"
        start, end = match.span(kind)
        word = text[start:end]
        value = exact = None
        if kind == "word":
            value = _WORD_VALUES.get(word.lower())
        elif kind == "number":
            if start and (text[start - 1].isalpha() or text[start - 1] == "_"):
                kind = "other"  # "t0", "H2O", "x_1": part of a name
            else:
                kind, value, exact = _number(word)
                if kind == "digits" and value is None:
                    tokens += _pieces(word, start)
                    continue
        elif kind == "currency" and tokens and tokens[-1].end == start and tokens[-1].text in _DOLLARS_OF:
            start = tokens.pop().start  # US$
        tokens.append(new(Token, (kind, word, start, end, value, exact)))
    return tokens


def numerals(text: str) -> Iterator[Number]:
    """The numbers in digits of a text, also those glued to a word ("mp3"); all other tokens are passed over, which is fast."""
    for match in _NUMERAL.finditer(text):
        kind, value, _ = _number(match[0])
        if value is not None:
            yield Number(value, *match.span())
        elif kind == "digits":
            pieces = _pieces(match[0], match.start())
            yield from (Number(piece.value, piece.start, piece.end) for piece in pieces if piece.value is not None)


@lru_cache(maxsize=16_384)
def _number(text: str) -> tuple[str, float | None, Fraction | None]:
    """(kind, value, exact value) of digits with commas and points; no value where they are too long or may be several numbers."""
    if len(text) > MAX_DIGITS:
        return "other", None, None
    if text.isdigit():
        return ("digits" if len(text) > 1 and text[0] == "0" else "number"), float(text), Fraction(int(text))
    whole, _, decimals = text.partition(".")
    groups = whole.split(",")
    if "." in decimals or not (len(groups) == 1 or (all(len(group) == 3 for group in groups[1:]) and 0 < len(groups[0]) < 4)):
        return "digits", None, None
    exact = Fraction(text.replace(",", ""))
    return "number", float(exact), exact


def _pieces(text: str, start: int) -> list[Token]:
    """The numbers and signs of "1,2,3" or of "0,5": nobody knows which."""
    return [
        Token("digits", piece[0], start + piece.start(), start + piece.end(), float(piece[0]), Fraction(int(piece[0])))
        if piece[0].isdigit()
        else Token("end", piece[0], start + piece.start(), start + piece.end())
        for piece in re.finditer(r"[0-9]+|[.,]", text)
    ]


def show(value: float | Fraction) -> str:
    """A value as a person writes it: 24, 2.5, 0.333."""
    if isinstance(value, Fraction):
        if value.denominator == 1:
            return str(value.numerator) if value.numerator.bit_length() < 400 else "a number of over 100 digits"
        value = as_float(value)
    if not math.isfinite(value):
        return "no number"
    if abs(value) < 1e15 and value == int(value):
        return str(int(value))
    return f"{value:.6g}"


def as_float(value: Fraction) -> float:
    """The nearest float; infinite where there is none."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def same(a: float, b: float, tolerance: float = 1e-6) -> bool:
    """Equal up to a relative tolerance."""
    return abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-9)


def close(a: Fraction | None, b: Fraction | None) -> bool:
    """Two values that are there, equal up to 1 %."""
    return a is not None and b is not None and same(as_float(a), as_float(b), 0.01)
