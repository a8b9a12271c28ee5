"""Runs of the engine for the benchmarks: one recipe and seed to a finished run directory, and its rows read back.

Runs are made by `train` of star/train.py under benchmarks/cache/runs: an interrupted benchmark goes on where it stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import cache_of
from star.recipe import SEEDS, Recipe, load_recipe
from star.run import TEST, Run, RunError
from star.statistics import share


def runs_dir(folder: str, device: str) -> Path:
    """Where a benchmark's runs are kept."""
    return cache_of(device) / "runs" / folder


def arm_recipe(
    file: str, seed: int, changes: Mapping[str, Any] | None = None, *, folder: str = "addition", device: str = "cpu"
) -> Recipe:
    """A shipped recipe with a seed and section-wise changes, stored below the benchmark cache."""
    content = load_recipe(SEEDS / "recipes" / file).model_dump(mode="json")
    for section, values in (changes or {}).items():
        content[section] = {**content[section], **values} if isinstance(values, Mapping) else values
    where = str(runs_dir(folder, device))
    return Recipe.model_validate({**content, "seed": seed, "runs_dir": where, "keep_models": "last_and_best"})


def finished_run(recipe: Recipe) -> Path:
    """The run directory of `recipe`, run to its end if it is not there yet."""
    from star.train import train

    if not (recipe.run_dir / "result.json").is_file():
        train(recipe, ["benchmarks"])
    return recipe.run_dir


def made_by(run_dir: Path) -> tuple[str, str]:
    """(day, short commit) that began a run, as the run itself noted them."""
    about = Run(run_dir).manifest
    return about["started"][:10], str(about.get("commit") or "unknown")[:12]


def made(begun: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Days and commits that made the runs, and how many each: a benchmark goes on with the runs that it finds."""
    return [{"date": date, "commit": commit, "runs": count} for (date, commit), count in sorted(Counter(begun).items())]


def test_rows(run_dir: Path) -> list[dict[str, Any]]:
    """Greedy test answers of the chosen round."""
    rows = Run(run_dir).evaluation(TEST, ["problem_id", "slice", "sample", "verdict", "sound"])
    return [row for row in rows if row["sample"] == 0]


def quality(rows: Sequence[Mapping[str, Any]], *, explained: bool = True) -> dict[str, Any]:
    """Accuracy, and soundness of the right answers, with 95 % intervals; seeds may share a problem, problems are the units.

    `explained=False`: answers without rationales, which can be neither sound nor unsound.
    """
    right = [row for row in rows if row["verdict"] == "correct"]
    checked = explained and any(row["sound"] is not None for row in right)
    by_slice: dict[str, list[float]] = {}
    for row in rows:
        by_slice.setdefault(row["slice"], []).append(float(row["verdict"] == "correct"))
    return {
        "accuracy": _share(rows, [row["verdict"] == "correct" for row in rows]),
        "sound_of_right": _share(right, [bool(row["sound"]) for row in right]) if checked else None,
        "right_but_unsound": _share(rows, [row["verdict"] == "correct" and not row["sound"] for row in rows])
        if checked
        else None,
        "by_slice": {name: sum(values) / len(values) for name, values in sorted(by_slice.items())},
    }


def _share(rows: Sequence[Mapping[str, Any]], outcomes: Sequence[bool]) -> dict[str, Any] | None:
    return share(outcomes, [row["problem_id"] for row in rows]).as_dict() if rows else None


def pooled_lines(run_dirs: Sequence[Path]) -> list[dict[str, Any]]:
    """Selection counts by round, seeds pooled, as lines that `star.charts.rounds_frame` reads; rounds that all seeds reached."""
    by_round: dict[int, list[Mapping[str, Any]]] = {}
    for run_dir in run_dirs:
        for line in Run(run_dir).rounds:
            by_round.setdefault(line["round"], []).append(line["selection"])
    return [
        {"round": number, "selection": _pooled(seeds)}
        for number, seeds in sorted(by_round.items())
        if len(seeds) == len(run_dirs)
    ]


def _pooled(selections: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    slices: dict[str, dict[str, int]] = {}
    for selection in selections:
        for name, part in selection["slices"].items():
            total = slices.setdefault(name, {"n": 0, "correct": 0, "sound": 0})
            for key in total:
                total[key] += part[key]
    correct = sum(selection["correct"] for selection in selections)
    checked = any(selection["sound_of_correct"] is not None for selection in selections)
    sound = sum(part["sound"] for part in slices.values())
    return {
        "n": sum(selection["n"] for selection in selections),
        "correct": correct,
        "sound_of_correct": sound / correct if checked and correct else None,
        "slices": slices,
    }


def cost(run_dirs: Sequence[Path]) -> dict[str, float]:
    """Mean samples, tokens, seconds and rounds of the runs."""
    return mean([cost_of(run_dir) for run_dir in run_dirs])


def cost_of(run_dir: Path) -> dict[str, float]:
    """Samples, tokens, seconds and rounds of one run."""
    lines: Sequence[Mapping[str, Any]] = Run(run_dir).rounds
    result: Mapping[str, Any] | None = Run(run_dir).result
    if result is None:
        raise RunError(f"{run_dir} is not finished; run its command again to go on")
    return {
        "rounds": result["rounds"],
        "samples": sum(line["samples"] for line in lines),
        "sampled_tokens": sum(line["sampled_tokens"] for line in lines),
        "trained_tokens": sum((line.get("training") or {}).get("tokens", 0) for line in lines),
        "seconds": result["seconds_total"],
    }


def mean(costs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each entry."""
    return {key: sum(each[key] for each in costs) / len(costs) for key in costs[0]}
