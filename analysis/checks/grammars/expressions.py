"""Exact fractions from hostile text: tokens, chains of equations, values. Nothing is evaluated as code."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

MAX_DIGITS = 30
"""Longer numbers are left unread: an expression that holds one has no value here."""
MAX_BITS = 2_000
"""Intermediate results beyond this size have no value here."""
MAX_TOKENS = 3_000
"""Expressions of more tokens than this have no value here."""

_FOLD = str.maketrans(
    {"−": "-", "–": "-", "‒": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "[": "(", "]": ")"}
)
_TOKEN = re.compile(
    r"(?P<number>\d[\d,]*(?:\.\d+)?)|(?P<name>[A-Za-z_]+)|(?P<sign>[-+*/()=])|(?P<other>[^\s])", re.ASCII
)
_UNREAD_SIGNS = frozenset("^!%|\\_√")
_UNREAD_WORDS = frozenset(("plus", "minus", "times", "divided", "over", "by", "of", "mod", "sqrt", "frac", "x"))
_LATEX = re.compile(r"\\(?:times|cdot|div|left|right|,|;|!|\(|\)|\[|\])")
_LATEX_SIGN = {"\\times": "*", "\\cdot": "*", "\\div": "/"}
_NEW_LINE = re.compile(r"\n(?!\s{0,20}(?:[=+*/]|-\s))")
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3}


class Token(NamedTuple):
    """A piece of text with its place, so that a message can quote the original."""

    kind: str
    """number, name, sign or other."""
    text: str
    start: int
    end: int


def tokenize(text: str) -> list[Token]:
    """Tokens of `text` after typographic signs are folded to ASCII; offsets are those of `text`."""
    found = []
    if "\\" in text:
        text = _LATEX.sub(lambda sign: _LATEX_SIGN.get(sign.group(), "").ljust(len(sign.group())), text)
    for match in _TOKEN.finditer(text.translate(_FOLD)):
        kind = match.lastgroup or "other"
        token, end = match.group(), match.end()
        if kind == "number" and token.endswith(","):
            token = token.rstrip(",")
            end = match.start() + len(token)
        found.append(Token(kind, token, match.start(), end))
        if end < match.end():  # the comma behind a number parts it from what follows: "2 * 3 = 6, 6 - 9 = -3"
            found.append(Token("other", ",", end, match.end()))
    return found


@lru_cache(maxsize=4_096)
def number(text: str) -> Fraction | None:
    """Value of a plain decimal numeral such as "1,234.5"; None when it is too long or its commas are misplaced."""
    if len(text) > MAX_DIGITS or ("," in text and not re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", text, re.ASCII)):
        return None
    plain_text = text.replace(",", "")
    return Fraction(plain_text) if "." in plain_text else Fraction(int(plain_text))


def evaluate(tokens: Sequence[Token], names: Mapping[str, Fraction] | None = None) -> Fraction | None:
    """Value by operator precedence, `names` giving the value of letters; None where there is none.

    A bracket too few at the end or too many is forgiven, because that is a slip of writing, not of arithmetic.
    No recursion: brackets may be nested to any depth.
    """
    if not tokens or len(tokens) > MAX_TOKENS:
        return None
    values: list[Fraction] = []
    operators: list[str] = []
    before: Token | None = None
    operand_next = True
    for token in tokens:
        if token.kind == "number" and before is not None and before.kind == "number":
            return None
        if token.kind == "sign" and token.text in "+-*/":
            readable = _take_operator(token.text, operand_next, values, operators)
            operand_next = True
        elif token.text == ")":
            readable = not operand_next and _close_bracket(values, operators)
        else:
            readable = operand_next or _push_operator("*", values, operators)
            readable = readable and _take_operand(token, names or {}, values, operators)
            operand_next = token.text == "("
        if not readable:
            return None
        before = token
    if operand_next:
        return None
    while operators:
        operator = operators.pop()
        if operator != "(" and not _apply(operator, values):
            return None
    return values[0] if len(values) == 1 else None


def _take_operator(sign: str, operand_next: bool, values: list[Fraction], operators: list[str]) -> bool:
    if not operand_next:
        return _push_operator(sign, values, operators)
    if sign == "-":
        operators.append("neg")
    return sign in "+-"


def _take_operand(token: Token, names: Mapping[str, Fraction], values: list[Fraction], operators: list[str]) -> bool:
    if token.text == "(":
        operators.append("(")
        return True
    value = number(token.text) if token.kind == "number" else names.get(token.text)
    if value is not None:
        values.append(value)
    return value is not None


def _close_bracket(values: list[Fraction], operators: list[str]) -> bool:
    while operators and operators[-1] != "(":
        if not _apply(operators.pop(), values):
            return False
    if operators:
        operators.pop()
    return True


def _push_operator(operator: str, values: list[Fraction], operators: list[str]) -> bool:
    while operators and operators[-1] != "(" and _PRECEDENCE[operators[-1]] >= _PRECEDENCE[operator]:
        if not _apply(operators.pop(), values):
            return False
    operators.append(operator)
    return True


def _apply(operator: str, values: list[Fraction]) -> bool:
    if operator == "neg":
        values[-1] = -values[-1]
        return True
    if len(values) < 2:
        return False
    right, left = values.pop(), values.pop()
    if operator == "/" and right == 0:
        return False
    if operator == "+":
        result = left + right
    elif operator == "-":
        result = left - right
    elif operator == "*":
        result = left * right
    else:
        result = left / right
    if result.numerator.bit_length() > MAX_BITS or result.denominator.bit_length() > MAX_BITS:
        return False
    values.append(result)
    return True


def chains(text: str, letters: frozenset[str] | set[str] = frozenset()) -> list[list[list[Token]]]:
    """All runs of arithmetic in `text`, each cut at its equals signs into segments; `letters` may stand for numbers.

    "Let's calculate A = 2 + 3 = 5." with letters {"A"} gives one chain of three segments. A new line begins a new run,
    except where it goes on with a sign ("= 5").
    """
    found: list[list[list[Token]]] = []
    run: list[Token] = []
    before: Token | None = None
    breaks = [match.end() for match in _NEW_LINE.finditer(text)]
    for token in [*tokenize(text), Token("end", "", len(text), len(text))]:
        if breaks and breaks[0] <= token.start:
            breaks = breaks[bisect_right(breaks, token.start) :]
            if run:
                found.append(_segments(run, _cut_before(before, run), False))
            run, before = [], None
        if token.kind in ("number", "sign") or (token.kind == "name" and token.text in letters):
            run.append(token)
            continue
        if run:
            found.append(_segments(run, _cut_before(before, run), _is_operator(token)))
            run = []
        before = token
    return [chain for chain in found if chain]


def _is_operator(token: Token | None) -> bool:
    """True for a word or sign that belongs to a calculation which is not read here ("5 ^ 2", "7 mod 3")."""
    return token is not None and (token.text in _UNREAD_SIGNS or token.text.lower() in _UNREAD_WORDS)


def _cut_before(before: Token | None, run: Sequence[Token]) -> bool:
    """True when a run begins in the middle of a calculation ("5 apples - 3 = 2")."""
    if _is_operator(before):
        return True
    dangling = run[0].text in ("+", "-", "*", "/") and (len(run) < 2 or run[1].start > run[0].end)
    return dangling and before is not None


def _segments(run: Sequence[Token], cut_before: bool, cut_after: bool) -> list[list[Token]]:
    """Cut a run at its equals signs; a first or last segment that is only part of something longer is left out."""
    segments: list[list[Token]] = [[]]
    for token in run:
        if token.text == "=":
            segments.append([])
        else:
            segments[-1].append(token)
    segments = segments[1 if cut_before else 0 : len(segments) - 1 if cut_after else None]
    return [segment for segment in segments if segment]


def spelled(tokens: Sequence[Token], text: str) -> str:
    """The original text of consecutive tokens, without brackets that enclose it all, shortened for a message."""
    if not tokens:
        return ""
    piece = " ".join(text[tokens[0].start : tokens[-1].end].split())
    if tokens[0].text == "(" and _closes_at_end(tokens):
        piece = piece[1:-1].strip()
    return piece if len(piece) <= 120 else piece[:80] + " ... " + piece[-30:]


def _closes_at_end(tokens: Sequence[Token]) -> bool:
    depth = 0
    for position, token in enumerate(tokens):
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0:
            return position == len(tokens) - 1
    return False


def plain(value: Fraction) -> str:
    """A value as a person writes it: an integer, a short decimal, or a fraction."""
    if value.denominator == 1:
        return str(value.numerator) if value.numerator.bit_length() < 400 else "a number of over 100 digits"
    if value.denominator.bit_length() < 60 and (10**6) % value.denominator == 0:
        return f"{float(value):.10g}"
    return f"{value.numerator}/{value.denominator}" if value.numerator.bit_length() < 200 else "a long fraction"
