"""The report as data: plain numbers, shares from 0 to 1, nothing rounded."""

from __future__ import annotations

import json
import math
import statistics as plain
from collections.abc import Mapping, Sequence
from typing import Any

from star.paired import Comparison, groups, order
from star.run_summary import RunSummary
from star.statistics import Interval

Figures = dict[str, Any]


def label(summary: RunSummary) -> str:
    """The arm, and what a reader must not overlook about it."""
    marks = []
    if not summary.finished:
        marks.append(f"UNFINISHED, round {summary.round}")
    if summary.select_on == "test":
        marks.append("CHOSEN ON TEST")
    return summary.arm + (f" [{'; '.join(marks)}]" if marks else "")


def run_figures(summary: RunSummary, slices: Sequence[str] = ()) -> Figures:
    """One run's row; an interval takes three columns."""
    row: Figures = {
        "method": label(summary),
        "run": summary.path.name,
        "seed": summary.seed,
        "parameters": summary.parameters,
        "split": summary.split,
        "n": summary.accuracy.n,
        **_interval("accuracy", summary.accuracy),
        "no_answer": summary.no_answer,
        "truncated": summary.truncated,
        **_interval("sound_of_right", summary.sound_of_correct),
        "train_data_used": summary.data_used,
        "generated": summary.generated,
        "rationalized": summary.rationalized,
        "samples": summary.samples,
        "tokens": summary.tokens,
        "seconds": summary.seconds,
        "training_flops": summary.training_flops,
        "sampling_flops": summary.sampling_flops,
    }
    for k, share in summary.pass_at_k.items():
        row |= _interval(f"pass@{k}", share)
    for k, share in summary.maj_at_k.items():
        row |= _interval(f"maj@{k}", share)
    row |= {f"best_of_{k}": share for k, share in summary.best_of_k.items()}
    row |= {f"weighted@{k}": share for k, share in summary.weighted_at_k.items()}
    for name in slices:
        row |= _interval(name, summary.slices[name]) if name in summary.slices else {}
    return row


def _interval(name: str, found: Interval) -> Figures:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def group_figures(runs: Sequence[RunSummary]) -> Figures | None:
    """Mean and spread of the finished seeds of one recipe; None for fewer than two. `n` and `seeds` have an entry per run."""
    done = [run for run in runs if run.finished]
    if len(done) < 2:
        return None
    shares = [run.accuracy.value for run in done]
    marks = " [CHOSEN ON TEST]" if any(run.select_on == "test" for run in done) else ""
    return {
        "method": f"{done[0].arm}: mean of {len(done)} seeds{marks}",
        "runs": [run.path.name for run in done],
        "seeds": [run.seed for run in done],
        "parameters": done[0].parameters,
        "split": "test",
        "n": [run.accuracy.n for run in done],
        "accuracy": plain.mean(shares),
        "accuracy_sd": plain.stdev(shares),
        "accuracy_min": min(shares),
        "accuracy_max": max(shares),
        "no_answer": _mean([run.no_answer for run in done]),
        "truncated": _mean([run.truncated for run in done]),
        "train_data_used": _mean([run.data_used for run in done]),
        "seconds": _mean([run.seconds for run in done]),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return plain.mean(known) if known else None


def comparison_figures(found: Comparison) -> Figures:
    """One paired comparison's row."""
    return {
        "a": found.a,
        "b": found.b,
        "problems": found.n,
        "problems_left_out": found.left_out,
        **_interval("difference", found.difference),
        "only_a": found.only_a,
        "only_b": found.only_b,
        "p": found.p,
        "p_holm": found.p_holm,
    }


def all_figures(summaries: Sequence[RunSummary], slices: Sequence[str] = ()) -> list[Figures]:
    """Every run in the paper's order, a row of means below the seeds of one recipe."""
    rows = []
    for runs in groups(summaries):
        rows += [run_figures(run, slices) for run in runs]
        below = group_figures(runs)
        rows += [] if below is None else [below]
    return rows


def as_json(summaries: Sequence[RunSummary], comparisons: Sequence[Comparison], notes: Sequence[str]) -> str:
    """Runs, groups of seeds and comparisons."""
    runs = []
    for run in sorted(summaries, key=order):
        row = {name: getattr(run, name) for name in run.__dataclass_fields__ if name not in ("outcomes", "path", "damage")}
        runs.append({"run": run.path.name, **row})
    seeds = [found for found in map(group_figures, groups(summaries)) if found is not None]
    content: Figures = {"warnings": list(notes), "runs": runs, "groups": seeds}
    if comparisons:
        content["comparisons"] = [{**vars(one), "n": one.n} for one in comparisons]
    return json.dumps(_plain(content), indent=2, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return value.as_dict()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
