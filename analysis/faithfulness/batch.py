"""What is probed, and what a probe may ask: an answer at once (`Ask`), the rest of a rationale (`Continue`), or why nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from analysis.faithfulness.layout import Layout
from analysis.faithfulness.perturbations import Edit, always_first
from star.problem import AnswerType, Problem
from star.prompting import PromptBuilder

if TYPE_CHECKING:
    from analysis.faithfulness.answers import Answers


@dataclass(frozen=True)
class Subject:
    """One rationale to be probed, as recorded; nothing here is ever written back."""

    attempt_id: str
    problem: Problem
    rationale: str
    """Without the statement of the answer."""
    answer: str | None
    """The recorded answer."""
    round: int | None = None
    correct: bool | None = None
    """The recorded verdict: True, False, or None where it is not known."""


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
    """Why a probe cannot be used on a rationale, or at one position."""

    reason: str
    position: int = 0


@dataclass(frozen=True)
class Continue:
    """A prompt and the beginning of a completion, to be continued to the end."""

    position: int
    problem: Problem
    prompt: tuple[int, ...]
    prefix: str
    """The completion so far, "" for the bare prompt."""
    perturbed: str
    original_continuation: str
    edit: Edit | None = None
    outcome: Callable[[Probed, Continue, str, Layout], str] | None = None
    """What came of it, from the text that was written; see `analysis.faithfulness.outcomes`."""
    greedy: bool = False


@dataclass(frozen=True)
class Ask:
    """A prompt and the text before the cue; the answer is asked for at once."""

    position: int
    problem: Problem
    """As asked; its options may be others than the rationale's."""
    prompt: tuple[int, ...]
    body: str
    perturbed: str
    target: str
    """a* in the terms of `problem` (its label, where the options moved)."""
    filler: int = 0
    """When above 0: this many filler tokens for the steps, which `body` lacks."""
    edit: Edit | None = None
    follows: str | None = None
    """The answer of a model that goes by the perturbed text, where that is known."""
    labels_back: Mapping[str, str] = field(default_factory=dict)
    """Labels as asked -> labels of the rationale's question, where the options moved: rows keep the latter."""
    rationale_of: Continue | None = None
    """Has to be written first: its rationale becomes `body`."""


Question = Ask | Continue | Refusal


@dataclass(frozen=True)
class Answered:
    """What the model made of an Ask."""

    logprob: float
    """Of the target."""
    gold_logprob: float | None
    answer: str | None


Result = Answered | str | Refusal
"""Of an Ask | the text that continues a Continue | of either where there is none."""


@dataclass(frozen=True)
class Batch:
    """All rationales of a call, and what it takes to ask about them."""

    layout: Layout
    answers: Answers
    settings: Settings
    context: int | None = None
    """The model's longest sequence in tokens; None: no limit."""
    probed: Sequence[Probed] = ()

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Where each rationale stands in `probed`."""
        return {p.subject.attempt_id: k for k, p in enumerate(self.probed)}

    @cached_property
    def always_first(self) -> Layout:
        """The same task with few-shot examples whose answer is always the first option."""
        layout = self.layout
        task = replace(layout.task, examples=tuple(always_first(example) for example in layout.task.examples))
        return Layout(task, PromptBuilder(task, layout.tokenizer, layout.prompts.settings), shots=True)

    def rng(self, p: Probed, name: str, position: int = 0) -> random.Random:
        """The generator of one edit: the same whatever else is probed."""
        return random.Random(f"{self.settings.seed}-{name}-{p.subject.attempt_id}-{position}")

    def ask(self, p: Probed, position: int, pieces: Sequence[str], edit: Edit | None = None) -> Ask:
        """The rationale's own question with other pieces."""
        body = self.layout.body(p.subject.problem, pieces)
        return Ask(position, p.subject.problem, p.prompt, body, "".join(pieces).strip(), p.answer, edit=edit)

    def go_on(self, p: Probed, pieces: Sequence[str], edit: Edit | None = None) -> Continue:
        """Continue after `pieces`, which stand for the rationale's first steps."""
        problem, layout = p.subject.problem, self.layout
        shape, rest = layout.shape(problem), "".join(p.pieces[len(pieces) :])
        whole = rest + shape.cue + layout.rendered(problem, p.answer) + shape.suffix
        prefix = layout.body(problem, pieces) if pieces else ""
        return Continue(len(pieces), problem, p.prompt, prefix, "".join(pieces).strip(), whole.strip(), edit)
