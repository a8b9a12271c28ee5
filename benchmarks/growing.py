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
from benchmarks.arms import arm_recipe, cost, finished_run, made, made_by, over_seeds, test_rows
from benchmarks.common import CommonArguments, parse, write_result
from star.command_line import run_command
from star.run import Run

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
    """By round: share right of each digit length on the selection split (0: the base), and how many were kept."""
    return [
        {
            "round": line["round"],
            **{name: part["correct"] / part["n"] for name, part in (line["selection"].get("slices") or {}).items()},
            "kept": (line.get("data") or {}).get("generated"),
            "kept_after_hint": (line.get("data") or {}).get("rationalized"),
        }
        for line in run.rounds
    ]


def main() -> None:
    arguments = parse(Arguments, __doc__, gpu=True)
    if arguments.quick:
        arguments = Arguments(quick=True, device=arguments.device, seeds=(0,), problems=5)
    changes = QUICK if arguments.quick else None
    file, where = "addition-growing.yaml", {"folder": "growing", "device": arguments.device}
    recipes = {seed: arm_recipe(file, seed, changes, **where) for seed in arguments.seeds}
    folders = {seed: finished_run(recipe) for seed, recipe in recipes.items()}
    rows = {seed: test_rows(folder) for seed, folder in folders.items()}
    longer = {seed: long_sums(recipe, folders[seed], arguments.problems, LONGER) for seed, recipe in recipes.items()}
    longest = f"{recipes[arguments.seeds[0]].task.grow.to} digits"
    figures = {
        "test": over_seeds(rows),
        "longest": over_seeds({seed: [row for row in each if row["slice"] == longest] for seed, each in rows.items()}),
        "beyond_the_pool": over_seeds({seed: [*each] for seed, each in longer.items()}),
        "rounds": round_figures(Run(folders[arguments.seeds[0]])),
        "cost": cost(list(folders.values())),
        "made": made([made_by(folder) for folder in folders.values()]),
    }
    write_result("growing", figures, quick=arguments.quick, seeds=arguments.seeds, device=arguments.device)


if __name__ == "__main__":
    sys.exit(run_command(main))
