"""The STaR loop. Read this file first; `python -m star.train` runs it.

Algorithm 1 of the paper (Zelikman et al. 2022, section 3), line by line:

    2  M_0 <- M                                     Loop.run
    4  (r, y^)  <- M_{n-1}(x)        generate       Loop.attempts
    5  (r', y') <- M_{n-1}(x + hint) rationalize    Loop.attempts
    6  keep r   where y^ = y         filter         star/curation.py
    7  keep r'  where y^ != y and y' = y
    8  M_n <- train(M, kept)         from M         Loop.model

Each stage of a round reads its file if a run before this one finished it, and else computes and writes it whole, sampling
shard by shard (star/shards.py). So an interrupted run goes on where it stopped, and ends as it would have ended.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from star import run as runs
from star import schemas, splits
from star.attempts import first_pass_against_chance, summarise
from star.curation import assert_no_hints, count_data, curate, gold_rows, soundness_of, training_rows
from star.ledger import Ledger
from star.pool import Pool
from star.problem import Attempt, Problem, Verdict
from star.prompting import PromptBuilder
from star.recipe import Recipe
from star.rows import Gate, Result, RoundFacts, RoundLine, Training, TrainingRow
from star.sampling.base import Decoding
from star.setup import Setup
from star.shards import Mode, Shard, collect, cut, parts_of
from star.tasks import addition
from star.training.finetuning import finetune
from star.training.plan import FinetuningError, Job, count_sequences, steps_of_round
from star.training.trackers import send

ROUNDS = {"few_shot": 0, "direct": 1}
"""Rounds of the methods that are not `star`."""


class Loop:
    """One run. `setup` holds what was loaded: task, problems, tokenizer, base model directory, run directory."""

    def __init__(self, recipe: Recipe, setup: Setup, pool: Pool, show: Callable[[RoundLine], None]) -> None:
        self.recipe, self.setup, self.pool, self.show = recipe, setup, pool, show
        self.problems: dict[str, Problem] = {problem.id: problem for problem in setup.all_problems}
        self.builder = PromptBuilder(setup.task, setup.tokenizer, recipe.prompting)
        self.ledger = Ledger(setup.run_dir, setup.parameters)

    def run(self) -> Result:
        """All rounds, then the one evaluation on test; returns what result.json holds."""
        self.finish_round(0)
        for number in range(1, ROUNDS.get(self.recipe.loop.method, self.recipe.loop.rounds) + 1):
            if self.stopped(number):
                break
            try:
                self.finish_round(number)
            except NothingKeptError as error:
                self.ledger.note(str(error))
                self.ledger.leave_round(number, error.facts)
                break
        return self.finish(self.chosen_round())

    def finish_round(self, number: int) -> None:
        """Make and evaluate M_n; ends with the round's line in metrics.jsonl."""
        metrics = self.ledger.round(number)
        if metrics is None:
            self.ledger.open_round(number)
            facts = self.improve(number) if number else RoundFacts()
            metrics = self.ledger.close_round(number, summarise(self.evaluation(number)), facts)
            self.prune_models()
        send(self.recipe.training.report_to, self.setup.run_dir, metrics)
        self.show(metrics)

    def improve(self, number: int) -> RoundFacts:
        """M_{n-1} -> M_n. Raises NothingKeptError when there is nothing to train on."""
        facts: RoundFacts = {}
        attempts = self.attempts(number)
        if number == 1:
            facts["gate"] = self.gate(attempts)
        rows = self.training(number, attempts)
        facts["data"] = count_data(attempts, rows, pool=len(self.setup.train))
        if not rows:
            raise NothingKeptError(number, self.recipe, facts)
        facts["training"] = self.model(number, rows)
        return facts

    # ------------------------------------------------------------------ lines 4 to 7: generate, rationalize, filter

    def attempts(self, number: int) -> list[Attempt]:
        """Every attempt of a round, curated: generated ones, then rationalized ones for problems without a right answer."""

        def compute() -> list[Attempt]:
            pool, loop = self.drawn(number), self.recipe.loop
            if loop.method == "direct":
                return []
            current, shots = self.model_dir(number - 1), number == 1 or self.recipe.prompting.keep_shots
            attempts = self.sample("sampling", current, pool, number, mode="generated", shots=shots)
            solved = {row["problem_id"] for row in attempts if row["verdict"] == Verdict.correct}
            failed = [problem for problem in pool if problem.id not in solved]
            if loop.rationalize and failed:
                base = loop.rationalizer == "base"
                model = self.setup.base_dir if base else current
                attempts += self.sample("rationalizing", model, failed, number, mode="rationalized", shots=shots or base)
            soundness = soundness_of(self.setup.task, self.recipe.curation, self.problems)
            return curate(attempts, self.setup.task, self.recipe.curation, soundness)

        return self.ledger.stored(self.round_dir(number) / "attempts.parquet", runs.ATTEMPTS, compute)

    def drawn(self, number: int) -> list[Problem]:
        """The problems of a round."""
        evaluated = [line["selection"]["slices"] for line in self.ledger.rounds() if line["round"] < number]
        drawable = addition.drawable(self.recipe.task, evaluated)
        pool = [problem for problem in self.setup.train if drawable is None or problem.slice in drawable]
        return splits.draw(pool, self.recipe.loop.problems, f"round-{self.recipe.seed}-{number}")

    def sample(
        self, stage: str, model: Path, problems: Sequence[Problem], number: int, *, mode: Mode, shots: bool
    ) -> list[Attempt]:
        """Attempts of `model` under the recipe's decoding; their seconds count for `stage`."""
        settings = self.recipe.sampling
        decoding = self.decoding(f"{mode}-{number}", settings.temperature, settings.top_p, settings.samples)
        shards = cut(problems, decoding, settings.shard, mode=mode, split="train", round_number=number, shots=shots)
        return self.sampled(self.round_dir(number) / "attempts.parquet", stage, model, shards)

    def sampled(self, file: Path, stage: str, model: Path, shards: Sequence[Shard]) -> list[Attempt]:
        """The attempts of `file`, by `model`; shards that an interrupted run had finished are not sampled again."""
        return self.ledger.timed(stage, lambda: collect(shards, parts_of(file), partial(self.load, model), self.pool.map))

    def gate(self, attempts: Sequence[Attempt]) -> Gate | None:
        """The first pass against chance; warns, stops (RunError) or stays silent as `loop.gate` says."""
        gate = first_pass_against_chance(attempts, self.problems, self.setup.task)
        if gate is None or gate["passed"] or self.recipe.loop.gate == "off":
            return gate
        message = (
            f"this run will not bootstrap: the first pass got {gate['correct']} of {gate['n']} problems right "
            f"({gate['correct'] / gate['n']:.1%}), not above chance ({gate['chance']:.1%}; p = {gate['p_value']:.2f}). What is "
            "kept would be luck, not reasoning. Use a stronger model, more prompting.shots, or easier problems."
        )
        if self.recipe.loop.gate == "stop":
            raise runs.RunError(message + " (loop.gate is stop)")
        self.ledger.note(message)
        return gate

    # ------------------------------------------------------------------ line 8: train

    def training(self, number: int, attempts: Sequence[Attempt]) -> list[TrainingRow]:
        """The rows of a round: what was kept of it, and of `replay` earlier rounds."""
        shots = self.recipe.prompting.shots_in_training

        def compute() -> list[TrainingRow]:
            if self.recipe.loop.method == "direct":
                return gold_rows(self.drawn(number), self.builder, number, shots=shots)
            earlier = range(max(1, number - self.recipe.curation.replay), number)
            kept = [row for past in earlier for row in self.attempts(past) if row["kept"]]
            kept += [row for row in attempts if row["kept"]]
            seed = self.recipe.seed + number
            rows = training_rows(kept, self.problems, self.builder, self.recipe.curation, shots=shots, seed=seed)
            assert_no_hints(rows, self.problems, self.builder, shots=shots)
            return rows

        return self.ledger.stored(self.round_dir(number) / "training.parquet", runs.TRAINING, compute)

    def model(self, number: int, rows: Sequence[TrainingRow]) -> Training:
        """Fine-tune on `rows`, from the base model or the round before; writes round_NN/model and returns its facts."""
        facts_file = self.model_dir(number) / "finetuning.json"
        facts = cast(Training | None, runs.whole_json(facts_file, schemas.Training))
        if facts is None:
            job = self.job(number, rows)
            self.pool.sleep()
            facts = self.ledger.timed("training", lambda: finetune(job))
            if dropped := facts.get("dropped_rows"):
                self.ledger.note(
                    f"round {number}: {dropped:,} of {len(rows):,} training rows were left out: their prompts alone have "
                    f"training.max_length ({self.recipe.training.max_length:,}) tokens or more"
                )
            if facts.get("ended") == 0:
                self.ledger.note(f"round {number}: none of the trained model's sample completions ends by itself")
            runs.write_json(facts_file, facts)
        facts.pop("loss_curve", None)
        return facts

    def job(self, number: int, rows: Sequence[TrainingRow]) -> Job:
        """The fine-tuning of a round."""
        recipe, settings, shots = self.recipe, self.recipe.training, self.recipe.prompting.shots_in_training
        encoded = tuple(
            (
                tuple(self.builder.ids(self.problems[row["problem_id"]], shots=shots, hinted=row["hinted"])),
                tuple(self.builder.completion_ids(row["completion"])),
            )
            for row in rows
        )
        return Job(
            base=str(self.model_dir(number - 1) if recipe.loop.start == "continue" else self.setup.base_dir),
            output=str(self.model_dir(number)),
            rows=encoded,
            steps=steps_of_round(settings.steps, number, count_sequences(encoded, settings), settings.batch_size),
            seed=recipe.seed + number,
            settings=settings.model_dump(mode="json"),
            dtype=recipe.model.dtype,
            trust_remote_code=recipe.model.trust_remote_code,
            run_name=f"{recipe.name}-round-{number:02d}",
            trained_on="gold answers" if recipe.loop.method == "direct" else Job.trained_on,
        )

    # ------------------------------------------------------------------ evaluation

    def evaluation(self, number: int) -> list[Attempt]:
        """The selection split (or test, when the recipe insists), answered greedily by the round's model."""
        split = self.recipe.evaluation.select_on
        problems = self.setup.selection if split == "selection" else self.setup.test
        file = self.round_dir(number) / "evaluation.parquet"
        return self.evaluated(file, "evaluation", number, problems, split)

    def evaluated(
        self, file: Path, stage: str, number: int, problems: Sequence[Problem], split: str, samples: int = 0
    ) -> list[Attempt]:
        """Greedy answers of round n's model (sample 0), then `samples` sampled ones (1 to k)."""
        shots, size = number == 0 or self.recipe.prompting.keep_shots, self.recipe.sampling.shard
        call: dict[str, Any] = {"mode": "evaluated", "split": split, "round_number": number, "shots": shots}
        shards = cut(problems, self.decoding("greedy", 0.0, 1.0, 1), size, **call)
        if samples:
            drawn = self.decoding(f"pass-at-k-{number}", self.recipe.evaluation.temperature, 1.0, samples)
            shards += cut(problems, drawn, size, first_sample=1, **call)
        return self.ledger.stored(file, runs.ATTEMPTS, lambda: self.sampled(file, stage, self.model_dir(number), shards))

    def finish(self, chosen: int) -> Result:
        """Evaluate test once with the chosen round's model and write result.json."""
        if (result := runs.whole_json(self.setup.run_dir / "result.json", schemas.Result)) is not None:
            return cast(Result, result)
        self.ledger.open_test()
        file, settings = self.setup.run_dir / "test" / "evaluation.parquet", self.recipe.evaluation
        rows = self.evaluated(file, "test", chosen, self.setup.test, "test", settings.samples)
        return self.ledger.finish(chosen, settings.select_on, rows, self.problems)

    def chosen_round(self) -> int:
        """The round with the best selection accuracy; the earliest of equals. The base model is not a candidate."""
        rounds = [line for line in self.ledger.rounds() if line["round"] > 0] or self.ledger.rounds()
        return max(rounds, key=lambda line: (share_right(line), -line["round"]))["round"]

    def stopped(self, number: int) -> bool:
        """True when the stop rule says that round `number` is not needed."""
        accuracies = [share_right(line) for line in self.ledger.rounds() if line["round"] < number][1:]
        loop = self.recipe.loop
        if loop.target is not None and accuracies and accuracies[-1] >= loop.target:
            return True
        best = accuracies.index(max(accuracies)) if accuracies else 0
        return loop.patience is not None and len(accuracies) - 1 - best >= loop.patience

    # ------------------------------------------------------------------ model directories, the samplers' state

    def round_dir(self, number: int) -> Path:
        """Where a round's files are."""
        return self.ledger.run.folder(number)

    def model_dir(self, number: int) -> Path:
        """Round n's model; round 0's is the base model."""
        return self.round_dir(number) / "model" if number else self.setup.base_dir

    def prune_models(self) -> None:
        """Under `keep_models: last_and_best`, remove the other rounds' model directories."""
        if self.recipe.keep_models == "all":
            return
        finished = [line["round"] for line in self.ledger.rounds()]
        for number in set(finished[1:]) - {finished[-1], self.chosen_round()}:
            shutil.rmtree(self.model_dir(number), ignore_errors=True)

    def load(self, model: Path) -> None:
        """Swap the samplers' weights unless they are there already."""
        if self.pool.model_dir != model:
            self.ledger.timed("loading", lambda: self.pool.load(model))

    def decoding(self, label: str, temperature: float, top_p: float, samples: int) -> Decoding:
        """Settings of one call, seeded by the recipe's seed and what the call is for."""
        limit = self.recipe.sampling.max_new_tokens
        plain = Decoding(temperature, top_p, samples, limit, self.setup.task.stop)
        return replace(plain, seed=runs.derived_seed(self.recipe.seed, label))


def share_right(line: RoundLine) -> float:
    """A round's accuracy on the split that chooses among rounds."""
    return line["selection"]["correct"] / max(1, line["selection"]["n"])


class NothingKeptError(FinetuningError):
    """No rationale reached the right answer: there is nothing to train on. `facts` is what the round did until then."""

    def __init__(self, number: int, recipe: Recipe, facts: RoundFacts) -> None:
        self.facts = facts
        super().__init__(
            f"round {number}: no rationale was kept, so there is nothing to train on. STaR needs a model that solves some "
            f"problems, or explains them when told the answer (loop.rationalize is {recipe.loop.rationalize}). "
            "Try more prompting.shots, a larger sampling.max_new_tokens, a stronger model or easier problems."
        )
