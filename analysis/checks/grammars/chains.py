"""Chains of equations in a text: "A = 2 + 3 = 5" -> A, 2 + 3, 5, each as tokens that `evaluate` works out."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from analysis.checks.base import cut_middle
from analysis.checks.numbers import Token, tokenize

_UNREAD_SIGNS = frozenset("!%|\\_√¿")
_UNREAD_WORDS = frozenset(("plus", "minus", "times", "divided", "over", "by", "of", "mod", "sqrt", "log", "x"))
_NEW_LINE = re.compile(r"\n(?!\s{0,20}(?:[=+*/]|-\s))")
_SIGNS = frozenset(("op", "open", "close"))


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
        if token.text == "\n":
            continue
        if token.kind in ("number", "digits") or token.kind in _SIGNS or token.text in ("=", "==") or token.text in letters:
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
        if token.text in ("=", "=="):
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
    return cut_middle(piece)


def _closes_at_end(tokens: Sequence[Token]) -> bool:
    depth = 0
    for position, token in enumerate(tokens):
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0:
            return position == len(tokens) - 1
    return False
