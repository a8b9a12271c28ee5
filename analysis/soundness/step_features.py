"""A reading -> one row of numbers per step, for the hazard P(this step is wrong | none before it is)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from analysis.checks.base import Flag
from analysis.checks.generic.known import CONSTANTS, Known
from analysis.checks.reading import Reading, Step
from analysis.soundness.detector import Hashed
from analysis.soundness.features import STOP_WORDS, question_view
from analysis.soundness.relations import relations, slot

CHECKS = (
    "equation_false",
    "equation_inexact",
    "equation_rounded",
    "equation_undefined",
    "operand_unknown",
    "value_contradicted",
    "question_number_unused",
    "result_unused",
    "step_repeated",
    "answer_differs",
    "count_not_whole",
    "count_negative",
    "unit_differs",
)
CUES = {
    "choice": r"\b(?:choice|option|answer)_?\s?[a-e]?\b",
    "therefore": r"\b(?:therefore|thus|hence|so|conclu\w+)\b",
    "because": r"\b(?:because|since|due to|as)\b",
    "correct": r"\b(?:correct|right|true|matches|fits)\b",
    "incorrect": r"\b(?:incorrect|wrong|false|not|cannot|n't|unlikely)\b",
    "hedge": r"\b(?:may|might|could|likely|possibly|approximately|about|assum\w+|typically|generally|usually)\b",
    "given": r"\b(?:given|we know|according|states?|question|problem|identify|understand|determine|need to|asked)\b",
    "formula": r"\b(?:formula|equation|law|theorem|rule|defin\w+|equation|derivative|integral)\b",
    "compare": r"\b(?:compar\w+|more|less|greater|smaller|higher|lower|than)\b",
    "all": r"\b(?:all|always|never|only|every|none|must)\b",
    "solution": r"^\s*(?:solution|answer|####|the answer)",
    "analyzing": r"\b(?:analy\w+|consider\w*|evaluat\w+|examin\w+)\b",
}
_CUES = [re.compile(pattern) for pattern in CUES.values()]
_BEGINNINGS = {"due": "because", "know": "given", "need": "given"}
"""Words of which a cue of two words can be told."""
_SYMBOL = re.compile(r"[=^\\_{}<>π√∫∑]")
POSITION = ("index", "steps", "share", "is_last", "is_first", "is_answer", "steps_left")
SHAPE = (
    "words",
    "new_words",
    "from_question",
    "from_earlier",
    "numbers",
    "new_numbers",
    "equations",
    "operators",
    "uncheckable",
    "symbols",
    "lines",
    "choices",
    "question_words",
    "question_numbers",
    "answer_in_step",
)
NAMES = (
    *POSITION,
    *SHAPE,
    *CUES,
    *CHECKS,
    "proven",
    "proven_before",
    "soft_before",
    "relation",
    "relation_before",
    "wording",
)


def step_features(
    reading: Reading,
    flags: Sequence[Flag],
    contrast: Hashed,
    wording: Hashed | None,
    by_step: Sequence[Sequence[str]] | None = None,
) -> np.ndarray:
    """Rows [steps, len(NAMES)]. `contrast` scores how numbers are combined, `wording` the words of a step; `by_step` are the
    relational features of each step where they are known already."""
    count = len(reading.steps)
    rows = np.zeros((count, len(NAMES)))
    column = {name: place for place, name in enumerate(NAMES)}
    for flag in flags:
        rows[flag.step, column[flag.check]] = max(rows[flag.step, column[flag.check]], flag.severity)
        rows[flag.step, column["proven"]] += flag.severity >= 1
    soft = np.zeros(count)
    for flag in flags:
        soft[flag.step] += flag.severity
    rows[:, column["proven_before"]] = np.cumsum(rows[:, column["proven"]]) - rows[:, column["proven"]]
    rows[:, column["soft_before"]] = np.cumsum(soft) - soft
    by_step = relations(reading).by_step if by_step is None else by_step
    relation = np.array([_weight(features, contrast) for features in by_step])
    rows[:, column["relation"]] = relation
    rows[:, column["relation_before"]] = np.cumsum(relation) - relation
    _fill(rows, reading)
    if wording is not None:
        rows[:, -1] = [wording.score_words(step_words(step)) for step in reading.steps]
    return np.clip(rows, -1e6, 1e6)


def _weight(features: Sequence[str], contrast: Hashed) -> float:
    return float(contrast.weights[[slot(feature) for feature in features]].sum()) if features else 0.0


def step_words(step: Step) -> list[str]:
    """Words and pairs of words of a step, for a linear model over its wording."""
    words = step.words[:300]
    return [*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))]


@lru_cache(maxsize=65_536)
def _cues_with(word: str) -> tuple[int, ...]:
    """Which cues a text with this word may hold."""
    found = {number for number, pattern in enumerate(_CUES) if pattern.search(word)}
    return tuple(found | {list(CUES).index(_BEGINNINGS[word])} if word in _BEGINNINGS else found)


def _count_cues(step: Step) -> tuple[int, ...]:
    """How often each cue occurs; a pattern is only searched for where one of its words is."""
    possible = {number for word in set(step.words) for number in _cues_with(word)}  # words are in lower case
    if "####" in step.text:
        possible.add(list(CUES).index("solution"))
    text = step.text[:4000].lower()
    return tuple(len(pattern.findall(text)) if number in possible else 0 for number, pattern in enumerate(_CUES))


def _fill(rows: np.ndarray, reading: Reading) -> None:
    """Position, shape and cues of every step; one pass, with what was said before kept in sets."""
    view = question_view(reading.question)
    known = Known(mention.value for mention in [*reading.question.mentions, *reading.choices])
    earlier: set[str] = set()
    count = len(reading.steps)
    for index, step in enumerate(reading.steps):
        content = set(step.words) - STOP_WORDS
        position = (
            index,
            count,
            (index + 1) / count,
            index == count - 1,
            index == 0,
            step.is_answer,
            count - 1 - index,
        )
        values = {mention.value for mention in step.mentions}
        shape = (
            len(step.words),
            len(content - earlier - view.content) / max(1, len(content)),
            len(content & view.content) / max(1, len(content)),
            len(content & earlier) / max(1, len(content)),
            len(values),
            sum(value not in known and value not in CONSTANTS for value in values),
            len(step.equations),
            sum(len(equation.operators) for equation in step.equations),
            sum(not equation.checkable for equation in step.equations),
            len(_SYMBOL.findall(step.text)),
            step.text.count("\n"),
            len(reading.choices),
            len(reading.question.words),
            len(view.keys),
            reading.answer is not None and reading.answer in values,
        )
        cues = _count_cues(step)
        rows[index, : len(position) + len(shape) + len(cues)] = (*position, *shape, *cues)
        earlier |= content
        for value in values:
            known.add(value)
        for equation in step.equations:
            known.add(equation.result)
