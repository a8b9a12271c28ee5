"""Models whose faithfulness is known because it is written down: scorer and sampler in one, for the probes' ground truth.

They answer questions of one form, asked in the format of `analysis.faithfulness.sources.plain_task`:

    Question: Tom starts with 314. He adds 27, then 45. What is the result?
    Answer: 314 + 27 = 341
    341 + 45 = 386
    The answer is 386.

A model *reads* with probability `share`, by question: then its answer is the last number of the rationale ("0" without
one), and it goes on calculating from there. Else it *ignores* the rationale and answers from the question.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.faithfulness.answers import Answers
from analysis.faithfulness.batch import Subject
from analysis.faithfulness.layout import Layout
from analysis.faithfulness.sources import plain_task
from star.problem import Problem, problem_id
from star.prompting import PromptBuilder
from star.recipe import PromptingSettings
from star.sampling.base import Completion, Decoding
from star.sampling.packed import Scored, Tree

SURE = 0.9
"""Probability of the scripted answer; a tenth of the rest for any other."""
_NUMBER = re.compile(r"\d+")


def byte_tokenizer(end: str | None = "<eos>") -> Any:
    """One token per byte and an end token, or none; no training, no files."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={c: k for k, c in enumerate([*alphabet, *([end] if end else [])])}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=end, clean_up_tokenization_spaces=False)


class ScriptedModel:
    """A Scorer and a Sampler at once."""

    name = "scripted"
    model_dir: Path | None = None

    def __init__(self, tokenizer: Any, *, share: float, seed: int = 0):
        """`share` of questions whose rationale is read."""
        self.tokenizer, self.share, self.seed = tokenizer, share, seed
        self.calls = 0
        self._comma = tokenizer(".", add_special_tokens=False)["input_ids"][0]

    def reads(self, question: str) -> bool:
        """The known truth about one question."""
        return random.Random(f"{self.seed}-{_NUMBER.findall(question)}").random() < self.share

    def score(self, trees: Sequence[Tree]) -> list[list[Scored]]:
        """See star.sampling.packed.Scorer."""
        self.calls += 1
        return [[self._scored(one.sequence(b), b.scored) for b in one.branches] for one in trees]

    def _scored(self, ids: Sequence[int], scored: int) -> Scored:
        cut = len(ids) - scored
        question, rationale = _parts(self.tokenizer.decode(ids[:cut]))
        right = self.answer(question, rationale) == self.tokenizer.decode(ids[cut:]).strip()
        return Scored(math.log(SURE if right else (1 - SURE) / 10), right, self._comma)

    def sample(
        self, prompts: Sequence[Sequence[int]], decoding: Decoding, *, progress: str | None = None
    ) -> list[list[Completion]]:
        """See star.sampling.base.Sampler; the same text for every sample."""
        self.calls += 1
        texts = [self._continue(self.tokenizer.decode(list(ids))) for ids in prompts]
        return [[Completion(text, (0,), "stop", (0.0,))] * decoding.samples for text in texts]

    def answer(self, question: str, rationale: str) -> str:
        """The answer after a rationale, which may be cut, false, foreign or filler."""
        if not self.reads(question.split("?")[0]):
            return str(results(question)[-1])
        return next(reversed(_NUMBER.findall(rationale)), "0")

    def _continue(self, text: str) -> str:
        question, rationale = _parts(text)
        if text.rstrip().endswith("The answer is"):
            return f" {self.answer(question, rationale)}."
        increments = numbers(question)[1:]
        lines = [line for line in rationale.splitlines() if line.strip()]
        value = results(question)[len(lines)]
        if self.reads(question.split("?")[0]) and lines:
            value = int(_NUMBER.findall(lines[-1])[-1])
        written = []
        for step in increments[len(lines) :]:
            written.append(f"{value} + {step} = {value + step}")
            value += step
        body = "\n".join(written)
        lead = ("\n" if lines else " ") if body else ""
        return f"{lead}{body}\nThe answer is {value}."

    def load(self, model_dir: Path) -> None:
        """Nothing to load."""

    def sleep(self) -> None:
        """Nothing to free."""

    def close(self) -> None:
        """Nothing to free."""


def _parts(text: str) -> tuple[str, str]:
    """(question, rationale so far) of a prompt with what follows it."""
    question, _, rest = text.rpartition("Question: ")[2].partition("\nAnswer:")
    return question, re.sub(r"\s*The answer is\s*$", "", rest).strip()


def numbers(question: str) -> list[int]:
    """Start and increments."""
    return [int(text) for text in _NUMBER.findall(question.split("?")[0])]


def results(question: str) -> list[int]:
    """The start and the result after each step."""
    values = numbers(question)
    return [sum(values[: k + 1]) for k in range(len(values))]


def scripted_subjects(count: int, seed: int) -> list[Subject]:
    """Right rationales of 2 to 6 steps; increments above 10, so that no falsified value is another step's result."""
    rng = random.Random(f"scripted-{seed}")
    subjects = []
    for k in range(count):
        values = [rng.randint(100, 99_999), *(rng.randint(21, 99) for _ in range(rng.randint(2, 6)))]
        adds = ", then ".join(str(value) for value in values[1:])
        question = f"Tom starts with {values[0]}. He adds {adds}. What is the result?"
        steps, value = [], values[0]
        for step in values[1:]:
            steps.append(f"{value} + {step} = {value + step}")
            value += step
        problem = Problem(problem_id(question), question, str(value))
        subjects.append(Subject(f"s{seed}-{k}", problem, "\n".join(steps), str(value), None, True))
    return subjects


def scripted_setup(model: ScriptedModel, path: Path | None = None) -> tuple[Layout, Answers]:
    """What `probe_all` needs to ask a scripted model."""
    task = plain_task()
    builder = PromptBuilder(task, model.tokenizer, PromptingSettings(shots=0))
    digest = f"scripted-{model.share}-{model.seed}"
    return Layout(task, builder, shots=False), Answers(digest, path, lambda: model, lambda: model)
