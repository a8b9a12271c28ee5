"""Monte-Carlo step values: how often the run's own model reaches the gold answer, from the question and from after each step.

V_i is the share of continuations of the question and the first i steps that the task's grader finds right (Math-Shepherd,
arXiv 2312.08935); V_0, the restart control, says how hard the question is. The first error is the first step after which the
value is surely below LEFT times that before it (relative progress: GenPRM, arXiv 2504.00891). Few continuations are made from
everywhere, many around the largest drop; where the answer is wrong, a drop is found by halving (OmegaPRM, arXiv 2406.06592).

A drop is all that is judged. Values that stay high say nothing of the steps, for a model can recover from a wrong one, and nor
do values of a question that the model hardly ever answers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from analysis.soundness.judging import inside
from analysis.soundness.local_model import LocalScorer, find_model
from analysis.soundness.scorer import Item, StepScores, Usage, tokens_of
from analysis.soundness.scorers import Place, ScorerOptions
from star.errors import UsageError
from star.grading import grade
from star.problem import Problem, Verdict
from star.prompting import PromptBuilder
from star.recipe import parse_recipe
from star.run import Run, RunError, derived_seed
from star.sampling.base import Completion, Decoding, Sampler
from star.statistics import wilson

LEFT = 0.8
"""Of the value before a step: what must be left of it after the step."""
LEAST = 0.1
"""Below this the value before a step is too small for a drop to show."""
SURE = 0.975
"""A drop counts where this probable: the upper end of a 95 % interval of what is left lies below LEFT."""
VERSION = 1
"""Part of the fingerprint of every score."""
TURNS = 2
"""At most this often more continuations are made around the largest drop."""


@dataclass
class Value:
    """Continuations of one prompt: how many were asked for, counted and right."""

    asked: int = 0
    n: int = 0
    right: int = 0

    @property
    def share(self) -> float:
        """Half a continuation of each outcome is added, so that no share is 0 or 1."""
        return (self.right + 0.5) / (self.n + 1)


def p_drop(before: Value, after: Value) -> float:
    """P(value after < LEFT x value before), under Jeffreys' prior."""
    rng = np.random.default_rng(0)
    draws = [rng.beta(value.right + 0.5, value.n - value.right + 0.5, 10_000) for value in (before, after)]
    return float(np.mean(draws[1] < LEFT * draws[0]))


@dataclass
class Rationale:
    """A rationale as it is rolled out: prompts, what stands written in them and values, of the question and of each step's end."""

    problem: Problem
    prompts: list[tuple[int, ...]]
    texts: list[str]
    answer_right: bool
    values: list[Value] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    """Of prompts that several rationales share, the first one bears it."""

    def search(self, few: int, many: int) -> Iterator[Mapping[int, int]]:
        """Asks for continuations, {place: how many in all}, until it is known where the value drops; `values` are filled in before
        it goes on."""
        values, last = self.values, len(self.values) - 1
        yield {0: many}
        if values[0].share < LEAST:
            return
        if self.answer_right:
            yield dict.fromkeys(range(1, last + 1), few)
            for _ in range(TURNS):
                step = max(range(1, last + 1), key=lambda i: values[i - 1].share - values[i].share)
                yield {step - 1: many, step: many}
            return
        yield {last: few}
        if values[last].share >= values[0].share / 2:
            return
        high, low = 0, last
        while low - high > 1:
            middle = (high + low) // 2
            yield {middle: few}
            high, low = (high, middle) if values[middle].share < values[0].share / 2 else (middle, low)
        yield {high: many, low: many}


def progress(values: Sequence[Value], end: int | None = None) -> tuple[float | None, ...]:
    """min(1, V_i / V_{i-1}) of each step up to `end`; steps between two values that were measured share theirs. None after `end`,
    and where the value before is below LEAST."""
    found: list[float | None] = [None] * (len(values) - 1)
    known = [i for i, value in enumerate(values) if value.asked and (end is None or i <= end)]
    for before, after in pairwise(known):
        if values[before].share >= LEAST:
            found[before:after] = [min(1.0, values[after].share / values[before].share)] * (after - before)
    return tuple(found)


def scores_of(values: Sequence[Value], few: int) -> StepScores:
    """What the values say; a drop counts where more than `few` continuations were made on both sides."""
    start, known = values[0], [(i, value) for i, value in enumerate(values) if value.asked]
    if not all(value.n for _, value in known):
        return StepScores("too_long", why="the model has no room to go on")
    if start.share < LEAST:
        return StepScores("outside", why=f"the model solves the question in {start.right} of {start.n} tries")
    refined = [i for i, value in known[1:] if min(values[i - 1].n, value.n) > few]
    error = next((i for i in refined if p_drop(values[i - 1], values[i]) >= SURE), None)
    if error is not None:
        p = inside(p_drop(values[error - 1], values[error]))
        return StepScores("ok", p, progress(values, error), tuple(p * (i == error) for i in range(1, len(values))))
    intervals = [wilson(value.right, value.n) for _, value in known]
    if max(each.low for each in intervals) <= min(each.high for each in intervals):
        return StepScores("outside", why="the model does as well from everywhere, which says nothing of the steps")
    return StepScores("ok", step_ok=progress(values), why="no drop is sure")


class Rollouts(LocalScorer[Rationale]):
    """A run's chosen model goes on from every step, for rows with gold; hinted rows without their hint.

    `rollout` scores a run by its own model; `rollout:RUN` scores other rationales of its task by that run's model. The
    temperature is that of the run's samples, or of its pass@k where that is higher: greedy continuations are all the same.
    """

    def __init__(self, rest: str, options: ScorerOptions, place: Place) -> None:
        from star.sampling.model_files import load_tokenizer
        from star.tasks import load_task

        path = Path(rest) if rest else place.input
        if path is None or not path.is_dir():
            raise UsageError(f"--scorer rollout goes on from the rationales of a run, found {path}. Name a run: rollout:RUN.")
        run = Run(path)
        recipe = parse_recipe(dict(run.recipe), str(path / "recipe.yaml"))
        engine = recipe.sampling.backend if options.engine == "auto" else options.engine
        self.recipe = recipe.model_copy(update={"sampling": recipe.sampling.model_copy(update={"backend": engine})})
        self.task, number = load_task(recipe.task, recipe.seed), run.chosen_round
        shots = number == 0 or recipe.prompting.keep_shots
        self.few = max(1, options.rollouts // 2)
        temperature, sampling = max(recipe.sampling.temperature_of(max(1, number)), recipe.evaluation.temperature), recipe.sampling
        self.decoding = Decoding(temperature, sampling.top_p, self.few, sampling.max_new_tokens, self.task.stop)
        model_dir = run.model(number) if number else find_model(recipe.model, place, self._roughly)[1]
        super().__init__("rollout", model_dir, repr((self.decoding, shots, VERSION)), place)
        self.builder = PromptBuilder(self.task, load_tokenizer(model_dir), recipe.prompting)
        self.shots = shots
        self.written = _completions(place.input)

    def start(self) -> Sampler:
        from star.sampling import open_sampler

        return open_sampler(self.recipe.sampling, self.model_dir, dtype=self.recipe.model.dtype)

    def takes(self, row: Rationale) -> Usage:
        """A few continuations from everywhere: those around drops come to it, those of hard questions are saved."""
        return self._taken([len(prompt) for prompt in row.prompts])

    def _taken(self, prompts: Sequence[int]) -> Usage:
        """By the tokens of each prompt."""
        return Usage(self.few * sum(prompts), self.few * len(prompts) * self.decoding.max_new_tokens, len(prompts))

    def _roughly(self, item: Item) -> Usage:
        """Without the model's tokenizer."""
        return self._taken([tokens_of("\n".join([item.question, *item.steps[:end]])) for end in range(len(item.steps) + 1)])

    def ask(self, engine: Sampler, rows: Sequence[Rationale]) -> list[StepScores]:
        return [replace(scores_of(each.values, self.few), usage=each.usage) for each in self.measured(engine, rows)]

    def measured(self, sampler: Sampler, rationales: Sequence[Rationale]) -> Sequence[Rationale]:
        """The same rationales with their values. All searches go on side by side: the sampler is called once a turn of theirs,
        for prompts in the order of question and step. One that several rationales share is rolled out once."""
        in_order = sorted(rationales, key=lambda each: each.problem.question)
        shared: dict[Any, Value] = {}
        for each in in_order:
            each.values = [shared.setdefault((each.problem.gold, ids), Value()) for ids in each.prompts]
            each.usage = Usage()
        searches = [(each, each.search(self.few, 4 * self.few)) for each in in_order]
        for number in count(1):
            turns: list[tuple[Rationale, Mapping[int, int]]] = [(each, next(search, {})) for each, search in searches]
            if not any(wanted for _, wanted in turns):
                break
            asked = []
            for each, wanted in turns:
                for place, total in sorted(wanted.items()):
                    while each.values[place].asked < total:
                        each.values[place].asked += self.few
                        asked.append((each, place))
            if asked:
                self._roll_out(sampler, asked, derived_seed(self.recipe.seed, f"rollout-{number}"))
        return rationales

    def prepared(self, item: Item) -> Rationale | StepScores:
        if not item.gold:
            return StepScores("outside", why="there is no gold answer")
        problem = Problem(item.id, item.question, item.gold, item.choices)
        if not self._accepts(self.task.completion("", problem.gold), problem):
            raise ValueError(f"the task's grader does not accept its gold answer {problem.gold:.40}")
        right = grade(item.answer, problem, self.task.answer_type) == Verdict.correct
        text = self.written.get(item.id) or self.task.completion("\n".join(item.steps), item.answer or problem.gold)
        ids_of = partial(self.builder.completion_ids, ended=False)
        whole, prompt = ids_of(text), tuple(self.builder.ids(problem, shots=self.shots))
        rationale = Rationale(problem, [prompt], [""], right)
        end = 0
        for step in item.steps:
            end = text.index(step, end) + len(step)
            following = len(text) - len(text[end:].lstrip())
            # A cut is made where it splits no token, after the white space or before it.
            cut = next((at for at in (following, end) if (ids := ids_of(text[:at])) == whole[: len(ids)]), end)
            rationale.prompts.append((*prompt, *ids_of(text[:cut])))
            rationale.texts.append(text[:cut])
        return rationale

    def _roll_out(self, sampler: Sampler, asked: Sequence[tuple[Rationale, int]], seed: int) -> None:
        began = time.monotonic()
        prompts = [each.prompts[place] for each, place in asked]
        sampled = sampler.sample(prompts, replace(self.decoding, seed=seed), progress="rolling out")
        seconds = (time.monotonic() - began) / len(asked)
        for (each, place), completions in zip(asked, sampled, strict=True):
            for completion in completions:
                right = self._right(each, place, completion)
                each.values[place].n += right is not None
                each.values[place].right += bool(right)
            written = sum(len(completion.token_ids) for completion in completions)
            each.usage += Usage(self.few * len(each.prompts[place]), written, 1, seconds)

    def _right(self, rationale: Rationale, place: int, completion: Completion) -> bool | None:
        """Whether a continuation ends right; None where the context ended before the length that the run allows."""
        length = len(rationale.prompts[place]) - len(rationale.prompts[0]) + len(completion.token_ids)
        if completion.finish_reason == "length" and length < self.decoding.max_new_tokens:
            return None
        return completion.finish_reason == "stop" and self._accepts(rationale.texts[place] + completion.text, rationale.problem)

    def _accepts(self, text: str, problem: Problem) -> bool:
        return grade(self.task.extract(text, problem).strict, problem, self.task.answer_type) == Verdict.correct


def _completions(path: Path | None) -> dict[str, str]:
    """attempt_id -> completion as it was sampled, of a run; empty for anything else."""
    written: dict[str, str] = {}
    if path is not None and path.is_dir():
        run = Run(path)
        for name in run.attempt_files():
            try:
                table = run.table(name, ("attempt_id", "completion"))
            except RunError:  # its rationales are not scored, and whoever reads them names the file
                continue
            written |= zip(table["attempt_id"].to_pylist(), table["completion"].to_pylist(), strict=True)
    return written
