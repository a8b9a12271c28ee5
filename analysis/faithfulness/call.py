"""All chosen probes on all rationales, as rows of probes.parquet."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from analysis.faithfulness.answering import prepare, put
from analysis.faithfulness.answers import Answers
from analysis.faithfulness.asking import Asking
from analysis.faithfulness.asks import Batch, Probed, Question, Refusal, Settings
from analysis.faithfulness.base import Row, Subject
from analysis.faithfulness.probes import PROBES
from analysis.faithfulness.rows import refused_row, result_row

NO_STEPS = "the rationale has no steps"


def probe_all(
    subjects: Sequence[Subject],
    asking: Asking,
    answers: Answers,
    names: Sequence[str] = tuple(PROBES),
    settings: Settings | None = None,
    context: int | None = None,
) -> list[Row]:
    """Rows of the named probes for every rationale, in the order of `subjects` and PROBES.

    `context` is the model's longest sequence in tokens; None: no limit. A rationale that cannot be probed at all has
    one row per probe that says why. The model is asked through `answers`; nothing else is touched.
    """
    batch = Batch(asking, answers, settings or Settings(), context)
    drafts = prepare(subjects, batch)
    batch = replace(batch, probed=[draft for draft in drafts if isinstance(draft, Probed)])
    chosen = [name for name in PROBES if name in names]
    plans = [(name, p, _questions(name, p, batch)) for name in chosen for p in batch.probed]
    answered = iter(put([(p, question) for _, p, questions in plans for question in questions], batch))
    rows = []
    for name, p, questions in plans:
        pairs = list(itertools.islice(answered, len(questions)))
        refusals = [question for question, _ in pairs if isinstance(question, Refusal)]
        rows += [refused_row(p.subject, p.n, name, refusal, batch) for refusal in refusals]
        asked = [(question, result) for question, result in pairs if not isinstance(question, Refusal)]
        own = PROBES[name].rows
        rows += own(p, name, asked, batch) if own else [result_row(p, name, *pair, batch) for pair in asked]
    for subject, draft in zip(subjects, drafts, strict=True):
        if isinstance(draft, Refusal):
            n = len(asking.pieces(subject.rationale))
            rows += [refused_row(subject, n, name, draft, batch) for name in chosen]
    order = {subject.attempt_id: k for k, subject in enumerate(subjects)}
    rank = {name: k for k, name in enumerate(PROBES)}
    rows.sort(key=lambda row: (order[row.attempt_id], rank[row.probe], row.position))
    return [replace(row, control=PROBES[row.probe].control) for row in rows]


def _questions(name: str, p: Probed, batch: Batch) -> Sequence[Question]:
    probe = PROBES[name]
    return probe.questions(p, batch) if p.n or not probe.needs_steps else [Refusal(NO_STEPS)]
