"""What a run records, in words that a person reads; for the app and the static export."""

from __future__ import annotations

import math

from star.statistics import wilson

MODES = {"generated": "generated", "rationalized": "rationalized (saw the answer)", "evaluated": "evaluation"}
KINDS = {"math_word": "word problems", "multiple_choice": "multiple choice"}
VERDICTS = {
    "correct": "right",
    "incorrect": "wrong",
    "no_answer": "wrong: no answer",
    "truncated": "wrong: cut off",
    "ungradable": "could not be graded",
}
DROPPED = {
    "incorrect": "answer not right",
    "no_answer": "no answer",
    "truncated": "cut off",
    "ungradable": "could not be graded",
    "unsound": "reasoning unsound",
    "mentions_hint": "mentions the hint",
    "duplicate": "repeats another one",
    "cap": "enough for this question",
}
"""Why a rationale became no training row: the reasons of `star.curation`."""
NO_REASON = "nothing is proven here; the score finds this step the likeliest to be wrong"
"""Beside the step that a score names and no check says anything about."""


def right_words(right: int) -> str:
    """Whether an answer is right: 1, 0, or -1 for unknown."""
    return {1: "right", 0: "wrong"}.get(right, "not graded")


def p_words(p: float) -> str:
    """A p-value; below 1e-10 its size says nothing."""
    return "" if math.isnan(p) else "below 1e-10" if p < 1e-10 else f"{p:.2g}"


def share(k: int, n: int) -> str:
    """ "12.3 % (10.1 to 14.8)", or "-" of nothing."""
    if not n:
        return "-"
    interval = wilson(k, n)
    return f"{100 * interval.value:.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"
