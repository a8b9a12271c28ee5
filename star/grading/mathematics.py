r"""Answer span -> verdict, for mathematics: math-verify compares values, what surrounds them is decided here.

    gold answer           same answer                          another answer
    12                    x = 12, AB = 12, 12.0, 12\text{ cm}   3, 12; 12a; "12 or 13" (ungradable)
    x = 5                 5                                    y = 5
    f(2) = 5              5                                    f(3) = 5
    1, 2                  2, 1; 1 and 2; x = 1 or x = 2;       (1, 2); 1, 2, 2
                          \{1, 2\}; for -2, 2 also \pm 2
    (1, 2)                x = 1, y = 2; (x, y) = (1, 2);        (2, 1); [1, 2]; \{1, 2\}; 1, 2
                          for an interval 1 < x < 2
    x = 1, y = 2          (1, 2); (y, x) = (2, 1)              a = 1, b = 2
    (-\infty, 3)          x < 3                                x \le 3, y > 3
    50\%                  50; 0.5, by the rule of numbers      0.05
    1/3                   2/6                                  0.333: values are compared exactly, small ones too
    ABC, \angle ABC       \text{ABC}                           CBA, abc
    \text{True}           true, yes                            false

A list is compared without regard to order, each answer as often as it stands there; a name that only one side gives ("x =")
does not count. math-verify works in a process that can be killed, see star/grading/math_worker.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from star.grading.math_process import DOUBTFUL, compare
from star.grading.numbers import parse_number, plain_powers, unwrap
from star.grading.verdicts import grade_number, same_text
from star.problem import Verdict

MAX_MATH = 400
"""Characters of a span that are looked at; beyond this math-verify's parser takes seconds."""
MAX_ITEMS = 20
"""Answers of a list that are compared by value."""

_SIZED = re.compile(r"\\(?:left|right)(?![a-zA-Z])")
_SPACE = re.compile(r"(?<!\\)\\[,;: ]")
_REPEATING = re.compile(r"(\d+)\.(\d*)\\overline\s?\{\s?(\d{1,20})\s?\}")
_PRIME = re.compile(r"\^\s?(?:\{\s?)?\\prime(?![a-zA-Z])(?:\s?\})?|[’′]")
_COMMAND = re.compile(r"\\(?:text|textrm|mathrm|mbox)\s?\{[^{}]*\}|\\[a-zA-Z]+")
_VARIABLE = re.compile(r"(?<![a-zA-Z])[a-zA-Z](?![a-zA-Z])")
_SURE_UNIT = re.compile(
    r"(?:\^\s?\{?\s?\\circ\s?\}?|°|\\degree(?![a-zA-Z]))(?:\s?[CF](?![a-zA-Z]))?"
    r"|\\(?:text|textrm|mathrm|mbox)\s?\{[^{}]*\}"
    r"|(?<=\s)(?!(?:alpha|beta|gamma|delta|epsilon|theta|kappa|lambda|sigma|omega|sqrt|root|infinity|infty)\b)"
    r"[a-zA-Z]{4,}(?![a-zA-Z])"
)
"""What behind a number can be nothing but a unit: a word, LaTeX text, degrees. Shorter ones may be a product of variables."""


_SIGNS = str.maketrans(
    {"≤": "<=", "≥": ">=", "−": "-"}
    | {"∞": "\\infty ", "∪": "\\cup ", "∈": "\\in ", "±": "\\pm ", "·": "\\cdot ", "×": "\\times "}
)
_RELATIONS = (
    (re.compile(r"\\(?:leq?|leqslant)(?![a-zA-Z])"), "<="),
    (re.compile(r"\\(?:geq?|geqslant)(?![a-zA-Z])"), ">="),
    (re.compile(r"\\lt(?![a-zA-Z])"), "<"),
    (re.compile(r"\\gt(?![a-zA-Z])"), ">"),
)
_NAME = (
    r"[a-zA-Z]{1,3}'{0,2}(?:_\s?\{?\w{1,3}\}?)?(?:(?:\^\{-1\})?\([^()=]{1,20}\))?"
    r"|\\(?:angle|overline|text|mathrm)\s?\{?[a-zA-Z ]{1,20}\}?|\\[a-z]{2,7}"
)
_ASSIGNED = re.compile(rf"(?P<name>{_NAME})\s*(?:=|\\in(?![a-z]))\s*(?P<value>[^=].*)", re.DOTALL)
_PAIR = re.compile(r"\(([\w, {}]{3,40})\)\s*=\s*\((.+)\)", re.DOTALL)
_INTERVAL = re.compile(
    r"(?:(?P<low>[^<>=]+)(?P<left>[<>]=?))?\s*(?P<name>[a-zA-Z])\s*(?:(?P<right>[<>]=?)(?P<high>[^<>=]+))?", re.DOTALL
)
_JOINED = re.compile(r"\s*(?:,?\s*(?:\\text\s*\{\s*(?:and|or)\s*\}|\b(?:and|or)\b)|[,;]|\\(?:cup|quad|qquad)(?![a-zA-Z]))\s*")
_CLOSING = {"(": ")]", "[": ")]", "{": "}"}


@dataclass(frozen=True)
class Item:
    """One answer of a list: its value, the name that it is given to, and the brackets around what is more than one value."""

    name: str
    brackets: str
    values: tuple[str, ...]
    """One, or those of a pair or an interval in their order."""


def grade_math(span: str, gold: str) -> Verdict:
    """Equality of two short mathematical answers, by the table above."""
    if len(span) > MAX_MATH:
        return Verdict.ungradable
    answer, reference = (_plain(text) for text in (span, gold))
    if _as_written(answer) == _as_written(reference) != "":
        return Verdict.correct
    one, other = _items(answer), _items(reference)
    if one is None or other is None or (_is_single(one) and _is_single(other) and "\\pm" not in answer + reference):
        return _same_value(answer, reference)
    if _is_single(other) and DOUBTFUL.search(answer):
        return Verdict.ungradable  # "3 or 4"
    return _same_items(one, other)


def _is_single(items: list[Item]) -> bool:
    return len(items) == 1 and not items[0].brackets


def _plain(text: str) -> str:
    """One spelling of signs and relations, nothing around the answer."""
    text = unwrap(text if text.isascii() else plain_powers(text).translate(_SIGNS), brackets=False)
    text = _SIZED.sub("", _PRIME.sub("'", _SPACE.sub(" ", text.replace("\\!", "").replace("\\varnothing", "\\emptyset"))))
    text = _REPEATING.sub(_fraction, text)
    for pattern, sign in _RELATIONS:
        text = pattern.sub(sign, text)
    return text.strip()


def _fraction(repeating: re.Match[str]) -> str:
    r"""`0.1\overline{6}` as `\frac{15}{90}`."""
    whole, digits, again = repeating.groups()
    numerator = int(whole + digits + again) - int(whole + digits)
    return rf"\frac{{{numerator}}}{{{(10 ** len(again) - 1) * 10 ** len(digits)}}}"


def _same_value(answer: str, reference: str) -> Verdict:
    """Equality of two answers that are one value each, perhaps with a name."""
    one, other = _ASSIGNED.fullmatch(answer), _ASSIGNED.fullmatch(reference)
    if one and other and _as_written(one["name"]) != _as_written(other["name"]):
        return Verdict.incorrect
    answer, reference = one["value"] if one else answer, other["value"] if other else reference
    if _as_written(answer) == _as_written(reference) != "":
        return Verdict.correct
    words = [_WORDS.fullmatch(text) for text in (answer, reference)]
    if words[0] and words[1]:
        word, wanted = (match[1] or match[2] for match in words if match)
        return Verdict.correct if _same_words(word, wanted) else Verdict.incorrect
    if _is_plain_number(answer) and _is_plain_number(reference):
        return grade_number(answer, reference)
    verdict = compare(answer, reference)
    return Verdict.incorrect if verdict == Verdict.correct and _overlooked(answer, reference) else verdict


_WORDS = re.compile(r"\\(?:text|textbf|mathrm|mbox)\s?\{\s*([A-Za-z][A-Za-z .'-]*)\}|([A-Z]{2,10}|[A-Za-z]{4,20}|[Yy]es|[Nn]o)")


def _same_words(one: str, other: str) -> bool:
    """True and true are the same, the points ABC and the product abc are not."""
    return same_text(one, other) and {one.isupper(), other.isupper()} != {one.islower(), other.islower()}


@lru_cache(maxsize=20_000)
def _items(text: str) -> list[Item] | None:
    """The answers of a list, or the one answer; None where its brackets do not match."""
    parts = _split(text)
    if parts is None or not all(parts) or len(parts) > MAX_ITEMS:
        return None
    items: list[Item] = []
    name = ""
    for part in parts:
        named = _ASSIGNED.fullmatch(part)
        value = named["value"].strip() if named else part
        braced = value.replace("\\{", "{").replace("\\}", "}")  # Markdown eats the backslashes
        inner = _items(braced[1:-1]) if braced.startswith("{") and braced.endswith("}") else None
        if inner is not None:
            items += [replace(item, name=_as_written(named["name"])) if named and not item.name else item for item in inner]
            continue
        items += [_item(side, name) for side in _both_signs(part)]
        name = items[-1].name
    names = [item.name for item in items]
    if len(items) > 1 and all(names) and len(set(names)) == len(names) and all(map(_is_single, ([item] for item in items))):
        items.sort(key=lambda item: item.name)
        return [Item(",".join(item.name for item in items), "()", tuple(item.values[0] for item in items))]
    return items


def _both_signs(part: str) -> list[str]:
    r"""`\pm 2` as 2 and -2, `1 \pm 2` as 1 + 2 and 1 - 2."""
    if part.count("\\pm") != 1:
        return [part]
    plus = "" if re.match(r"(?:[^=]*=)?\s*\\pm", part) else "+"
    return [part.replace("\\pm", plus), part.replace("\\pm", "-")]


def _item(part: str, name: str) -> Item:
    """One part of a list; `name` is that of the part before it: "x = 1, 2"."""
    match = _INTERVAL.fullmatch(part)
    if match and (interval := _interval(match)):
        return interval
    if match := _PAIR.fullmatch(part):
        names, values = (_split(side) or [] for side in match.groups())
        if len(names) == len(values) > 1:
            pairs = sorted(zip(names, values, strict=True))
            return Item(",".join(name for name, _ in pairs), "()", tuple(value for _, value in pairs))
    if match := _ASSIGNED.fullmatch(part):
        name, part = _as_written(match["name"]), match["value"].strip()
    inner = _split(part[1:-1]) if len(part) > 2 and part[0] in "([" and part[-1] in ")]" else None
    if inner and len(inner) > 1 and all(inner):
        return Item(name, part[0] + part[-1], tuple(inner))
    return Item(name, "", (part,))


def _interval(match: re.Match[str]) -> Item | None:
    r"""`x < 3`, `1 < x <= 2`, `2 >= x > 1` as the interval that they state."""
    left, right = match["left"] or "", match["right"] or ""
    if not (left or right) or (left and right and left[0] != right[0]):
        return None
    low, high = ((match[side] or "").strip() for side in ("low", "high"))
    if (left or right)[0] == ">":
        low, left, right, high = high, right, left, low
    brackets = ("[" if left.endswith("=") else "(") + ("]" if right.endswith("=") else ")")
    return Item(match["name"], brackets, (low or "-\\infty", high or "\\infty"))


def _split(text: str) -> list[str] | None:
    """The parts between separators outside of brackets; None where the brackets do not match."""
    parts, start, open_brackets, place = [], 0, [], 0
    while place < len(text):
        character = text[place]
        if character in _CLOSING:
            open_brackets.append(character)
        elif character in ")]}":
            if not open_brackets or character not in _CLOSING[open_brackets.pop()]:
                return None
        elif not open_brackets and (match := _JOINED.match(text, place)) and not _within_number(text, match):
            parts.append(text[start:place].strip())
            start = place = match.end()
            continue
        place += 1
    return None if open_brackets else [*parts, text[start:].strip()]


def _within_number(text: str, match: re.Match[str]) -> bool:
    """The comma of 1,000, but not those of 1, 000 and (1,2)."""
    before, after = text[max(0, match.start() - 4) : match.start()], text[match.end() : match.end() + 4]
    return match[0] == "," and bool(re.match(r"\d{3}(?!\d)", after) and re.search(r"(?:^|\D)\d{1,3}$", before))


def _same_items(one: list[Item], other: list[Item]) -> Verdict:
    """Equality of two lists without regard to order."""
    if len(one) != len(other):
        return Verdict.incorrect
    left = list(other)
    for item in one:
        for candidate in left:
            verdict = _same_item(item, candidate)
            if verdict == Verdict.ungradable:
                return verdict
            if verdict == Verdict.correct:
                left.remove(candidate)
                break
        else:
            return Verdict.incorrect
    return Verdict.correct


def _same_item(one: Item, other: Item) -> Verdict:
    named_apart = one.name and other.name and one.name != other.name
    if named_apart or one.brackets != other.brackets or len(one.values) != len(other.values):
        return Verdict.incorrect
    for value, wanted in zip(one.values, other.values, strict=True):
        verdict = _same_value(value, wanted)
        if verdict != Verdict.correct:
            return verdict
    return Verdict.correct


def _as_written(text: str) -> str:
    r"""Without blanks, except between digits: "1 1/2" is no 11/2. Without \left and \right, which size brackets."""
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", _SIZED.sub("", text))


def _overlooked(span: str, gold: str) -> bool:
    """True where the two differ in what math-verify does not see: primes, bases, the case of variables, the m of 2m."""
    one, other = (_COMMAND.sub(" ", text) for text in (span, gold))
    primes, more = (len(re.findall(r"(?<=[a-zA-Z)\]}'])'|(?<=\d)'(?!\d)", text)) for text in (one, other))
    base, another = (set(re.findall(r"(?<=\d)_\s?\{?\s?(\d+)", text)) for text in (one, other))
    if primes != more or (base and another and base != another):
        return True
    names, others = (set(_VARIABLE.findall(text)) for text in (one, other))
    if names != others and {name.lower() for name in names} == {name.lower() for name in others}:
        return min(len(one), len(other)) > 1  # a letter alone may be the label of a choice
    points, more_points = (sorted(re.findall(r"(?<![a-zA-Z])[A-Z]{2,}(?![a-zA-Z])", text)) for text in (one, other))
    if points != more_points and sorted("".join(points)) == sorted("".join(more_points)):
        return True
    glued = any(re.search(r"\d[a-zA-Z](?![a-zA-Z])", text) for text in (one, other))
    return glued and not all(re.search("[a-zA-Z]", text) for text in (one, other))


def _is_plain_number(text: str) -> bool:
    """True for a number, with a unit that cannot be algebra or without one."""
    if "!" in text or text.endswith("'") or parse_number(text) is None:
        return False
    bare = parse_number(_SURE_UNIT.sub(" ", text))
    return bare is not None and not bare.unit
