"""The paper's arms on addition with the embedded model: few-shot, direct fine-tuning, STaR without and with rationalization,
and STaR with a soundness filter; three seeds each, by digit length and round; then 6 to 10 digits, never trained on.

    python benchmarks/addition.py [--quick]

Asked: does rationalization accelerate? Does answer-only filtering breed unsound rationales? Does the filter cure it?
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from benchmarks.arms import (
    arm_recipe,
    attempts_of,
    cost,
    finished_run,
    made,
    made_by,
    over_seeds,
    paired,
    pooled_lines,
    quality,
    test_rows,
)
from benchmarks.common import RESULTS, CommonArguments, parse, result_path, write_result
from star import run as runs
from star.command_line import run_command
from star.files import StoredRows
from star.problem import Attempt
from star.recipe import Recipe

Arm = Literal["few-shot", "direct fine-tuning", "STaR without rationalization", "STaR", "STaR, sound", "default recipe"]
ARMS: dict[Arm, str] = {
    "few-shot": "addition-few-shot.yaml",
    "direct fine-tuning": "addition-direct.yaml",
    "STaR without rationalization": "addition-star-no-rationalization.yaml",
    "STaR": "addition-star.yaml",
    "STaR, sound": "addition-star-sound.yaml",
    "default recipe": "addition.yaml",
}
COMPARISONS: list[tuple[Arm, Arm]] = [
    ("STaR without rationalization", "STaR"),
    ("STaR", "STaR, sound"),
    ("direct fine-tuning", "STaR"),
    ("few-shot", "STaR"),
]
LONG_DIGITS = (6, 7, 8, 9, 10)
QUICK: dict[str, Any] = {
    "task": {"digits": [1, 2], "pool": 200, "test_size": 40},
    "loop": {"rounds": 1, "problems": 40},
    "training": {"steps": {"first": 5}},
    "evaluation": {"selection_size": 20},
}


@dataclass(frozen=True)
class Arguments(CommonArguments):
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of each arm."""
    arms: tuple[Arm, ...] = get_args(Arm)
    """Arms to run."""
    long_problems: int = 200
    """Problems of each length from 6 to 10 digits."""


def recipe_of(name: Arm, seed: int, arguments: Arguments) -> Recipe:
    return arm_recipe(ARMS[name], seed, QUICK if arguments.quick else None, device=arguments.device)


def long_sums(recipe: Recipe, run_dir: Path, problems: int, digits: tuple[int, ...]) -> list[Attempt]:
    """Greedy answers of a finished run's chosen model to sums of other lengths; cached in the run's folder."""
    from star.sampling import Decoding
    from star.setup import resolve_model
    from star.shards import Shard
    from star.tasks import load_task

    file = run_dir / "benchmark" / "long.parquet"
    if not file.is_file():
        settings = recipe.task.model_copy(update={"digits": digits, "test_size": problems * len(digits), "pool": 1})
        task, chosen = load_task(settings, recipe.seed), runs.Run(run_dir).chosen_round
        model = runs.Run(run_dir).model(chosen) if chosen else resolve_model(recipe.model)
        decoding = Decoding(temperature=0.0, max_new_tokens=24 * max(digits), stop=task.stop)
        shots = chosen == 0 or recipe.prompting.keep_shots
        shard = Shard(0, task.load().test, decoding, "evaluated", "test", chosen, shots)
        runs.write_parquet(file, attempts_of(recipe, model, shard), runs.ATTEMPTS)
    stored: StoredRows[Attempt] = StoredRows([file], runs.ATTEMPTS)
    return [*stored]


def arm_figures(name: Arm, arguments: Arguments) -> tuple[dict[str, Any], dict[int, list[Attempt]]]:
    """(figures of an arm over its seeds, test rows by seed).

    Intervals of `quality` say what these trained models would do on other problems.
    """
    recipes = {seed: recipe_of(name, seed, arguments) for seed in arguments.seeds}
    run_dirs = {seed: finished_run(recipe) for seed, recipe in recipes.items()}
    rows = {seed: test_rows(run_dir) for seed, run_dir in run_dirs.items()}
    digits = LONG_DIGITS[: 1 if arguments.quick else None]
    longer = [
        row
        for seed, recipe in recipes.items()
        for row in long_sums(recipe, run_dirs[seed], 5 if arguments.quick else arguments.long_problems, digits)
    ]
    explained = not next(iter(recipes.values())).prompting.answer_only
    figures = {
        **over_seeds(rows, explained=explained),
        "longer": quality(longer, explained=explained),
        "cost": cost(list(run_dirs.values())),
        "made": made([made_by(run_dir) for run_dir in run_dirs.values()]),
    }
    return figures, rows


def chart(arguments: Arguments) -> None:
    """Accuracy by round and digit length, a panel per arm that trains, beside the result file."""
    from analysis import charts

    panels: dict[str, Any] = {}
    for name in arguments.arms:
        lines = pooled_lines([recipe_of(name, seed, arguments).run_dir for seed in arguments.seeds])
        if len(lines) > 1:
            panels[name] = charts.rounds_frame(lines)
    if "default recipe" in arguments.arms and not arguments.quick and arguments.device == "cpu":  # the figures of README.md
        source = recipe_of("default recipe", arguments.seeds[0], arguments).run_dir / "charts"
        for shown in ("accuracy", "soundness"):
            shutil.copy(source / f"{shown}.png", RESULTS / f"addition_default_{shown}.png")
    if panels:
        path = result_path("addition", quick=arguments.quick, device=arguments.device)
        charts.save(charts.arms_by_round(panels), path.with_suffix(".png"))


def main() -> None:
    arguments = parse(Arguments, __doc__, gpu=True)
    if arguments.quick:
        arguments = Arguments(quick=True, device=arguments.device, seeds=(0,), arms=("direct fine-tuning", "STaR"))
    arms, rows = {}, {}
    for name in arguments.arms:
        arms[name], rows[name] = arm_figures(name, arguments)
    comparisons = {f"{b} minus {a}": paired(rows[a], rows[b]) for a, b in COMPARISONS if a in rows and b in rows}
    figures = {"arms": arms, "comparisons": comparisons}
    write_result("addition", figures, quick=arguments.quick, seeds=arguments.seeds, device=arguments.device)
    chart(arguments)


if __name__ == "__main__":
    sys.exit(run_command(main))
