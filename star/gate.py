"""The bootstrap gate: STaR has nothing to build on unless the first pass beats chance (the paper's GPT-2 remark)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from star.ledger import Ledger
from star.problem import Problem, Task, Verdict
from star.recipe import Recipe
from star.run import RunError
from star.statistics import binomial_above

LEVEL = 0.05


def gate(
    recipe: Recipe, attempts: Sequence[dict[str, Any]], problems: Mapping[str, Problem], task: Task, ledger: Ledger
) -> dict[str, Any] | None:
    """Test round 1's generated attempts against chance; warn, stop (RunError) or stay silent as `loop.gate` says.

    Returns counts, chance, p-value and whether the gate was passed; None when nothing was generated.
    """
    first_pass = [row for row in attempts if row["mode"] == "generated" and row["sample"] == 0]
    if not first_pass:
        return None
    right = sum(row["verdict"] == Verdict.correct for row in first_pass)
    chance = sum(task.chance(problems[row["problem_id"]]) for row in first_pass) / len(first_pass)
    p_value = binomial_above(right, len(first_pass), chance)
    outcome = {
        "correct": right,
        "n": len(first_pass),
        "chance": chance,
        "p_value": p_value,
        "passed": p_value < LEVEL,
    }
    if p_value < LEVEL or recipe.loop.gate == "off":
        return outcome
    message = (
        f"this run will not bootstrap: the first pass got {right} of {len(first_pass)} problems right "
        f"({right / len(first_pass):.1%}), not above chance ({chance:.1%}; p = {p_value:.2f}). What is kept would be luck, "
        "not reasoning. Use a stronger model, more prompting.shots, or easier problems."
    )
    if recipe.loop.gate == "stop":
        raise RunError(message + " (loop.gate is stop)")
    ledger.note(message)
    return outcome
