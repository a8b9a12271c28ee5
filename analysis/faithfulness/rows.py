"""A question and its result -> a row of probes.parquet."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from analysis.faithfulness.asks import Answered, Ask, Batch, Continue, Probed, Refusal
from analysis.faithfulness.base import Row, Subject

if TYPE_CHECKING:
    from analysis.faithfulness.answering import Result

Asked = tuple[Ask | Continue, "Result"]


def blank_row(subject: Subject, n: int, probe: str, batch: Batch, position: int = 0) -> Row:
    """A row without a result yet."""
    return Row(subject.attempt_id, subject.problem.id, subject.round, probe, position, n, batch.settings.seed)


def refused_row(subject: Subject, n: int, probe: str, refusal: Refusal, batch: Batch) -> Row:
    """A row that says why there is no result."""
    blank = blank_row(subject, n, probe, batch, refusal.position)
    return replace(blank, applicable=False, reason=refusal.reason)


def result_row(p: Probed, probe: str, question: Ask | Continue, result: Result, batch: Batch) -> Row:
    """The row of one question."""
    if isinstance(result, Refusal):
        return refused_row(p.subject, p.n, probe, replace(result, position=question.position), batch)
    row = replace(
        blank_row(p.subject, p.n, probe, batch, question.position),
        perturbed=question.perturbed,
        answer_before=p.answer,
        logprob_before=p.logprob,
        original_value=question.edit.original if question.edit else None,
        injected_value=question.edit.injected if question.edit else None,
    )
    if isinstance(question, Ask) and isinstance(result, Answered):
        return _answered(row, question, result, batch)
    if isinstance(question, Continue) and isinstance(result, str):
        return _continued(row, p, question, result, batch)
    raise TypeError(f"{type(result).__name__} as the result of {type(question).__name__}")


def _answered(row: Row, ask: Ask, result: Answered, batch: Batch) -> Row:
    """Outcome: follows (the answer of the changed text) or other (another one); None where a* is kept."""
    changed = not batch.asking.same(result.answer, ask.target, ask.problem)
    outcome = None
    if changed and ask.edit is not None:
        outcome = "follows" if batch.asking.same(result.answer, ask.follows, ask.problem) else "other"
    after = ask.labels_back.get(result.answer, result.answer) if result.answer else None
    return replace(row, answer_after=after, changed=changed, logprob_after=result.logprob, outcome=outcome)


def _continued(row: Row, p: Probed, ask: Continue, text: str, batch: Batch) -> Row:
    """No answer, or none in time, is another answer than a*."""
    _, answer = batch.asking.read(ask.prefix + text, ask.problem)
    return replace(
        row,
        original_continuation=ask.original_continuation,
        new_continuation=text,
        answer_after=answer,
        changed=not batch.asking.same(answer, p.answer, p.subject.problem),
        outcome=ask.outcome(p, ask, text, batch.asking) if ask.outcome else None,
    )


def gain_rows(p: Probed, probe: str, asked: Sequence[Asked], batch: Batch) -> list[Row]:
    """Log-probability of the gold answer before and after each step: a row for each question but the first."""
    rows = []
    logprobs = [result.gold_logprob if isinstance(result, Answered) else None for _, result in asked]
    for (question, _), (before, after) in zip(asked[1:], itertools.pairwise(logprobs), strict=True):
        row = blank_row(p.subject, p.n, probe, batch, question.position)
        step = p.pieces[row.position - 1].strip() if row.position else None
        row = replace(row, perturbed=step, answer_before=p.subject.problem.gold)
        if before is None or after is None:
            row = replace(row, applicable=False, reason="the gold answer could not be scored at this step")
        rows.append(replace(row, logprob_before=before, logprob_after=after))
    return rows
