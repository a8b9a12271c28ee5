"""Answer span -> verdict, for numbers, choices, texts and sums. Only the span is judged, never the text around it.

    >>> grade_number("$1,234.00 dollars", "1234")
    <Verdict.correct: 'correct'>

The rules where a span leaves room:

- A span must be *one* answer. "3 or 4", "41 wait, 42", "5-6", "(A) and (C)" are ungradable, whatever the gold answer is.
- Numbers are compared exactly, as fractions: 0.5 = 1/2 = 2/4, 0.33 is not 1/3. Currency and units are ignored.
- A percent sign is a unit (50% = 50); against a number between -1 and 1 without one it also divides (50% = 0.5). A word
  like "million" is a factor: "3 million" answers 3000000 and, where the question speaks of millions, 3.
- A choice is its label, its full text, or both if they agree. Anything else that names no option is incorrect; several
  options, a negated one, or a label beside another option's text are ungradable. Where the texts of two options differ
  in case, punctuation or an article alone ("March", "march"), only the exact text tells them apart.
- Mathematics: star/grading/mathematics.py.

Every function takes any text, never raises on a span, and is linear in its length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from star.grading.numbers import SPELLINGS, Number, parse_number, unwrap
from star.problem import Verdict, fold_forms

MAX_CHOICE = 1_000
MAX_TEXT = 10_000


def grade_number(span: str, gold: str, question: str = "") -> Verdict:
    """Exact equality of two numbers. Raises ValueError when the gold answer is none.

    "3 million" is 3 only where the question asks for millions.
    """
    reference = parse_number(gold)
    if reference is None:
        raise ValueError(f"gold answer {gold[:80]!r} is not a number; `python -m star.validate` lists such rows")
    answer = parse_number(span)
    if answer is None:
        return Verdict.ungradable
    return Verdict.correct if same_numbers(answer, reference, question) else Verdict.incorrect


def same_numbers(one: Number, other: Number, question: str = "") -> bool:
    """Whether one of two numbers answers a question whose answer is the other."""
    return _accepts(one, other, question) or _accepts(other, one, question)


def _accepts(answer: Number, reference: Number, question: str) -> bool:
    target = reference.values[-1]
    values = answer.values if _asks_for(answer.scale, question) else answer.values[-1:]
    divides = answer.percent and not reference.percent and -1 < target < 1
    return target in values or (divides and target == answer.values[0] / 100)


def _asks_for(scale: str, question: str) -> bool:
    """True when the question speaks of that factor in words: "How many millions?", "how many hundred thousand"."""
    if scale in ("", "k"):
        return False
    return re.search(rf"\b{scale.replace(' ', 's? ')}s?\b", fold(question).casefold()) is not None


def plain_text(text: str) -> str:
    """Case, blanks (also around commas and before a unit), Unicode form, quotes, closing punctuation and a leading article do
    not tell two texts apart.
    """
    if not text.isascii():
        text = fold_forms(text).translate(SPELLINGS).replace("’", "'").replace("‘", "'")
    text = _GLUED.sub(" ", _COMMA.sub(", ", fold(text).casefold()))
    bare = text.strip('*_`"“” ').rstrip(" .!,;:").strip('*_`"“” ')
    if bare.count("'") == 2 and bare.startswith("'") and bare.endswith("'"):
        bare = bare[1:-1].strip().rstrip(".!,;:")
    for article in ("the ", "a ", "an "):
        if bare.startswith(article):
            return bare.removeprefix(article)
    return bare or text  # punctuation alone is told apart as it stands


_COMMA = re.compile(r"(?<=\w) ?, ?(?=[^\W\d]|\d(?!\d\d(?!\d)))")
_GLUED = re.compile(r"(?<=\d)(?=[a-z]{1,3}(?![^\W_]))")


def fold(text: str) -> str:
    """The text with one blank in place of each run of blanks, none around it."""
    return " ".join(text.split())


@lru_cache(maxsize=20_000)
def _option(text: str) -> str:
    """`plain_text` of the short texts of choices, which come again with every sample."""
    return plain_text(text)


_BRACKETED = re.compile(r"[(\[{]?\s*([^\W_]{1,4})\s*[)\]}]\.?")


def same_text(one: str, other: str) -> bool:
    """Equality of two short texts, see `plain_text`; a label alone may stand in brackets, true is yes and false is no."""
    if max(len(one), len(other)) > MAX_TEXT:
        return False
    one, other = (text if text.isalnum() else unwrap(text, brackets=False) or text for text in (one, other))
    one, other = (_BRACKETED.sub(r"\1", text) if _BRACKETED.fullmatch(text.strip()) else text for text in (one, other))
    one, other = plain_text(one), plain_text(other)
    return _TRUTH.get(one, one) == _TRUTH.get(other, other)


_TRUTH = {"true": "yes", "false": "no"}


def grade_text(span: str, gold: str) -> Verdict:
    """Equality of two short texts, see `same_text`."""
    if len(span) > MAX_TEXT:
        return Verdict.ungradable
    return Verdict.correct if same_text(span, gold) else Verdict.incorrect


_OPTION_WORD = re.compile(
    r"(?:\bthe\s+)?\b(?:answer\s+)?\b(?:option|choice|letter|answer)(?:\s+is)?:?\s+"
    r"(?=[(\[]?[^\W_]{1,4}(?:[)\].:,]|\s+[-–—]|$))",
    re.IGNORECASE,
)
_FIRST_WORD = re.compile(r"[^\W\d_]+")
_LABEL_FORMS = (
    re.compile(r"[(\[{<]\s?(?P<label>[^\W_]{1,4})\s?[)\]}>](?:[.:,]|\s*[-–—](?!\d))?\s*(?P<text>\S.*)?", re.DOTALL),
    re.compile(
        r"(?P<label>[^\W_]{1,4})(?:(?:\s?[).:,]|\s+(?:[-–—=]|->))(?:(?:\s+|(?<=[).:])(?=[^\W\d]))(?P<text>\S.*))?)?", re.DOTALL
    ),
    re.compile(r"(?P<label>[^\W_]{1,4})\s?[(\[](?P<text>[^()\[\]]+)[)\]]"),
    re.compile(r"(?P<text>\S.*?)(?:\s*[(\[{]\s?(?P<label>[^\W_]{1,4})\s?[)\]}])", re.DOTALL),
    re.compile(r"(?P<text>[^\s:][^:]*?)(?::|,| [-–—=])\s*(?P<label>[^\W_]{1,4})"),
    _LABEL_AND_TEXT := re.compile(r"(?P<label>[^\W_]{1,4})\s+(?P<text>\S.*)", re.DOTALL),
    re.compile(r"[(\[{<]\s?(?P<label>[^\W_]{1,4})(?:\s?[.:,]\s?|\s[-–—]\s)(?P<text>[^()\[\]{}<>]+)[)\]}>]"),
)


def grade_choice(span: str, choices: Mapping[str, str], gold: str) -> Verdict:
    """Label, full text, or both of one option. Options with the same text are the same answer."""
    named = choice_of(span, choices)
    if named is None:
        return Verdict.ungradable
    if named == "":
        return Verdict.incorrect
    same = named == gold or fold(choices[named]) == fold(choices[gold])
    return Verdict.correct if same else Verdict.incorrect


def choice_of(span: str, choices: Mapping[str, str]) -> str | None:
    """The label of the one option that `span` names; "" when it names none of them; None when that cannot be told."""
    if len(span) > MAX_CHOICE:
        return None
    alone = span[1:-1] if span.startswith("(") and span.endswith(")") else ""
    if len(alone) == 1 and alone in choices and not any(option.startswith("(") for option in choices.values()):
        return alone  # what most answers look like
    text = unwrap(fold_forms(span.translate(SPELLINGS)), brackets=False, prose=True)
    by_text = _labels_of_text(choices, text, span)
    if by_text and len(text) > 4:
        return _only(by_text, choices)
    labels = {label.casefold(): label for label in choices}
    readings = set(by_text)
    foreign = False
    bare = _OPTION_WORD.sub("", text)
    for form in _LABEL_FORMS:
        match = form.fullmatch(bare)
        if match is None:
            continue
        label, beside = labels.get(match["label"].casefold()), match["text"]
        if label is None:
            if beside is None:
                inside = _labels_of_text(choices, match["label"])
                readings |= inside
                foreign = foreign or not inside
        elif (
            beside is None
            or _option(choices[label]) in (_option(beside), _option(unwrap(beside)))
            or _same_number(beside, choices[label])
        ):
            readings.add(label)
        elif form is not _LABEL_AND_TEXT:  # whose label may be a word of a text
            return None  # a label beside another text: which of the two was meant?
    if readings:
        return _only(readings, choices)
    return "" if foreign or not _mentions_option(text, choices) else None


def _labels_of_text(choices: Mapping[str, str], text: str, written: str = "") -> set[str]:
    """Labels of the options with exactly this text (or as `written`); else of those that differ in what `plain_text` leaves out."""
    exact = {label for label, option in choices.items() if fold(option) in (fold(text), fold(written))}
    exact = exact or {label for label, option in choices.items() if _option(option) == _option(text)}
    if exact or ((word := _FIRST_WORD.match(text)) and word[0].casefold() in map(str.casefold, choices)):
        return exact  # in "B: 21" a label stands beside 21
    return {label for label, option in choices.items() if _same_number(written or text, option)}


def _same_number(text: str, option: str) -> bool:
    """Whether a text is the number that an option is: "$21", "21 days" for 21."""
    if (number := _number(option)) is None or (other := _number(text)) is None:
        return False
    return same_numbers(number, other)


@lru_cache(maxsize=20_000)
def _number(text: str) -> Number | None:
    return parse_number(text) if any(map(str.isnumeric, text)) else None


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


def as_digits(text: str) -> int | None:
    """A sum as the addition task writes it, "8 8 3" or "0883"; None for anything else."""
    digits = text.replace(" ", "")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 40 else None


def grade_digits(span: str, gold: str) -> Verdict:
    """Equality as whole numbers, of digits alone."""
    value = as_digits(span)
    if value is None:
        return Verdict.ungradable
    return Verdict.correct if value == as_digits(gold) else Verdict.incorrect
