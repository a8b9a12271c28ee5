"""The STaR loop. Read this file first; `python -m star.train` runs it.

Algorithm 1 of the paper (Zelikman et al. 2022, section 3), line by line:

    2  M_0 <- M                                     Loop.run
    4  (r, y^)  <- M_{n-1}(x)        generate       Loop.attempts
    5  (r', y') <- M_{n-1}(x + hint) rationalize    Loop.attempts
    6  keep r   where y^ = y         filter         star/curation.py
    7  keep r'  where y^ != y and y' = y
    8  M_n <- train(M, kept)         from M         Loop.model

Each stage of a round reads its file if a run before this one finished it, and else computes and writes it whole. So an
interrupted run goes on where it stopped, and what it ends with is what it would have ended with.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from star import run as runs
from star import splits
from star.attempts import sample_attempts, summarise
from star.curation import curate, soundness_of, training_rows
from star.gate import gate
from star.ledger import Ledger
from star.problem import Problem, Verdict
from star.prompting import PromptBuilder
from star.recipe import Recipe
from star.sampling.base import Decoding, Sampler
from star.schemas import Result, RoundLine, Training
from star.setup import Setup
from star.training.finetuning import Job, finetune
from star.training.plan import FinetuningError, count_sequences, steps_of_round
from star.training.trackers import send

Rows = list[dict[str, Any]]


class Loop:
    """One run. `setup` holds what was loaded: task, problems, tokenizer, base model directory, run directory."""

    def __init__(self, recipe: Recipe, setup: Setup, sampler: Sampler, show: Callable[[RoundLine], None]) -> None:
        self.recipe, self.setup, self.sampler, self.show = recipe, setup, sampler, show
        self.problems: dict[str, Problem] = {problem.id: problem for problem in setup.all_problems}
        self.builder = PromptBuilder(setup.task, setup.tokenizer, recipe.prompting)
        self.ledger = Ledger(setup.run_dir, setup.parameters)

    def run(self) -> Result:
        """All rounds, then the one evaluation on test; returns what result.json holds."""
        self.finish_round(0)
        if self.recipe.loop.method == "few_shot":
            return self.finish(0)
        last = self.recipe.loop.rounds if self.recipe.loop.method == "star" else 1
        for number in range(1, last + 1):
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
        """Sample, curate, fine-tune and evaluate; ends with the round's line in metrics.jsonl."""
        if (metrics := self.ledger.round(number)) is None:
            self.ledger.open_round(number)
            facts: dict[str, Any] = {}
            if number:
                attempts = self.attempts(number)
                if number == 1:
                    facts["gate"] = gate(self.recipe, attempts, self.problems, self.setup.task, self.ledger)
                rows = self.training(number, attempts)
                facts["data"] = self.data_facts(attempts, rows)
                if not rows:
                    raise NothingKeptError(number, self.recipe, facts)
                facts["training"] = self.model(number, rows)
            evaluation = self.evaluation(number)
            metrics = self.ledger.close_round(number, summarise(evaluation), facts)
            self.prune_models()
        send(self.recipe.training.report_to, self.setup.run_dir, metrics)
        self.show(metrics)

    # ------------------------------------------------------------------ lines 4 and 5: generate, rationalize

    def attempts(self, number: int) -> Rows:
        """Every attempt of a round, curated: generated ones, then rationalized ones for problems without a right answer."""

        def compute() -> Rows:
            pool = splits.draw(self.setup.train, self.recipe.loop.problems, f"round-{self.recipe.seed}-{number}")
            if self.recipe.loop.method == "direct":
                return []
            shots = number == 1 or self.recipe.prompting.keep_shots
            current = self.model_dir(number - 1)
            generated = self.ledger.timed(
                "sampling", lambda: self.sample(current, pool, number, mode="generated", shots=shots)
            )
            solved = {row["problem_id"] for row in generated if row["verdict"] == Verdict.correct}
            failed = [problem for problem in pool if problem.id not in solved]
            rationalized: Rows = []
            if self.recipe.loop.rationalize and failed:
                model = self.setup.base_dir if self.recipe.loop.rationalizer == "base" else current
                with_shots = shots or self.recipe.loop.rationalizer == "base"
                rationalized = self.ledger.timed(
                    "rationalizing", lambda: self.sample(model, failed, number, mode="rationalized", shots=with_shots)
                )
            soundness = soundness_of(self.setup.task, self.recipe.curation, self.problems)
            return curate([*generated, *rationalized], self.setup.task, self.recipe.curation, soundness)

        return self.stage(number, "attempts.parquet", runs.ATTEMPTS, compute)

    def sample(self, model: Path, problems: Sequence[Problem], number: int, *, mode: Any, shots: bool) -> Rows:
        """Attempts of `model` under the recipe's decoding."""
        settings = self.recipe.sampling
        decoding = self.decoding(f"{mode}-{number}", settings.temperature, settings.top_p, settings.samples)
        self.load(model)
        return sample_attempts(
            self.sampler, self.builder, problems, decoding, mode=mode, split="train", round_number=number, shots=shots
        )

    # ------------------------------------------------------------------ lines 6 to 8: filter, train

    def training(self, number: int, attempts: Rows) -> Rows:
        """The rows of a round: what was kept of it, and of `replay` earlier rounds."""

        def compute() -> Rows:
            if self.recipe.loop.method == "direct":
                return self.gold_rows(number)
            earlier = range(max(1, number - self.recipe.curation.replay), number)
            kept = [row for past in earlier for row in self.attempts(past) if row["kept"]]
            kept += [row for row in attempts if row["kept"]]
            shots = self.recipe.prompting.shots_in_training
            seed = self.recipe.seed + number
            rows = training_rows(kept, self.problems, self.builder, self.recipe.curation, shots=shots, seed=seed)
            assert_no_hints(rows, self.problems, self.builder, shots)
            return rows

        return self.stage(number, "training.parquet", runs.TRAINING, compute)

    def gold_rows(self, number: int) -> Rows:
        """Direct fine-tuning, the paper's baseline: question -> gold answer, no rationale."""
        shots = self.recipe.prompting.shots_in_training
        pool = splits.draw(self.setup.train, self.recipe.loop.problems, f"round-{self.recipe.seed}-{number}")
        return [
            {
                "attempt_id": f"{number:02d}-d-{problem.id}-0",
                "problem_id": problem.id,
                "from_round": number,
                "mode": "gold",
                "hinted": False,
                "prompt": self.builder.text(problem, shots=shots),
                "completion": self.setup.task.completion("", problem.gold),
            }
            for problem in pool
        ]

    def model(self, number: int, rows: Rows) -> dict[str, Any]:
        """Fine-tune on `rows`, from the base model or the round before; writes round_NN/model and returns its facts."""
        output = self.model_dir(number)
        facts_file = output / "finetuning.json"
        facts = runs.whole_json(facts_file, Training)
        if facts is None:
            settings, shots = self.recipe.training, self.recipe.prompting.shots_in_training
            start = self.recipe.loop.start == "continue" and number > 1
            encoded = tuple(
                (
                    tuple(self.builder.ids(self.problems[row["problem_id"]], shots=shots, hinted=row["hinted"])),
                    tuple(self.builder.completion_ids(row["completion"])),
                )
                for row in rows
            )
            job = Job(
                base=str(self.model_dir(number - 1) if start else self.setup.base_dir),
                output=str(output),
                rows=encoded,
                steps=steps_of_round(settings.steps, number, count_sequences(encoded, settings), settings.batch_size),
                seed=self.recipe.seed + number,
                settings=settings.model_dump(mode="json"),
                dtype=self.recipe.model.dtype,
                trust_remote_code=self.recipe.model.trust_remote_code,
                run_name=f"{self.recipe.name}-round-{number:02d}",
                taught="gold answers" if self.recipe.loop.method == "direct" else Job.taught,
            )
            self.sampler.sleep()
            facts = self.ledger.timed("training", lambda: finetune(job))
            if dropped := facts.get("dropped_rows"):
                self.ledger.note(
                    f"round {number}: {dropped:,} of {len(rows):,} training rows were left out: their prompts alone have "
                    f"training.max_length ({settings.max_length:,}) tokens or more"
                )
            if facts.get("ended") == 0:
                self.ledger.note(f"round {number}: none of the trained model's sample completions ends by itself")
            runs.write_json(facts_file, facts)
        return {key: value for key, value in facts.items() if key != "loss_curve"}

    # ------------------------------------------------------------------ evaluation

    def evaluation(self, number: int) -> Rows:
        """The selection split (or test, when the recipe insists), answered greedily by the round's model."""
        split = self.recipe.evaluation.select_on
        problems = self.setup.selection if split == "selection" else self.setup.test
        return self.stage(
            number,
            "evaluation.parquet",
            runs.ATTEMPTS,
            lambda: self.ledger.timed("evaluation", lambda: self.evaluate(number, problems, split)),
        )

    def evaluate(self, number: int, problems: Sequence[Problem], split: str, samples: int = 0) -> Rows:
        """Greedy answers (sample 0), then `samples` sampled ones (1 to k)."""
        self.load(self.model_dir(number))
        shots = number == 0 or self.recipe.prompting.keep_shots
        call: dict[str, Any] = {"mode": "evaluated", "split": split, "round_number": number, "shots": shots}
        rows = sample_attempts(self.sampler, self.builder, problems, self.decoding("greedy", 0.0, 1.0, 1), **call)
        if samples:
            drawn = self.decoding(f"pass-at-k-{number}", self.recipe.evaluation.temperature, 1.0, samples)
            rows += sample_attempts(self.sampler, self.builder, problems, drawn, first_sample=1, **call)
        return rows

    def finish(self, chosen: int) -> Result:
        """Evaluate test once with the chosen round's model and write result.json."""
        if (result := runs.whole_json(self.setup.run_dir / "result.json", Result)) is not None:
            return cast(Result, result)
        self.ledger.open_test()
        file = self.ledger.run.folder(runs.TEST) / "evaluation.parquet"
        samples = self.recipe.evaluation.samples
        rows = self.kept_file(
            file,
            runs.ATTEMPTS,
            lambda: self.ledger.timed("test", lambda: self.evaluate(chosen, self.setup.test, "test", samples)),
        )
        return self.ledger.finish(chosen, self.recipe.evaluation.select_on, rows, self.problems)

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

    def prune_models(self) -> None:
        """Under `keep_models: last_and_best`, remove the other rounds' model directories."""
        if self.recipe.keep_models == "all":
            return
        finished = [line["round"] for line in self.ledger.rounds()]
        for number in set(finished[1:]) - {finished[-1], self.chosen_round()}:
            shutil.rmtree(self.model_dir(number), ignore_errors=True)

    # ------------------------------------------------------------------ helpers

    def stage(self, number: int, name: str, schema: Any, compute: Callable[[], Rows]) -> Rows:
        """A stage's rows from its file, else computed and written whole."""
        return self.kept_file(self.ledger.run.folder(number) / name, schema, compute)

    def kept_file(self, path: Path, schema: Any, compute: Callable[[], Rows]) -> Rows:
        """Rows of `path` if it is there and whole; a torn file is owed again."""
        if path.is_file():
            try:
                return cast(Rows, runs.read_table(path, schema).to_pylist())
            except runs.RunError:
                self.ledger.note(f"{path.name} of {path.parent.name} was torn and is computed again")
        rows = compute()
        runs.write_parquet(path, rows, schema)
        return rows

    def model_dir(self, number: int) -> Path:
        """Round n's model; round 0's is the base model."""
        return self.ledger.run.folder(number) / "model" if number else self.setup.base_dir

    def load(self, model: Path) -> None:
        """Swap the sampler's weights unless they are there already."""
        if self.sampler.model_dir != model:
            self.ledger.timed("loading", lambda: self.sampler.load(model))

    def decoding(self, label: str, temperature: float, top_p: float, samples: int) -> Decoding:
        """Settings of one call, seeded by the recipe's seed and what the call is for."""
        limit = self.recipe.sampling.max_new_tokens
        plain = Decoding(temperature, top_p, samples, limit, self.setup.task.stop)
        return replace(plain, seed=runs.derived_seed(self.recipe.seed, label))

    def data_facts(self, attempts: Rows, rows: Rows) -> dict[str, Any]:
        """Counts of a round's data for metrics.jsonl and the table."""
        kept = [row for row in attempts if row["kept"]]
        dropped: dict[str, int] = {}
        for row in attempts:
            if row["drop_reason"]:
                dropped[row["drop_reason"]] = dropped.get(row["drop_reason"], 0) + 1
        checked = [row for row in kept if row["sound"] is not None]
        return {
            "pool": len(self.setup.train),
            "drawn": len({row["problem_id"] for row in attempts}) or len(rows),
            "generated": sum(row["mode"] == "generated" for row in kept),
            "rationalized": sum(row["mode"] == "rationalized" for row in kept),
            "dropped": dict(sorted(dropped.items())),
            "problems_used": len({row["problem_id"] for row in rows}),
            "kept_sound": sum(bool(row["sound"]) for row in checked) / len(checked) if checked else None,
        }


def share_right(line: RoundLine) -> float:
    """A round's accuracy on the split that chooses among rounds."""
    return line["selection"]["correct"] / max(1, line["selection"]["n"])


class NothingKeptError(FinetuningError):
    """No rationale reached the right answer: there is nothing to train on. `facts` is what the round found out so far."""

    def __init__(self, number: int, recipe: Recipe, facts: dict[str, Any]) -> None:
        self.facts = facts
        super().__init__(
            f"round {number}: no rationale was kept, so there is nothing to train on. STaR needs a model that solves some "
            f"problems, or explains them when told the answer (loop.rationalize is {recipe.loop.rationalize}). "
            "Try more prompting.shots, a larger sampling.max_new_tokens, a stronger model or easier problems."
        )


def assert_no_hints(rows: Rows, problems: dict[str, Problem], builder: PromptBuilder, shots: bool) -> None:
    """Every row's prompt is the plain one, unless it is marked as hinted, and no completion speaks of a hint."""
    for row in rows:
        plain = builder.text(problems[row["problem_id"]], shots=shots)
        if not row["hinted"] and row["prompt"] != plain:
            raise AssertionError(f"training row {row['attempt_id']} has another prompt than its problem")
        if row["mode"] != "gold" and builder.task.mentions_hint(row["completion"]):
            raise AssertionError(f"training row {row['attempt_id']} mentions its hint")
