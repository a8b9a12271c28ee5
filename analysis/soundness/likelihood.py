"""What the log-probabilities of language models say of a rationale, in one pass (`star.sampling.packed`).

`likelihood:MODEL` gives three features per step: inputs of a calibration, nothing is judged by them.

    mean   exp(mean log-probability of the step's tokens)
    least  probability of its least likely token
    gain   p1 / (p0 + p1), p0 and p1 the probability of the answer when it is asked for before and after the step (arXiv 2411.11984:
           information gain; here as a number from 0 to 1, 1/2: the step changes nothing)

The answer is the gold answer where there is one, else the rationale's own. Prompts are those of the run whose rationales are
scored; for a file plain ones, as `analysis.probe` asks them, or addition's own.

`verifier:RUN` (RUN: one whose recipe has `verifier.kind: dpo`) judges the whole of a rationale and its answer; no step has a score:

    p_unsound = 1 / (1 + exp(beta (log V(y | x) - log p0(y | x))))

V is the verifier, p0 the model that its training started from (the first round's), y the steps and the answer as the run's task
writes them. By the model that DPO fits (Rafailov et al. 2023, section 4) it is the chance that y loses against a completion which
that training made neither likelier nor less likely; 1/2 where the same is true of y. Pairs of right and wrong answers taught it,
not labels of steps: what it says of soundness, only labels can tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from analysis.faithfulness.layout import Layout
from analysis.faithfulness.sources import from_run, plain_task
from analysis.rationales.reading import read_records
from analysis.soundness.local_model import LocalScorer, find_model
from analysis.soundness.scorer import Item, StepScores, Usage, safe_name
from analysis.soundness.scorers import Place, ScorerOptions
from star.problem import Problem, problem_id
from star.prompting import PromptBuilder
from star.provenance import model_fingerprint
from star.recipe import PromptingSettings, TaskSettings, parse_recipe
from star.run import VERIFIER, Run
from star.sampling import model_files
from star.sampling.packed import PackedScorer, Tree, shared_prefix, tree
from star.tasks import addition, load_task
from star.training.plan import Encoded
from star.verifier import completion_logprobs

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
        (name, model_dir), scored = find_model(specification, place), place.input
        tokenizer = model_files.load_tokenizer(model_dir)
        if scored is not None and scored.is_dir():
            self.asking = from_run(scored, None, 1, 0, own_model=False).layout(tokenizer)
        else:
            first = next(read_records(scored, broken=[]), None) if scored is not None else None
            task = addition.build(TaskSettings(), 0) if first is not None and first.task == "addition" else plain_task()
            self.asking = Layout(task, PromptBuilder(task, tokenizer, PromptingSettings(shots=0)), shots=False)
        super().__init__(f"likelihood-{name}", model_dir, f"{self.asking.task.name} {VERSION}", place)
        self.limit = model_files.context_length(model_dir) or 2**31

    def start(self) -> PackedScorer:
        return PackedScorer.load(self.model_dir)

    def takes(self, row: Laid) -> Usage:
        """Each rationale stands once in its pass, and the answers beside it."""
        return Usage(prompt_tokens=sum(len(branch.tokens) for branch in row.tree.branches), calls=1)

    def prepared(self, item: Item) -> Laid | StepScores:
        """Steps and answers in the words of `asking`."""
        problem = _problem(item)
        prompt = self.asking.prompt(problem)
        lead = "\n" if self.asking.task.name == "addition" else ""
        pieces = [("\n" if k else lead) + step.strip() for k, step in enumerate(item.steps)]
        bodies = [self.asking.body(problem, pieces[:count]) for count in range(len(pieces) + 1)]
        texts = [self.asking.ids(body) for body in bodies]
        trunk = [*prompt, *texts[-1]]
        # What a tokenizer merges across a cut belongs to the later step; one with no token of its own shares its neighbour's.
        ends = [len(prompt) + shared_prefix(texts[-1], text) for text in texts]
        sequences = [(trunk[:b], max(1, b - a)) for a, b in pairwise(ends)]
        if problem.gold:
            sequences += [self.asking.sequence(prompt, problem, body, problem.gold) for body in bodies]
        if max(len(ids) for ids, _ in sequences) > self.limit:
            return StepScores("too_long", why=f"more than the model's {self.limit:,} tokens")
        return Laid(tree(trunk, sequences), len(item.steps))

    def ask(self, engine: PackedScorer, rows: Sequence[Laid]) -> list[StepScores]:
        found = []
        for row, scored in zip(rows, engine.score([row.tree for row in rows]), strict=True):
            n, answers = row.n_steps, [branch.logprob for branch in scored[row.n_steps :]]
            features: dict[str, tuple[float | None, ...]] = {
                "mean": tuple(math.exp(said.logprob / at.scored) for said, at in zip(scored[:n], row.tree.branches, strict=False)),
                "least": tuple(math.exp(said.least) for said in scored[:n]),
                "gain": tuple(1 / (1 + math.exp(min(b - a, 700))) for b, a in pairwise(answers)) or (None,) * n,
            }
            found.append(StepScores(features=features, usage=self.takes(row)))
        return found


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
        written = self.builder.answer_text("\n".join(item.steps), item.answer)
        row = self.builder.encoded(_problem(item), written, shots=self.shots)
        if len(row[0]) + len(row[1]) > self.limit:
            return StepScores("too_long", why=f"more than the model's {self.limit:,} tokens")
        return row

    def ask(self, engine: Sequence[PackedScorer], rows: Sequence[Encoded]) -> list[StepScores]:
        after, before = (completion_logprobs(model, rows) for model in engine)
        gains = [min(self.beta * (new - old), 700) for new, old in zip(after, before, strict=True)]
        chances = [1 / (1 + math.exp(gain)) for gain in gains]
        return [StepScores(p_unsound=p, usage=self.takes(row)) for row, p in zip(rows, chances, strict=True)]


def _problem(item: Item) -> Problem:
    """What an item asks; gold is the rationale's own answer where there is no other."""
    choices = dict(item.choices or {}) or None
    return Problem(problem_id(item.question, choices), item.question, item.gold or item.answer or "", choices)
