"""Training rows or pairs of a run -> the `Job` of a fine-tuning, in token ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from star.problem import Problem
from star.prompting import PromptBuilder
from star.recipe import Recipe
from star.tables import PairRow, TrainingRow
from star.training.plan import Ids, Job, count_sequences, steps_of_round, with_data

Problems = Mapping[str, Problem]


def row_job(
    recipe: Recipe, builder: PromptBuilder, problems: Problems, number: int, rows: Iterable[TrainingRow], base: Path, output: Path
) -> Job:
    """The fine-tuning of round n on rows. Raises FinetuningError as `with_data` does."""
    shots = recipe.prompting.shots_in_training
    encoded = (
        builder.encoded(problems[row["problem_id"]], row["completion"], shots=shots, hinted=row["hinted"]) for row in rows
    )
    trained_on = "gold answers" if recipe.loop.method == "direct" else Job.trained_on
    return _job(recipe, number, encoded, base, output, trained_on=trained_on)


def pair_job(
    recipe: Recipe, builder: PromptBuilder, problems: Problems, number: int, pairs: Iterable[PairRow], base: Path, output: Path
) -> Job:
    """The same on pairs, as `training.preference` says, but for those that do not differ within `training.max_length`."""
    shots, wanted = recipe.prompting.shots_in_training, recipe.training.preference
    encoded = (
        (
            *builder.encoded(problems[pair["problem_id"]], pair["chosen"], shots=shots),
            tuple(builder.completion_ids(pair["rejected"], ended=pair["rejected_ended"] is not False)),
        )
        for pair in pairs
    )
    preference = {"beta": wanted.beta, "nll": wanted.nll}
    return _job(recipe, number, encoded, base, output, preference=preference, trained_on="pairs of self-generated rationales")


def _job(recipe: Recipe, number: int, encoded: Iterable[tuple[Ids, ...]], base: Path, output: Path, **kind: Any) -> Job:
    settings = recipe.training
    job = with_data(
        Job(
            base=str(base),
            output=str(output),
            steps=0,
            seed=recipe.seed + number,
            settings=settings,
            dtype=recipe.model.dtype,
            trust_remote_code=recipe.model.trust_remote_code,
            run_name=f"{recipe.name}-round-{number:02d}",
            **kind,
        ),
        encoded,
    )
    return replace(job, steps=steps_of_round(settings.steps, number, count_sequences(job), settings.batch_size))


def verifier_job(
    recipe: Recipe, builder: PromptBuilder, problems: Problems, pairs: Iterable[PairRow], base: Path, output: Path
) -> Job:
    """The training of the verifier on pairs of all rounds."""
    wanted = recipe.verifier
    job = pair_job(recipe, builder, problems, 0, pairs, base, output)
    return replace(
        job,
        steps=wanted.steps,
        settings=job.settings.model_copy(update={"learning_rate": wanted.learning_rate}),
        preference={"beta": wanted.beta, "nll": 0.0},
        run_name=f"{recipe.name}-verifier",
        generates=False,
    )
