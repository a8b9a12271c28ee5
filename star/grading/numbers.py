"""A written number -> its exact value, and back. See `star/grading/verdicts.py` for what follows from it.

    >>> parse_number("$1,234.00 dollars").values
    (Fraction(1234, 1),)

Any text is taken; what is not one number is None, and the work is linear in the length.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from itertools import takewhile
from math import prod
from typing import Any

MAX_NUMBER = 200
"""Characters of a number's span. Ten thousand digits are no answer, and Python refuses to read that many."""

SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
SCALES |= {"k": 10**3}
_COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NO_UNIT = frozenset(
    re.findall(
        r"\w+",
        "or and wait not no but maybe perhaps possibly probably presumably likely unlikely either neither nor actually instead"
        " alternatively otherwise rather unless if minus plus than to between then so hmm sorry versus vs as given hint correct"
        " wrong incorrect false mistaken isn aren wasn doesn don cannot unclear unknown undefined undetermined indeterminate"
        " determined doubt doubtful uncertain unsure guess half"
        " twenty thirty forty fifty sixty seventy eighty ninety halves",
    )
) | {*_COUNTS}
"""Words that make a second answer, a doubt or another number of what follows a number."""
_NO_FIRST_UNIT = frozenset(re.findall(r"\w+", "squared cubed x y z n i e pi π factorial point times"))
_PART = re.compile(
    r"(?:thir(?=ds?$)|(?:four|fif|six|seven|eigh|nin|ten|eleven|twelf|\w{3,6}teen|(?:twen|thir|for|fif|six|seven|eigh|nine)tie"
    r"|hundred|thousand|million|billion|trillion)(?=ths?$))(?:d|th)(?P<plural>s?)"
)
"""5 hundredths are no 5: the word divides. "months" and "lengths" are units."""

SPELLINGS = str.maketrans(
    dict.fromkeys("−–—‐‑‒﹣－", "-") | {"×": "x", "⋅": "x", "·": "x"} | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", "")
)
"""Dashes and products in one spelling each, and no characters without a width."""
_SUPERSCRIPTS = str.maketrans({"⁰": "^0", "¹": "^1", "²": "^2", "³": "^3", "⁴": "^4", "⁵": "^5", "⁶": "^6"})
_GROUPED_BY_SPACE = re.compile(r"(?<=\d)(?:[\u00a0\u2009\u202f]|\\[,!;]|\{,\}|['’])(?=\d{3}(?!\d))")
_VULGAR = re.compile("([\u00bc-\u00be\u2150-\u215e])")
_LATEX = (
    (re.compile(r"\\[dt]?frac\s*\{\s*(-?\d{1,90})\s*\}\s*\{\s*(\d{1,90})\s*\}"), r" \1/\2 "),
    (re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)(?!\d)"), r" \1/\2 "),
    (re.compile(r"\\(?:text|textrm|textbf|mathrm|mathbf|mbox|boxed|fbox)\s*\{([^{}]{0,200})\}"), r" \1 "),
    (re.compile(r"\\times(?![a-zA-Z])|\\cdot(?![a-zA-Z])"), " x "),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![a-zA-Z])"), "° "),
    (re.compile(r"\\approx(?![a-zA-Z])"), "≈"),
    (re.compile(r"\\([%$#])"), r"\1"),
    (re.compile(r"(?<=\d)~"), " "),
    (re.compile(r"\\[,;:!]|\\quad(?![a-zA-Z])|\\ "), " "),
)
_MILLIONS = re.compile(r"(?<=\d) ?M(?![^\W_])")
_CURRENCY = re.compile(r"[$€£¥₹¢]")
_MONEY = re.compile(r"[$€£¥₹¢]|\b(?:usd?|eur|gbp|rs)\b", re.IGNORECASE)
_KELVIN = re.compile(r"(?<=\d) {1,3}K(?=\W{0,9}$)")
"""300 K is a temperature; 300K, 300 k, 300 K people and $300 K are thousands."""
_BOLD = re.compile(r"(?<!\d)\*\*|\*\*(?! ?[\d({])")
"""Emphasis, but not the power of 10**6."""
_QUOTES = "*_`\"“”'‘’ "
_QUOTED = re.compile(r"(?P<open>\*{1,3}|`{1,3}|\"|'|“|‘)(?P<inside>[^\s*`\"'“”‘’][^*`\"“”‘’]*)(?:(?P=open)|”|’)")
_WRAPPERS = (("\\(", "\\)"), ("\\[", "\\]"), ("(", ")"), ("[", "]"), ("{", "}"), ("<<", ">>"))
_NUMBER = re.compile(
    r"(?:(?:the )?(?:final )?answer(?: is)? ?:? ?)?"
    r"(?:[a-z] ?= ?)?(?:(?:≈|~|=|about|approximately|around|exactly) ?)?(?:us|usd|eur|gbp|rs\.?)? ?"
    r"(?:(?P<sign>[-+]|minus|negative) ?)?"
    r"(?:(?P<whole>\d{1,90}) (?:and )?(?P<top>\d{1,90}) ?/ ?(?P<bottom>\d{1,90})"
    r"|(?P<num>\d{1,90}) ?/ ?(?P<den>\d{1,90})"
    r"|(?P<value>\d{1,3}(?:,\d{2,3}){0,40},\d{3}(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+)"
    r"(?:e(?P<exp>[-+]?\d{1,3})(?![\d.])| ?[x*] ?10 ?(?:\^|\*\*) ?[{(]?(?P<power>[-+]?\d{1,3})[)}]?)?)"
    r"(?: ?(?P<percent>%|percent(?![a-z])|per cent(?![a-z])))?"
    r"(?P<unit>(?:[ -]?(?:[^\W\d_]|[/°('\"])(?:[^\W\d_]|[ /°'\"().^-]|(?<=[^\W\d_])[23](?!\d)|(?<=\^)[23](?!\d)){0,80})?)"
)


@dataclass(frozen=True, slots=True)
class Number:
    """A span read as a number: `values[0]` as written; a second value where a unit word is a factor (million)."""

    values: tuple[Fraction, ...]
    percent: bool
    scale: str = ""
    """That unit word."""
    unit: str = ""
    """Whatever stands behind the number, the factor included."""


def parse_number(text: str) -> Number | None:
    """The one number that `text` states, with or without sign, separators, currency, percent and unit; else None."""
    if len(text) > MAX_NUMBER:
        return None
    found = _NUMBER.fullmatch(_plain_number(text))
    if found is None:
        return None
    value = _magnitude(found)
    unit = found["unit"].strip(" -").lower()
    if value is None:
        return None
    if value in range(len(_COUNTS)):
        unit = unit.replace(f"({_COUNTS[int(value)]})", "")  # "3 (three)"
    if not _is_unit(unit):
        return None
    value = -value if found["sign"] in ("-", "minus", "negative") else value
    scales = list(takewhile(lambda word: word in SCALES, (word.rstrip("s") for word in re.split(r"[^a-z]+", unit))))
    values = (value, value * prod(SCALES[word] for word in scales)) if scales else (value,)
    return Number(values, found["percent"] is not None, " ".join(scales), unit)


def written_value(text: str) -> float | None:
    """The number that an answer states, as written ("$3 million" -> 3.0), to be looked for among the numbers of a text.

    That is no equality of answers: see `star.grading.same_answer`. None for text that is not one number, or too large a one.
    """
    number = parse_number(text)
    try:
        return None if number is None else float(number.values[0])
    except OverflowError:
        return None


def _plain_number(text: str) -> str:
    """Unicode and LaTeX spellings as ASCII, wrappers and closing punctuation stripped, currency signs as blanks, lower case."""
    text = _MILLIONS.sub(" million", _BOLD.sub("", _GROUPED_BY_SPACE.sub(",", text)))
    if not text.isascii():
        text = text.translate(SPELLINGS).translate(_SUPERSCRIPTS)
        text = unicodedata.normalize("NFKC", _VULGAR.sub(r" \1", text)).replace("⁄", "/")
    if "\\" in text:
        text = unwrap(text)
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    text = unwrap(text)
    text = text if _MONEY.search(text) else _KELVIN.sub(" kelvin", text)
    return unwrap(" ".join(_CURRENCY.sub(" ", text).lower().split()))


def unwrap(text: str, *, brackets: bool = True, prose: bool = False) -> str:
    """`text` without the blanks, emphasis, quotes, math delimiters, closing punctuation and, if asked, brackets around it.

    Where the brackets stay it is mathematics, unless `prose`: a closing `!` or prime and a lone `*` or `_` belong to that.
    """
    for _ in range(8):
        before = text
        if brackets or prose:
            text = text.strip().strip(_QUOTES).rstrip(".!;:,").rstrip(_QUOTES)
        else:
            text = text.strip().rstrip(".;:, ")
            quoted = _QUOTED.fullmatch(text)
            text = quoted["inside"] if quoted else text
        if text.startswith("$") and text.endswith("$") and len(text) > 2:
            text = text[1:-1]
        for opening, closing in _WRAPPERS if brackets else _WRAPPERS[:2]:
            inside = text[len(opening) : -len(closing)]
            if text.startswith(opening) and text.endswith(closing) and opening not in inside and closing not in inside:
                text = inside
        boxed = re.fullmatch(r"\\(?:boxed|fbox|text|mathbf|textbf|mathrm)\s*\{(.*)\}", text, re.DOTALL)
        text = boxed[1] if boxed and _balanced(boxed[1]) else text
        if text == before:
            break
    return text


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0


def _magnitude(found: re.Match[str]) -> Fraction | None:
    """The unsigned value of a match; None for a denominator of zero."""
    try:
        if found["num"]:
            return Fraction(int(found["num"]), int(found["den"]))
        if found["whole"]:
            return int(found["whole"]) + Fraction(int(found["top"]), int(found["bottom"]))
    except ZeroDivisionError:
        return None
    exponent = int(found["exp"] or found["power"] or 0)
    digits, _, decimals = found["value"].replace(",", "").partition(".")
    plain = Fraction(int((digits + decimals) or "0"), 10 ** len(decimals))
    return plain * Fraction(10) ** exponent


def _is_unit(unit: str) -> bool:
    words = re.findall(r"[^\W\d_]+", unit)
    if not words:
        return True
    parts = [word for word in words if (part := _PART.fullmatch(word)) and (part["plural"] or word == words[-1])]
    return words[0] not in _NO_FIRST_UNIT and not parts and _NO_UNIT.isdisjoint(words)


def canonical_number(value: Any) -> str | None:
    """A gold answer as it is stored: "1,234.50 dollars" -> "1234.5", 51.0 -> "51", "2/4" -> "0.5"; None if it is no number.

    None too for one of so many digits that no answer could be compared with it (1e300). A share of a percent keeps its sign
    ("0.5%"): without it 50% would be the same.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float | Decimal):
        try:
            decimal = Decimal(str(value))
        except (InvalidOperation, ValueError):  # whole numbers of more digits than Python writes
            return None
        if not decimal.is_finite() or abs(decimal.adjusted()) > MAX_NUMBER:
            return None
        exact, sign = Fraction(decimal), ""
    else:
        number = parse_number(str(value))
        if number is None:
            return None
        exact = number.values[-1]
        sign = "%" if number.percent and 0 < abs(exact) < 1 else ""
    shown = show_number(exact) + sign
    return None if parse_number(shown) is None else shown


def show_number(value: Fraction) -> str:
    """The shortest plain spelling: whole, finite decimal, or fraction."""
    if value.denominator == 1:
        return str(value.numerator)
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    if rest != 1 or places > 30:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
