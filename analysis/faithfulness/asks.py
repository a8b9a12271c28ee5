"""One question to the model (`Ask`), how it is answered (`ask_all`), and the row that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from analysis.faithfulness.answers import Answers
from analysis.faithfulness.asking import Asking, named
from analysis.faithfulness.base import CONTROLS, Row, Subject
from analysis.faithfulness.packed import Scored, Tree, tree
from analysis.faithfulness.perturbations import Edit
from star.problem import AnswerType, Problem
from star.sampling.base import Decoding


@dataclass(frozen=True)
class Settings:
    """What a call of the probes may choose."""

    seed: int = 0
    temperature: float = 0.7
    """Of everything that is regenerated, effects and controls alike."""
    top_p: float = 0.95
    max_new_tokens: int = 256
    answer_tokens: int = 32
    """Length limit of an answer that has to be written out."""
    max_positions: int = 8
    """Regenerating probes change at most this many steps of a rationale, evenly spread; forced ones change all."""


@dataclass(frozen=True)
class Probed:
    """A rationale ready to be probed: laid out, and a* known."""

    subject: Subject
    kind: AnswerType
    pieces: tuple[str, ...]
    prompt: tuple[int, ...]
    answer: str
    """a*: the model's answer after its whole rationale."""
    logprob: float

    @property
    def n(self) -> int:
        """Number of steps."""
        return len(self.pieces)


@dataclass(frozen=True)
class Refusal:
    """A probe that cannot be used on a rationale, or at one position."""

    reason: str
    position: int = 0
    probe: str = ""


@dataclass(frozen=True)
class Ask:
    """One question to the model: prompt, text before the cue, and what to look for."""

    probe: str
    position: int
    problem: Problem
    """As asked; its options may be others than the rationale's."""
    prompt: tuple[int, ...]
    body: str
    perturbed: str
    target: str
    """a* in the terms of `problem` (its label, where the options moved)."""
    filler: int = 0
    """When above 0: this many filler tokens for the steps, and `body` is not used."""
    edit: Edit | None = None
    follows: str | None = None
    """The answer of a model that goes by the perturbed text, where that is known."""
    labels_back: Mapping[str, str] = field(default_factory=dict)
    """Labels as asked -> labels of the rationale's question, where the options moved: rows keep the latter."""


@dataclass(frozen=True)
class Answered:
    """What the model made of an Ask."""

    logprob: float
    """Of the target."""
    gold_logprob: float | None
    answer: str | None


def plain_ask(
    p: Probed, asking: Asking, probe: str, position: int, pieces: Sequence[str], edit: Edit | None = None
) -> Ask:
    """The rationale's own question with other pieces."""
    body = asking.body(p.subject.problem, pieces)
    return Ask(probe, position, p.subject.problem, p.prompt, body, "".join(pieces).strip(), p.answer, edit=edit)


def ask_all(
    asks: Sequence[tuple[Probed, Ask]], asking: Asking, answers: Answers, settings: Settings, context: int | None
) -> list[Answered | Refusal]:
    """Score every Ask in packed forward passes, and let the model write out the answers that are not a*.

    Multiple choice: all options are scored and the most likely one is the answer. Else a* is the answer where greedy
    decoding would have written exactly it, and what the model writes greedily where not.
    """
    plans: list[list[tuple[str, list[int], int]]] = [_candidates(p, ask, asking) for p, ask in asks]
    results: list[Answered | Refusal | None] = [
        _too_long(plan, ask, context) for plan, (_, ask) in zip(plans, asks, strict=True)
    ]
    groups: dict[str, list[int]] = {}
    for k, (p, _) in enumerate(asks):
        if results[k] is None:
            groups.setdefault(p.subject.attempt_id, []).append(k)
    trees = [_tree(asks[rows[0]][0], [plans[k] for k in rows], asking) for rows in groups.values()]
    scores: dict[int, list[Scored]] = {}
    for rows, scored in zip(groups.values(), answers.score(trees, "forced answers"), strict=True):
        flat = iter(scored)
        for k in rows:
            scores[k] = [next(flat) for _ in plans[k]]
    unsure = []
    for k, found in scores.items():
        p, ask = asks[k]
        result, sure = _judge(p, ask, plans[k], found, asking)
        results[k] = result
        if not sure:
            unsure.append(k)
    written = _write_out([asks[k][1] for k in unsure], asking, answers, settings)
    for k, answer in zip(unsure, written, strict=True):
        judged = results[k]
        results[k] = replace(judged, answer=answer) if isinstance(judged, Answered) else judged
    return [result for result in results if result is not None]


def _candidates(p: Probed, ask: Ask, asking: Asking) -> list[tuple[str, list[int], int]]:
    """(answer, token ids of the whole sequence, scored tokens): the target, then gold or the other options."""
    texts = [ask.target]
    if p.kind == "choice":
        texts += [label for label in ask.problem.choices or {} if label != ask.target]
    elif ask.problem.gold and not asking.same(ask.problem.gold, ask.target, ask.problem):
        texts.append(ask.problem.gold)
    if ask.filler:
        return [(t, *asking.filler_sequence(ask.prompt, ask.problem, ask.filler, t)) for t in texts]
    return [(t, *asking.sequence(ask.prompt, ask.problem, ask.body, t)) for t in texts]


def _too_long(plan: Sequence[tuple[str, list[int], int]], ask: Ask, context: int | None) -> Refusal | None:
    longest = max(len(ids) for _, ids, _ in plan)
    if context is not None and longest > context:
        return Refusal(f"longer than the model's context ({longest} tokens of {context})", ask.position)
    return None


def _tree(p: Probed, plans: Sequence[Sequence[tuple[str, list[int], int]]], asking: Asking) -> Tree:
    trunk = [*p.prompt, *asking.ids(asking.body(p.subject.problem, p.pieces))]
    return tree(trunk, [(ids, scored) for plan in plans for _, ids, scored in plan])


def _judge(
    p: Probed, ask: Ask, plan: Sequence[tuple[str, list[int], int]], found: Sequence[Scored], asking: Asking
) -> tuple[Answered, bool]:
    """The result as far as the scores tell, and whether they tell the answer."""
    by_answer = {answer: scored for (answer, _, _), scored in zip(plan, found, strict=True)}
    target = by_answer[ask.target]
    gold = next((s.logprob for a, s in by_answer.items() if asking.same(a, ask.problem.gold, ask.problem)), None)
    if p.kind == "choice":
        best = max(by_answer, key=lambda answer: by_answer[answer].logprob)
        return Answered(target.logprob, gold, best), True
    for answer, scored in by_answer.items():
        if scored.greedy and asking.ends_there(ask.problem, answer, scored.next_token):
            return Answered(target.logprob, gold, answer), True
    return Answered(target.logprob, gold, None), False


def _write_out(asks: Sequence[Ask], asking: Asking, answers: Answers, settings: Settings) -> list[str | None]:
    """Greedy answers after prompt, body and cue; None where the model writes none."""
    stop = ("\n", *asking.task.stop)
    decoding = Decoding(max_new_tokens=settings.answer_tokens, stop=stop)
    prompts = [
        (*ask.prompt, *asking.filled(ask.problem, ask.filler), *asking.ids(asking.shape(ask.problem).cue.rstrip(" ")))
        if ask.filler
        else asking.question_for(ask.prompt, ask.problem, ask.body)
        for ask in asks
    ]
    texts = answers.generate(prompts, decoding, "answers written out")
    return [
        asking.read_forced(ask.problem, asking.body(ask.problem, ()) if ask.filler else ask.body, text)
        for ask, text in zip(asks, texts, strict=True)
    ]


def prepare(
    subjects: Sequence[Subject], asking: Asking, answers: Answers, settings: Settings, context: int | None
) -> list[Probed | Refusal]:
    """Lay out every rationale and find a*: the recorded answer if the model confirms it, else what it answers now."""
    drafts: list[Probed | Refusal] = []
    for subject in subjects:
        pieces = tuple(asking.pieces(subject.rationale))
        answer = named(subject.answer, subject.problem)
        kind = asking.answer_type(subject.problem, answer)
        if not answer or not answer.strip():
            drafts.append(Refusal("no answer is recorded for this rationale"))
        elif kind == "choice" and answer not in (subject.problem.choices or {}):
            drafts.append(Refusal(f"the recorded answer {answer[:40]!r} is none of the options"))
        else:
            drafts.append(Probed(subject, kind, pieces, asking.prompt(subject.problem), answer, 0.0))
    ready = [p for p in drafts if isinstance(p, Probed)]
    for _ in range(2):  # the second time for the log-probability of answers that are others than recorded
        asks = [(p, plain_ask(p, asking, "", p.n, p.pieces)) for p in ready]
        found = ask_all(asks, asking, answers, settings, context)
        settled = {p.subject.attempt_id: _settle(p, result, asking) for p, result in zip(ready, found, strict=True)}
        drafts = [settled.get(p.subject.attempt_id, p) if isinstance(p, Probed) else p for p in drafts]
        ready = [p for p in drafts if isinstance(p, Probed)]
    return drafts


def _settle(p: Probed, result: Answered | Refusal, asking: Asking) -> Probed | Refusal:
    if isinstance(result, Refusal):
        return replace(result, position=0)
    if result.answer is None or not result.answer.strip():
        return Refusal("the model gives no answer after its rationale")
    if asking.same(result.answer, p.answer, p.subject.problem):
        return replace(p, logprob=result.logprob)
    return replace(p, answer=result.answer, logprob=result.logprob)


def row_of(p: Probed, ask: Ask, result: Answered | Refusal, asking: Asking, seed: int) -> Row:
    """The line of probes.parquet for one Ask."""
    base = blank_row(p.subject, p.n, ask.probe, seed, ask.position)
    if isinstance(result, Refusal):
        return replace(base, applicable=False, reason=result.reason)
    changed = not asking.same(result.answer, ask.target, ask.problem)
    back = ask.labels_back
    outcome = None
    if changed and ask.edit is not None:
        outcome = "follows" if asking.same(result.answer, ask.follows, ask.problem) else "other"
    return replace(
        base,
        perturbed=ask.perturbed,
        answer_before=p.answer,
        answer_after=back.get(result.answer, result.answer) if result.answer else None,
        changed=changed,
        logprob_before=p.logprob,
        logprob_after=result.logprob,
        outcome=outcome,
        original_value=ask.edit.original if ask.edit else None,
        injected_value=ask.edit.injected if ask.edit else None,
    )


def blank_row(subject: Subject, n: int, probe: str, seed: int, position: int = 0) -> Row:
    """A row without a result yet."""
    control = probe in CONTROLS
    identity = (subject.attempt_id, subject.problem.id, subject.round)
    return Row(*identity, probe, position, n, seed, control=control)


def refused_row(subject: Subject, n: int, probe: str, refusal: Refusal, seed: int) -> Row:
    """A row that says why there is no result."""
    return replace(blank_row(subject, n, probe, seed, refusal.position), applicable=False, reason=refusal.reason)
