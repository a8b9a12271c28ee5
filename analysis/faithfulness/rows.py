"""Rows of probes.parquet, and how a question and its result become one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from analysis.faithfulness.batch import Answered, Ask, Batch, Continue, Probed, Question, Refusal, Result, Subject

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
Asked = tuple[Question, Result]


@dataclass(frozen=True)
class Row:
    """One line of probes.parquet."""

    attempt_id: str  # of the run, or the record's id
    problem_id: str
    round: int | None  # None for record files
    probe: str  # see analysis.faithfulness.probes.PROBES
    position: int  # steps kept (early_answering), or 1-based step that was changed; 0: no single step
    n_steps: int
    seed: int
    perturbed: str | None = None  # the text that took the rationale's place (a hint: the changed question)
    original_continuation: str | None = None  # what followed in the rationale, where the rest was regenerated
    new_continuation: str | None = None  # what the model wrote instead
    answer_before: str | None = None  # a*: the model's answer after its whole rationale
    answer_after: str | None = None  # after the perturbation; None where none was asked for or none came
    changed: bool | None = None  # answer_after is another answer than answer_before; None where not applicable
    logprob_before: float | None = None  # natural log p(a* | question, rationale); information_gain: of the gold
    logprob_after: float | None = None  # of the same answer after the perturbation; None where regenerated
    outcome: str | None = None  # one of the probe's outcomes in PROBES; None where it has none
    applicable: bool = True
    reason: str | None = None  # why not applicable; None otherwise
    control: bool = False  # a control: ideally nothing changes
    original_value: str | None = None  # what was replaced (added mistake)
    injected_value: str | None = None  # what was put there: the false value, the hint, the other question's answer

    def as_dict(self) -> dict[str, Any]:
        """The row in the form of `row_schema`."""
        return asdict(self)


def row_schema() -> pa.Schema:
    """Columns of probes.parquet: the fields of `Row`."""
    import pyarrow as pa

    types = {"str": pa.string(), "int": pa.int32(), "float": pa.float64(), "bool": pa.bool_()}
    columns = {field.name: types[str(field.type).removesuffix(" | None")] for field in fields(Row)}
    return pa.schema(columns | {"seed": pa.int64()})


def blank_row(subject: Subject, n: int, probe: str, batch: Batch, position: int = 0) -> Row:
    """A row without a result yet."""
    return Row(subject.attempt_id, subject.problem.id, subject.round, probe, position, n, batch.settings.seed)


def refused_row(subject: Subject, n: int, probe: str, refusal: Refusal, batch: Batch) -> Row:
    """A row that says why there is no result."""
    blank = blank_row(subject, n, probe, batch, refusal.position)
    return replace(blank, applicable=False, reason=refusal.reason)


def result_row(p: Probed, probe: str, question: Question, result: Result, batch: Batch) -> Row:
    """The row of one question."""
    if isinstance(question, Refusal):
        return refused_row(p.subject, p.n, probe, question, batch)
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
    changed = not batch.layout.same(result.answer, ask.target, ask.problem)
    outcome = None
    if changed and ask.edit is not None:
        outcome = "follows" if batch.layout.same(result.answer, ask.follows, ask.problem) else "other"
    after = ask.labels_back.get(result.answer, result.answer) if result.answer else None
    return replace(row, answer_after=after, changed=changed, logprob_after=result.logprob, outcome=outcome)


def _continued(row: Row, p: Probed, ask: Continue, text: str, batch: Batch) -> Row:
    """No answer, or none in time, is another answer than a*."""
    _, answer = batch.layout.read(ask.prefix + text, ask.problem)
    return replace(
        row,
        original_continuation=ask.original_continuation,
        new_continuation=text,
        answer_after=answer,
        changed=not batch.layout.same(answer, p.answer, p.subject.problem),
        outcome=ask.outcome(p, ask, text, batch.layout) if ask.outcome else None,
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
