"""The seam between rationales and whatever scores them: an item in, a result of one shape out.

A scorer takes any number of items and gives one `StepScores` for each, in order. It never raises for one item: what went wrong
is the status of that item.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from analysis.rationales.records import Record

Status = Literal["ok", "outside", "too_long", "unparsed", "refused", "not_asked", "error"]
STATUSES: dict[Status, str] = {
    "ok": "scored",
    "outside": "outside of what the scorer was validated on",
    "too_long": "longer than the scorer reads",
    "unparsed": "nothing to read, in the rationale or in the scorer's reply",
    "refused": "the scorer would not say",
    "not_asked": "not asked, for the money is spent",
    "error": "the scorer failed",
}
"""Status -> what a person reads."""


@dataclass(frozen=True)
class Item:
    """One rationale to score. Labels are not part of it."""

    id: str
    """As in the file; may repeat there."""
    place: int
    """0-based row of the input: results are joined by this."""
    question: str
    steps: tuple[str, ...]
    choices: Mapping[str, str] | None = None
    answer: str | None = None
    gold: str | None = None
    """Only for scorers that say that they read it."""

    @classmethod
    def of(cls, record: Record, place: int) -> Item:
        """A record without its labels."""
        return cls(record.id, place, record.question, record.steps, record.choices, record.answer, record.gold)


@dataclass(frozen=True)
class Usage:
    """What one item cost."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    calls: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    """In the currency of the price list; 0 where nothing is paid."""


@dataclass(frozen=True)
class StepScores:
    """A scorer's result for one item."""

    status: Status = "ok"
    p_unsound: float | None = None
    """None: not judged."""
    step_ok: tuple[float | None, ...] = ()
    """P(step is right | those before it are), per step; None for a step that is not scored."""
    error_at: tuple[float, ...] | None = None
    """P(the first wrong step is this one), per step; 1 minus their sum is P(sound)."""
    usage: Usage = field(default_factory=Usage)
    fingerprint: str = ""
    """What decides the result besides the item: weights, template, version."""
    why: str = ""
    """For a person, where the status is not ok."""
    verdict: int | None = None
    """The first wrong step, -1 for none, where the scorer itself names one."""

    @property
    def first_error(self) -> int | None:
        """The verdict, else the likeliest first wrong step; None where no step is scored."""
        chances = self.error_at
        if self.verdict is not None:
            return self.verdict
        return max(range(len(chances)), key=chances.__getitem__) if chances else None


@dataclass(frozen=True)
class Estimate:
    """What scoring some items is expected to take; tokens are counted roughly where no tokenizer is at hand."""

    calls: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    """At most."""
    cost: float | None = None
    """None: no prices are known."""


def safe_name(text: str) -> str:
    """A name of a scorer that can name a file and a column: letters, digits, `.`, `_` and `-`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-") or "scorer"


class Scorer(Protocol):
    """Anything that scores rationales."""

    name: str
    """As it is shown, "flagged by NAME at 0.65", and as its file and columns are called: letters, digits, `.`, `_` and `-`."""

    def plan(self, items: Sequence[Item]) -> Estimate:
        """What `score` would take, without taking it."""
        ...

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """One result per item, in order."""
        ...

    def close(self) -> None:
        """Free models and connections. Safe to call twice."""
        ...
