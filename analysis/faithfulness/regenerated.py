"""Perturb the rationale or the prompt and let the model write the rest; plain resampling beside it as a control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis.faithfulness.answers import Answers
from analysis.faithfulness.asking import Asking
from analysis.faithfulness.asks import Ask, Probed, Refusal, Settings, blank_row, plain_ask
from analysis.faithfulness.base import Row
from analysis.faithfulness.forced import NO_MISTAKE, NO_PARAPHRASE, NO_STEPS, Batch, mistake, paraphrase_piece
from analysis.faithfulness.outcomes import hint_outcome, verbalises
from analysis.faithfulness.perturbations import Edit, change_question, suggest, wrong_answer
from star.problem import Problem
from star.sampling.base import Decoding


@dataclass(frozen=True)
class Continue:
    """A prompt and the beginning of a completion, to be continued to the end."""

    probe: str
    position: int
    problem: Problem
    prompt: tuple[int, ...]
    prefix: str
    """The completion so far, "" for the bare prompt."""
    perturbed: str
    original_continuation: str
    edit: Edit | None = None


def spread(n: int, limit: int) -> list[int]:
    """1-based positions of at most `limit` of n steps, evenly spread, first and last among them."""
    if n <= limit:
        return list(range(1, n + 1))
    if limit == 1:
        return [n]
    return sorted({1 + round(k * (n - 1) / (limit - 1)) for k in range(limit)})


def _cut(p: Probed, batch: Batch, probe: str, pieces: Sequence[str], edit: Edit | None = None) -> Continue:
    """Continue after `pieces`, which stand for the rationale's first steps."""
    problem, asking = p.subject.problem, batch.asking
    shape, rest = asking.shape(problem), "".join(p.pieces[len(pieces) :])
    whole = rest + shape.cue + asking.rendered(problem, p.answer) + shape.suffix
    prefix = asking.body(problem, pieces) if pieces else ""
    return Continue(probe, len(pieces), problem, p.prompt, prefix, "".join(pieces).strip(), whole.strip(), edit)


def added_mistake(p: Probed, batch: Batch) -> list[Continue | Refusal]:
    """Step i falsified, what follows regenerated."""
    found: list[Continue | Refusal] = []
    for i in spread(p.n, batch.settings.max_positions):
        edit = mistake(p, batch, i)
        pieces = (*p.pieces[: i - 1], edit.text) if edit else ()
        found.append(_cut(p, batch, "added_mistake", pieces, edit) if edit else Refusal(NO_MISTAKE, i))
    return found or [Refusal(NO_STEPS)]


def resample(p: Probed, batch: Batch) -> list[Continue | Refusal]:
    """Control: the same prefixes, nothing changed; position 0 starts from the bare prompt."""
    return [_cut(p, batch, "resample", p.pieces[:i]) for i in [0, *spread(p.n, batch.settings.max_positions)]]


def paraphrase_regenerated(p: Probed, batch: Batch) -> list[Continue | Refusal]:
    """Control: step i rewritten with the same meaning, what follows regenerated."""
    found: list[Continue | Refusal] = []
    for i in spread(p.n, batch.settings.max_positions):
        new = paraphrase_piece(p.pieces[i - 1], p.kind)
        pieces = (*p.pieces[: i - 1], new or "")
        found.append(_cut(p, batch, "paraphrase_regenerated", pieces) if new else Refusal(NO_PARAPHRASE, i))
    return found or [Refusal(NO_STEPS)]


def _hinted(p: Probed, batch: Batch, probe: str) -> tuple[str, Continue] | Refusal:
    problem = p.subject.problem
    donors = [other.subject.problem.gold for other in batch.probed]
    wrong = wrong_answer(problem, p.answer, p.kind, batch.rng(p, probe), donors)
    if wrong is None:
        return Refusal("there is no wrong answer to suggest that the model does not give by itself")
    return wrong, replace(_cut(p, batch, probe, ()), edit=Edit("", p.answer, wrong))


def hint_star(p: Probed, batch: Batch) -> list[Continue | Refusal]:
    """The task's rationalization prompt with a wrong answer."""
    found = _hinted(p, batch, "hint_star")
    if isinstance(found, Refusal):
        return [found]
    wrong, ask = found
    problem = replace(p.subject.problem, gold=wrong)
    shown = batch.asking.task.hinted_prompt(problem)
    return [replace(ask, prompt=batch.asking.prompt(problem, hinted=True), perturbed=shown)]


def hint_suggested(p: Probed, batch: Batch) -> list[Continue | Refusal]:
    """A wrong answer suggested in words."""
    if p.kind == "addition":
        return [Refusal("an addition prompt has no place for words; hint_star puts a wrong sum there")]
    found = _hinted(p, batch, "hint_suggested")
    if isinstance(found, Refusal):
        return [found]
    wrong, ask = found
    problem = suggest(p.subject.problem, wrong)
    return [replace(ask, problem=problem, prompt=batch.asking.prompt(problem), perturbed=problem.question)]


def hint_always_a(p: Probed, batch: Batch) -> list[Continue | Refusal]:
    """Few-shot examples whose answer is always the first option, for questions whose answer is another one."""
    problem, asking = p.subject.problem, batch.asking
    first = next(iter(problem.choices or {}), None)
    if first is None:
        return [Refusal("the question has no options")]
    if not any(example.problem.choices for example in asking.task.examples):
        return [Refusal("the task has no few-shot examples with options")]
    if first in (problem.gold, p.answer):
        return [Refusal("the first option is the right answer, or the model's own")]
    ask = replace(_cut(p, batch, "hint_always_a", ()), edit=Edit("", p.answer, first))
    prompt = batch.always_first.prompt(problem, shots=True)
    return [replace(ask, prompt=prompt, perturbed=f"(few-shot answers all {first})\n{problem.question}")]


def hint_always_a_control(p: Probed, batch: Batch) -> list[Continue | Refusal]:
    """Control of hint_always_a: the examples as they are."""
    found = hint_always_a(p, batch)
    if isinstance(found[0], Refusal):
        return found
    prompt = batch.asking.prompt(p.subject.problem, shots=True)
    return [replace(_cut(p, batch, "hint_always_a_control", ()), prompt=prompt)]


REGENERATED = {
    "added_mistake": added_mistake,
    "resample": resample,
    "paraphrase_regenerated": paraphrase_regenerated,
    "hint_star": hint_star,
    "hint_suggested": hint_suggested,
    "hint_always_a": hint_always_a,
    "hint_always_a_control": hint_always_a_control,
}
MEDIATED = ("mediation_indirect", "mediation_direct", "resample_rationale")


def continue_all(
    asks: Sequence[Continue], asking: Asking, answers: Answers, settings: Settings, context: int | None
) -> list[str | Refusal]:
    """What the model writes after each prompt and prefix, or why it cannot."""
    decoding = Decoding(
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_new_tokens=settings.max_new_tokens,
        stop=asking.task.stop,
        seed=settings.seed,
    )
    prompts = [(*ask.prompt, *asking.ids(ask.prefix)) for ask in asks]
    fits = [context is None or len(prompt) < context for prompt in prompts]
    texts = iter(answers.generate([q for q, ok in zip(prompts, fits, strict=True) if ok], decoding, "regenerated"))
    return [
        next(texts) if ok else Refusal(f"longer than the model's context ({len(q)} tokens of {context})", ask.position)
        for ask, q, ok in zip(asks, prompts, fits, strict=True)
    ]


def continued_row(p: Probed, ask: Continue, text: str | Refusal, batch: Batch) -> Row:
    """The line of probes.parquet for one continuation. No answer, or none in time, is another answer than a*."""
    row = blank_row(p.subject, p.n, ask.probe, batch.settings.seed, ask.position)
    if isinstance(text, Refusal):
        return replace(row, applicable=False, reason=text.reason)
    rationale, answer = batch.asking.read(ask.prefix + text, ask.problem)
    edit = ask.edit
    return replace(
        row,
        perturbed=ask.perturbed,
        original_continuation=ask.original_continuation,
        new_continuation=text,
        answer_before=p.answer,
        answer_after=answer,
        changed=not batch.asking.same(answer, p.answer, p.subject.problem),
        logprob_before=p.logprob,
        outcome=_outcome(p, ask, text, rationale, answer, batch) if edit else None,
        original_value=edit.original if edit else None,
        injected_value=edit.injected if edit else None,
    )


def _outcome(p: Probed, ask: Continue, text: str, rationale: str, answer: str | None, batch: Batch) -> str | None:
    edit, problem = ask.edit, p.subject.problem
    if edit is None:
        return None
    kept = batch.asking.same(answer, p.answer, problem)
    if ask.probe == "added_mistake":
        from analysis.recovery import classify

        if answer is None:
            return "other"
        return classify(problem.question, ask.prefix, edit.injected, edit.original, text, kept, answer=answer).outcome
    said = verbalises(ask.probe, rationale, problem, batch.asking.task.mentions_hint(rationale))
    return hint_outcome(answer, kept, batch.asking.same(answer, edit.injected, problem), said)


def mediation_asks(
    probed: Sequence[Probed], batch: Batch, answers: Answers, names: Sequence[str], context: int | None
) -> list[tuple[Probed, Ask | Refusal]]:
    """Questions with exchanged rationales: R1 of a changed question X1 (greedy), and another sample R0' for X0."""
    found: list[tuple[Probed, Ask | Refusal]] = []
    if "resample_rationale" in names:
        starts = [_cut(p, batch, "resample_rationale", ()) for p in probed]
        texts = continue_all(starts, batch.asking, answers, batch.settings, context)
        found += [(p, _exchanged(p, batch, "resample_rationale", text)) for p, text in zip(probed, texts, strict=True)]
    if not {"mediation_indirect", "mediation_direct"} & set(names):
        return found
    changed = [_changed_question(p, batch) for p in probed]
    asks = [_cut(p, batch, "", ()) for p in probed]
    ready = [replace(a, prompt=batch.asking.prompt(c[0])) for a, c in zip(asks, changed, strict=True) if c]
    greedy = replace(batch.settings, temperature=0.0)
    texts_left = iter(continue_all(ready, batch.asking, answers, greedy, context))
    for p, pair in zip(probed, changed, strict=True):
        if pair is None:
            no = Refusal("the question holds no number or option that could be changed")
            found += [(p, replace(no, probe=name)) for name in names if name.startswith("mediation")]
            continue
        problem, edit = pair
        text = next(texts_left)
        if "mediation_indirect" in names:
            found.append((p, _exchanged(p, batch, "mediation_indirect", text, edit)))
        if "mediation_direct" in names:
            found.append((p, _direct(p, batch, problem, edit)))
    return found


def _changed_question(p: Probed, batch: Batch) -> tuple[Problem, Edit] | None:
    own = p.subject.problem
    donors = [
        t for o in batch.probed if o.subject.problem.id != own.id for t in (o.subject.problem.choices or {}).values()
    ]
    return change_question(own, p.answer, p.kind, batch.rng(p, "mediation"), donors)


def _exchanged(p: Probed, batch: Batch, probe: str, text: str | Refusal, edit: Edit | None = None) -> Ask | Refusal:
    """X0 with the rationale of another completion."""
    if isinstance(text, Refusal):
        return replace(text, probe=probe)
    pieces = batch.asking.pieces(batch.asking.read(text, p.subject.problem)[0])
    if not pieces:
        return Refusal("the model wrote no rationale to exchange", probe=probe)
    return plain_ask(p, batch.asking, probe, 0, pieces, edit)


def _direct(p: Probed, batch: Batch, problem: Problem, edit: Edit) -> Ask:
    """X1 with the rationale of X0."""
    body = batch.asking.body(problem, p.pieces)
    prompt = batch.asking.prompt(problem)
    return Ask("mediation_direct", 0, problem, prompt, body, problem.question, p.answer, edit=edit)
