"""What each probe asks of the model: one function a probe, from a rationale to its questions or the reason for none.

Probes that change steps are only asked about rationales that have some; see `needs_steps` in `probes.PROBES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from analysis.faithfulness import outcomes
from analysis.faithfulness.batch import Ask, Batch, Probed, Question, Refusal
from analysis.faithfulness.paraphrase import paraphrase, paraphrase_problem, rename
from analysis.faithfulness.perturbations import (
    Edit,
    change_question,
    choose_donor,
    corrupt_step,
    relabel,
    shuffle_options,
    suggest,
    wrong_answer,
)
from star.problem import AnswerType, Problem

NO_MISTAKE = "the step holds no number, option or verb that could be falsified"
NO_PARAPHRASE = "no rule rewrites this text without changing its meaning"
NO_OTHER = "no rationale of another question to take"
NO_GOLD = "the gold answer is not known"
NO_CHANGE = "the question holds no number or option that could be changed"


def early_answering(p: Probed, batch: Batch) -> Sequence[Question]:
    """The answer after the first i steps, i = 0..n."""
    return [batch.ask(p, i, p.pieces[:i]) for i in range(p.n + 1)]


def information_gain(p: Probed, batch: Batch) -> Sequence[Question]:
    """The same questions; what counts is the log-probability of the gold answer before and after step i, i = 1..n."""
    return early_answering(p, batch) if p.subject.problem.gold else [Refusal(NO_GOLD)]


def information_gain_shuffled(p: Probed, batch: Batch) -> Sequence[Question]:
    """The same from no rationale to another question's whole one."""
    foreign = shuffled_rationale(p, batch) if p.subject.problem.gold else [Refusal(NO_GOLD)]
    return foreign if isinstance(foreign[0], Refusal) else [batch.ask(p, 0, ()), *foreign]


def mistake(p: Probed, batch: Batch, position: int) -> Edit | None:
    """The falsified step at a 1-based position: the same for the forced and the regenerating probe."""
    rng = batch.rng(p, "mistake", position)
    return corrupt_step(p.pieces[position - 1], p.kind, p.subject.problem.choices or {}, rng)


def followed_answer(p: Probed, edit: Edit) -> str:
    """The answer of a model that goes on with the false value: exact for addition, else the value itself."""
    digits = p.answer.replace(" ", "")
    exact = edit.shift is not None and digits.isdigit() and digits.isascii()
    return str(int(digits) + (edit.shift or 0)) if exact else edit.injected


def forced_mistake(p: Probed, batch: Batch) -> Sequence[Question]:
    """Steps 1..i with one value of step i falsified, for every i."""

    def asked(i: int, edit: Edit) -> Question:
        ask = batch.ask(p, i, (*p.pieces[: i - 1], edit.text), edit)
        return replace(ask, follows=followed_answer(p, edit))

    return [asked(i, edit) if (edit := mistake(p, batch, i)) else Refusal(NO_MISTAKE, i) for i in range(1, p.n + 1)]


def spread(n: int, limit: int) -> list[int]:
    """1-based positions of at most `limit` of n steps, evenly spread, first and last among them."""
    if n <= limit:
        return list(range(1, n + 1))
    if limit == 1:
        return [n]
    return sorted({1 + round(k * (n - 1) / (limit - 1)) for k in range(limit)})


def added_mistake(p: Probed, batch: Batch) -> Sequence[Question]:
    """One value of step i falsified, what follows regenerated."""

    def asked(i: int, edit: Edit) -> Question:
        return replace(batch.go_on(p, (*p.pieces[: i - 1], edit.text), edit), outcome=outcomes.recovery)

    places = spread(p.n, batch.settings.max_positions)
    return [asked(i, edit) if (edit := mistake(p, batch, i)) else Refusal(NO_MISTAKE, i) for i in places]


def resample(p: Probed, batch: Batch) -> Sequence[Question]:
    """The same prefixes, nothing changed, what follows regenerated; position 0 starts from the bare prompt."""
    return [batch.go_on(p, p.pieces[:i]) for i in [0, *spread(p.n, batch.settings.max_positions)]]


def filler(p: Probed, batch: Batch) -> Sequence[Question]:
    """As many filler tokens as the rationale has."""
    layout, problem = batch.layout, p.subject.problem
    length = len(layout.ids(layout.body(problem, p.pieces))) - len(layout.ids(layout.body(problem, ())))
    shown = layout.filler[0] * length
    return [replace(batch.ask(p, 0, ()), filler=max(1, length), perturbed=shown.strip() or repr(shown))]


def shuffled_rationale(p: Probed, batch: Batch) -> Sequence[Question]:
    """Another question's rationale of about the same length."""
    ids, lengths = [o.subject.problem.id for o in batch.probed], [o.n for o in batch.probed]
    donor = choose_donor(batch.index[p.subject.attempt_id], ids, lengths, batch.rng(p, "shuffled_rationale"))
    if donor is None:
        return [Refusal(NO_OTHER)]
    other = batch.probed[donor]
    same = batch.layout.same(other.answer, p.answer, p.subject.problem)
    ask = batch.ask(p, 0, other.pieces, Edit("", p.answer, other.answer))
    return [replace(ask, follows=None if same else other.answer)]


def changed_question(p: Probed, batch: Batch) -> tuple[Problem, Edit] | None:
    """A question of the same form with another answer: the same for both mediation probes."""
    own = p.subject.problem
    others = (other.subject.problem for other in batch.probed)
    donors = [text for other in others if other.id != own.id for text in (other.choices or {}).values()]
    return change_question(own, p.answer, p.kind, batch.rng(p, "mediation"), donors)


def mediation_indirect(p: Probed, batch: Batch) -> Sequence[Question]:
    """X0 with R1, which the model writes (greedily) for a changed question X1: Paul et al. 2024, NIE."""
    changed = changed_question(p, batch)
    if changed is None:
        return [Refusal(NO_CHANGE)]
    problem, edit = changed
    written = replace(batch.go_on(p, ()), prompt=batch.layout.prompt(problem), greedy=True)
    return [replace(batch.ask(p, 0, (), edit), rationale_of=written)]


def mediation_direct(p: Probed, batch: Batch) -> Sequence[Question]:
    """X1 with R0, the rationale as it is: Paul et al. 2024, NDE."""
    changed = changed_question(p, batch)
    if changed is None:
        return [Refusal(NO_CHANGE)]
    problem, edit = changed
    body, prompt = batch.layout.body(problem, p.pieces), batch.layout.prompt(problem)
    return [Ask(0, problem, prompt, body, problem.question, p.answer, edit=edit)]


def resample_rationale(p: Probed, batch: Batch) -> Sequence[Question]:
    """X0 with another sample of its rationale."""
    return [replace(batch.ask(p, 0, ()), rationale_of=batch.go_on(p, ()))]


def _hint(p: Probed, batch: Batch, name: str, changes: Callable[[str], dict[str, Any]]) -> Sequence[Question]:
    """A wrong answer suggested, all regenerated. `changes`: what that makes of the bare question."""
    donors = [other.subject.problem.gold for other in batch.probed]
    wrong = wrong_answer(p.subject.problem, p.answer, p.kind, batch.rng(p, name), donors)
    if wrong is None:
        return [Refusal("there is no wrong answer to suggest that the model does not give by itself")]
    bare = batch.go_on(p, (), Edit("", p.answer, wrong))
    return [replace(bare, outcome=outcomes.suggestion, **changes(wrong))]


def hint_star(p: Probed, batch: Batch) -> Sequence[Question]:
    """The task's rationalization prompt (STaR section 3.3) with a wrong answer, all regenerated."""

    def changes(wrong: str) -> dict[str, Any]:
        problem, layout = replace(p.subject.problem, gold=wrong), batch.layout
        return {"prompt": layout.prompt(problem, hinted=True), "perturbed": layout.task.hinted_prompt(problem)}

    return _hint(p, batch, "hint_star", changes)


def hint_suggested(p: Probed, batch: Batch) -> Sequence[Question]:
    """A wrong answer suggested in words in the prompt, all regenerated."""
    if p.kind == "addition":
        return [Refusal("an addition prompt has no place for words; hint_star puts a wrong sum there")]

    def changes(wrong: str) -> dict[str, Any]:
        problem = suggest(p.subject.problem, wrong)
        return {"problem": problem, "prompt": batch.layout.prompt(problem), "perturbed": problem.question}

    return _hint(p, batch, "hint_suggested", changes)


def hint_always_a(p: Probed, batch: Batch) -> Sequence[Question]:
    """Few-shot examples whose answer is always the first option, for questions whose answer is another one."""
    problem = p.subject.problem
    first = next(iter(problem.choices or {}), None)
    if first is None:
        return [Refusal("the question has no options")]
    if not any(example.problem.choices for example in batch.layout.task.examples):
        return [Refusal("the task has no few-shot examples with options")]
    if first in (problem.gold, p.answer):
        return [Refusal("the first option is the right answer, or the model's own")]
    ask = replace(batch.go_on(p, (), Edit("", p.answer, first)), outcome=outcomes.pattern)
    prompt = batch.always_first.prompt(problem, shots=True)
    return [replace(ask, prompt=prompt, perturbed=f"(few-shot answers all {first})\n{problem.question}")]


def hint_always_a_control(p: Probed, batch: Batch) -> Sequence[Question]:
    """The same few-shot examples as they are, all regenerated."""
    hinted = hint_always_a(p, batch)
    if isinstance(hinted[0], Refusal):
        return hinted
    return [replace(batch.go_on(p, ()), prompt=batch.layout.prompt(p.subject.problem, shots=True))]


def _paraphrase_piece(piece: str, kind: AnswerType) -> str | None:
    """A step in other words, with the white space in front of it."""
    text = piece.lstrip()
    new = paraphrase(text, kind)
    return None if new is None else piece[: len(piece) - len(text)] + new


def whole_paraphrase(p: Probed, batch: Batch) -> Sequence[Question]:
    """Every step rewritten with the same meaning."""
    pieces = [_paraphrase_piece(piece, p.kind) for piece in p.pieces]
    if not any(pieces):
        return [Refusal(NO_PARAPHRASE)]
    return [batch.ask(p, 0, [new or old for new, old in zip(pieces, p.pieces, strict=True)])]


def paraphrase_regenerated(p: Probed, batch: Batch) -> Sequence[Question]:
    """Step i rewritten with the same meaning, what follows regenerated."""
    questions: list[Question] = []
    for i in spread(p.n, batch.settings.max_positions):
        new = _paraphrase_piece(p.pieces[i - 1], p.kind)
        questions.append(batch.go_on(p, (*p.pieces[: i - 1], new)) if new else Refusal(NO_PARAPHRASE, i))
    return questions


def question_paraphrase(p: Probed, batch: Batch) -> Sequence[Question]:
    """The question in other words, the rationale kept; people who are renamed are renamed in it too."""
    changed = paraphrase_problem(p.subject.problem, p.kind, batch.rng(p, "paraphrase_question"))
    if changed is None:
        return [Refusal(NO_PARAPHRASE)]
    problem, renames = changed
    body = batch.layout.body(problem, [rename(piece, renames) for piece in p.pieces])
    return [Ask(0, problem, batch.layout.prompt(problem), body, problem.question, p.answer)]


def option_shuffle(p: Probed, batch: Batch) -> Sequence[Question]:
    """The options in another order, with the relabelled rationale and (position 0) without one."""
    shuffled = shuffle_options(p.subject.problem, batch.rng(p, "option_shuffle"))
    if shuffled is None or p.answer not in shuffled[1]:
        return [Refusal("the question has no options to shuffle")]
    problem, moved = shuffled
    prompt, labels_back = batch.layout.prompt(problem), {new: old for old, new in moved.items()}
    order = ", ".join(f"({label}) {text}" for label, text in (problem.choices or {}).items())
    relabelled = [relabel(piece, moved) for piece in p.pieces]
    return [
        Ask(i, problem, prompt, batch.layout.body(problem, pieces), order, moved[p.answer], labels_back=labels_back)
        for i, pieces in [(0, []), *([(p.n, relabelled)] if p.n else [])]
    ]
