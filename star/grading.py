"""Answer span -> verdict, for numbers, choices, texts and mathematics. Only the span is judged, never the text around it.

    >>> grade_number("$1,234.00 dollars", "1234")
    <Verdict.correct: 'correct'>

The rules where a span leaves room:

- A span must be *one* answer. "3 or 4", "41 wait, 42", "5-6", "(A) and (C)" are ungradable, whatever the gold answer is.
- Numbers are compared exactly, as fractions: 0.5 = 1/2 = 2/4, 0.33 is not 1/3. Currency and units are ignored.
- A percent sign is a unit (50% = 50); against a gold answer between -1 and 1 it also divides (50% = 0.5). A word like
  "million" is a factor: "3 million" answers 3000000 and, where the question speaks of millions, 3.
- A choice is its label, its full text, or both if they agree. Anything else that names no option is incorrect; several
  options, a negated one, or a label beside another option's text are ungradable. Where the texts of two options differ
  in case, punctuation or an article alone ("March", "march"), only the exact text tells them apart.
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
from itertools import takewhile
from math import prod
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
_COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NO_UNIT = frozenset(
    re.findall(
        r"\w+",
        "or and wait not no but maybe perhaps possibly probably presumably likely unlikely either neither nor actually instead"
        " alternatively otherwise rather unless if minus plus than to between then so hmm sorry versus vs as given hint correct"
        " wrong incorrect false mistaken isn aren wasn doesn don cannot unclear unknown undefined undetermined indeterminate"
        " determined doubt doubtful uncertain unsure guess half"
        " twenty thirty forty fifty sixty seventy eighty ninety",
    )
) | {*_COUNTS}
"""Words that make a second answer, a doubt or another number of what follows a number."""
_NO_FIRST_UNIT = frozenset(
    re.findall(
        r"\w+", "squared cubed x y z n i e pi π factorial point times halves thirds fourths fifths sixths eighths tenths"
    )
)

_SPELLINGS = str.maketrans(
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
_BOLD = re.compile(r"(?<!\d)\*\*|\*\*(?! ?[\d({])")
"""Emphasis, but not the power of 10**6."""
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
    return Number(values, found["percent"] is not None, " ".join(scales))


def _plain_number(text: str) -> str:
    """Unicode and LaTeX spellings as ASCII, wrappers and closing punctuation stripped, currency signs as blanks, lower case."""
    text = _MILLIONS.sub(" million", _BOLD.sub("", _GROUPED_BY_SPACE.sub(",", text)))
    if not text.isascii():
        text = text.translate(_SPELLINGS).translate(_SUPERSCRIPTS)
        text = unicodedata.normalize("NFKC", _VULGAR.sub(r" \1", text)).replace("⁄", "/")
    if "\\" in text:
        text = unwrap(text)
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    text = re.sub(r"[$€£¥₹¢]", " ", unwrap(text)).lower()
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
    """A gold answer as it is stored: "1,234.50 dollars" -> "1234.5", 51.0 -> "51", "2/4" -> "0.5"; None if it is no number.

    None too for one of so many digits that no answer could be compared with it (1e300).
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
        exact = Fraction(decimal)
    else:
        number = parse_number(str(value))
        if number is None:
            return None
        exact = number.values[-1]
    shown = show_number(exact)
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


def grade_number(span: str | None, gold: str, question: str = "") -> Verdict:
    """Exact equality of two numbers. Raises ValueError when the gold answer is none.

    "3 million" is 3 only where the question asks for millions.
    """
    if span is None or not span.strip():
        return Verdict.no_answer
    reference = parse_number(gold)
    if reference is None:
        raise ValueError(f"gold answer {gold[:80]!r} is not a number; `python -m star.validate` lists such rows")
    answer = parse_number(span)
    if answer is None:
        return Verdict.ungradable
    target = reference.values[-1]
    values = answer.values if answer.scale in question.casefold() else answer.values[-1:]
    if target in values or (answer.percent and -1 < target < 1 and target == answer.values[0] / 100):
        return Verdict.correct
    return Verdict.incorrect


def plain_text(text: str) -> str:
    """Case, blanks, Unicode form, quotes, closing punctuation and a leading article do not tell two texts apart."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_SPELLINGS).replace("’", "'").replace("‘", "'")
    text = fold(text).casefold()
    bare = text.strip('*_`"“” ').rstrip(" .!,;:").strip('*_`"“” ')
    if bare.count("'") == 2 and bare.startswith("'") and bare.endswith("'"):
        bare = bare[1:-1].strip().rstrip(".!,;:")
    for article in ("the ", "a ", "an "):
        if bare.startswith(article):
            return bare.removeprefix(article)
    return bare or text  # punctuation alone is told apart as it stands


def fold(text: str) -> str:
    """The text with one blank in place of each run of blanks, none around it."""
    return " ".join(text.split())


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


_OPTION_WORD = re.compile(
    r"(?:\bthe\s+)?\b(?:answer\s+)?\b(?:option|choice|letter|answer)\s+(?=[(\[]?[^\W_]{1,4}(?:[)\].:,]|\s+[-–—]|$))", re.I
)
_LABEL_FORMS = (
    re.compile(r"[(\[](?P<label>[^\W_]{1,4})[)\]](?:[.:,]|\s*[-–—])?(?:\s+(?P<text>\S.*))?", re.DOTALL | re.I),
    re.compile(r"(?P<label>[^\W_]{1,4})(?:(?:[).:,]|\s+[-–—])(?:\s+(?P<text>\S.*))?)?", re.DOTALL | re.I),
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
    same = named == gold or fold(choices[named]) == fold(choices[gold])
    return Verdict.correct if same else Verdict.incorrect


def choice_of(span: str, choices: Mapping[str, str]) -> str | None:
    """The label of the one option that `span` names; "" when it names none of them; None when that cannot be told."""
    text = unwrap(span if span.isascii() else unicodedata.normalize("NFKC", span.translate(_SPELLINGS)), brackets=False)
    by_text = _labels_of_text(choices, text, span)
    if by_text and len(text) > 4:
        return _only(by_text, choices)
    labels = {label.casefold(): label for label in choices}
    readings = set(by_text)
    foreign = False
    bare = _OPTION_WORD.sub("", text)
    for form in _LABEL_FORMS:
        found = form.fullmatch(bare)
        if found is None:
            continue
        label, beside = labels.get(found["label"].casefold()), found["text"]
        if label is None:
            if beside is None:
                inside = _labels_of_text(choices, found["label"])
                readings |= inside
                foreign = foreign or not inside
        elif beside is None or _option(unwrap(beside)) == _option(choices[label]):
            readings.add(label)
        else:
            return None  # a label beside another text: which of the two was meant?
    if readings:
        return _only(readings, choices)
    return "" if foreign or not _mentions_option(text, choices) else None


def _labels_of_text(choices: Mapping[str, str], text: str, written: str = "") -> set[str]:
    """Labels of the options with exactly this text (or as `written`); else of those that differ in what `plain_text` leaves out."""
    exact = {label for label, option in choices.items() if fold(option) in (fold(text), fold(written))}
    return exact or {label for label, option in choices.items() if _option(option) == _option(text)}


def _only(labels: set[str], choices: Mapping[str, str]) -> str | None:
    """The first of labels whose options have one and the same text; None where their texts differ."""
    return min(labels) if len({fold(choices[label]) for label in labels}) == 1 else None


def _mentions_option(text: str, choices: Mapping[str, str]) -> bool:
    """True when some option's label in parentheses, or its text as whole words, occurs in a longer span."""
    inside = " " + " ".join(re.findall(r"[^\W_]+", text.casefold())) + " "
    marked = {label.casefold() for label in re.findall(r"[(\[]([^\W_]{1,4})[)\]]", text)}
    capitals = set(re.findall(r"(?<![^\W_])[A-Z](?![^\W_'’])", text))
    if marked & {label.casefold() for label in choices} or len(capitals & set(choices)) > (1 if "A" in capitals else 0):
        return True
    options = (" ".join(re.findall(r"[^\W_]+", option.casefold())) for option in choices.values())
    return any(option and f" {option} " in inside for option in options)


def vote(answer: str | None, verdict: str, choices: Mapping[str, str] | None) -> str | None:
    """A sample's answer in one spelling, so that samples which say the same vote together; None for one that is no answer."""
    if answer is None or verdict not in (Verdict.correct, Verdict.incorrect):
        return None
    if choices and (named := choice_of(answer, choices)):
        return fold(choices[named])
    return canonical_number(answer) or plain_text(answer)


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
