"""Training rows or pairs of a run -> the `Job` of a fine-tuning, in token ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from star.problem import Problem
from star.prompting import PromptBuilder
from star.recipe import Recipe
from star.tables import PairRow, TrainingRow
from star.training.plan import Encoded, Job, count_sequences, steps_of_round

Problems = Mapping[str, Problem]


def row_job(
    recipe: Recipe, builder: PromptBuilder, problems: Problems, number: int, rows: Collection[TrainingRow], base: Path, output: Path
) -> Job:
    """The fine-tuning of round n on rows."""
    settings, shots = recipe.training, recipe.prompting.shots_in_training
    encoded = tuple(
        builder.encoded(problems[row["problem_id"]], row["completion"], shots=shots, hinted=row["hinted"]) for row in rows
    )
    return Job(
        base=str(base),
        output=str(output),
        rows=encoded,
        steps=steps_of_round(settings.steps, number, count_sequences(encoded, settings), settings.batch_size),
        seed=recipe.seed + number,
        settings=settings,
        dtype=recipe.model.dtype,
        trust_remote_code=recipe.model.trust_remote_code,
        run_name=f"{recipe.name}-round-{number:02d}",
        trained_on="gold answers" if recipe.loop.method == "direct" else Job.trained_on,
    )


def pair_job(
    recipe: Recipe, builder: PromptBuilder, problems: Problems, number: int, pairs: Collection[PairRow], base: Path, output: Path
) -> Job:
    """The same on pairs, as `training.preference` says, but for those that do not differ within `training.max_length`."""
    settings, shots = recipe.training, recipe.prompting.shots_in_training
    winners: list[Encoded] = []
    losers: list[tuple[int, ...]] = []
    for pair in pairs:
        prompt, chosen = builder.encoded(problems[pair["problem_id"]], pair["chosen"], shots=shots)
        rejected = tuple(builder.completion_ids(pair["rejected"], ended=pair["rejected_ended"] is not False))
        room = max(0, settings.max_length - len(prompt))
        if chosen[:room] != rejected[:room]:
            winners.append((prompt, chosen))
            losers.append(rejected)
    preference = settings.preference
    return replace(
        row_job(recipe, builder, problems, number, [], base, output),
        rows=tuple(winners),
        rejected=tuple(losers),
        dropped=len(pairs) - len(winners),
        steps=steps_of_round(settings.steps, number, len(winners), settings.batch_size),
        preference={"beta": preference.beta, "nll": preference.nll},
        trained_on="pairs of self-generated rationales",
    )


def verifier_job(
    recipe: Recipe, builder: PromptBuilder, problems: Problems, pairs: Collection[PairRow], base: Path, output: Path
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
