"""Sums longer than any example: the recipe addition-growing, whose pool grows from 5 digits to 10; three seeds, by digit length.

    python benchmarks/growing.py [--quick]

Asked: does a base that has seen no sum of more than 5 digits come to add 10 by what it samples itself, how long does that take, and
does the final model go beyond the lengths of its pool (11, 12 and 15 digits, never sampled)? The base is embedded; how it was made
stands in its card.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from benchmarks.addition import long_sums
from benchmarks.arms import SeedRows, arm_recipe, cost, finished_run, made, made_by, over_seeds, test_rows
from benchmarks.common import CommonArguments, parse, write_result
from star.command_line import run_command
from star.run import Run
from star.tasks.addition import slice_name

LONGER = (11, 12, 15)
QUICK: dict[str, Any] = {
    "task": {"digits": [1], "grow": {"to": 2, "threshold": 0.9}, "index_hints": True, "pool": 200, "test_size": 40},
    "loop": {"rounds": 1, "problems": 40, "retries": 2, "start": "continue"},
    "training": {"steps": {"first": 5}},
    "evaluation": {"selection_size": 20},
}


@dataclass(frozen=True)
class Arguments(CommonArguments):
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the loop; the base is one."""
    problems: int = 200
    """Problems of each length beyond the pool."""


def round_figures(run: Run) -> list[dict[str, Any]]:
    """By round: share right of each length on the selection split (0: the base), 1 to 5 digits as one, and what was kept."""
    rounds = []
    for line in run.rounds:
        right = {name: part["correct"] / part["n"] for name, part in (line["selection"].get("slices") or {}).items()}
        short = [right.pop(name) for name in map(slice_name, range(1, 6)) if name in right]
        data = line.get("data") or {}
        kept = {"kept": data.get("generated"), "kept_after_hint": data.get("rationalized")}
        rounds.append({"round": line["round"], "up_to_5": sum(short) / len(short), **right, **kept})
    return rounds


def main() -> None:
    arguments = parse(Arguments, __doc__, gpu=True)
    if arguments.quick:
        arguments = Arguments(quick=True, device=arguments.device, seeds=(0,), problems=5)
    call: dict[str, Any] = {"changes": QUICK if arguments.quick else None, "folder": "growing", "device": arguments.device}
    recipes = {seed: arm_recipe("addition-growing.yaml", seed, **call) for seed in arguments.seeds}
    folders = {seed: finished_run(recipe) for seed, recipe in recipes.items()}
    rows: SeedRows = {seed: test_rows(folder) for seed, folder in folders.items()}
    longer: SeedRows = {seed: long_sums(recipe, folders[seed], arguments.problems, LONGER) for seed, recipe in recipes.items()}
    sums: dict[str, SeedRows] = {"all of the pool": rows}
    for digits in (*range(5, 11), *LONGER):
        of_length = {seed: [*rows[seed], *longer[seed]] for seed in rows}
        name = slice_name(digits)
        sums[name] = {seed: [row for row in each if row["slice"] == name] for seed, each in of_length.items()}
    figures = {
        "answers": {name: over_seeds(each) for name, each in sums.items() if all(each.values())},
        "rounds": round_figures(Run(folders[arguments.seeds[0]])),
        "cost": cost(list(folders.values())),
        "made": made([made_by(folder) for folder in folders.values()]),
    }
    write_result("growing", figures, quick=arguments.quick, seeds=arguments.seeds, device=arguments.device)


if __name__ == "__main__":
    sys.exit(run_command(main))
