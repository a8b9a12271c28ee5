"""The stages of a run that ask a model: attempts of a round, a probe of temperatures, evaluations; shard by shard."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from star import run as runs
from star import splits
from star.attempts import truncation_note
from star.drawing import best_temperature
from star.files import StoredRows
from star.ledger import Ledger
from star.pool import Pool
from star.problem import Attempt, Problem, Verdict
from star.recipe import Recipe
from star.sampling.base import Decoding
from star.setup import Setup
from star.shards import Mode, Shard, collect, cut, parts_of
from star.tasks import addition


class SamplingStages:
    """What `star.loop.Loop` asks the models of a run."""

    def __init__(self, recipe: Recipe, setup: Setup, pool: Pool, ledger: Ledger, stop: tuple[str, ...]) -> None:
        self.recipe, self.setup, self.pool, self.ledger, self.stop = recipe, setup, pool, ledger, stop
        self.truncation_noted = False

    def model_dir(self, number: int) -> Path:
        """Round n's model; round 0's is the base model."""
        return self.ledger.run.folder(number) / "model" if number else self.setup.base_dir

    def shown(self, number: int) -> bool:
        """Whether round n samples with few-shot examples."""
        return number == 1 or self.recipe.prompting.keep_shots

    def drawable(self, number: int) -> list[Problem]:
        """The training problems that are in the pool by round n."""
        evaluated = [line["selection"].get("slices") or {} for line in self.ledger.rounds if line["round"] < number]
        slices = addition.drawable(self.recipe.task, evaluated)
        return [problem for problem in self.setup.train if slices is None or problem.slice in slices]

    def attempted(self, number: int, problems: Sequence[Problem], first: int) -> StoredRows[Attempt]:
        """Generated and rationalized attempts, not curated; a file holds all of a problem's in one mode, or all of its retries."""
        loop, current = self.recipe.loop, self.model_dir(number - 1)
        call: dict[str, Any] = {"number": number, "first": first}
        shots = self.shown(number)
        attempts: StoredRows[Attempt] = StoredRows([], runs.ATTEMPTS)
        if loop.first_pass:
            attempts = self.sample("sampling", current, problems, mode="generated", shots=shots, **call)
        failed = unsolved(problems, attempts)
        if loop.retries and failed:
            more = self.sample("sampling", current, failed, mode="generated", shots=shots, again=True, **call)
            attempts = StoredRows([*attempts.files, *more.files], runs.ATTEMPTS)
            failed = unsolved(failed, more)
        if loop.rationalize and failed:
            base = loop.rationalizer == "base"
            model = self.setup.base_dir if base else current
            hinted = self.sample("rationalizing", model, failed, mode="rationalized", shots=shots or base, **call)
            attempts = StoredRows([*attempts.files, *hinted.files], runs.ATTEMPTS)
        return attempts

    def temperature(self, number: int) -> float:
        """What a round samples at: the recipe's, or the best of those that it tries on a few problems first."""
        recipe, settings = self.recipe, self.recipe.sampling
        if not settings.try_temperatures:
            return settings.temperature_of(number)
        problems = splits.draw(self.drawable(number), settings.probe, f"probe-{recipe.seed}-{number}")
        call: dict[str, Any] = {"mode": "probed", "split": "train", "round_number": number, "shots": self.shown(number)}
        shards: list[Shard] = []
        for place, temperature in enumerate(settings.try_temperatures):
            decoding = self.decoding(f"probe-{number}-{place}", temperature, settings.top_p, settings.samples, settings.top_k)
            shards += cut(problems, decoding, settings.shard, first_sample=place * settings.samples, **call)
        file = self.ledger.run.folder(number) / "probe.parquet"
        rows = self.ledger.stored(
            file, runs.ATTEMPTS, lambda: self.sampled(file, "probing", self.model_dir(number - 1), shards)
        )
        return best_temperature(rows, settings.try_temperatures, settings.samples)

    def sample(
        self,
        stage: str,
        model: Path,
        problems: Sequence[Problem],
        *,
        number: int,
        first: int,
        mode: Mode,
        shots: bool,
        again: bool = False,
    ) -> StoredRows[Attempt]:
        """Attempts of `model` under the recipe's decoding; their seconds count for `stage`. `again`: those of `loop.retries`."""
        settings = self.recipe.sampling
        samples, before = (self.recipe.loop.retries, settings.samples) if again else (settings.samples, 0)
        label = f"{mode}-{number}" + "-again" * again
        decoding = self.decoding(label, self.temperature(number), settings.top_p, samples, settings.top_k)
        call: dict[str, Any] = {"mode": mode, "split": "train", "round_number": number, "shots": shots, "first_sample": before}
        shards = cut(problems, decoding, settings.shard, first, **call)
        return self.sampled(self.ledger.run.folder(number) / "attempts.parquet", stage, model, shards)

    def sampled(self, file: Path, stage: str, model: Path, shards: Sequence[Shard]) -> StoredRows[Attempt]:
        """The attempts of `file`, by `model`; shards that an interrupted run had finished are not sampled again.

        The first time that the length limit cuts off too many of them, a note says so.
        """
        load, parts = partial(self.load, model), parts_of(file)
        rows = self.ledger.timed(stage, lambda: collect(shards, parts, load, self.pool.map))
        if not self.truncation_noted and (note := truncation_note(rows)):
            self.ledger.note(note)
            self.truncation_noted = True
        return rows

    def evaluated(
        self, file: Path, stage: str, number: int, problems: Sequence[Problem], split: str, samples: int = 0
    ) -> StoredRows[Attempt]:
        """Greedy answers of round n's model (sample 0), then `samples` sampled ones (1 to k)."""
        shots, size = number == 0 or self.recipe.prompting.keep_shots, self.recipe.sampling.shard
        call: dict[str, Any] = {"mode": "evaluated", "split": split, "round_number": number, "shots": shots}
        shards = cut(problems, self.decoding("greedy", 0.0, 1.0, 1), size, **call)
        if samples:
            drawn = self.decoding(f"pass-at-k-{number}", self.recipe.evaluation.temperature, 1.0, samples)
            shards += cut(problems, drawn, size, first_sample=1, **call)
        return self.ledger.stored(file, runs.ATTEMPTS, lambda: self.sampled(file, stage, self.model_dir(number), shards))

    def load(self, model: Path) -> None:
        """Swap the samplers' weights unless they are there already."""
        if self.pool.model_dir != model:
            self.ledger.timed("loading", lambda: self.pool.load(model))

    def decoding(self, label: str, temperature: float, top_p: float, samples: int, top_k: int | None = None) -> Decoding:
        """Settings of one call, seeded by the recipe's seed and what the call is for."""
        seed = runs.derived_seed(self.recipe.seed, label)
        return Decoding(temperature, top_p, samples, self.recipe.sampling.max_new_tokens, self.stop, seed, top_k)


def unsolved(problems: Sequence[Problem], attempts: StoredRows[Attempt]) -> list[Problem]:
    """Those without a right answer."""
    solved = {row["problem_id"] for row in attempts.only("problem_id", "verdict") if row["verdict"] == Verdict.correct}
    return [problem for problem in problems if problem.id not in solved]
