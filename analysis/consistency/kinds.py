"""Which kind of task a rationale belongs to, guessed from its text; the exact checkers abstain where it is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from analysis.consistency import (
    addition,
    dyck_languages,
    logical_deduction,
    multistep_arithmetic,
    tracking_shuffled_objects,
    word_sorting,
)

KINDS = (
    "addition",
    "multistep_arithmetic",
    "tracking_shuffled_objects",
    "word_sorting",
    "logical_deduction",
    "dyck_languages",
    "math_word",
    "multiple_choice",
    "other",
)
"""All task kinds; the first six have an exact checker."""

_SORTING = re.compile(r"\bsort(?:ed|ing)?\b|\balphabet|\bletters?\b", re.I)
_CLUES = re.compile(
    r"\b(?:left|right|oldest|newest|older|newer|cheap\w*|expensive|finished|above|below|ahead|behind)\b", re.I
)
_OPTION = re.compile(r"(?:^|[\s\n])\(?([A-H])[).:](?=\s)")
_QUANTITY = re.compile(
    r"\d|\b(?:how (?:many|much)|twice|half|dozen|percent|total|two|three|four|five|six|seven|eight|nine|ten)\b", re.I
)


def detect_kind(question: str, steps: Sequence[str], choices: Mapping[str, str] | None = None) -> str:
    """One of `KINDS`; `choices` are those of the question. Only the start of the texts is looked at."""
    head = question[:20_000]
    start = "\n".join(step[:1_000] for step in steps[:5])
    if addition.parse_question(head) and addition.looks_like_scratchpad(steps):
        return addition.KIND
    if dyck_languages.parse_question(head):
        return dyck_languages.KIND
    if multistep_arithmetic.question_value(head) is not None:
        return multistep_arithmetic.KIND
    if re.search(r"swap|trade|switch|exchange", head) and tracking_shuffled_objects.parse_question(head):
        return tracking_shuffled_objects.KIND
    if len(_CLUES.findall(head[:4_000])) > 1 and logical_deduction.parse_question(head):
        return logical_deduction.KIND
    if _SORTING.search(start + head[:300]) and word_sorting.parse_question(head):
        return word_sorting.KIND
    labels = _OPTION.findall(head)
    if choices or {"A", "B"} <= set(labels):
        return "multiple_choice"
    if _QUANTITY.search(head) and re.search(r"\d", head[:4_000] + start):
        return "math_word"
    return "other"
