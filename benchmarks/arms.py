"""Runs of the engine for the benchmarks: one recipe and seed to a finished run directory, and its rows read back.

Runs are made by `train` of star/train.py under benchmarks/cache/runs: an interrupted benchmark goes on where it stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import cache_of
from star.problem import Attempt
from star.recipe import SEEDS, Recipe, load_recipe
from star.run import TEST, Run, RunError
from star.statistics import mcnemar, mean_of_runs, paired_difference, share

if TYPE_CHECKING:
    from star.shards import Shard


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


def attempts_of(recipe: Recipe, model: Path, shard: Shard) -> list[Attempt]:
    """What a model writes to the problems of a shard, asked as the recipe asks."""
    from star.attempts import sample_attempts
    from star.prompting import PromptBuilder
    from star.sampling import open_sampler
    from star.sampling.model_files import load_tokenizer
    from star.tasks import load_task

    builder = PromptBuilder(load_task(recipe.task, recipe.seed), load_tokenizer(model), recipe.prompting)
    with closing(open_sampler(recipe.sampling, model, dtype=recipe.model.dtype)) as sampler:
        return sample_attempts(sampler, builder, shard, progress=shard.label)


def made_by(run_dir: Path) -> tuple[str, str]:
    """(day, short commit) that began a run, as the run itself noted them."""
    about = Run(run_dir).manifest
    return about["started"][:10], str(about.get("commit") or "unknown")[:12]


def made(begun: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Days and commits that made the runs, and how many each: a benchmark goes on with the runs that it finds."""
    return [{"date": date, "commit": commit, "runs": count} for (date, commit), count in sorted(Counter(begun).items())]


def test_rows(run_dir: Path) -> list[Attempt]:
    """Greedy test answers of the chosen round."""
    rows = Run(run_dir).evaluation(TEST, ["problem_id", "slice", "sample", "verdict", "sound"])
    return [row for row in rows if row["sample"] == 0]


def quality(rows: Sequence[Mapping[str, Any]], *, explained: bool = True) -> dict[str, Any]:
    """Accuracy, and soundness of the right answers, with 95 % intervals; seeds may share a problem, problems are the units.

    `explained=False`: answers without rationales, which can be neither sound nor unsound.
    """
    correct = [row for row in rows if right(row)]
    checked = explained and any(row["sound"] is not None for row in correct)
    by_slice: dict[str, list[float]] = {}
    for row in rows:
        by_slice.setdefault(row["slice"], []).append(float(right(row)))
    return {
        "accuracy": _share(rows, [right(row) for row in rows]),
        "sound_of_right": _share(correct, [bool(row["sound"]) for row in correct]) if checked else None,
        "right_but_unsound": _share(rows, [right_but_unsound(row) for row in rows]) if checked else None,
        "by_slice": {name: sum(values) / len(values) for name, values in sorted(by_slice.items())},
    }


def over_seeds(rows: SeedRows, *, explained: bool = True) -> dict[str, Any]:
    """`quality` of all seeds' rows, accuracy seed by seed, and `over_seeds`: what other seeds would give."""
    by_seed = [sum(map(right, each)) / len(each) for each in rows.values()]
    pooled = quality([row for each in rows.values() for row in each], explained=explained)
    return {**pooled, "by_seed": by_seed, "over_seeds": mean_of_runs(by_seed, shares=True).as_dict()}


def _share(rows: Sequence[Mapping[str, Any]], outcomes: Sequence[bool]) -> dict[str, Any] | None:
    return share(outcomes, [row["problem_id"] for row in rows]).as_dict() if rows else None


SeedRows = Mapping[int, Sequence[Mapping[str, Any]]]
"""Test rows of each seed."""


def right(row: Mapping[str, Any]) -> bool:
    return bool(row["verdict"] == "correct")


def right_but_unsound(row: Mapping[str, Any]) -> bool:
    """A right answer by a rationale with a wrong line."""
    return right(row) and not row["sound"]


def paired(first: SeedRows, second: SeedRows, counted: Callable[[Mapping[str, Any]], bool] = right) -> dict[str, Any]:
    """Second minus first on the same problems of the same seeds, of the share that is `counted`.

    `difference`: paired bootstrap over problems, these trained models given; `over_seeds`: the seeds' differences as units,
    which is what another training would give; McNemar's exact test for each seed.
    """
    pairs = []
    for seed, rows in first.items():
        theirs = {row["problem_id"]: counted(row) for row in second[seed]}
        pairs.append([(counted(row), theirs[row["problem_id"]], row["problem_id"]) for row in rows])
    a, b, problems = (list(column) for column in zip(*(pair for each in pairs for pair in each), strict=True))
    by_seed = [sum(y - x for x, y, _ in each) / len(each) for each in pairs]
    return {
        "difference": paired_difference(a, b, problems).as_dict(),
        "by_seed": by_seed,
        "over_seeds": mean_of_runs(by_seed).as_dict(),
        "mcnemar_p_by_seed": [mcnemar([x for x, _, _ in each], [y for _, y, _ in each]).p for each in pairs],
    }


def pooled_lines(run_dirs: Sequence[Path]) -> list[dict[str, Any]]:
    """Selection counts by round, seeds pooled, as lines that `star.charts.rounds_frame` reads; rounds that all seeds reached."""
    keys = ("n", "correct", "sound")
    pooled = []
    for lines in zip(*(Run(run_dir).rounds for run_dir in run_dirs), strict=False):
        selections = [line["selection"] for line in lines]
        names = sorted({name for each in selections for name in each["slices"]})  # a small selection may lack some
        of_slice = {name: [each["slices"][name] for each in selections if name in each["slices"]] for name in names}
        slices = {name: {key: sum(part[key] for part in parts) for key in keys} for name, parts in of_slice.items()}
        whole = {key: sum(part[key] for part in slices.values()) for key in keys}
        checked = any(each["sound_of_correct"] is not None for each in selections)
        share = whole["sound"] / whole["correct"] if checked and whole["correct"] else None
        pooled.append({"round": lines[0]["round"], "selection": {**whole, "sound_of_correct": share, "slices": slices}})
    return pooled


def cost(run_dirs: Sequence[Path]) -> dict[str, float]:
    """Mean samples, tokens, seconds and rounds of the runs."""
    costs = [cost_of(run_dir) for run_dir in run_dirs]
    return {key: sum(each[key] for each in costs) / len(costs) for key in costs[0]}


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
