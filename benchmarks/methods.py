"""The self-training methods on one engine: one grader, one selection split, one ledger of samples, tokens and FLOPs.

    python benchmarks/methods.py [--quick] [--methods star rpo ...] [--seeds 0 1 2]

Sums of 1 to 5 digits with the embedded base. Asked of every method's final model: how accurate at equal sampled tokens, at how many
FLOPs to 95 % on selection, how many of its right answers are unsound, how much does it use its rationales? Does a method buy
accuracy with worse reasoning? Runs are kept, so pieces of the work can be done one after the other.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
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
    right,
    right_but_unsound,
    runs_dir,
    test_rows,
)
from benchmarks.common import CommonArguments, parse, result_path, write_result
from star.command_line import run_command
from star.recipe import Recipe
from star.run import Run
from star.run_summary import RunSummary, accuracy_at, flops_to, summarise_run

METHODS = ("star", "rft", "tpt", "rest-em", "pps", "adastar", "b-star", "v-star", "rpo", "reinforce-rej")
REACH = 0.95
PROBES = ("early_answering", "added_mistake", "filler")
MEASURES = {
    "aoc_normalised": "early answering (AOC)",
    "added_mistake_flip": "changed by an added mistake",
    "filler_flip": "changed by filler",
}


@dataclass(frozen=True)
class Arguments(CommonArguments):
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of each method."""
    methods: tuple[str, ...] = METHODS
    """Recipes addition-NAME."""
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
    """What the probes say of a run's chosen model, with intervals over questions; a measure that has no value is missing."""
    from analysis.probe import Arguments as ProbeArguments
    from analysis.probe import probe

    if count == 0:
        return {}
    number = str(Run(run_dir).chosen_round)
    if number not in Run(run_dir).probed_rounds():
        probe(ProbeArguments(run_dir, probes=(PROBES,), n=count, max_positions=2, device="cpu"))
    measures: Mapping[str, Any] = Run(run_dir).probed_rounds()[number]["measures"]
    return {name: measures[name] for name in MEASURES if name in measures and measures[name]["value"] is not None}


def method_figures(summaries: list[RunSummary], rows: SeedRows, arguments: Arguments, tokens: int) -> dict[str, Any]:
    """Figures of a method over its seeds; `rows`: their greedy test answers; `tokens`: what every method sampled at least."""
    return {
        **over_seeds(rows),
        "selection_at_equal_tokens": [accuracy_at(summary, tokens) for summary in summaries],
        "flops_to_reach": [flops_to(summary, REACH) for summary in summaries],
        "flops": [(summary.sampling_flops or 0) + (summary.training_flops or 0) for summary in summaries],
        "best_of_k": summaries[0].best_of_k or None,
        "pass_at_k": {str(k): share.value for k, share in summaries[0].pass_at_k.items()} or None,
        "faithfulness": [faithfulness(summary.path, arguments.probed) for summary in summaries],
        "cost": [cost_of(summary.path) for summary in summaries],
        "made": made([made_by(summary.path) for summary in summaries]),
    }


def chart(figures: Mapping[str, Any], arguments: Arguments) -> None:
    """A panel each for accuracy, unsound right answers and what the probes say; a dot for each method."""
    import pandas as pd

    from analysis import charts

    shown = []
    for method, each in figures["methods"].items():
        measured = {"answers right": each["accuracy"], "right but unsound": each["right_but_unsound"]}
        measured |= {MEASURES[name]: value for name, value in each["faithfulness"][0].items()}
        shown += [{"label": method, "measure": measure, "unit": "share", **value} for measure, value in measured.items() if value]
    path = result_path("methods", quick=arguments.quick, device=arguments.device).with_suffix(".png")
    question = "Does a method buy accuracy with worse reasoning?"
    charts.save(charts.comparison(pd.DataFrame(shown), question), path)


def main() -> None:
    arguments = parse(Arguments, __doc__, gpu=True)
    if arguments.quick:
        arguments = Arguments(quick=True, device=arguments.device, seeds=(0,), methods=("star", "b-star", "v-star"), probed=4)
    runs_dir("methods", arguments.device).mkdir(parents=True, exist_ok=True)
    found = {
        method: [summarise_run(finished_run(recipe_of(method, seed, arguments))) for seed in arguments.seeds]
        for method in arguments.methods
    }
    rows = {method: {k: test_rows(summary.path) for k, summary in enumerate(found[method])} for method in found}
    tokens = min(summary.course[-1][1] for summaries in found.values() for summary in summaries)
    figures: dict[str, Any] = {
        "reach": REACH,
        "equal_tokens": tokens,
        "methods": {method: method_figures(found[method], rows[method], arguments, tokens) for method in found},
    }
    if "star" in found:
        counted = {"accuracy": right, "right_but_unsound": right_but_unsound}
        figures["minus_star"] = {
            method: {name: paired(rows["star"], each, counts)["difference"] for name, counts in counted.items()}
            for method, each in rows.items()
            if method != "star"
        }
    chart(figures, arguments)
    write_result("methods", figures, quick=arguments.quick, seeds=arguments.seeds, device=arguments.device)


if __name__ == "__main__":
    sys.exit(run_command(main))
