"""What the verifier of a run makes of a rationale and its answer: `verifier:RUN`, RUN a run whose recipe has `verifier.kind: dpo`.

    p_unsound = 1 / (1 + exp(beta (log V(y | x) - log p0(y | x))))

V is the verifier, p0 the model that its training started from (the first round's), y the steps and the answer as the run's task
writes them. By the model that DPO fits (Rafailov et al. 2023, section 4) it is the chance that y loses against a completion which
that training made neither likelier nor less likely; 1/2 where the same is true of y. It is a score of the whole rationale: no step
has one. Pairs of right and wrong answers taught it, not labels of steps: what it says of soundness, only labels can tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from analysis.soundness.local_model import LocalScorer
from analysis.soundness.scorer import Item, StepScores, Usage, safe_name
from analysis.soundness.scorers import Place, ScorerOptions
from star.problem import Problem, problem_id
from star.prompting import PromptBuilder
from star.provenance import model_fingerprint
from star.recipe import parse_recipe
from star.run import VERIFIER, Run
from star.sampling import model_files
from star.sampling.packed import PackedScorer
from star.tasks import load_task
from star.training.plan import Encoded
from star.verifier import completion_logprobs


class RunVerifier(LocalScorer[Encoded]):
    """Raises InputError for a run without a verifier, or without the first round's model."""

    def __init__(self, specification: str, options: ScorerOptions, place: Place) -> None:
        run = Run(Path(specification))
        recipe = parse_recipe(dict(run.recipe), str(run.path / "recipe.yaml"))
        model_dir, self.before_dir = run.model(VERIFIER), run.model(1)
        self.beta, self.shots = recipe.verifier.beta, recipe.prompting.shots_in_training
        task = load_task(recipe.task, recipe.seed)
        facts = f"{model_fingerprint(self.before_dir)} {self.beta} {task.name} 1"
        super().__init__(safe_name(f"verifier-{run.name}"), model_dir, facts, place)
        self.builder = PromptBuilder(task, model_files.load_tokenizer(model_dir), recipe.prompting)
        self.limit = model_files.context_length(model_dir) or 2**31

    def start(self) -> list[PackedScorer]:
        """The verifier, and the model before its training."""
        return [PackedScorer.load(folder, mode="plain") for folder in (self.model_dir, self.before_dir)]

    def takes(self, row: Encoded) -> Usage:
        """Each model reads a rationale once."""
        return Usage(prompt_tokens=2 * (len(row[0]) + len(row[1])), calls=2)

    def prepared(self, item: Item) -> Encoded | StepScores:
        """Prompt and completion as the run's task writes them."""
        if not item.answer:
            return StepScores("unparsed", why="no answer")
        choices = dict(item.choices or {}) or None
        problem = Problem(problem_id(item.question, choices), item.question, item.gold or "", choices)
        row = self.builder.encoded(problem, self.builder.answer_text("\n".join(item.steps), item.answer), shots=self.shots)
        if len(row[0]) + len(row[1]) > self.limit:
            return StepScores("too_long", why=f"more than the model's {self.limit:,} tokens")
        return row

    def ask(self, engine: Sequence[PackedScorer], rows: Sequence[Encoded]) -> list[StepScores]:
        after, before = (completion_logprobs(model, rows) for model in engine)
        gains = [min(self.beta * (new - old), 700) for new, old in zip(after, before, strict=True)]
        chances = [1 / (1 + math.exp(gain)) for gain in gains]
        return [StepScores(p_unsound=p, usage=self.takes(row)) for row, p in zip(rows, chances, strict=True)]
