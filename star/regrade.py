"""Grade and curate a run's attempts again, into a new run directory, without sampling.

    python -m star.regrade runs/addition-1a2b3c --curation.cap 1
    python -m star.train runs/addition-4d5e6f/recipe.yaml

Flags are those of star.train, for what comes after the sampling of round 1: --curation, --training, --verifier and some others;
and --name, where only the grader has changed. The new directory has the base model's evaluation and round 1, graded and curated;
star.train goes on from there, and samples what a run that was stopped before has not. Attempts of later rounds are not taken
over: the models that they were sampled from were trained on what the old run had kept.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from star.attempts import judge
from star.command_line import run_command
from star.drawing import best_temperature
from star.errors import UsageError, counted
from star.files import StoredRows
from star.loop import Loop
from star.problem import Attempt, Problem
from star.recipe import DEFAULT_RECIPE, TRUST, load_recipe, parse_recipe
from star.run import Run, RunError
from star.sampling.base import Completion
from star.setup import Setup, locked, prepare
from star.shards import Mode, Shard, parts_of
from star.tables import ATTEMPTS
from star.train import with_flags

FREE = (
    "name", "curation.", "training.", "verifier.", "loop.rounds", "loop.patience", "loop.target", "loop.start", "loop.gate",
    "evaluation.samples", "evaluation.temperature", "prompting.keep_shots", "prompting.shots_in_training",
)  # fmt: skip
"""Keys that say nothing about what is sampled in round 1."""


FILES: dict[Mode, str] = {"evaluated": "round_00/evaluation.parquet", "probed": "round_01/probe.parquet"}
FILES |= dict.fromkeys(("generated", "rationalized"), "round_01/attempts.parquet")


class Kept:
    """A pool of a run's attempts, graded again: from a shard's own part, or from the file, which is read once and in order."""

    def __init__(self, run: Run, setup: Setup) -> None:
        self.run, self.setup = run, setup
        self.model_dir: Path | None = setup.base_dir
        self.unread = {mode: self._of(mode) for mode in FILES}

    def map(self, shards: Sequence[Shard]) -> Iterator[tuple[Shard, list[Attempt]]]:
        """See Pool.map. Raises RunError at the end where an attempt is not there."""
        missing: RunError | None = None
        for shard in shards:
            part = shard.part(parts_of(self.run.file(FILES[shard.mode])))
            rows = iter(StoredRows([part], ATTEMPTS)) if part.is_file() else self.unread[shard.mode]
            samples = range(shard.first_sample, shard.first_sample + shard.decoding.samples)
            try:
                yield shard, [self.graded(rows, shard.mode, *asked) for asked in product(shard.problems, samples)]
            except RunError as error:
                missing = missing or error
                self.unread[shard.mode] = self._of(shard.mode)  # the search went to the end of the file
        if missing:
            raise missing

    def sleep(self, *_: Any) -> None:
        """Nothing is loaded, and nothing held."""

    load = close = sleep

    def _of(self, mode: Mode) -> Iterator[Any]:
        file = self.run.file(FILES[mode])
        rows: StoredRows[Any] = StoredRows([file] if file.is_file() else [], ATTEMPTS)
        return (row for row in rows if row["mode"] == mode)

    def graded(self, rows: Iterator[Any], mode: Mode, problem: Problem, sample: int) -> Attempt:
        """One attempt."""
        row = next((row for row in rows if (row["problem_id"], row["sample"]) == (problem.id, sample)), None)
        if row is None:
            raise RunError(
                f"{self.run.path} has no {mode} attempt {sample} of problem {problem.id}: it was stopped before, or graded "
                f"otherwise then. `python -m star.train {self.setup.run_dir}/recipe.yaml` samples what is missing."
            )
        again = judge(self.setup.task, problem, Completion(row["completion"], (), row["finish_reason"], ()))
        return {**row, **again, "not_judged": None, "tokens": row["tokens"], "logprob": row["logprob"]}  # type: ignore[typeddict-item]


def regrade(argv: Sequence[str]) -> None:
    """Make the new run directory and print what it keeps. Raises InputError."""
    if {"-h", "--help"} & set(argv):
        with_flags(load_recipe(DEFAULT_RECIPE), ["--help"], __doc__)
    if not argv or argv[0].startswith("-"):
        raise UsageError("the run directory must come first. For all arguments: python -m star.regrade --help")
    given = Path(argv[0])
    run = Run(given.resolve() if given.name in ("", "..") else given)  # they do not name what they stand in
    before = parse_recipe(dict(run.recipe), str(run.path / "recipe.yaml"), trusted=TRUST in argv)
    recipe = with_flags(before.model_copy(update={"runs_dir": str(run.path.parent)}), argv[1:], __doc__)
    changed = [key for key in recipe.differing_keys(before) if not key.startswith(FREE)]
    if changed or recipe.loop.method != "star":
        raise UsageError(f"{', '.join(changed) or 'loop.method'}: needs other samples than {run.path} has: use star.train")
    if recipe.run_dir.resolve() == run.path.resolve():
        raise UsageError(f"that is the recipe of {run.path}: give a flag such as --curation.cap 1, or another --name")
    setup = prepare(recipe, ["star.regrade", *argv])
    with locked(setup.run_dir):
        if Run(setup.run_dir).manifest.get("fingerprints") != run.manifest.get("fingerprints"):
            raise RunError(f"{run.path} lacks its run.json, or was made from other data or another model than now: use star.train")
        loop = Loop(recipe, setup, Kept(run, setup), lambda line: None)
        loop.finish_round(0)
        loop.ledger.open(1)
        tried, samples = recipe.sampling.try_temperatures, recipe.sampling.samples
        if tried and (now := loop.stages.temperature(1)) != best_temperature(run.probe(1), tried, samples):
            raise RunError(f"graded so, the probe chooses temperature {now:g}, at which {run.path} has not sampled: use star.train")
        attempts = loop.attempts(1)
        loop.training(1, attempts)
    before_kept, kept = (sum(bool(row["kept"]) for row in rows) for rows in (run.attempts(1, ["kept"]), attempts.only("kept")))
    print(f"{setup.run_dir}: round 1 keeps {kept:,} of {counted(len(attempts), 'attempt')} (was {before_kept:,})")
    print(f"to go on: python -m star.train {setup.run_dir}/recipe.yaml")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_command(lambda: regrade(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
