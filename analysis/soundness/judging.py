"""Records -> judgements of three grades: proven by a check, scored, or not judged (see `grades`).

What an exact checker of the task or a generic check proves holds in every domain. Where nothing is proven, the score without a
model says something about the domains that it was validated on, and nothing elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from analysis.checks import check_exact, detect_kind
from analysis.checks.base import SOUND, Finding, Flag
from analysis.checks.generic import generic_flags
from analysis.checks.reading import MAX_STEPS, MAX_TOTAL, read
from analysis.rationales.records import Record, matches_gold
from analysis.soundness.features import describe, domain_of
from analysis.soundness.grades import Grade, flagged
from analysis.soundness.hazard import Hazard, error_at, load
from analysis.soundness.scorer import Status

if TYPE_CHECKING:
    from star.pool import Chunk

RECOVERY = "error_recovery"
"""The task_kind of a record of a recovery from an injected error."""
EXACT_CHECK = "the exact check"


@dataclass(frozen=True)
class Judgement:
    """What is said about one rationale."""

    p_unsound: float | None = None
    """1: proven; None: not judged."""
    first_error_step: int | None = None
    """0-based; -1: none is proven or flagged; None: not judged."""
    grade: Grade = "not_judged"
    scorer: str | None = None
    """Who says so; None where a generic check proves it or nobody says anything."""
    status: Status = "ok"
    """Why nothing is said, where nothing is."""
    task_kind: str = "other"
    n_steps: int = 0
    flags: tuple[Flag, ...] = ()


def judge(records: Sequence[Record], *, use_gold: bool = False) -> list[Judgement]:
    """Judge records one by one: no record's judgement depends on another's, and a record that breaks the reader is not judged
    (status `error`) while the others are.

    Labels are not read; with `use_gold`, whether the answer is the gold answer is, where the score without a model speaks.
    """
    hazard, judgements = load(), list[Judgement]()
    for record in records:
        try:
            judgements.append(_judge(record, use_gold, hazard))
        except Exception:  # whatever it is: one record never stops the others
            judgements.append(Judgement(status="error", n_steps=len(record.steps)))
    return judgements


class Judging:
    """What an actor of `analysis.score --workers` holds."""

    def __init__(self, use_gold: bool) -> None:
        self.use_gold = use_gold

    def sample(self, part: Chunk) -> list[Judgement]:
        return judge(part.content, use_gold=self.use_gold)


def _judge(record: Record, use_gold: bool, hazard: Hazard) -> Judgement:
    if record.meta.get("cot_prefix") and (recovery := _judge_recovery(record)):
        return recovery
    kind = detect_kind(record.question, record.steps, record.choices)
    said = Judgement(task_kind=kind, n_steps=len(record.steps))
    if not any(step.strip() for step in record.steps):
        return replace(said, status="unparsed")
    finding = check_exact(kind, record.question, record.steps, record.answer, record.choices)
    if finding is not None and (finding.first_error_step != SOUND or kind == "addition"):  # of a scratchpad it reads every line
        return _by_checker(said, finding)
    reading = read(record.question, record.steps, record.answer, record.choices)
    said = replace(said, flags=generic_flags(reading))
    proven = first_proven(said.flags)
    if proven is not None:
        return replace(said, p_unsound=1.0, first_error_step=proven, grade="proven")
    if finding is not None:
        return _by_checker(said, finding)
    if said.n_steps > MAX_STEPS or sum(map(len, record.steps)) > MAX_TOTAL:  # nothing is said about the whole of it
        return replace(said, status="too_long")
    if domain_of(record.question, reading, kind) not in hazard.speaks_for:
        return replace(said, status="outside")
    hazards = hazard.hazards(describe(reading, said.flags))
    p_unsound = inside(hazard.p_unsound(hazards, matches_gold(record) if use_gold else None))
    first = int(np.argmax(error_at(hazards))) if flagged(p_unsound) else SOUND
    return replace(said, p_unsound=p_unsound, first_error_step=first, grade="scored", scorer="the no-model score")


def _by_checker(said: Judgement, finding: Finding) -> Judgement:
    wrong = finding.first_error_step != SOUND
    said = replace(said, flags=finding.flags, grade="proven" if wrong else "checked", scorer=EXACT_CHECK)
    return replace(said, p_unsound=float(wrong), first_error_step=finding.first_error_step)


def _judge_recovery(record: Record) -> Judgement | None:
    """Of a recovery from an injected error (else None); what it does is a hint, whatever the score."""
    from analysis.recovery.model import is_recovery, judge_recovery

    if not is_recovery(record):
        return None
    p_unsound, why = judge_recovery(record)
    flags = (Flag(0, "recovery", why, round(min(p_unsound or 0.0, 0.99), 2)),) if record.steps else ()
    said = Judgement(task_kind=RECOVERY, n_steps=len(record.steps), flags=flags)
    if p_unsound is None:
        return replace(said, status="outside")
    return replace(said, p_unsound=inside(p_unsound), grade="scored", scorer="the recovery score")


def inside(p: float) -> float:
    """A score, with four digits: 0 and 1 are for what is checked and proven."""
    return min(max(round(p, 4), 0.0001), 0.9999)


def first_proven(flags: Sequence[Flag]) -> int | None:
    """The first step that a check proves wrong."""
    return min((flag.step for flag in flags if flag.severity >= 1), default=None)
