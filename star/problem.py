"""What tasks, graders and the engine share: problems, answers, verdicts, attempts, and what a task is."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NotRequired, TypedDict


class Verdict(StrEnum):
    """The outcome of grading one attempt. Only `correct` counts as right; the other four are kept apart in every report."""

    correct = "correct"
    incorrect = "incorrect"
    no_answer = "no_answer"
    truncated = "truncated"
    ungradable = "ungradable"


AnswerType = Literal["addition", "number", "choice", "text", "math"]
"""How answers look, and so how two of them are compared: digits of a sum, numbers, labels of options, short texts, mathematics."""


Reading = Literal["strict", "lenient"]
"""How the answer of a completion is read: in the form that was asked for alone, or in any form."""


class Asked(TypedDict):
    """The part of an attempt that was there before its completion."""

    attempt_id: str  # <round>-<mode initial>-<problem_id>-<sample>; "g", "r", "e" or "p"
    problem_id: str
    round: int
    mode: str  # generated | rationalized | evaluated | probed
    split: str  # train | selection | test
    slice: str
    sample: int  # index among the samples of the same problem and mode
    prompt_hash: str  # of the prompt's token ids
    prompt_tokens: int


class Graded(TypedDict):
    """The part of an attempt that follows from its completion."""

    completion: str  # as sampled
    rationale: str  # completion without the statement of the answer
    answer: str | None  # answer span under the run's reading (curation.accept)
    lenient_answer: str | None
    gold: str
    verdict: str  # of `answer`: correct | incorrect | no_answer | truncated | ungradable
    strict_verdict: NotRequired[str | None]  # of the answer in the form that was asked for; null: `verdict` is that one
    lenient_verdict: str
    sound: bool | None  # the task's exact rationale check; null where the task has none
    finish_reason: str  # stop | length
    tokens: int  # sampled tokens
    logprob: float  # sum of the sampled tokens' natural log-probabilities


class Attempt(Asked, Graded):
    """One graded completion: a row of `star.tables.ATTEMPTS`."""

    seed: int
    kept: bool | None  # became a training row; null for evaluated
    drop_reason: str | None  # why not kept: verdict, mentions_hint, not_mixed, unsound, duplicate, cap; null when kept
    not_judged: NotRequired[bool | None]  # curation.require: sound asked, and nothing could be said; null where it did not ask


_RAISED = re.compile("(?<![^\\W\\d_]{2})([\u00b2\u00b3\u00b9\u2070-\u209f]+)")
"""Superscript and subscript digits and signs, but not behind a unit such as cm."""
_OPERATOR = r"[+*/^=<>_\\]"
_SYMBOL = re.compile(
    rf"(?<![^\W\d_])(?:[a-zA-Z](?=\s?{_OPERATOR}|\s?-(?!\w{{2}}))|(?<=[-+*/^=<>_\\])[a-zA-Z]|(?<={_OPERATOR}\s|-\s)[a-zA-Z])(?![^\W\d_])"
)
"""A letter beside an operator; the T of T-shirt and the K of 401K are none."""


def fold_forms(text: str) -> str:
    """Unicode's compatibility forms (full-width letters, ligatures) as plain ones; but 10² stays apart from 102."""
    if text.isascii():
        return text
    parts = _RAISED.split(text)
    return "".join(part if index % 2 else unicodedata.normalize("NFKC", part) for index, part in enumerate(parts))


def _blind(text: str) -> str:
    """Folded and in lower case, except for a letter that is two variables: A and a in "A + a = 2a"."""
    text = fold_forms(text)
    symbols = set(_SYMBOL.findall(text))
    both = {letter for letter in symbols if letter.swapcase() in symbols}
    if not both:
        return text.lower()
    return re.sub(r"[^\W\d_]+", lambda word: word[0] if word[0] in both else word[0].lower(), text)


def problem_id(question: str, choices: Mapping[str, str] | None = None) -> str:
    """Content hash (16 hex digits) of a question and its choices, blind to case, spacing and Unicode form.

    Not blind to what tells problems apart: superscripts, and the case of variables where both are used.
    """
    options = sorted((choices or {}).items())
    parts = [_blind(question), *(f"{fold_forms(label).lower()}={_blind(text)}" for label, text in options)]
    text = " ".join(" ".join(part.split()) for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with its reference answer."""

    id: str
    """Content hash, see `problem_id`."""
    question: str
    gold: str
    """Reference answer, as the task's grader wants it (number without separators, choice label, ...)."""
    choices: Mapping[str, str] | None = None
    """Label -> text of each option, in order; None where the answer is free."""
    slice: str = "all"
    """The group a result is broken down by, for example "3 digits"."""
    solution: str | None = None
    """A worked solution that came with the question, without the statement of the answer."""


@dataclass(frozen=True)
class Example:
    """One few-shot worked example."""

    problem: Problem
    rationale: str


@dataclass(frozen=True)
class Splits:
    """Problems as loaded. The engine cuts the selection split from `train`; `test` is evaluated once, at the end."""

    train: tuple[Problem, ...]
    test: tuple[Problem, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> number of rows that were read and left out, reported at the start of a run."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Problem id -> where it came from, for problems from files."""
    left_out: tuple[tuple[str, str], ...] = ()
    """(place, reason) of every row left out."""


@dataclass(frozen=True)
class Extraction:
    """What was found in a completion. Spans are text as written, without emphasis around it: grading normalises them."""

    rationale: str
    """The completion without the statement of the answer."""
    strict: str | None
    """Answer span under the task's contract; None when the completion does not follow it."""
    lenient: str | None
    """Best-effort answer span; `curation.accept` says which of the two counts in a run."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Everything the engine needs to know about a kind of problem. All functions are pure and cheap."""

    name: str
    load: Callable[[], Splits] = lambda: Splits((), ())
    examples: tuple[Example, ...] = ()
    """Few-shot worked examples, about ten."""
    prompt: Callable[[Problem], str]
    """The question block, up to and including the cue after which the completion starts."""
    hinted_prompt: Callable[[Problem], str]
    """The same with the gold answer as a hint (STaR section 3.3). Never used as a training prompt unless asked for."""
    completion: Callable[[str, str], str]
    """(rationale, answer) -> the text a perfect model would write after `prompt`; an empty rationale gives the direct answer."""
    extract: Callable[[str, Problem], Extraction]
    answer_type: AnswerType | None
    """How answers are compared, see `star.grading`; None where every problem has its own (`star.grading.answer_type_of`)."""
    chance: Callable[[Problem], float] = lambda problem: 0.0
    """Probability that a blind guess is right: 1/choices, or 0."""
    mentions_hint: Callable[[str], bool]
    """True when a rationale shows the hint marker or says that the answer was given: such a rationale is never trained on."""
    check: Callable[[Problem, str], bool] | None = None
    """Exact rationale check, where the task has a grammar: True when every line is right. None where there is none."""
    instructions: str = ""
    """System message for chat models: how to reason and how to state the answer."""
    direct_instructions: str = ""
    """The same for answers without a rationale (`prompting.answer_only`)."""
    accept: Reading = "strict"
    """Which reading of a completion counts; `curation.accept`, once the model is known (`star.setup`)."""
    stop: tuple[str, ...] = ()
    """Strings that end a completion, for models that were not trained to stop by themselves."""
    separator: str = "\n\n"
    """Text between few-shot documents."""
