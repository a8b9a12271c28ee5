"""How a rationale is laid out, cut, asked for an answer and read, for any task.

    prompt | open | piece 1 .. piece n | cue | answer | suffix

    addition   open "<scratch>", pieces "\\n6 2 4 + 2 5 9 , C: 0" .., cue "\\n</scratch>\\n", answer "8 8 3"
    words      pieces "Ann has 3 * 4 = 12 pens." .., cue "\\nThe answer is ", answer "12", suffix "."

Open, cue and suffix are read off the task's own `completion` function. Pieces keep the white space in front of them, so
that they join to the rationale as it was written; the carry-prefixed sum that closes a scratchpad counts as a step.

**Token ids, not strings.** A cut text is tokenised as the model would be given it: prompt and completion apart, the
completion (cut rationale, cue, answer) as one string. What it shares with the whole rationale is then found by
comparing token ids, and where the answer starts by comparing with the ids of the same text without the answer: what a
tokenizer merges across the cut ("." + newline) or into the answer (" 42") belongs to the part that is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from analysis.rationales.steps import split_steps
from star.grading import answer_type_of, same_answer
from star.grading.verdicts import choice_of
from star.problem import AnswerType, Problem, Task
from star.sampling.packed import shared_prefix
from star.tasks.addition import CLOSE, OPEN

_MARK = "RATIONALE"
_FILLERS = (" ...", "...", " .", ".", " ,", ",", "\n")


def named(answer: str | None, problem: Problem) -> str | None:
    """The label of the option that an answer names, "B" for "(b) enforce"; any other answer as it is written."""
    return (choice_of(answer, problem.choices) or answer) if answer and problem.choices else answer


@dataclass(frozen=True)
class Shape:
    """The constant text around a rationale and its answer."""

    open: str
    cue: str
    suffix: str


class Layout:
    """Texts and token ids of one task for one tokenizer. `prompts` is a `star.prompting.PromptBuilder`."""

    def __init__(self, task: Task, prompts: Any, *, shots: bool) -> None:
        self.task, self.prompts, self.shots = task, prompts, shots
        self.tokenizer = prompts.tokenizer
        self._shapes: dict[tuple[str, ...], Shape] = {}
        self._prompt_ids: dict[tuple[str, bool, bool], tuple[int, ...]] = {}

    def prompt(self, problem: Problem, *, hinted: bool = False, shots: bool | None = None) -> tuple[int, ...]:
        """Token ids of a problem's prompt, by default with few-shot examples as in the run."""
        shown = self.shots if shots is None else shots
        block = (self.task.hinted_prompt if hinted else self.task.prompt)(problem)
        key = (block, shown, hinted)
        if key not in self._prompt_ids:
            self._prompt_ids[key] = tuple(self.prompts.ids(problem, shots=shown, hinted=hinted))
        return self._prompt_ids[key]

    def answer_type(self, problem: Problem, answer: str | None = None) -> AnswerType:
        """How answers to a problem are compared: the task's way, else by the looks of the gold answer, or of `answer`."""
        return self.task.answer_type or answer_type_of(problem.gold or answer, problem.choices)

    def same(self, a: str | None, b: str | None, problem: Problem) -> bool:
        """Whether two answers to a problem are the same: what the grader accepts for one another."""
        return same_answer(a, b, self.answer_type(problem, a), problem.choices, problem.question)

    def shape(self, problem: Problem) -> Shape:
        """What the task writes before the rationale, between it and the answer, and after the answer."""
        if self.task.name == "addition":
            return Shape(OPEN, f"\n{CLOSE}\n", "")
        labels = list(problem.choices or {})
        answers = (labels[0], labels[-1]) if len(labels) > 1 else ("7", "9")
        if answers not in self._shapes:
            one, other = (self.task.completion(_MARK, answer) for answer in answers)
            before, _, after = one.partition(_MARK)
            after_other = other.partition(_MARK)[2]
            cue = after[: shared_prefix(after, after_other)]
            rest = shared_prefix(after[::-1], after_other[::-1])
            self._shapes[answers] = Shape(before, cue, after[len(after) - rest :])
        return self._shapes[answers]

    def rendered(self, problem: Problem, answer: str) -> str:
        """The answer as the task writes it ("883" -> "8 8 3")."""
        if self.task.name == "addition":
            return self.task.completion(self.task.prompt(problem), answer).splitlines()[-1]  # its letters, with index hints
        shape = self.shape(problem)
        after = self.task.completion(_MARK, answer).partition(_MARK)[2]
        return after[len(shape.cue) : len(after) - len(shape.suffix)] if shape.suffix else after[len(shape.cue) :]

    def pieces(self, rationale: str) -> list[str]:
        """The steps, each with the white space before it; empty without steps."""
        if self.task.name == "addition":
            inner = rationale.partition(OPEN)[2] if OPEN in rationale else rationale
            return ["\n" + line.strip() for line in inner.partition(CLOSE)[0].splitlines() if line.strip()]
        rationale = rationale.strip()
        pieces, at = [], 0
        steps = split_steps(rationale)
        for step in steps:
            start = rationale.find(step, at)
            if start < 0:  # the splitter changed white space inside a step
                return [step if k == 0 else "\n" + step for k, step in enumerate(steps)]
            pieces.append(rationale[at : start + len(step)])
            at = start + len(step)
        return pieces

    def body(self, problem: Problem, pieces: Sequence[str]) -> str:
        """A completion up to the end of the given pieces."""
        return self.shape(problem).open + "".join(pieces)

    def cue(self, problem: Problem, body: str) -> str:
        """What asks for the answer after `body`."""
        cue = self.shape(problem).cue
        return cue if body.strip() else cue.lstrip()

    def ids(self, text: str) -> list[int]:
        """Token ids of a completion text."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def sequence(
        self, prompt: Sequence[int], problem: Problem, body: str, answer: str, filler: int = 0
    ) -> tuple[list[int], int]:
        """Prompt, body, cue and answer as token ids, and how many of them at the end are the answer.

        `filler`: so many filler tokens in place of the steps.
        """
        filled, shown = self._shown(problem, body, filler)
        whole = self.ids(shown + self.rendered(problem, answer))
        scored = max(1, len(whole) - shared_prefix(whole, self.ids(shown.rstrip(" "))))
        return [*prompt, *filled, *whole], scored

    def question_for(self, prompt: Sequence[int], problem: Problem, body: str, filler: int = 0) -> tuple[int, ...]:
        """Token ids after which the model writes the answer: prompt, body and cue."""
        filled, shown = self._shown(problem, body, filler)
        return (*prompt, *filled, *self.ids(shown.rstrip(" ")))

    def _shown(self, problem: Problem, body: str, filler: int) -> tuple[list[int], str]:
        """Opening and filler as token ids, where there is any: it is tokenised apart; and the text after them."""
        if not filler:
            return [], body + self.cue(problem, body)
        shape, (_, unit) = self.shape(problem), self.filler
        return self.ids(shape.open) + [unit[k % len(unit)] for k in range(filler)], shape.cue

    @cached_property
    def filler(self) -> tuple[str, list[int]]:
        """The filler text and its ids: the first of a few marks without meaning that is one token, else dots."""
        coded = [(text, self.ids(text)) for text in _FILLERS]
        known = [(text, ids) for text, ids in coded if ids and self.tokenizer.unk_token_id not in ids]
        if not known:
            raise ValueError(f"none of {_FILLERS} is in the tokenizer's vocabulary: there is no filler for it")
        return next((one for one in known if len(one[1]) == 1), known[0])

    def read_forced(self, problem: Problem, body: str, written: str) -> str | None:
        """The answer in what the model wrote after body and cue."""
        shape = self.shape(problem)
        gap = "" if written[:1] == " " else " " * (len(shape.cue) - len(shape.cue.rstrip(" ")))
        return self.read(body + self.cue(problem, body).rstrip(" ") + gap + written, problem)[1]

    def read(self, completion: str, problem: Problem) -> tuple[str, str | None]:
        """(rationale, answer) of a completion; the answer is None where there is none."""
        extraction = self.task.extract(completion, problem)
        return extraction.rationale, named(extraction.strict if extraction.strict is not None else extraction.lenient, problem)

    def ends_there(self, problem: Problem, answer: str, next_token: int) -> bool:
        """Whether an answer followed by this token is surely over; False where it may go on ("4" + "2")."""
        if next_token in self.tokenizer.all_special_ids:
            return True
        text = str(self.tokenizer.decode([next_token], clean_up_tokenization_spaces=False))
        suffix = self.shape(problem).suffix
        if (suffix and text.lstrip(" ").startswith(suffix[0])) or text.startswith("\n"):
            return True
        if answer[-1:].isdigit():
            rest = text.lstrip(" ")
            return bool(rest) and not (rest[0].isdigit() or rest[0] in ".,/%^:")
        return False
