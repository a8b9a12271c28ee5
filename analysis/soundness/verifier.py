"""What the verifier of a run makes of a rationale and its answer: `verifier:RUN`, RUN a run whose recipe has `verifier.kind: dpo`.

    p_unsound = 1 / (1 + exp(beta (log V(y | x) - log p0(y | x))))

V is the verifier, p0 the model that its training started from (the first round's), y the steps and the answer as the run's task
writes them. By the model that DPO fits (Rafailov et al. 2023, section 4) it is the chance that y loses against a completion which
that training made neither likelier nor less likely; 1/2 where the same is true of y. It is a score of the whole rationale: no step
has one. Pairs of right and wrong answers taught it, not labels of steps: what it says of soundness, only labels can tell.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.faithfulness.answers import model_digest
from analysis.soundness.local_model import each_scored
from analysis.soundness.scorer import Estimate, Item, StepScores, Usage, safe_name
from analysis.soundness.scorers import Place, ScorerOptions
from star.problem import Problem, problem_id
from star.prompting import PromptBuilder
from star.recipe import parse_recipe
from star.run import VERIFIER, Run
from star.sampling import model_files
from star.tasks import load_task
from star.training.plan import Encoded
from star.verifier import completion_logprobs


class RunVerifier:
    """A `Scorer`. Raises InputError for a run without a verifier, or without the first round's model."""

    def __init__(self, specification: str, options: ScorerOptions, place: Place) -> None:
        run = Run(Path(specification))
        recipe = parse_recipe(dict(run.recipe), str(run.path / "recipe.yaml"))
        self.name, self.beta = safe_name(f"verifier-{run.name}"), recipe.verifier.beta
        self.shots = recipe.prompting.shots_in_training
        self.model_dirs = run.model(VERIFIER), run.model(1)
        task = load_task(recipe.task, recipe.seed)
        self.builder = PromptBuilder(task, model_files.load_tokenizer(self.model_dirs[0]), recipe.prompting)
        self.limit = model_files.context_length(self.model_dirs[0]) or 2**31
        content = f"{[*map(model_digest, self.model_dirs)]} {self.beta} {task.name} 1"
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()[:16]
        self.models: list[Any] = []

    def plan(self, items: Sequence[Item]) -> Estimate:
        """Rationales that fit, and their tokens: each model reads them once."""
        rows = [row for row in map(self._encoded, items) if not isinstance(row, StepScores)]
        return Estimate(calls=len(rows), prompt_tokens=2 * sum(len(prompt) + len(completion) for prompt, completion in rows))

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """One result per item, in order."""
        rows = [self._encoded(item) for item in items]
        fitting = [row for row in rows if not isinstance(row, StepScores)]
        if fitting and not self.models:
            self.models = [model_files.ready_model(model_dir) for model_dir in self.model_dirs]
        gains = iter(each_scored(self._gains, fitting) if fitting else [])
        return [row if isinstance(row, StepScores) else self._result(row, next(gains)) for row in rows]

    def close(self) -> None:
        """Let the models go."""
        self.models = []

    def _encoded(self, item: Item) -> Encoded | StepScores:
        if not item.steps or not item.answer:
            return StepScores("unparsed", fingerprint=self.fingerprint, why="no answer" if item.steps else "no steps")
        choices = dict(item.choices or {}) or None
        problem = Problem(problem_id(item.question, choices), item.question, item.gold or "", choices)
        row = self.builder.encoded(problem, self.builder.answer_text("\n".join(item.steps), item.answer), shots=self.shots)
        if len(row[0]) + len(row[1]) > self.limit:
            return StepScores("too_long", fingerprint=self.fingerprint, why=f"more than the model's {self.limit:,} tokens")
        return row

    def _gains(self, rows: Sequence[Encoded]) -> list[float]:
        verifier, before = (completion_logprobs(model, rows) for model in self.models)
        return [after - other for after, other in zip(verifier, before, strict=True)]

    def _result(self, row: Encoded, gain: float | StepScores) -> StepScores:
        if isinstance(gain, StepScores):
            return StepScores("error", fingerprint=self.fingerprint, why=gain.why)
        usage = Usage(prompt_tokens=2 * (len(row[0]) + len(row[1])), calls=2)
        return StepScores(p_unsound=1 / (1 + math.exp(min(self.beta * gain, 700))), usage=usage, fingerprint=self.fingerprint)
