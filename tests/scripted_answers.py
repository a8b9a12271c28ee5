"""A sampler that answers word problems and multiple choice by script, alone or in place of a share of a real model's answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from star.problem import Problem, Task
from star.sampling.base import Completion, Decoding, Sampler
from tests.scripted import share


def body(prompt: str) -> str:
    """The question block of a prompt, without the cue: what a problem is recognised by."""
    block = prompt[prompt.rindex("Question: ") :]
    return block[: block.rindex("Answer:")]


class ScriptedAnswers:
    """Right for `skill` of the plain questions and most of the hinted ones; else wrong, silent, cut off or quoting the hint.

    With `inner`, a real sampler, only the right answers are scripted: the rest is what its model says. What happens depends
    on the question, the seed and the sample alone, so all rounds are equally good. `prompts` collects what was asked.
    """

    name = "scripted"

    def __init__(
        self,
        tokenizer: Any,
        model_dir: Path,
        task: Task,
        problems: Iterable[Problem],
        *,
        skill: float = 0.4,
        inner: Sampler | None = None,
    ) -> None:
        self.tokenizer, self.task, self.skill, self.inner = tokenizer, task, skill, inner
        self.own_dir = model_dir
        self.known: dict[str, tuple[Problem, bool]] = {}
        for problem in problems:
            self.known[body(task.hinted_prompt(problem))] = (problem, True)
            self.known[body(task.prompt(problem))] = (problem, False)
        self.prompts: list[tuple[int, ...]] = []
        self.loads: list[Path] = []

    @property
    def model_dir(self) -> Path | None:
        """Whose weights are loaded."""
        return self.own_dir if self.inner is None else self.inner.model_dir

    def load(self, model_dir: Path) -> None:
        self.own_dir = model_dir
        self.loads.append(model_dir)
        if self.inner is not None:
            self.inner.load(model_dir)

    def sample(
        self, prompts: Sequence[Sequence[int]], decoding: Decoding, *, progress: str | None = None
    ) -> list[list[Completion]]:
        self.prompts += [tuple(ids) for ids in prompts]
        real = None if self.inner is None else self.inner.sample(prompts, decoding, progress=progress)
        return [
            [self._completion(ids, decoding, k, real and real[i][k]) for k in range(decoding.samples)]
            for i, ids in enumerate(prompts)
        ]

    def _completion(self, ids: Sequence[int], decoding: Decoding, index: int, real: Completion | None) -> Completion:
        problem, hinted = self.known[body(self.tokenizer.decode(ids))]
        luck = share(problem.id, decoding.seed if decoding.temperature else 0, index)
        skill = 0.8 if hinted else self.skill
        right = self.task.completion(
            f"I take what the question names, step {int(luck * 3)}, and put it together.", problem.gold
        )
        if luck < skill:
            quotes = hinted and luck < 0.2
            return self._finished("According to the hint this holds. " + right if quotes else right)
        if real is not None:
            return real
        kind = int(luck * 1000) % 3
        if kind == 0:
            return self._finished(self.task.completion("I guess.", wrong_answer(problem)))
        return self._finished("I do not know.") if kind == 1 else self._finished(right, "length")

    def _finished(self, text: str, reason: Any = "stop") -> Completion:
        tokens = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return Completion(text, tokens, reason, (-0.5,) * len(tokens))

    def sleep(self) -> None:
        if self.inner is not None:
            self.inner.sleep()

    def close(self) -> None:
        """The inner sampler belongs to whoever opened it."""


def wrong_answer(problem: Problem) -> str:
    """Another number, or another option's label."""
    if problem.choices is None:
        return str(int(float(problem.gold)) + 1)
    return next(label for label in problem.choices if label != problem.gold)
