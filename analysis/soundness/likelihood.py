"""What a language model makes of each step: `likelihood:MODEL`. Inputs of a calibration; nothing is judged by them.

Three features per step, from one packed pass over each rationale (`star.sampling.packed`):

    mean   exp(mean log-probability of the step's tokens)
    least  probability of its least likely token
    gain   p1 / (p0 + p1), p0 and p1 the probability of the answer when it is asked for before and after the step (arXiv 2411.11984:
           information gain; here as a number from 0 to 1, 1/2: the step changes nothing)

The answer is the gold answer where there is one, else the rationale's own. Prompts are those of the run whose rationales are
scored, or plain ones for a file, as `analysis.probe` asks them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from analysis.faithfulness.layout import Layout
from analysis.faithfulness.sources import from_run, plain_task
from analysis.rationales.reading import read_records
from analysis.soundness.local_model import LocalScorer, find_model
from analysis.soundness.scorer import Item, StepScores, Usage
from analysis.soundness.scorers import Place, ScorerOptions
from star.problem import Problem, problem_id
from star.prompting import PromptBuilder
from star.recipe import PromptingSettings, TaskSettings
from star.sampling import model_files
from star.sampling.packed import PackedScorer, Scored, Tree, shared_prefix, tree
from star.tasks import addition

VERSION = 1
"""Part of the fingerprint of every score."""


class Laid(NamedTuple):
    """A rationale as it is asked for."""

    tree: Tree
    """A branch for the tokens of each step; where there is an answer, one for it after the first 0 .. n steps."""
    n_steps: int


class Likelihood(LocalScorer[Laid]):
    """Leaves step_ok empty and p_unsound None: see StepScores.features. Reads the gold answer."""

    def __init__(self, specification: str, options: ScorerOptions, place: Place) -> None:
        name, model_dir = find_model(specification, place)
        self.asking = _asking(model_dir, place.input)
        super().__init__(f"likelihood-{name}", model_dir, f"{self.asking.task.name} {VERSION}", place)
        self.limit = model_files.context_length(model_dir) or 2**31

    def start(self) -> PackedScorer:
        return PackedScorer.load(self.model_dir)

    def takes(self, row: Laid) -> Usage:
        """Each rationale stands once in its pass, and the answers beside it."""
        return Usage(prompt_tokens=sum(len(branch.tokens) for branch in row.tree.branches), calls=1)

    def prepared(self, item: Item) -> Laid | StepScores:
        """Steps and answers in the words of `asking`."""
        choices, answer = dict(item.choices or {}) or None, item.gold or item.answer
        problem = Problem(problem_id(item.question, choices), item.question, answer or "", choices)
        prompt = self.asking.prompt(problem)
        lead = "\n" if self.asking.task.name == "addition" else ""
        pieces = [("\n" if k else lead) + step.strip() for k, step in enumerate(item.steps)]
        bodies = [self.asking.body(problem, pieces[:count]) for count in range(len(pieces) + 1)]
        texts = [self.asking.ids(body) for body in bodies]
        trunk = [*prompt, *texts[-1]]
        # What a tokenizer merges across a cut belongs to the later step; one with no token of its own shares its neighbour's.
        ends = [len(prompt) + shared_prefix(texts[-1], text) for text in texts]
        sequences = [(trunk[:b], max(1, b - a)) for a, b in pairwise(ends)]
        if answer:
            sequences += [self.asking.sequence(prompt, problem, body, answer) for body in bodies]
        if max(len(ids) for ids, _ in sequences) > self.limit:
            return StepScores("too_long", why=f"more than the model's {self.limit:,} tokens")
        return Laid(tree(trunk, sequences), len(item.steps))

    def ask(self, engine: PackedScorer, rows: Sequence[Laid]) -> list[StepScores]:
        return [
            StepScores(features=_features(row, scored), usage=self.takes(row))
            for row, scored in zip(rows, engine.score([row.tree for row in rows]), strict=True)
        ]


def _features(row: Laid, scored: Sequence[Scored]) -> dict[str, tuple[float | None, ...]]:
    n = row.n_steps
    steps, answers = list(zip(row.tree.branches, scored, strict=True))[:n], [branch.logprob for branch in scored[n:]]
    return {
        "mean": tuple(math.exp(found.logprob / branch.scored) for branch, found in steps),
        "least": tuple(math.exp(found.least) for _, found in steps),
        "gain": tuple(1 / (1 + math.exp(min(before - after, 700))) for before, after in pairwise(answers)) or (None,) * n,
    }


def _asking(model_dir: Path, scored: Path | None) -> Layout:
    """Texts as the run of the rationales has them, or plain ones (addition: the task's own)."""
    tokenizer: Any = model_files.load_tokenizer(model_dir)
    if scored is not None and scored.is_dir():
        return from_run(scored, None, 1, 0, own_model=False).layout(tokenizer)
    first = next(read_records(scored, broken=[]), None) if scored is not None else None
    task = addition.build(TaskSettings(), 0) if first is not None and first.task == "addition" else plain_task()
    return Layout(task, PromptBuilder(task, tokenizer, PromptingSettings(shots=0)), shots=False)
