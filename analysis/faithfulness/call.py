"""All chosen probes on all rationales. The model is asked through `Answers`; nothing else is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.faithfulness.answers import Answers
from analysis.faithfulness.asking import Asking
from analysis.faithfulness.asks import (
    Answered,
    Ask,
    Probed,
    Refusal,
    Settings,
    ask_all,
    blank_row,
    prepare,
    refused_row,
    row_of,
)
from analysis.faithfulness.base import PROBES, Row, Subject
from analysis.faithfulness.forced import FORCED, NO_STEPS, Batch, asks_of
from analysis.faithfulness.regenerated import (
    MEDIATED,
    REGENERATED,
    Continue,
    continue_all,
    continued_row,
    mediation_asks,
)

Asked = tuple[Probed, Ask, "Answered | Refusal"]


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
    one row per probe that says why.
    """
    settings = settings or Settings()
    drafts = prepare(subjects, asking, answers, settings, context)
    probed = [draft for draft in drafts if isinstance(draft, Probed)]
    batch = Batch(probed, asking, settings)
    rows = [
        refused_row(subject, len(asking.pieces(subject.rationale)), name, draft, settings.seed)
        for subject, draft in zip(subjects, drafts, strict=True)
        if isinstance(draft, Refusal)
        for name in names
    ]
    rows += _forced_rows(probed, batch, answers, names, context)
    rows += _regenerated_rows(probed, batch, answers, names, context)
    order = {subject.attempt_id: k for k, subject in enumerate(subjects)}
    rank = {name: k for k, name in enumerate(PROBES)}
    return sorted(rows, key=lambda row: (order[row.attempt_id], rank[row.probe], row.position))


def _forced_rows(
    probed: Sequence[Probed], batch: Batch, answers: Answers, names: Sequence[str], context: int | None
) -> list[Row]:
    """Early answering, forced mistakes, filler, exchanged rationales, information gain: one packed pass for all."""
    wanted = [name for name in FORCED if name in names]
    if "information_gain" in names:  # read off these two
        wanted += [name for name in ("early_answering", "shuffled_rationale") if name not in names]
    planned: list[tuple[Probed, Ask | Refusal, str]] = [
        (p, ask, name) for p in probed for name in wanted for ask in asks_of(p, batch, name)
    ]
    if set(names) & set(MEDIATED):
        planned += [(p, ask, ask.probe) for p, ask in mediation_asks(probed, batch, answers, names, context)]
    seed = batch.settings.seed
    rows = [refused_row(p.subject, p.n, name, ask, seed) for p, ask, name in planned if isinstance(ask, Refusal)]
    asks = [(p, ask) for p, ask, _ in planned if isinstance(ask, Ask)]
    results = ask_all(asks, batch.asking, answers, batch.settings, context)
    asked = [(p, ask, result) for (p, ask), result in zip(asks, results, strict=True)]
    rows += [row_of(p, ask, result, batch.asking, seed) for p, ask, result in asked]
    if "information_gain" in names:
        rows += _gain_rows(probed, asked, seed)
    return [row for row in rows if row.probe in names]


def _gain_rows(probed: Sequence[Probed], asked: Sequence[Asked], seed: int) -> list[Row]:
    """Log-probability of the gold answer before and after each step, from the truncations."""
    curves: dict[str, dict[int, float | None]] = {}
    foreign: dict[str, float | None] = {}
    for p, ask, result in asked:
        if ask.probe == "early_answering" and isinstance(result, Answered):
            curves.setdefault(p.subject.attempt_id, {})[ask.position] = result.gold_logprob
        if ask.probe == "shuffled_rationale" and isinstance(result, Answered):
            foreign[p.subject.attempt_id] = result.gold_logprob
    rows = []
    for p in probed:
        curve = curves.get(p.subject.attempt_id, {})
        if not p.n or not p.subject.problem.gold:
            reason = "the gold answer is not known" if p.n else NO_STEPS
            rows.append(refused_row(p.subject, p.n, "information_gain", Refusal(reason), seed))
        for i in range(1, p.n + 1 if p.subject.problem.gold else 0):
            before, after = curve.get(i - 1), curve.get(i)
            row = blank_row(p.subject, p.n, "information_gain", seed, i)
            row = replace(row, perturbed=p.pieces[i - 1].strip(), answer_before=p.subject.problem.gold)
            if before is None or after is None:
                row = replace(row, applicable=False, reason="the gold answer could not be scored at this step")
            rows.append(replace(row, logprob_before=before, logprob_after=after))
        start, end = curve.get(0), foreign.get(p.subject.attempt_id)
        row = blank_row(p.subject, p.n, "information_gain_shuffled", seed)
        if start is None or end is None:
            rows.append(replace(row, applicable=False, reason="no gold answer, no steps, or no other rationale"))
        else:
            rows.append(replace(row, answer_before=p.subject.problem.gold, logprob_before=start, logprob_after=end))
    return rows


def _regenerated_rows(
    probed: Sequence[Probed], batch: Batch, answers: Answers, names: Sequence[str], context: int | None
) -> list[Row]:
    planned = [
        (p, ask, name)
        for p in probed
        for name, probe in REGENERATED.items()
        if name in names
        for ask in probe(p, batch)
    ]
    seed = batch.settings.seed
    rows = [refused_row(p.subject, p.n, name, ask, seed) for p, ask, name in planned if isinstance(ask, Refusal)]
    asks = [(p, ask) for p, ask, _ in planned if isinstance(ask, Continue)]
    texts = continue_all([ask for _, ask in asks], batch.asking, answers, batch.settings, context)
    return rows + [continued_row(p, ask, text, batch) for (p, ask), text in zip(asks, texts, strict=True)]
