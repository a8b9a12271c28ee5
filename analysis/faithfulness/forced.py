"""Perturb the rationale and ask for the answer at once: one packed forward pass for all of a rationale's probes.

Each probe is a function from a rationale to the questions it asks (`Ask`) or the reason why it asks none (`Refusal`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from analysis.faithfulness.asking import Asking
from analysis.faithfulness.asks import Ask, Probed, Refusal, Settings, plain_ask
from analysis.faithfulness.paraphrase import paraphrase, paraphrase_problem, rename
from analysis.faithfulness.perturbations import Edit, always_first, choose_donor, corrupt_step, relabel, shuffle_options
from star.problem import AnswerType


@dataclass(frozen=True)
class Batch:
    """All rationales of a call, for probes that need another question's."""

    probed: Sequence[Probed]
    asking: Asking
    settings: Settings

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Where each rationale stands in `probed`."""
        return {p.subject.attempt_id: k for k, p in enumerate(self.probed)}

    @cached_property
    def always_first(self) -> Asking:
        """The same task with few-shot examples whose answer is always the first option."""
        from star.prompting import PromptBuilder

        asking = self.asking
        task = replace(asking.task, examples=tuple(always_first(example) for example in asking.task.examples))
        return Asking(task, PromptBuilder(task, asking.tokenizer, asking.prompts.settings), shots=True)

    def rng(self, p: Probed, name: str, position: int = 0) -> random.Random:
        """The generator of one edit: the same whatever else is probed."""
        return random.Random(f"{self.settings.seed}-{name}-{p.subject.attempt_id}-{position}")


Forced = Callable[[Probed, Batch], "list[Ask | Refusal]"]


def early_answering(p: Probed, batch: Batch) -> list[Ask | Refusal]:
    """The first i steps, i = 0..n."""
    return [plain_ask(p, batch.asking, "early_answering", i, p.pieces[:i]) for i in range(p.n + 1)]


def mistake(p: Probed, batch: Batch, position: int) -> Edit | None:
    """The falsified step at a 1-based position: the same for the forced and the regenerating probe."""
    rng = batch.rng(p, "mistake", position)
    return corrupt_step(p.pieces[position - 1], p.kind, p.subject.problem.choices or {}, rng)


NO_STEPS = "the rationale has no steps"
NO_MISTAKE = "the step holds no number, option or verb that could be falsified"
NO_PARAPHRASE = "no rule rewrites this text without changing its meaning"
NO_OTHER = "no rationale of another question to take"


def followed_answer(p: Probed, edit: Edit) -> str | None:
    """The answer of a model that goes on with the false value, where that can be said exactly (addition)."""
    digits = p.answer.replace(" ", "")
    if edit.shift is None or not digits.isdigit() or not digits.isascii():
        return None
    return str(int(digits) + edit.shift)


def forced_mistake(p: Probed, batch: Batch) -> list[Ask | Refusal]:
    """Steps 1..i with step i falsified, for every i."""
    asks: list[Ask | Refusal] = []
    for i in range(1, p.n + 1):
        edit = mistake(p, batch, i)
        if edit is None:
            asks.append(Refusal(NO_MISTAKE, i))
            continue
        ask = plain_ask(p, batch.asking, "forced_mistake", i, (*p.pieces[: i - 1], edit.text), edit)
        asks.append(replace(ask, follows=followed_answer(p, edit) or edit.injected))
    return asks


def filler(p: Probed, batch: Batch) -> list[Ask | Refusal]:
    """As many filler tokens as the rationale has."""
    asking, problem = batch.asking, p.subject.problem
    length = len(asking.ids(asking.body(problem, p.pieces))) - len(asking.ids(asking.body(problem, ())))
    mark, _ = asking.filler()
    ask = plain_ask(p, batch.asking, "filler", 0, ())
    return [replace(ask, filler=max(1, length), perturbed=(mark * length).strip() or repr(mark * length))]


def whole_paraphrase(p: Probed, batch: Batch) -> list[Ask | Refusal]:
    """Every step rewritten with the same meaning."""
    pieces = [paraphrase_piece(piece, p.kind) for piece in p.pieces]
    if not any(pieces):
        return [Refusal(NO_PARAPHRASE)]
    kept = [new or old for new, old in zip(pieces, p.pieces, strict=True)]
    return [plain_ask(p, batch.asking, "paraphrase", 0, kept)]


def paraphrase_piece(piece: str, kind: AnswerType) -> str | None:
    """A step in other words, with the white space in front of it."""
    text = piece.lstrip()
    new = paraphrase(text, kind)
    return None if new is None else piece[: len(piece) - len(text)] + new


def question_paraphrase(p: Probed, batch: Batch) -> list[Ask | Refusal]:
    """The question in other words; people who are renamed are renamed in the rationale too."""
    found = paraphrase_problem(p.subject.problem, p.kind, batch.rng(p, "paraphrase_question"))
    if found is None:
        return [Refusal(NO_PARAPHRASE)]
    problem, renames = found
    pieces = [rename(piece, renames) for piece in p.pieces]
    body = batch.asking.body(problem, pieces)
    prompt = batch.asking.prompt(problem)
    return [Ask("paraphrase_question", 0, problem, prompt, body, problem.question, p.answer)]


def shuffled_rationale(p: Probed, batch: Batch) -> list[Ask | Refusal]:
    """Another question's rationale of about the same length."""
    everyone = batch.probed
    index = batch.index[p.subject.attempt_id]
    ids, lengths = [o.subject.problem.id for o in everyone], [o.n for o in everyone]
    donor = choose_donor(index, ids, lengths, batch.rng(p, "shuffled_rationale"))
    if donor is None:
        return [Refusal(NO_OTHER)]
    other = everyone[donor]
    edit = Edit("", p.answer, other.answer)
    ask = plain_ask(p, batch.asking, "shuffled_rationale", 0, other.pieces, edit)
    same = batch.asking.same(other.answer, p.answer, p.subject.problem)
    return [replace(ask, follows=None if same else other.answer)]


def option_shuffle(p: Probed, batch: Batch) -> list[Ask | Refusal]:
    """The options in another order, with the relabelled rationale and (position 0) without one."""
    found = shuffle_options(p.subject.problem, batch.rng(p, "option_shuffle"))
    if found is None or p.answer not in found[1]:
        return [Refusal("the question has no options to shuffle")]
    problem, moved = found
    prompt = batch.asking.prompt(problem)
    asks: list[Ask | Refusal] = []
    relabelled = tuple(relabel(piece, moved) for piece in p.pieces)
    for position, pieces in [(0, ()), *([(p.n, relabelled)] if p.n else [])]:
        body = batch.asking.body(problem, pieces)
        order = ", ".join(f"({label}) {text}" for label, text in (problem.choices or {}).items())
        ask = Ask("option_shuffle", position, problem, prompt, body, order, moved[p.answer])
        asks.append(replace(ask, labels_back={new: old for old, new in moved.items()}))
    return asks


FORCED: dict[str, Forced] = {
    "early_answering": early_answering,
    "forced_mistake": forced_mistake,
    "filler": filler,
    "shuffled_rationale": shuffled_rationale,
    "paraphrase": whole_paraphrase,
    "paraphrase_question": question_paraphrase,
    "option_shuffle": option_shuffle,
}


NEEDS_STEPS = frozenset({"early_answering", "forced_mistake", "filler", "shuffled_rationale", "paraphrase"})


def asks_of(p: Probed, batch: Batch, probe: str) -> list[Ask | Refusal]:
    """What a forced probe asks about one rationale."""
    if probe in NEEDS_STEPS and not p.n:
        return [Refusal(NO_STEPS)]
    return FORCED[probe](p, batch)
