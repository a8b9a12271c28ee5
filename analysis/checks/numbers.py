"""Text -> tokens: numbers as values, operators, words. The first stage of every generic check.

"She pays $1,200.50 a month" -> word, word, currency, number 1200.5, word, word. Unicode digits, minus signs and fractions and the
usual LaTeX are read like their plain forms. A number too large for a float is a token of its own kind, never an error.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import NamedTuple

MAX_CHARS = 20_000
"""Text of one step or question beyond this is not read."""

_TOKEN = re.compile(
    r"(?P<word>[^\W\d_]+(?:'[a-z]{1,3})?)"
    r"|(?P<date>\d{1,4}/\d{1,2}/\d{2,4}(?![\d/])|\d{1,2}:\d{2}(?!\d))"
    r"|(?P<number>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|(?<![\d.])\.\d+)"
    r"|(?P<arrow>[-=]>|[→⇒])"
    r"|(?P<op>\*\*|[-+*/^])"
    r"|(?P<equal>≈|~=|={1,2})"
    r"|(?P<open>[(\[])"
    r"|(?P<close>[)\]])"
    r"|(?P<currency>[$€£¥])"
    r"|(?P<percent>%)"
    r"|(?P<end>[.,;:?!\n\"])"
    r"|(?P<other>\S)"
)
_LATEX = (
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf|boxed)\{([^{}]{0,200})\}"), r"\1"),
    (re.compile(r"\\(?:times|cdot|ast)(?![a-zA-Z])"), "*"),
    (re.compile(r"\\div(?![a-zA-Z])"), "/"),
    (re.compile(r"\\approx(?![a-zA-Z])"), "≈"),
    (re.compile(r"\\neq?(?![a-zA-Z])"), "≠"),
    (re.compile(r"\\(?:[rR]ightarrow|implies|to)(?![a-zA-Z])"), "→"),
    (re.compile(r"\\\\"), "\n"),
    (re.compile(r"\^\\circ(?![a-zA-Z])|\^\{\\circ\}"), " degrees "),
    (re.compile(r"\\[dt]?frac\{([^{}]{1,80})\}\{([^{}]{1,80})\}"), r"((\1)/(\2))"),
    (re.compile(r"\\(?:left|right|big|Big)(?![a-zA-Z])|\\[,;!()\[\]]|\\quad"), " "),
    (re.compile(r"\\([%$])"), r"\1"),
)
_THOUSANDS = re.compile(r"(?<=\d) (?=000\b)")
_EXPONENT = re.compile(r"\^\{\s?(-?\d{1,4})\s?\}")
_FORMULA = re.compile(r"\$(?![\s$])([^$\n]{0,200}[^$\s=+*/(-])\$(?![\d.])")
_BOLD = re.compile(r"(?<![\w)*])\*\*(?=[^\s*])((?:[^*\n]|\*(?!\*)){1,200})\*\*(?![\w(*])")
_SUPERSCRIPT = re.compile(r"(?<=[\d)])[⁰¹²³⁴-⁹]+")
_REMARK = re.compile(r"(?<=\d)\s?\([A-Za-z][A-Za-z ]{2,30}\)(?=\s?[-+*/=])")
_LABEL = re.compile(r"^[ \t]*\(\d{1,3}\)[ \t]+(?![-+*/=^(])", re.M)
_CONTINUED = re.compile(r"\s*\n\s*(?==)")
_SPOKEN = re.compile(r"(?<=[\d)%])\s(plus|minus|times|multiplied by|divided by)\s(?=[\d($-])", re.I)
_SPOKEN_SIGNS = {"plus": " + ", "minus": " - ", "times": " * ", "multiplied by": " * ", "divided by": " / "}
_SIGNS = str.maketrans(
    {"−": "-", "–": "-", "—": " , ", "×": "*", "✕": "*", "·": "*", "⋅": "*", "÷": "/", "∕": "/", "⁄": "/", "’": "'"}
    | {"°": " degrees "}
)

SCALES = {"hundred": 1e2, "thousand": 1e3, "k": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
CARDINALS = {word: float(value) for value, word in enumerate(_UNITS.split())} | {
    word: 10.0 * value for value, word in enumerate(_TENS.split(), start=2)
}
FRACTIONS = {
    "half": 1 / 2,
    "halves": 1 / 2,
    "third": 1 / 3,
    "thirds": 1 / 3,
    "quarter": 1 / 4,
    "quarters": 1 / 4,
    "fourth": 1 / 4,
}
FRACTIONS |= {
    "fourths": 1 / 4,
    "fifth": 1 / 5,
    "fifths": 1 / 5,
    "sixth": 1 / 6,
    "sixths": 1 / 6,
    "seventh": 1 / 7,
    "eighth": 1 / 8,
}
FRACTIONS |= {"eighths": 1 / 8, "ninth": 1 / 9, "tenth": 1 / 10, "tenths": 1 / 10}
MULTIPLES = {
    "twice": 2.0,
    "double": 2.0,
    "doubled": 2.0,
    "doubles": 2.0,
    "thrice": 3.0,
    "triple": 3.0,
    "tripled": 3.0,
    "triples": 3.0,
}
MULTIPLES |= {
    "quadruple": 4.0,
    "dozen": 12.0,
    "dozens": 12.0,
    "pair": 2.0,
    "pairs": 2.0,
    "couple": 2.0,
    "both": 2.0,
    "twins": 2.0,
}
MULTIPLES |= {"score": 20.0, "once": 1.0}
_WORD_VALUES = FRACTIONS | MULTIPLES | CARDINALS


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set: for word lists."""
    return frozenset(text.split())


class Token(NamedTuple):
    """One token; `value` is set for numbers and number words only."""

    kind: str
    """number, date (or time of day), huge, word, arrow, op, equal, open, close, currency, percent, end, other."""
    text: str
    start: int
    end: int
    value: float | None = None


def plain(text: str) -> str:
    """Unicode digits and signs, LaTeX, bold print and spoken operators as plain text; at most MAX_CHARS characters of it."""
    text = text[:MAX_CHARS]
    if not text.isascii():
        text = _SUPERSCRIPT.sub(_power, text.translate(_SIGNS))
        text = "".join(map(_plain_character, text)) if not text.isascii() else text
    if "\\" in text:
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    if "^{" in text:
        text = _EXPONENT.sub(r"^(\1)", text)
    if "&" in text:
        text = text.replace("&=", "=").replace("=&", "=")
    if "$" in text:
        text = _FORMULA.sub(r" \1 ", text)
    if "**" in text:
        text = _BOLD.sub(r"\1", text)
    if "(" in text:
        text = _REMARK.sub("", _LABEL.sub("", text))
    if "\n" in text:
        text = _CONTINUED.sub(" ", text)
    text = _SPOKEN.sub(lambda spoken: _SPOKEN_SIGNS[spoken[1].lower()], text)
    return _THOUSANDS.sub("", text) if " 000" in text else text


def _power(superscript: re.Match[str]) -> str:
    return "^" + unicodedata.normalize("NFKC", superscript.group())


def _plain_character(character: str) -> str:
    if character.isascii() or character.isalpha():
        return character
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    if unicodedata.category(character) == "No" and "VULGAR FRACTION" in unicodedata.name(character, ""):
        return " " + unicodedata.normalize("NFKC", character).translate(_SIGNS)
    return " " if character.isspace() else character


def tokenize(text: str) -> list[Token]:
    """Tokens of a plain text, number words with their values. Linear."""
    tokens: list[Token] = []
    new = tuple.__new__  # what Token(...) does, without a call in between: most of the reading is spent here
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        start, end = match.span()
        word = text[start:end]
        value = None
        if kind == "word":
            value = _WORD_VALUES.get(word.lower())
        elif kind == "number" and start and text[start - 1].isalpha():
            kind = "other"  # "t0", "H2O": part of a name
        elif kind == "number":
            value = float(word.replace(",", ""))
            if not math.isfinite(value) or value > 1e30:
                kind, value = "huge", None
        tokens.append(new(Token, (kind, word, start, end, value)))
    return tokens


def word_value(word: str) -> float | None:
    """The value of a number word ("seven", "half", "twice", "dozen"); None for any other word."""
    return _WORD_VALUES.get(word)


def show(value: float) -> str:
    """A value as a person writes it: 24, 2.5, 0.333."""
    if not math.isfinite(value):
        return "no number"
    if abs(value) < 1e15 and value == int(value):
        return str(int(value))
    return f"{value:.6g}"


def same(a: float, b: float, tolerance: float = 1e-6) -> bool:
    """Equal up to a relative tolerance."""
    return abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-9)
