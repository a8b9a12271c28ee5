"""The report as data: plain numbers, shares from 0 to 1, nothing rounded."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from star.files import plain
from star.paired import Comparison, groups, one_a_seed, order
from star.run_summary import RunSummary, accuracy_at, flops_to
from star.statistics import Interval

Figures = dict[str, Any]
COLUMNS = (
    *("accuracy", "strict", "lenient", "no_answer", "truncated", "sound_of_correct", "data_used"),
    *("generated", "rationalized", "samples", "tokens", "seconds", "training_flops", "sampling_flops"),
)
"""Fields of a `RunSummary` that every format shows after the number of problems, in order."""


def label(summary: RunSummary) -> str:
    """The arm, and what a reader must not overlook about it."""
    marks = []
    if not summary.finished:
        marks.append(f"UNFINISHED, round {summary.round}")
    if summary.select_on == "test":
        marks.append("CHOSEN ON TEST")
    return summary.arm + (f" [{'; '.join(marks)}]" if marks else "")


def run_values(
    summary: RunSummary, slices: Sequence[str] = (), reach: float | None = None, tokens: int | None = None
) -> Figures:
    """One run's row: the columns of every format, under the names that data have."""
    row: Figures = {"method": label(summary), "run": summary.path.name, "seed": summary.seed}
    row |= {"parameters": summary.parameters, "split": summary.split, "n": summary.accuracy.n}
    row |= {name: getattr(summary, name) for name in COLUMNS}
    row |= {f"pass@{k}": share for k, share in summary.pass_at_k.items()}
    row |= {f"maj@{k}": share for k, share in summary.maj_at_k.items() if k > 1}
    row |= {f"best of {k}": share for k, share in summary.best_of_k.items() if k != "1"}
    row |= {f"weighted@{k}": share for k, share in summary.weighted_at_k.items() if k != "1"}
    row |= {} if reach is None else {f"FLOPs to {100 * reach:g} %": flops_to(summary, reach)}
    row |= {} if tokens is None else {f"selection at {tokens:,} tokens": accuracy_at(summary, tokens)}
    taken = {*row, "runs", "seeds"}  # a task may name its slices as it likes
    return row | {f"{name} (slice)" if name in taken else name: summary.slices.get(name) for name in slices}


def expanded(row: Figures) -> Figures:
    """The same row with three columns for an interval."""
    columns: Figures = {}
    for name, value in row.items():
        columns |= _interval(name, value) if isinstance(value, Interval) else {name: value}
    return columns


def _interval(name: str, interval: Interval) -> Figures:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def group_values(runs: Sequence[RunSummary], reach: float | None = None, tokens: int | None = None) -> Figures | None:
    """Mean and spread of the finished seeds of one recipe; None for fewer than two. `n` and `seeds` have an entry per run; of
    every other column that all seeds have a value in the mean is given.
    """
    done = one_a_seed(runs)
    if len(done) < 2:
        return None
    shares = [run.accuracy.value for run in done]
    marks = " [CHOSEN ON TEST]" if any(run.select_on == "test" for run in done) else ""
    rows, means = [run_values(run, (), reach, tokens) for run in done], Figures()
    names = list(rows[0])
    for name in names[names.index("accuracy") + 1 :]:
        values: list[Any] = [row[name].value if isinstance(row.get(name), Interval) else row.get(name) for row in rows]
        means[name] = None if any(value is None or math.isnan(value) for value in values) else mean(values)
    return {
        "method": f"{done[0].arm}: mean of {len(done)} seeds{marks}",
        "runs": [run.path.name for run in done],
        "seeds": [run.seed for run in done],
        "parameters": done[0].parameters,
        "split": "test",
        "n": [run.accuracy.n for run in done],
        "accuracy": mean(shares),
        "accuracy_sd": stdev(shares),
        "accuracy_min": min(shares),
        "accuracy_max": max(shares),
        **means,
    }


def comparison_figures(pair: Comparison) -> Figures:
    """One paired comparison's row."""
    return {
        "a": pair.a,
        "b": pair.b,
        "problems": pair.n,
        "problems_left_out": pair.left_out,
        **_interval("difference", pair.difference),
        "only_a": pair.only_a,
        "only_b": pair.only_b,
        "p": pair.p,
        "p_holm": pair.p_holm,
    }


def all_values(
    summaries: Sequence[RunSummary], slices: Sequence[str] = (), reach: float | None = None, tokens: int | None = None
) -> list[Figures]:
    """Every run in the paper's order, a row of means below the seeds of one recipe."""
    rows = []
    for runs in groups(summaries):
        below = group_values(runs, reach, tokens)
        rows += [*(run_values(run, slices, reach, tokens) for run in runs), *([below] if below else [])]
    return rows


def as_json(summaries: Sequence[RunSummary], comparisons: Sequence[Comparison], notes: Sequence[str]) -> str:
    """Runs, groups of seeds and comparisons."""
    runs = []
    for run in sorted(summaries, key=order):
        row = {name: getattr(run, name) for name in run.__dataclass_fields__ if name not in ("outcomes", "path", "damage")}
        runs.append({"run": run.path.name, **row})
    seeds = [group for group in map(group_values, groups(summaries)) if group is not None]
    content: Figures = {"warnings": list(notes), "runs": runs, "groups": seeds}
    if comparisons:
        content["comparisons"] = [{**vars(one), "n": one.n} for one in comparisons]
    return json.dumps(plain(content), indent=2, ensure_ascii=False)
