"""Which kind of task a rationale belongs to, guessed from its text; the exact checkers abstain where it is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from analysis.checks.base import EXACT, bare_question
from analysis.checks.grammars import (
    addition,
    dyck_languages,
    logical_deduction,
    multistep_arithmetic,
    tracking_shuffled_objects,
    word_sorting,
)

KINDS = (*EXACT, "math_word", "multiple_choice", "other")

_SORTING = re.compile(r"\bsort(?:ed|ing)?\b|\balphabet|\bletters?\b", re.I)
_CLUES = re.compile(
    r"\b(?:left(?:most)?|right(?:most)?|first|last|oldest|newest|older|newer|cheap\w*|expensive|finished|above|below"
    r"|ahead|behind)\b",
    re.I,
)
_OPTION = re.compile(r"(?:^|[\s\n])\(?([A-H])[).:](?=\s)")
_LOWER_OPTIONS = re.compile(r"(?:\?|\b(?:options|choices|following)\b)[^?]{0,400}?\(a\)\s[^?]{1,400}?\(b\)\s", re.I)
"""Lower-case labels are those of options behind a question; before one they are those of its parts."""
_QUANTITY = re.compile(
    r"\d|\b(?:how (?:many|much)|twice|half|dozen|percent|total|two|three|four|five|six|seven|eight|nine|ten)\b", re.I
)


def detect_kind(question: str, steps: Sequence[str], choices: Mapping[str, str] | None = None) -> str:
    """One of `KINDS`; `choices` are those of the question. Only the start of the texts is looked at."""
    head = bare_question(question)[:20_000]
    if addition.parse_question(head) and addition.looks_like_scratchpad(steps):
        return "addition"
    if kind := _kind_of_question(head):
        return kind
    start = "\n".join(step[:1_000] for step in steps[:5])
    if _SORTING.search(start + head[:300]) and word_sorting.parse_question(head):
        return "word_sorting"
    if choices or _lists_options(head):
        return "multiple_choice"
    return "math_word" if _QUANTITY.search(head) and re.search(r"\d", head[:4_000] + start) else "other"


@lru_cache(maxsize=256)
def _lists_options(head: str) -> bool:
    return {"A", "B"} <= set(_OPTION.findall(head)) or _LOWER_OPTIONS.search(head[:4_000]) is not None


@lru_cache(maxsize=256)
def _kind_of_question(head: str) -> str | None:
    """The kind with a grammar that a question tells by itself; it comes several times in a row, once with each rationale."""
    if dyck_languages.parse_question(head):
        return "dyck_languages"
    if multistep_arithmetic.question_value(head) is not None:
        return "multistep_arithmetic"
    if re.search(r"swap|trade|switch|exchange", head) and tracking_shuffled_objects.parse_question(head):
        return "tracking_shuffled_objects"
    if len(_CLUES.findall(head[:4_000])) > 1 and logical_deduction.parse_question(head):
        return "logical_deduction"
    return None
