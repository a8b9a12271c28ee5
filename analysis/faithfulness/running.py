"""All chosen probes on all rationales: answers in one packed pass for all of a rationale's probes, continuations sampled."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from analysis.faithfulness.answers import Answers
from analysis.faithfulness.batch import Answered, Ask, Batch, Continue, Probed, Question, Refusal, Result, Settings, Subject
from analysis.faithfulness.layout import Layout, named
from analysis.faithfulness.probes import PROBES
from analysis.faithfulness.rows import Row, refused_row, result_row
from star.sampling.base import Decoding
from star.sampling.packed import Scored, tree

NO_STEPS = "the rationale has no steps"
Candidate = tuple[str, list[int], int]
"""(answer, token ids of the whole sequence, how many of them at the end are the answer)"""


def probe_all(
    subjects: Sequence[Subject],
    layout: Layout,
    answers: Answers,
    names: Sequence[str] = tuple(PROBES),
    settings: Settings | None = None,
    context: int | None = None,
) -> list[Row]:
    """Rows of the named probes for every rationale, in the order of `subjects` and PROBES.

    `context` is the model's longest sequence in tokens; None: no limit. A rationale that cannot be probed at all has
    one row per probe that says why. The model is asked through `answers`; nothing else is touched.
    """
    batch = Batch(layout, answers, settings or Settings(), context)
    drafts = prepare(subjects, batch)
    batch = replace(batch, probed=[draft for draft in drafts if isinstance(draft, Probed)])
    chosen = [name for name in PROBES if name in names]
    plans = [(name, p, _questions(name, p, batch)) for name in chosen for p in batch.probed]
    answered = iter(put([(p, question) for _, p, questions in plans for question in questions], batch))
    rows = []
    for name, p, questions in plans:
        pairs = list(itertools.islice(answered, len(questions)))
        own = None if any(isinstance(question, Refusal) for question, _ in pairs) else PROBES[name].rows
        rows += own(p, name, pairs, batch) if own else [result_row(p, name, *pair, batch) for pair in pairs]
    for subject, draft in zip(subjects, drafts, strict=True):
        if isinstance(draft, Refusal):
            n = len(layout.pieces(subject.rationale))
            rows += [refused_row(subject, n, name, draft, batch) for name in chosen]
    order = {subject.attempt_id: k for k, subject in enumerate(subjects)}
    rank = {name: k for k, name in enumerate(PROBES)}
    rows.sort(key=lambda row: (order[row.attempt_id], rank[row.probe], row.position))
    return [replace(row, control=PROBES[row.probe].control) for row in rows]


def _questions(name: str, p: Probed, batch: Batch) -> Sequence[Question]:
    probe = PROBES[name]
    return probe.questions(p, batch) if p.n or not probe.needs_steps else [Refusal(NO_STEPS)]


def put(questions: Sequence[tuple[Probed, Question]], batch: Batch) -> list[tuple[Question, Result]]:
    """Every question as it was put, beside its result, in order."""
    to_write = {
        k: question if isinstance(question, Continue) else question.rationale_of
        for k, (_, question) in enumerate(questions)
        if isinstance(question, Continue) or (isinstance(question, Ask) and question.rationale_of)
    }
    texts = dict(zip(to_write, continue_all([ask for ask in to_write.values() if ask], batch), strict=True))
    results: dict[int, tuple[Question, Result]] = {}
    asks: dict[int, tuple[Probed, Ask]] = {}
    for k, (p, question) in enumerate(questions):
        if isinstance(question, Ask) and k in texts:
            question = _exchanged(p, question, texts[k], batch)
        if isinstance(question, Ask):
            asks[k] = p, question
        else:
            results[k] = question, texts[k] if isinstance(question, Continue) else question
    for (k, (_, ask)), answered in zip(asks.items(), ask_all(list(asks.values()), batch), strict=True):
        results[k] = ask, answered
    return [results[k] for k in range(len(questions))]


def _exchanged(p: Probed, ask: Ask, text: str | Refusal, batch: Batch) -> Ask | Refusal:
    """The rationale of another completion in its place."""
    if isinstance(text, Refusal):
        return text
    pieces = batch.layout.pieces(batch.layout.read(text, p.subject.problem)[0])
    if not pieces:
        return Refusal("the model wrote no rationale to exchange")
    return batch.ask(p, ask.position, pieces, ask.edit)


def _too_long(length: int, position: int, batch: Batch) -> Refusal:
    return Refusal(f"longer than the model's context ({length} tokens of {batch.context})", position)


def continue_all(asks: Sequence[Continue], batch: Batch) -> list[str | Refusal]:
    """What the model writes after each prompt and prefix, or why it cannot."""
    settings = batch.settings
    texts: dict[int, str | Refusal] = {}
    prompts = [(*ask.prompt, *batch.layout.ids(ask.prefix)) for ask in asks]
    for greedy in (False, True):
        decoding = Decoding(
            temperature=0.0 if greedy else settings.temperature,
            top_p=settings.top_p,
            max_new_tokens=settings.max_new_tokens,
            stop=batch.layout.prompts.stop,
            seed=settings.seed,
        )
        mine = [k for k, ask in enumerate(asks) if ask.greedy == greedy]
        fit = [k for k in mine if batch.context is None or len(prompts[k]) < batch.context]
        texts |= {k: _too_long(len(prompts[k]), asks[k].position, batch) for k in mine}
        texts |= zip(fit, batch.answers.generate([prompts[k] for k in fit], decoding, "regenerated"), strict=True)
    return [texts[k] for k in range(len(asks))]


def ask_all(asks: Sequence[tuple[Probed, Ask]], batch: Batch) -> list[Answered | Refusal]:
    """Score every Ask in packed forward passes, and let the model write out the answers that are not a*.

    Multiple choice: all options are scored and the most likely one is the answer. Else a* is the answer where greedy
    decoding would have written exactly it, and what the model writes greedily where not.
    """
    layout = batch.layout
    plans = [_candidates(p, ask, layout) for p, ask in asks]
    results: dict[int, Answered | Refusal] = {}
    by_rationale: dict[str, list[int]] = {}
    for k, (p, ask) in enumerate(asks):
        longest = max(len(ids) for _, ids, _ in plans[k])
        if batch.context is not None and longest > batch.context:
            results[k] = _too_long(longest, ask.position, batch)
        else:
            by_rationale.setdefault(p.subject.attempt_id, []).append(k)
    trees = []
    for group in by_rationale.values():
        p, _ = asks[group[0]]
        trunk = [*p.prompt, *layout.ids(layout.body(p.subject.problem, p.pieces))]
        trees.append(tree(trunk, [(ids, scored) for k in group for _, ids, scored in plans[k]]))
    unsure = []
    for group, scores in zip(by_rationale.values(), batch.answers.score(trees, "forced answers"), strict=True):
        flat = iter(scores)
        for k in group:
            results[k], sure = _judge(*asks[k], {answer: next(flat) for answer, _, _ in plans[k]}, layout)
            unsure += [] if sure else [k]
    for k, answer in zip(unsure, _write_out([asks[k][1] for k in unsure], batch), strict=True):
        judged = results[k]
        results[k] = replace(judged, answer=answer) if isinstance(judged, Answered) else judged
    return [results[k] for k in range(len(asks))]


def _candidates(p: Probed, ask: Ask, layout: Layout) -> list[Candidate]:
    """The target, then gold or the other options."""
    texts = [ask.target]
    if p.kind == "choice":
        texts += [label for label in ask.problem.choices or {} if label != ask.target]
    elif ask.problem.gold and not layout.same(ask.problem.gold, ask.target, ask.problem):
        texts.append(ask.problem.gold)
    return [(t, *layout.sequence(ask.prompt, ask.problem, ask.body, t, ask.filler)) for t in texts]


def _judge(p: Probed, ask: Ask, scores: dict[str, Scored], layout: Layout) -> tuple[Answered, bool]:
    """The result as far as the scores of the candidates tell, and whether they tell the answer."""
    target = scores[ask.target].logprob
    gold = next((s.logprob for a, s in scores.items() if layout.same(a, ask.problem.gold, ask.problem)), None)
    if p.kind == "choice":
        best = max(scores, key=lambda answer: scores[answer].logprob)
        return Answered(target, gold, best), True
    for answer, scored in scores.items():
        if scored.greedy and layout.ends_there(ask.problem, answer, scored.next_token):
            return Answered(target, gold, answer), True
    return Answered(target, gold, None), False


def _write_out(asks: Sequence[Ask], batch: Batch) -> list[str | None]:
    """Greedy answers after prompt, body and cue; None where the model writes none."""
    layout = batch.layout
    decoding = Decoding(max_new_tokens=batch.settings.answer_tokens, stop=("\n", *layout.prompts.stop))
    prompts = [layout.question_for(ask.prompt, ask.problem, ask.body, ask.filler) for ask in asks]
    texts = batch.answers.generate(prompts, decoding, "answers written out")
    return [layout.read_forced(ask.problem, ask.body, text) for ask, text in zip(asks, texts, strict=True)]


def prepare(subjects: Sequence[Subject], batch: Batch) -> list[Probed | Refusal]:
    """Lay out every rationale and find a*: the recorded answer if the model confirms it, else what it answers now."""
    layout = batch.layout
    drafts: list[Probed | Refusal] = []
    for subject in subjects:
        answer = named(subject.answer, subject.problem)
        kind = layout.answer_type(subject.problem, answer)
        if not answer or not answer.strip():
            drafts.append(Refusal("no answer is recorded for this rationale"))
        elif kind == "choice" and answer not in (subject.problem.choices or {}):
            drafts.append(Refusal(f"the recorded answer {answer[:40]!r} is none of the options"))
        else:
            pieces = tuple(layout.pieces(subject.rationale))
            drafts.append(Probed(subject, kind, pieces, layout.prompt(subject.problem), answer, 0.0))
    for _ in range(2):  # the second time for the log-probability of answers that are others than recorded
        ready = [(p, batch.ask(p, p.n, p.pieces)) for p in drafts if isinstance(p, Probed)]
        answered = iter(ask_all(ready, batch))
        drafts = [_settle(p, next(answered), layout) if isinstance(p, Probed) else p for p in drafts]
    return drafts


def _settle(p: Probed, result: Answered | Refusal, layout: Layout) -> Probed | Refusal:
    if isinstance(result, Refusal):
        return replace(result, position=0)
    if result.answer is None or not result.answer.strip():
        return Refusal("the model gives no answer after its rationale")
    if layout.same(result.answer, p.answer, p.subject.problem):
        return replace(p, logprob=result.logprob)
    return replace(p, answer=result.answer, logprob=result.logprob)
