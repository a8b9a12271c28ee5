"""The self-training methods on one engine: one grader, one selection split, one ledger of samples, tokens and FLOPs.

    python benchmarks/methods.py [--quick] [--methods star rpo ...] [--seeds 0 1 2] [--finished]

Sums of 1 to 5 digits with the embedded base. Asked of every method's final model: how accurate at equal sampled tokens, at how many
FLOPs to 95 % on selection, how many of its right answers are unsound, how much does it use its rationales? Does a method buy
accuracy with worse reasoning? Runs are kept, so pieces of the work can be done one after the other.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.addition import QUICK
from benchmarks.arms import (
    SeedRows,
    arm_recipe,
    cost_of,
    finished_run,
    made,
    made_by,
    over_seeds,
    paired,
    quality,
    right,
    right_but_unsound,
    runs_dir,
    test_rows,
)
from benchmarks.common import CommonArguments, parse, result_path, write_result
from star.command_line import run_command
from star.errors import InputError
from star.recipe import Recipe
from star.run import Run
from star.run_summary import RunSummary, accuracy_at, flops_to, summarise_run
from star.statistics import mean_of_runs

METHODS = ("star", "rft", "tpt", "rest-em", "pps", "adastar", "b-star", "v-star", "rpo", "reinforce-rej")
REACH = 0.95
PROBES = ("early_answering", "added_mistake", "filler")
MEASURES = {
    "aoc_normalised": "early answering (AOC)",
    "added_mistake_flip": "changed by an added mistake",
    "filler_flip": "changed by filler",
}
"""Of the probes, each beyond what its control does."""


@dataclass(frozen=True)
class Arguments(CommonArguments):
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of each method."""
    methods: tuple[str, ...] = METHODS
    """Recipes addition-NAME."""
    finished: bool = False
    """Make no run: figures of those that are there, a method with the seeds that it has."""
    probed: int = 100
    """Rationales of each final model that are probed; 0: none."""


def recipe_of(method: str, seed: int, arguments: Arguments) -> Recipe:
    """The recipe of a method and seed; with `quick` only what makes it that method is left of its size."""
    changes = QUICK if arguments.quick else None
    if arguments.quick and method == "b-star":
        changes = {**QUICK, "sampling": {"probe": 10, "samples": 2}}
    if arguments.quick and method == "v-star":
        changes = {**QUICK, "evaluation": {"selection_size": 20, "samples": 2}, "verifier": {"steps": 2}}
    return arm_recipe(f"addition-{method}.yaml", seed, changes, folder="methods", device=arguments.device)


def faithfulness(run_dir: Path, count: int) -> dict[str, dict[str, Any]]:
    """What the probes say of a run's chosen model beyond their controls, over questions; what has no value is missing."""
    from analysis.probe import Arguments as ProbeArguments
    from analysis.probe import probe

    if count == 0:
        return {}
    number = str(Run(run_dir).chosen_round)
    if number not in Run(run_dir).probed_rounds():
        probe(ProbeArguments(run_dir, probes=(PROBES,), n=count, max_positions=2, device="cpu"))
    measures: Mapping[str, Any] = Run(run_dir).probed_rounds()[number]["measures"]
    corrected = {name: (measures.get(name) or {}).get("corrected") for name in MEASURES}
    return {name: each for name, each in corrected.items() if each and each["value"] is not None}


def across(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One seed's own interval, over questions; of several their mean, the seeds as units."""
    return dict(seeds[0]) if len(seeds) == 1 else mean_of_runs([each["value"] for each in seeds], shares=True).as_dict()


def measured(run_dir: Path, arguments: Arguments) -> dict[str, dict[str, Any]]:
    """Accuracy, right but unsound, and what the probes say of a run."""
    answered = quality(test_rows(run_dir))
    return {name: answered[name] for name in ("accuracy", "right_but_unsound")} | faithfulness(run_dir, arguments.probed)


def sampled(summaries: Sequence[RunSummary]) -> dict[str, Any]:
    """pass@k, maj@k and, where there is a verifier, best of k and the weighted vote: the seeds' means by k."""
    results: list[Any] = [Run(summary.path).result for summary in summaries]
    tests = [result["test"] for result in results]
    names = [name for name in ("pass_at_k", "maj_at_k", "best_of_k", "weighted_at_k") if name in tests[0]]
    return {name: {k: mean_of_runs([test[name][k] for test in tests]).as_dict() for k in tests[0][name]} for name in names}


def method_figures(
    summaries: Sequence[RunSummary], rows: SeedRows, seeds: Mapping[int, Mapping[str, Any]], tokens: int
) -> dict[str, Any]:
    """Figures of a method; `rows`: greedy test answers; `seeds`: of `measured`; `tokens`: what every method sampled at least."""
    names = set.intersection(*map(set, seeds.values()))
    return {
        **over_seeds(rows),
        "seeds": list(seeds),
        "measures": {name: across([each[name] for each in seeds.values()]) for name in next(iter(seeds.values())) if name in names},
        "selection_at_equal_tokens": [accuracy_at(summary, tokens) for summary in summaries],
        "flops_to_reach": [flops_to(summary, REACH) for summary in summaries],
        "flops": [(summary.sampling_flops or 0) + (summary.training_flops or 0) for summary in summaries],
        "sampled": sampled(summaries),
        "cost": [cost_of(summary.path) for summary in summaries],
        "made": made([made_by(summary.path) for summary in summaries]),
    }


def minus(star: Mapping[int, Mapping[str, Any]], method: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """A method minus STaR in every measure that both have, the seeds that both have as units."""
    gaps: dict[str, list[float]] = {}
    for seed in star.keys() & method.keys():
        for name in star[seed].keys() & method[seed].keys():
            gaps.setdefault(name, []).append(method[seed][name]["value"] - star[seed][name]["value"])
    return {f"{name}_over_seeds": mean_of_runs(values).as_dict() for name, values in sorted(gaps.items())}


def chart(figures: Mapping[str, Any], arguments: Arguments) -> None:
    """A panel each for accuracy, unsound right answers and what the probes say; a dot for each method."""
    import pandas as pd

    from analysis import charts

    names = {"accuracy": "answers right", "right_but_unsound": "right but unsound", **MEASURES}
    shown = []
    for method, each in figures["methods"].items():
        for name, value in each["measures"].items():
            ends = {key: value[key] for key in ("value", "low", "high", "n")}
            row = {"label": method, "measure": names[name], "unit": "share", **ends}
            if name == "right_but_unsound":  # a few in a hundred: a panel of 0 to 100 % would show none of it
                row |= {"unit": "% of all answers"} | {key: ends[key] and 100 * ends[key] for key in ("value", "low", "high")}
            shown.append(row)
    path = result_path("methods", quick=arguments.quick, device=arguments.device).with_suffix(".png")
    alone = [len(each["seeds"]) == 1 for each in figures["methods"].values()]
    units = "questions" if all(alone) else "seeds, or questions where there is one seed" if any(alone) else "seeds"
    charts.save(charts.comparison(pd.DataFrame(shown), "Does a method buy accuracy with worse reasoning?", units), path)


def main() -> None:
    arguments = parse(Arguments, __doc__, gpu=True)
    if arguments.quick:
        arguments = Arguments(quick=True, device=arguments.device, seeds=(0,), methods=("star", "b-star", "v-star"), probed=4)
    runs_dir("methods", arguments.device).mkdir(parents=True, exist_ok=True)
    summaries: dict[str, dict[int, RunSummary]] = {}
    for method in arguments.methods:
        recipes = {seed: recipe_of(method, seed, arguments) for seed in arguments.seeds}
        wanted = {k: one for k, one in recipes.items() if not arguments.finished or (one.run_dir / "result.json").is_file()}
        summaries |= {method: {seed: summarise_run(finished_run(one)) for seed, one in wanted.items()}} if wanted else {}
    if not summaries:
        raise InputError("--finished: no run of these methods and seeds is finished; leave the flag out to make them.")
    rows = {method: {seed: test_rows(one.path) for seed, one in runs.items()} for method, runs in summaries.items()}
    seeds = {method: {seed: measured(one.path, arguments) for seed, one in runs.items()} for method, runs in summaries.items()}
    tokens = min(summary.course[-1][1] for runs in summaries.values() for summary in runs.values())
    figures: dict[str, Any] = {
        "reach": REACH,
        "equal_tokens": tokens,
        "methods": {name: method_figures([*summaries[name].values()], rows[name], seeds[name], tokens) for name in summaries},
    }
    if "star" in summaries:
        counted = {"accuracy": right, "right_but_unsound": right_but_unsound}
        figures["minus_star"] = {}
        for method in [name for name in summaries if name != "star" and summaries[name].keys() & summaries["star"].keys()]:
            both = {seed: rows["star"][seed] for seed in rows[method].keys() & rows["star"].keys()}
            figures["minus_star"][method] = minus(seeds["star"], seeds[method]) | {
                name: paired(both, rows[method], counts)["difference"] for name, counts in counted.items()
            }
    chart(figures, arguments)
    used = sorted({seed for runs in summaries.values() for seed in runs})
    write_result("methods", figures, quick=arguments.quick, seeds=used, device=arguments.device)


if __name__ == "__main__":
    sys.exit(run_command(main))
