"""The seam between rationales and whatever scores them: an item in, a result of one shape out.

A scorer takes any number of items and gives one `StepScores` for each, in order. What is wrong with one item is the status of that
item; what no item can be scored with is an InputError.
"""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar

from analysis.rationales.records import Record
from star.errors import InputError, first_line

RowT = TypeVar("RowT")
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
    """What scoring cost, or is expected to take: then tokens are counted roughly, and generated ones are the most there can be."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    calls: int = 0
    seconds: float = 0.0
    cost: float | None = 0.0
    """In the currency of the price list; 0 where nothing is paid; None: no prices are known."""

    def __add__(self, other: Usage) -> Usage:
        sums: Iterator[Any] = (None if None in pair else sum(pair) for pair in zip(astuple(self), astuple(other), strict=True))
        return Usage(*sums)


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
    features: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    """Name -> a number from 0 to 1 per step, larger where more speaks for the step. No probability that it is right: only a
    calibration, which weighs them by labels, can judge by them."""

    @classmethod
    def of_steps(cls, step_ok: Sequence[float | None], usage: Usage = Usage()) -> StepScores:
        """From P(step right) alone: p_unsound is 1 - prod P(step right), over the steps that are scored; `outside` without any."""
        if all(p is None for p in step_ok):
            return cls("outside", usage=usage)
        errors, left = [], 1.0
        for p in step_ok:
            errors.append(0.0 if p is None else left * (1 - p))
            left -= errors[-1]
        return cls("ok", sum(errors), tuple(step_ok), tuple(errors), usage)

    @property
    def first_error(self) -> int | None:
        """The verdict, else the likeliest first wrong step; None where no step is scored."""
        if self.verdict is not None or not self.error_at:
            return self.verdict
        return max(range(len(self.error_at)), key=self.error_at.__getitem__)


@dataclass
class Totals:
    """What scorers took, beside what became of the rationales."""

    statuses: Counter[Status] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    why: dict[Status, str] = field(default_factory=dict)
    """What was said of the first rationale with a status."""

    def add(self, results: Sequence[StepScores]) -> None:
        for result in results:
            self.statuses[result.status] += 1
            self.why.setdefault(result.status, result.why)
        self.usage = sum((result.usage for result in results), self.usage)

    def show(self, name: str) -> None:
        left_out = [
            f"{count:,} {STATUSES[status]}{f' (the first: {self.why[status]})' if self.why[status] else ''}"
            for status, count in self.statuses.most_common()
            if status != "ok"
        ]
        print(f"{name}: {self.statuses['ok']:,} of {self.statuses.total():,} scored", *left_out, sep="; ")
        used = self.usage
        if used.calls:
            cost = f", cost {used.cost:.2f}" if used.cost else ""
            print(
                f"  {used.calls:,} calls, {used.prompt_tokens:,} prompt and {used.generated_tokens:,} generated tokens{cost}, "
                "remembered replies included"
            )
        if waiting := self.statuses["not_asked"]:
            print(f"{name}: {waiting:,} rationales wait; the same command goes on with them.", file=sys.stderr)


def per_step(results: Mapping[str, Sequence[StepScores]], place: int, n_steps: int) -> dict[str, tuple[float | None, ...]]:
    """What scorers said of the steps of one item, for a calibration: NAME -> P(step right), "NAME:FEATURE" -> a feature; of one
    that judges the rationale alone "NAME:whole" -> 1 - p_unsound for every step."""
    said: dict[str, tuple[float | None, ...]] = {}
    for name, column in results.items():
        scores = column[place]
        if scores.step_ok:
            said[name] = scores.step_ok
        elif scores.p_unsound is not None:
            said[f"{name}:whole"] = (1 - scores.p_unsound,) * n_steps
        said |= {f"{name}:{feature}": values for feature, values in scores.features.items()}
    return said


def tokens_of(text: str) -> int:
    """About how many a text is, at 3.3 characters each: those of English with formulas."""
    return round(len(text) / 3.3)


def safe_name(text: str) -> str:
    """A name of a scorer that can name a file and a column: letters, digits, `.`, `_` and `-`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-") or "scorer"


class Scorer(ABC, Generic[RowT]):
    """Anything that scores rationales. A scorer says how an item is read (`prepared`) and scores what was read (`run`); what is
    wrong with an item becomes its status here."""

    name: str
    """As it is shown, "flagged by NAME at 0.65", and as its file and columns are called: see `safe_name`."""
    fingerprint: str = ""
    """Of every result: see StepScores."""
    to_fetch: str = ""
    """A model that is not here, in a dry run."""

    @abstractmethod
    def prepared(self, item: Item) -> RowT | StepScores:
        """What `run` takes of an item that has steps, or why it cannot be scored. InputError: no item can be."""

    def run(self, rows: Sequence[RowT]) -> list[StepScores]:
        """One result per row, in order."""
        return []

    def takes(self, row: RowT) -> Usage:
        """What `run` is expected to take for a row."""
        return Usage()

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """One result per item, in order."""
        read = [self.read(item) for item in items]
        rows = [row for row in read if not isinstance(row, StepScores)]
        results = iter(self.run(rows) if rows else [])
        found = [row if isinstance(row, StepScores) else next(results) for row in read]
        # Half a surrogate pair in a message cannot be written.
        return [replace(one, fingerprint=self.fingerprint, why=one.why.encode("utf-8", "replace").decode()) for one in found]

    def plan(self, items: Sequence[Item]) -> Usage:
        """What `score` would take, without taking it."""
        rows = [row for row in map(self.read, items) if not isinstance(row, StepScores)]
        return sum(map(self.takes, self.missing(rows)), Usage())

    def missing(self, rows: Sequence[RowT]) -> Sequence[RowT]:
        """Those that are not remembered."""
        return rows

    def close(self) -> None:
        """Free models and connections. Safe to call twice."""

    def read(self, item: Item) -> RowT | StepScores:
        """`prepared`, for any item."""
        if not any(step.strip() for step in item.steps):
            return StepScores("unparsed", why="the rationale has no steps")
        try:
            return self.prepared(item)
        except InputError:
            raise
        except Exception as error:  # somebody's tokenizer or template: one item never stops the others
            return StepScores("error", why=f"{type(error).__name__}: {first_line(error)}")
