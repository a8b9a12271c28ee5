"""The whole loop with a scripted sampler and without training: for tests of what is kept, trained on and chosen, and of kills."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from star import loop as star_loop
from star import run as runs
from star.pool import Here
from star.prompting import PromptBuilder
from star.recipe import Recipe
from star.setup import Setup, prepare
from star.training.plan import FinetuningError
from tests.scripted import ScriptedSampler

FAST: dict[str, Any] = {
    "name": "scripted",
    "task": {"name": "addition", "digits": [1, 2, 3], "pool": 300, "test_size": 40},
    "prompting": {"shots": 0},
    "loop": {"rounds": 3, "problems": 60},
    "evaluation": {"selection_size": 30},
}


def make_recipe(base_model: Path, folder: Path, **sections: Any) -> Recipe:
    content = {**FAST, "runs_dir": str(folder), "model": {"path": str(base_model)}}
    for name, values in sections.items():
        content[name] = {**content.get(name, {}), **values} if isinstance(values, dict) else values
    return Recipe.model_validate(content)


def scripted_finetune(job: Any) -> dict[str, Any]:
    """Stands in for training: a model directory whose content depends on the job alone."""
    if not job.rows:
        raise FinetuningError("no rows")
    output = Path(job.output)
    for folder in (output, job.scratch):
        shutil.rmtree(folder, ignore_errors=True)
    output.mkdir(parents=True)
    (output / "weights.txt").write_text(f"{job.base} {job.steps} {job.seed} {job.rows}")
    return {"steps": job.steps, "rows": job.rows, "tokens": 10, "loss": 0.5, "truncated_rows": 0, "ended": 4}


def run(recipe: Recipe, skill: float = 0.5, before: str = "") -> tuple[Setup, ScriptedSampler, dict[str, Any]]:
    setup = prepare(recipe, ["test"])
    sampler = ScriptedSampler(setup.tokenizer, setup.base_dir, skill=skill, before=before)
    pool = Here(sampler, PromptBuilder(setup.task, setup.tokenizer, recipe.prompting))
    result = star_loop.Loop(recipe, setup, pool, lambda line: None).run()
    return setup, sampler, result


def attempts_of(setup: Setup, number: int) -> list[dict[str, Any]]:
    return runs.read_rows(setup.run_dir / f"round_{number:02d}" / "attempts.parquet")


class Killed(BaseException):
    """Stands in for kill -9: nothing may catch it."""


def contents(setup: Setup) -> dict[str, Any]:
    """All that a run computed, without its clock."""
    found: dict[str, Any] = {
        str(path.relative_to(setup.run_dir)): runs.read_rows(path) for path in setup.run_dir.rglob("*.parquet")
    }
    found["metrics"] = [without_seconds(line) for line in runs.Run(setup.run_dir).rounds]
    found["result"] = without_seconds(runs.read_json(setup.run_dir / "result.json"))
    return found


def without_seconds(line: Any) -> Any:
    if not isinstance(line, dict):
        return line
    return {key: without_seconds(value) for key, value in line.items() if key not in ("seconds", "seconds_total")}
