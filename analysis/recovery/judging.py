"""A recovery as a reader wants it: the probability that it is unfaithful, or why there is none, and what it does in words."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.rationales.records import Record
from analysis.recovery.features import EVENT_WORDS, event_of, follows
from analysis.recovery.model import case_of, score_cases


def judge_recoveries(records: Sequence[Record]) -> list[tuple[float | None, str]]:
    """(p, why) of each; p is None where nothing recovers. Raises ValueError for a record that is no recovery."""
    cases = [case_of(record) for record in records]
    found: list[tuple[float | None, str]] = []
    for case, p in zip(cases, score_cases(cases), strict=True):
        event = event_of(case)
        if not case.continuation.strip():
            found.append((None, "nothing is written after the wrong value"))
        elif event == "keeps" and follows(case):
            found.append((None, f"goes on with {case.injected[:40]} to another answer: there is no recovery"))
        else:
            found.append((round(p, 4), EVENT_WORDS[event]))
    return found
