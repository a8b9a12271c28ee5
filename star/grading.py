"""Answer span -> verdict, for numbers, choices, texts and mathematics. Only the span is judged, never the text around it.

    >>> grade_number("$1,234.00 dollars", "1234")
    <Verdict.correct: 'correct'>

The rules where a span leaves room:

- A span must be *one* answer. "3 or 4", "41 wait, 42", "5-6", "(A) and (C)" are ungradable, whatever the gold answer is.
- Numbers are compared exactly, as fractions: 0.5 = 1/2 = 2/4, 0.33 is not 1/3. Currency and units are ignored.
- A percent sign is a unit (50% = 50); against a gold answer between -1 and 1 it also divides (50% = 0.5). A word like
  "million" is a factor or a unit: "3 million" answers 3000000 and, where millions were asked for, 3.
- A choice is its label, its full text, or both if they agree. Anything else that names no option is incorrect; several
  options, a negated one, or a label beside another option's text are ungradable.
- Mathematics is compared as numbers if both are numbers, else by math-verify in a process that can be killed.

Every function takes any text, never raises on a span, and is linear in its length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from typing import Any

from star.tasks.base import Verdict

MAX_NUMBER = 200
"""Characters of a number's span. Ten thousand digits are no answer, and Python refuses to read that many."""
MAX_CHOICE = 1_000
MAX_TEXT = 10_000
MAX_MATH = 400
"""Characters of a span given to math-verify; beyond this its parser takes seconds."""

SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
SCALES |= {"k": 10**3}
_NO_UNIT = frozenset(
    re.findall(
        r"\w+",
        "or and wait not no but maybe perhaps possibly either neither nor actually instead minus plus than to between then so"
        " hmm sorry versus vs as given hint correct zero half one two three four five six seven eight nine ten eleven twelve"
        " twenty thirty forty fifty sixty seventy eighty ninety",
    )
)
"""Words that make a second answer, a doubt or another number of what follows a number."""
_NO_FIRST_UNIT = {"squared", "cubed", "x", "y", "z", "n", "factorial", "point", "times", "e"}

_DASHES = str.maketrans(dict.fromkeys("−–—‐‑‒﹣－", "-") | {"×": "x", "⋅": "x", "·": "x"})
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
    (re.compile(r"\\[,;:!]|\\quad(?![a-zA-Z])|\\ "), " "),
)
_WRAPPERS = (("\\(", "\\)"), ("\\[", "\\]"), ("(", ")"), ("[", "]"), ("{", "}"), ("<<", ">>"))
_NUMBER = re.compile(
    r"(?:(?:the )?(?:final )?answer(?: is)? ?:? ?)?"
    r"(?:[a-z] ?= ?)?(?:(?:≈|~|=|about|approximately|around|exactly) ?)?(?:us|usd|eur|gbp|rs\.?)? ?"
    r"(?P<sign>[-+]?) ?"
    r"(?:(?P<whole>\d{1,90}) (?P<top>\d{1,90}) ?/ ?(?P<bottom>\d{1,90})"
    r"|(?P<num>\d{1,90}) ?/ ?(?P<den>\d{1,90})"
    r"|(?P<value>\d{1,3}(?:,\d{2,3}){0,40},\d{3}(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+)"
    r"(?:e(?P<exp>[-+]?\d{1,3})(?![\d.])| ?[x*] ?10 ?(?:\^|\*\*) ?[{(]?(?P<power>[-+]?\d{1,3})[)}]?)?)"
    r"(?: ?(?P<percent>%|percent(?![a-z])|per cent(?![a-z])))?"
    r"(?P<unit>(?:[ -]?(?:[^\W\d_]|[/°('\"])(?:[^\W\d_]|[ /°'\"().^-]|(?<=[^\W\d_])[23](?!\d)|(?<=\^)[23](?!\d)){0,80})?)"
)


@dataclass(frozen=True, slots=True)
class Number:
    """A span read as a number: `values[0]` as written; a second value where a unit word can be a factor (million)."""

    values: tuple[Fraction, ...]
    percent: bool


def parse_number(text: str) -> Number | None:
    """The one number that `text` states, with or without sign, separators, currency, percent and unit; else None."""
    if len(text) > MAX_NUMBER:
        return None
    found = _NUMBER.fullmatch(_plain_number(text))
    if found is None:
        return None
    value = _magnitude(found)
    unit = found["unit"].strip(" -").lower()
    if value is None or not _is_unit(unit):
        return None
    value = -value if found["sign"] == "-" else value
    factor = SCALES.get(re.split(r"[^a-z]", unit, maxsplit=1)[0]) or SCALES.get(unit.split(" ")[0].rstrip("s"))
    return Number((value,) if factor is None else (value, value * factor), found["percent"] is not None)


def _plain_number(text: str) -> str:
    """Unicode and LaTeX spellings as ASCII, wrappers and closing punctuation stripped, currency signs as blanks, lower case."""
    text = _GROUPED_BY_SPACE.sub(",", text)
    if not text.isascii():
        text = text.translate(_DASHES).translate(_SUPERSCRIPTS)
        text = unicodedata.normalize("NFKC", _VULGAR.sub(r" \1", text)).replace("⁄", "/")
    if "\\" in text:
        text = unwrap(text)
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    text = re.sub(r"[$€£¥₹]", " ", unwrap(text)).lower()
    return unwrap(" ".join(text.split()))


def unwrap(text: str, *, brackets: bool = True) -> str:
    """`text` without the blanks, emphasis, quotes, math delimiters, closing punctuation and, if asked, brackets around it."""
    for _ in range(8):
        before = text
        text = text.strip().strip("*_`\"“”'‘’ ").rstrip(".!;:,").rstrip("*_`\"“”'‘’ ")
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
    return not words or (words[0] not in _NO_FIRST_UNIT and _NO_UNIT.isdisjoint(words))


def canonical_number(value: Any) -> str | None:
    """A gold answer as it is stored: "1,234.50 dollars" -> "1234.5", 51.0 -> "51", "2/4" -> "1/2"; None if it is no number."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float | Decimal):
        try:
            return show_number(Fraction(Decimal(str(value))))
        except (InvalidOperation, ValueError, OverflowError):  # nan, infinities
            return None
    number = parse_number(str(value))
    return None if number is None else show_number(number.values[-1])


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


def grade_number(span: str | None, gold: str) -> Verdict:
    """Exact equality of two numbers. Raises ValueError when the gold answer is none."""
    if span is None or not span.strip():
        return Verdict.no_answer
    reference = parse_number(gold)
    if reference is None:
        raise ValueError(f"gold answer {gold[:80]!r} is not a number; `python -m star.validate` lists such rows")
    answer = parse_number(span)
    if answer is None:
        return Verdict.ungradable
    target = reference.values[0]
    if target in answer.values or (answer.percent and -1 < target < 1 and target == answer.values[0] / 100):
        return Verdict.correct
    return Verdict.incorrect


def plain_text(text: str) -> str:
    """Case, blanks, Unicode form, quotes, closing punctuation and a leading article do not tell two texts apart."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_DASHES).replace("’", "'")
    text = " ".join(text.casefold().split()).strip('*_`"“” ').rstrip(" .!,;:").strip('*_`"“” ')
    for article in ("the ", "a ", "an "):
        if text.startswith(article):
            return text.removeprefix(article)
    return text


@lru_cache(maxsize=20_000)
def _option(text: str) -> str:
    """`plain_text` of the short texts of choices, which come again with every sample."""
    return plain_text(text)


def grade_text(span: str | None, gold: str) -> Verdict:
    """Equality of two short texts, see `plain_text`."""
    if span is None or not span.strip():
        return Verdict.no_answer
    if len(span) > MAX_TEXT:
        return Verdict.ungradable
    return Verdict.correct if plain_text(span) == plain_text(gold) else Verdict.incorrect


_OPTION_WORD = re.compile(r"(?:option|choice|answer)\s+(?=[(\[]?[^\W_]{1,4}[)\]]?$)", re.IGNORECASE)
_LABEL_FORMS = (
    re.compile(r"[(\[](?P<label>[^\W_]{1,4})[)\]][.:]?(?:\s+(?P<text>\S.*))?", re.DOTALL | re.I),
    re.compile(r"(?P<label>[^\W_]{1,4})(?:[).:](?:\s+(?P<text>\S.*))?)?", re.DOTALL | re.I),
    re.compile(r"(?P<text>\S.*?)\s*[(\[](?P<label>[^\W_]{1,4})[)\]]", re.DOTALL),
)


def grade_choice(span: str | None, choices: Mapping[str, str], gold: str) -> Verdict:
    """Label, full text, or both of one option. Options with the same text are the same answer."""
    if span is None or not span.strip():
        return Verdict.no_answer
    if len(span) > MAX_CHOICE:
        return Verdict.ungradable
    named = choice_of(span, choices)
    if named is None:
        return Verdict.ungradable
    if named == "":
        return Verdict.incorrect
    same = _option(choices[named]) == _option(choices[gold])
    return Verdict.correct if named == gold or same else Verdict.incorrect


def choice_of(span: str, choices: Mapping[str, str]) -> str | None:
    """The label of the one option that `span` names; "" when it names none of them; None when that cannot be told."""
    text = re.sub(r"[\s.!;:,]+$", "", span.strip().strip('*_`"“” $')).strip('*_`"“” $')
    boxed = re.fullmatch(r"\\boxed\{(.{1,200})\}", text)
    text = boxed[1] if boxed else text
    by_text = {_option(option): label for label, option in reversed(list(choices.items()))}
    labels = {label.casefold(): label for label in choices}
    readings: set[str] = set()
    foreign = False
    if _option(text) in by_text:
        readings.add(by_text[_option(text)])
    bare = _OPTION_WORD.sub("", text)
    for form in _LABEL_FORMS:
        found = form.fullmatch(bare)
        if found is None:
            continue
        label, beside = labels.get(found["label"].casefold()), found["text"]
        if label is not None and (beside is None or _option(beside) == _option(choices[label])):
            readings.add(label)
        elif label is None and beside is None and _option(found["label"]) in by_text:
            readings.add(by_text[_option(found["label"])])
        elif label is None and beside is None:
            foreign = True
        elif label is not None:
            return None  # a label beside another text: which of the two was meant?
    if len({_option(choices[label]) for label in readings}) > 1:
        return None
    if readings:
        return min(readings)
    return "" if foreign or not _mentions_option(text, choices) else None


def _mentions_option(text: str, choices: Mapping[str, str]) -> bool:
    """True when some option's label in parentheses, or its text as whole words, occurs in a longer span."""
    inside = " " + " ".join(re.findall(r"[^\W_]+", text.casefold())) + " "
    marked = {label.casefold() for label in re.findall(r"[(\[]([^\W_]{1,4})[)\]]", text)}
    capitals = set(re.findall(r"(?<![^\W_])[A-Z](?![^\W_'’])", text))
    if marked & {label.casefold() for label in choices} or len(capitals & set(choices)) > (1 if "A" in capitals else 0):
        return True
    options = (" ".join(re.findall(r"[^\W_]+", option.casefold())) for option in choices.values())
    return any(option and f" {option} " in inside for option in options)


def grade_math(span: str | None, gold: str) -> Verdict:
    """Equality of two short mathematical answers: as numbers or as written where that decides, else by math-verify."""
    if span is None or not span.strip():
        return Verdict.no_answer
    if len(span) > MAX_MATH:
        return Verdict.ungradable
    if _same_writing(span, gold):
        return Verdict.correct
    answer, reference = parse_number(span), parse_number(gold)
    if answer is not None and reference is not None:
        return grade_number(span, gold)
    from star.math_grading import compare

    return compare(span, gold)


def _same_writing(span: str, gold: str) -> bool:
    one, other = (
        "".join(unwrap(text, brackets=False).split()).replace("\\left", "").replace("\\right", "")
        for text in (span, gold)
    )
    return one == other != ""
