"""Model sizes: the embedded ladder x {few-shot, STaR, STaR sound} x seeds on addition. Solutions that real models of two sizes
wrote are in `recorded_sizes.py`.

    python benchmarks/model_sizes.py [--quick] [--ladder cpu|gpu] [--sizes 0.03m 0.1m ...] [--seeds 0 1 2] [--collect]

Every size is pretrained on the same number of tokens of the same corpus. Asked: below which size does nothing bootstrap
(the paper's GPT-2 remark)? Do larger models use their rationales less (Lanham et al. 2023) or more? Base models, runs
and probes are cached under benchmarks/cache, so an interrupted call goes on; what is kept of finished runs lies in
benchmarks/results/model_sizes and is not made again (see `outcomes.py`). So calls for some sizes or seeds can run on several
days or beside each other (with OMP_NUM_THREADS=1) before one call with --collect reads them all.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from benchmarks.arms import arm_recipe, finished_run, made, mean, quality
from benchmarks.common import CommonArguments, cache_of, parse, result_path, write_result
from benchmarks.outcomes import Outcome, keep, kept
from star.command_line import run_command
from star.embedded.model import Size
from star.errors import InputError, UsageError
from star.pretrain import Arguments as PretrainArguments
from star.recipe import SEEDS
from star.statistics import mean_of_runs

ARMS = {
    "few-shot": "addition-few-shot.yaml",
    "STaR": "addition-star.yaml",
    "STaR, sound": "addition-star-sound.yaml",
}
LADDERS: dict[str, tuple[Size, ...]] = {
    "cpu": ("0.03m", "0.1m", "0.2m", "0.5m", "1m", "4m"),
    "gpu": ("0.2m", "1m", "4m", "16m", "100m"),
}
Ladder = dict[tuple[Size, str], list[Outcome]]
"""Finished runs of each size and arm, by seed."""
PROBES = ("early_answering", "forced_mistake", "filler")
LEAST_RIGHT = 20
MEASURES = {
    "aoc_normalised": "early answering (AOC, normalised)",
    "forced_mistake_flip": "answer changed by an added mistake",
    "filler_gap": "filler gap (nats)",
    "reliance": "reliance",
}


@dataclass(frozen=True)
class Arguments(CommonArguments):
    """Arguments of this benchmark."""

    ladder: Literal["cpu", "gpu"] = "cpu"
    """Sizes: cpu up to 4M parameters, gpu up to 100M."""
    sizes: tuple[Size, ...] = ()
    """Only these sizes."""
    tokens: float = 4e6
    """Pretraining tokens of every size."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds, of every size."""
    rounds: int = 3
    """STaR rounds."""
    probed: int = 200
    """Rationales probed per run."""
    collect: bool = False
    """Run nothing: the result of the runs that are kept."""


def base_model(size: Size, seed: int, arguments: Arguments) -> Path:
    """The pretrained base of a size, from the cache or made now. One base per size and seed: pretraining varies too."""
    from star import pretrain

    out = cache_of(arguments.device) / "ladder" / f"addition-{size}-{arguments.tokens:.0f}-seed{seed}"
    if not (out / "README.md").is_file():
        options = PretrainArguments(size=size, out=out, tokens=arguments.tokens, seed=seed, device=arguments.device, overwrite=True)
        pretrain.run(options)
    return out


def run_arm(size: Size, arm: str, seed: int, arguments: Arguments) -> Path:
    """A finished and probed run directory."""
    from analysis import probe

    changes: dict[str, Any] = {"model": {"path": str(base_model(size, seed, arguments))}, "loop": {"rounds": arguments.rounds}}
    if arguments.quick:
        changes["task"] = {"digits": [1, 2], "pool": 200, "test_size": 30}
        changes["loop"] = {"rounds": 1, "problems": 30}
        changes["training"] = {"steps": {"first": 3}}
        changes["evaluation"] = {"selection_size": 16}
    run_dir = finished_run(arm_recipe(ARMS[arm], seed, changes, folder="sizes", device=arguments.device))
    if not (run_dir / "analysis" / "probes.json").is_file():
        n = 8 if arguments.quick else arguments.probed
        probe.probe(probe.Arguments(source=run_dir, probes=PROBES, n=n, device=arguments.device))
    return run_dir


def outcome(size: Size, arm: str, seed: int, arguments: Arguments) -> Outcome | None:
    """A finished run, as kept or made now; None where it is not there and nothing is to be run."""
    recipe = hashlib.sha256((SEEDS / "recipes" / ARMS[arm]).read_bytes()).hexdigest()[:12]
    settings = {"size": size, "arm": arm, "seed": seed, "recipe": recipe}
    settings |= {"tokens": arguments.tokens, "rounds": arguments.rounds, "probed": arguments.probed}
    store = result_path("model_sizes", quick=arguments.quick, device=arguments.device).with_suffix("")
    folder = store / f"{size}-{Path(ARMS[arm]).stem.removeprefix('addition-')}-seed{seed}"
    found = None if arguments.quick else kept(folder, settings)
    if found is None and not arguments.collect:
        keep(folder, run_arm(size, arm, seed, arguments), settings, quick=arguments.quick, device=arguments.device)
        found = kept(folder, settings)
    return found


def figures_of(ladder: Ladder) -> list[dict[str, Any]]:
    """One entry per size and arm: quality, faithfulness of all and of right answers, cost; all over the seeds."""
    return [
        {
            "size": size,
            "parameters": outcomes[0].parameters,
            "arm": arm,
            "seeds": len(outcomes),
            "accuracy_over_seeds": mean_of_runs([accuracy(each)["value"] for each in outcomes], shares=True).as_dict(),
            **quality([row for each in outcomes for row in each.test]),
            **faithfulness(tuple(outcomes)),
            "cost": mean([each.cost for each in outcomes]) if arm != "few-shot" else None,
        }
        for (size, arm), outcomes in ladder.items()
    ]


@cache
def faithfulness(outcomes: tuple[Outcome, ...]) -> dict[str, Any]:
    """Measures of the probed rationales of all seeds, and of those with a right answer; questions are the units."""
    from analysis.faithfulness.measures import all_measures

    rows = [
        row | {"attempt_id": f"{place}-{row['attempt_id']}"} for place, each in enumerate(outcomes) for row in each.probes
    ]
    found = {
        "faithfulness": all_measures(rows),
        "faithfulness_right": all_measures([row for row in rows if row["right"]]),
    }
    return {part: {name: each[name] for name in MEASURES if name in each} for part, each in found.items()}


def trends(ladder: Ladder) -> list[dict[str, Any]]:
    """Change of each measure with ten times the parameters, for each arm: slope over the runs, Student's 95 % interval.

    Runs are the units: questions resampled within a run say nothing about another model of the same size. `of` says which
    rationales; runs with fewer than LEAST_RIGHT probed right answers do not count for those of right answers.
    `holm_p` is corrected for all of these trends.
    """
    import numpy as np

    from star.statistics import holm, slope, slope_p

    found: list[dict[str, Any]] = []
    tests: list[float] = []
    for arm in ARMS:
        outcomes = [each for (_, name), listed in ladder.items() if name == arm for each in listed]
        for part, of in (("faithfulness", "all"), ("faithfulness_right", "right answers")):
            for name in MEASURES:
                measured = [(each.parameters, faithfulness((each,))[part].get(name)) for each in outcomes]
                points = [
                    (np.log10(parameters), value["value"])
                    for parameters, value in measured
                    if value and value["value"] is not None and (of == "all" or value["n"] >= LEAST_RIGHT)
                ]
                if len({x for x, _ in points}) > 2:
                    fit = slope(*zip(*points, strict=True))
                    tests.append(slope_p(fit))
                    row = {"arm": arm, "measure": MEASURES[name], "of": of, "per_tenfold_parameters": fit.as_dict()}
                    found.append(row | {"p": tests[-1]})
    return [row | {"holm_p": p} for row, p in zip(found, holm(tests), strict=True)]


def bootstraps(ladder: Ladder) -> dict[str, Any]:
    """For each size and arm, in how many seeds STaR ends above few-shot, interval clear of interval; the smallest such size.

    Seed by seed: one that takes off among three that do not would vanish in a mean, or carry it.
    """
    counted = []
    for (size, arm), after in ladder.items():
        if arm != "few-shot":
            pairs = [(accuracy(x), accuracy(y)) for x, y in zip(ladder[size, "few-shot"], after, strict=True)]
            counted.append(
                {
                    "size": size,
                    "parameters": after[0].parameters,
                    "arm": arm,
                    "seeds": [each.seed for each in after],
                    "bootstrapped": sum(y["low"] > x["high"] for x, y in pairs),
                    "few_shot_by_seed": [x["value"] for x, _ in pairs],
                    "by_seed": [y["value"] for _, y in pairs],
                }
            )
    return {"by_size": counted, "smallest": next((row["size"] for row in counted if row["bootstrapped"]), None)}


def accuracy(of: Outcome) -> dict[str, Any]:
    """Share of right test answers of one run, with its 95 % interval."""
    found: dict[str, Any] = quality(of.test)["accuracy"]
    return found


def chart(ladder: Ladder, entries: list[dict[str, Any]], arguments: Arguments) -> None:
    """Accuracy (a dot per seed), soundness and faithfulness (seeds pooled) against parameters."""
    import pandas as pd

    from analysis import charts

    shown = [
        (outcome.parameters, arm, "accuracy (a dot per seed)", accuracy(outcome))
        for (_, arm), outcomes in ladder.items()
        for outcome in outcomes
    ]
    for entry in entries:
        pooled = {"sound, of right answers": entry["sound_of_right"], "right but unsound": entry["right_but_unsound"]}
        pooled |= {MEASURES[name]: value for name, value in entry["faithfulness"].items()}
        shown += [(entry["parameters"], entry["arm"], measure, value) for measure, value in pooled.items() if value]
    lines = [
        {"parameters": parameters, "arm": arm, "measure": measure}
        | {"unit": "nats" if measure == MEASURES["filler_gap"] else "share"}
        | {key: value[key] for key in ("value", "low", "high", "n")}
        for parameters, arm, measure, value in shown
    ]
    path = result_path("model_sizes", quick=arguments.quick, device=arguments.device).with_suffix(".png")
    charts.save(charts.against_size(pd.DataFrame(lines), "Does size change how models reason?"), path)


def main() -> None:
    """Make what is missing, small sizes first; write the result after every base model, so that what is finished counts."""
    arguments = parse(Arguments, __doc__, gpu=True)
    if arguments.quick and arguments.collect:
        raise UsageError("--collect reads kept runs, and --quick keeps none; leave one of them out.")
    if arguments.quick:
        arguments = Arguments(quick=True, device=arguments.device, sizes=("0.03m", "0.1m"), tokens=6e4, seeds=(0,), rounds=1)
    ladder: Ladder = {}
    for size in arguments.sizes or LADDERS[arguments.ladder]:
        for seed in arguments.seeds:
            found = {arm: outcome(size, arm, seed, arguments) for arm in ARMS}
            arms = {arm: each for arm, each in found.items() if each is not None}
            if len(arms) < len(ARMS):  # arms are compared seed by seed
                continue
            for arm, each in arms.items():
                ladder.setdefault((size, arm), []).append(each)
            if not arguments.collect:
                write(ladder, arguments)
    if arguments.collect:
        if not ladder:
            raise InputError("--collect: no finished run of these sizes and seeds is kept; call without it to make them.")
        write(ladder, arguments)


def write(ladder: Ladder, arguments: Arguments) -> None:
    """Result and chart of the runs so far."""
    entries = figures_of(ladder)
    figures = {
        "pretraining_tokens": arguments.tokens,
        "made": made([each.made_by for outcomes in ladder.values() for each in outcomes]),
        "ladder": entries,
        "bootstraps": bootstraps(ladder),
        "trends": trends(ladder),
    }
    write_result("model_sizes", figures, quick=arguments.quick, seeds=arguments.seeds, device=arguments.device)
    chart(ladder, entries, arguments)


if __name__ == "__main__":
    sys.exit(run_command(main))
