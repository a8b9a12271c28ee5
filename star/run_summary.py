"""What a run reached and what it cost, read from its directory: the row of a report, finished or not.

The paper's tables name their rows after method, rationalization and whether rationales are used at all; `arm_name`
gives a recipe the same name. FLOPs are the estimates of `star.ledger`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from star.attempts import sampled_outcomes, summarise
from star.problem import Attempt, Problem, Reading
from star.recipe import PLACES, Recipe, flat
from star.run import TEST, Run
from star.schemas import Counts, RoundLine
from star.statistics import EMPTY, Interval, bootstrap_mean, wilson

ARMS = ("few-shot direct", "few-shot chain of thought", "direct fine-tuning", "STaR without rationalization", "STaR")
"""Rows of the paper's tables, in their order; a soundness filter or another start is added behind a comma."""
COLUMNS = ("problem_id", "slice", "sample", "answer", "verdict", "strict_verdict", "lenient_verdict", "sound")


@dataclass(frozen=True)
class RunSummary:
    """One run. Shares are of `n` problems; what the run does not hold is None (or an empty interval)."""

    path: Path
    arm: str
    group: str
    """Equal for runs whose recipes differ in nothing but seed and name."""
    seed: int | None
    finished: bool
    split: str
    """test for a finished run; else selection, with the last round's figures."""
    select_on: str
    round: int | None
    """The chosen round, or the last finished one."""
    accuracy: Interval
    no_answer: float | None
    truncated: float | None
    strict: float | None
    """Right in the form that was asked for."""
    lenient: float | None
    """Right in any form; `accuracy` is one of the two."""
    sound_of_correct: Interval
    data_used: float | None
    """Share of the training pool that the chosen round was trained on."""
    generated: float | None
    rationalized: float | None
    samples: int | None
    tokens: int | None
    """Sampled ones, over all rounds and the test."""
    seconds: float | None
    sampling_flops: float | None
    training_flops: float | None
    parameters: int | None
    accept: Reading = "strict"
    """Which answers `accuracy` counts."""
    kept_hint_unsure: int = 0
    """Kept rationalizations, of all rounds, with words that may speak of the hint."""
    kept_not_judged: int = 0
    """Kept rationales, of all rounds, that `curation.require: sound` asked about without an answer."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows of the data that were left out."""
    rows: int | None = None
    """Rows of the data; None where the recipe limits how many of them are used."""
    slices: Mapping[str, Interval] = field(default_factory=dict)
    pass_at_k: Mapping[int, Interval] = field(default_factory=dict)
    maj_at_k: Mapping[int, Interval] = field(default_factory=dict)
    best_of_k: Mapping[str, float] = field(default_factory=dict)
    """Of a verifier; as the run noted it."""
    weighted_at_k: Mapping[str, float] = field(default_factory=dict)
    course: Sequence[tuple[float, int, float]] = ()
    """(selection accuracy, tokens sampled so far, FLOPs so far) of each round from the base model's on."""
    outcomes: Mapping[str, bool] = field(default_factory=dict)
    """problem_id -> right, of the greedy answers on `split`."""
    damage: Sequence[str] = ()
    """Messages about lines of metrics.jsonl that were left out."""


def arm_name(recipe: Mapping[str, Any]) -> str:
    """The row of the paper's tables that a resolved recipe belongs to, with what differs from the paper behind it."""
    loop, curation = recipe.get("loop") or {}, recipe.get("curation") or {}
    method = loop.get("method", "star")
    if method == "few_shot":
        return ARMS[0] if (recipe.get("prompting") or {}).get("answer_only") else ARMS[1]
    if method == "direct":
        return ARMS[2]
    name = ARMS[4] if loop.get("rationalize", True) else ARMS[3]
    if curation.get("require") == "sound":
        name += f", require sound by {scorer}" if (scorer := curation.get("scorer")) else ", require sound"
    if loop.get("start") == "continue":
        name += ", continued"
    training, sampling, verifier = (recipe.get(section) or {} for section in ("training", "sampling", "verifier"))
    marks = {
        "hint first": loop.get("first_pass") is False,
        str(loop.get("draw")).replace("_", " "): loop.get("draw") not in (None, "uniform"),
        "temperature tried": bool(sampling.get("try_temperatures")),
        "mixed problems": curation.get("problems") == "mixed",
        "pairs": training.get("objective") == "rpo",
        "verifier": verifier.get("kind") not in (None, "off"),
    }
    return ", ".join([name, *(mark for mark, holds in marks.items() if holds)])


def recipe_group(recipe: Mapping[str, Any]) -> str:
    """Digest of a resolved recipe without its seed, name, places and defaults: equal for the seeds of one experiment."""
    left_out, default = {"seed", "name", *flat(PLACES)}, flat(Recipe().model_dump(mode="json"))
    content = {k: v for k, v in flat(dict(recipe)).items() if k not in left_out and (k not in default or default[k] != v)}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def summarise_run(run_dir: Path) -> RunSummary:
    """Read one run. Raises RunError when it is not a run directory, is damaged, or has no finished round yet."""
    run = Run(run_dir)
    recipe, rounds, result = run.recipe, run.rounds, run.result
    facts: Mapping[str, Any] = result or {}
    number = run.chosen_round
    shown = result["test"] if result else rounds[-1]["selection"]
    rows = run.evaluation(TEST if result else number, COLUMNS)
    return RunSummary(
        path=run_dir,
        arm=arm_name(recipe),
        group=recipe_group(recipe),
        seed=recipe.get("seed"),
        finished=result is not None,
        split="test" if result else "selection",
        select_on=(recipe.get("evaluation") or {}).get("select_on", "selection"),
        round=number,
        parameters=facts.get("parameters") or (run.manifest.get("model") or {}).get("parameters"),
        accept=run.manifest.get("accept", "strict"),
        damage=tuple(run.damage),
        **_rows_read(run),
        **_evaluated(rows, shown),
        kept_hint_unsure=sum((line.get("data") or {}).get("kept_hint_unsure") or 0 for line in rounds),
        kept_not_judged=sum((line.get("data") or {}).get("kept_not_judged") or 0 for line in rounds),
        **_data_used(run, number),
        **_cost(rounds, facts),
        course=_course(rounds),
        best_of_k=shown.get("best_of_k") or {},
        weighted_at_k=shown.get("weighted_at_k") or {},
        **_sampled(rows, run),
    )


def _rows_read(run: Run) -> dict[str, Any]:
    """Rows left out, by reason, and how many there were in all."""
    skipped = run.manifest.get("skipped_rows") or {}
    task: Mapping[str, Any] = run.recipe.get("task") or {}
    problems = [] if not skipped or task.get("limit") or task.get("test_limit") else run.problems(["problem_id"])
    return {"skipped": skipped} | ({"rows": len(problems) + sum(skipped.values())} if problems else {})


def _evaluated(rows: Sequence[Mapping[str, Any]], shown: Counts) -> dict[str, Any]:
    """Figures of the greedy answers, from the rows where they are there, else from the counts in `shown`."""
    greedy = [row for row in rows if not row["sample"]]
    if greedy:
        shown = summarise([cast(Attempt, {**row, "slice": row["slice"] or "all"}) for row in greedy])
    n, correct, share = shown["n"], shown["correct"], shown.get("sound_of_correct")
    return {
        "accuracy": wilson(correct, n),
        **{name: _part(shown.get(name), n) for name in ("no_answer", "truncated", "strict", "lenient")},
        "sound_of_correct": EMPTY if share is None else wilson(round(share * correct), correct),
        "slices": {name: wilson(part["correct"], part["n"]) for name, part in (shown.get("slices") or {}).items()},
        "outcomes": {row["problem_id"]: row["verdict"] == "correct" for row in greedy},
    }


def _part(count: object, n: int) -> float | None:
    return count / n if n and isinstance(count, int) else None


def _data_used(run: Run, number: int) -> dict[str, Any]:
    """Shares of the pool: a problem with a generated rationale counts as generated, else as rationalized."""
    nothing: dict[str, Any] = {"data_used": None, "generated": None, "rationalized": None}
    data: Mapping[str, Any] = next((line.get("data") or {} for line in run.rounds if line["round"] == number), {})
    pool = data.get("pool")
    rows = run.training(number, ["problem_id", "mode"]) if pool else []
    if not pool or not rows:
        return nothing
    modes: dict[str, set[str]] = {}
    for row in rows:
        modes.setdefault(row["mode"], set()).add(row["problem_id"])
    generated = modes.get("generated", set())
    rationalized = modes.get("rationalized", set()) - generated
    used = len(set().union(*modes.values()))
    if set(modes) == {"gold"}:  # direct fine-tuning trains on answers, not on rationales
        return nothing | {"data_used": used / pool}
    return {"data_used": used / pool, "generated": len(generated) / pool, "rationalized": len(rationalized) / pool}


def _cost(metrics: Sequence[RoundLine], result: Mapping[str, Any]) -> dict[str, Any]:
    """Totals over all rounds and the test."""
    lines: list[Mapping[str, Any]] = [*metrics, result.get("cost") or {}]
    flops = [line.get("flops") or {} for line in lines]
    seconds = [value for line in metrics for value in (line.get("seconds") or {}).values() if value is not None]
    return {
        "samples": _total(lines, "samples"),
        "tokens": _total(lines, "sampled_tokens"),
        "seconds": result.get("seconds_total") or (sum(seconds) if seconds else None),
        "sampling_flops": _total(flops, "sampling"),
        "training_flops": _total(flops, "training"),
    }


def _course(rounds: Sequence[RoundLine]) -> list[tuple[float, int, float]]:
    course, tokens, flops = [], 0, 0.0
    for line in rounds:
        tokens += line.get("sampled_tokens") or 0
        flops += sum(value or 0 for value in (line.get("flops") or {}).values())
        course.append((line["selection"]["correct"] / max(1, line["selection"]["n"]), tokens, flops))
    return course


def flops_to(summary: RunSummary, accuracy: float) -> float | None:
    """FLOPs until a round reached this selection accuracy; None where none did."""
    return next((flops for reached, _, flops in summary.course if reached >= accuracy), None)


def accuracy_at(summary: RunSummary, tokens: int) -> float | None:
    """The best selection accuracy of the rounds that were reached with at most this many sampled tokens."""
    return max((reached for reached, used, _ in summary.course if used <= tokens), default=None)


def _total(lines: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [line[name] for line in lines if line.get(name) is not None]
    return sum(values) if values else None


def _sampled(rows: Sequence[Mapping[str, Any]], run: Run) -> dict[str, Any]:
    """pass@k and maj@k over the samples of each problem, with intervals over problems; sample 0 is the greedy one."""
    if not any(row["sample"] for row in rows):
        return {}
    columns = ["problem_id", "question", "gold", "choices"]
    asked = ((row["problem_id"], row["question"] or "", row["gold"] or "", row["choices"]) for row in run.problems(columns))
    outcomes = sampled_outcomes(rows, {each[0]: Problem(*each) for each in asked})
    return {name: {k: bootstrap_mean(values) for k, values in by_k.items()} for name, by_k in outcomes.items()}
