"""Names of what a run records about a rationale, in words that a person reads; for the app and the static export."""

from __future__ import annotations

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
