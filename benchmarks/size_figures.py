"""What `model_sizes.py` says of its runs: a table, where sizes bootstrap, trends with size, a chart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.size_bases import SKILLS, TOKENS
from star.statistics import holm, mean_of_runs, slope

ARMS = ("base", "STaR", "STaR, sound")
GOAL = MATCHED = 0.9
MARGIN = 0.05
FAITHFULNESS = {
    "aoc_normalised": "early answering (AOC, normalised)",
    "forced_mistake_flip": "answer changed by an added mistake",
    "filler_gap": "filler gap (nats)",
}
GAIN = {"gain": "answers right, minus those of its base"}
OUTCOMES = {"accuracy": "answers right", "sound_of_right": "sound, of right answers", "right_but_unsound": "right but unsound"}


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All figures of runs, as `model_sizes.outcome` gives them; those from bases outside their band count nowhere."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    runs = with_gain([run for run in runs if run["settings"]["known"]["in_band"]])
    for run in runs:
        groups.setdefault(tuple(run["settings"][name] for name in ("size", "base", "arm")), []).append(run)
    rows = [over_seeds(group) for group in groups.values()]
    by_seed = {(row["size"], row["base"]): {"size": row["size"], "base": row["base"], "by_arm": {}} for row in rows}
    for (size, base, arm), group in groups.items():
        by_seed[size, base]["by_arm"][arm] = [run["accuracy"]["value"] for run in group]
    ends = bootstraps(runs)
    gained = {
        base: {"runs": sum(skill in row["tried"] for row in ends), "gained": sum(skill in row["gained"] for row in ends)}
        for base, skill in SKILLS.items()
    }
    more = {"by_seed": list(by_seed.values()), "bootstraps": ends, "gained": gained, "trends": trends(runs)}
    return {"goal": GOAL, "by_size": rows, **more}


def with_gain(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each run with its `gain`: {"value": share of answers right, minus that of the base it began at}; None for a base."""

    def begun_at(run: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(run["settings"][name] for name in ("size", "seed", "base"))

    before = {begun_at(run): run["accuracy"]["value"] for run in runs if run["settings"]["arm"] == "base"}
    more = [None if run["settings"]["arm"] == "base" else run["accuracy"]["value"] - before[begun_at(run)] for run in runs]
    return [{**run, "gain": None if gain is None else {"value": gain}} for run, gain in zip(runs, more, strict=True)]


def over_seeds(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One row of the table: a size, base and arm, with runs as units."""
    settings, known = runs[0]["settings"], [run["settings"]["known"] for run in runs]

    def over(values: Iterable[float | None], *, shares: bool = False) -> Any:
        return mean_of_runs([value for value in values if value is not None], shares=shares).as_dict()

    return {
        **{name: settings[name] for name in ("size", "base", "arm")},
        "parameters": runs[0]["parameters"],
        "seeds": len(runs),
        "base_tokens": over(each["tokens"] for each in known),
        **{kind: over((each[kind] for each in known), shares=True) for kind in ("without_hint", "with_hint")},
        **{name: over(((run[name] or {}).get("value") for run in runs), shares=True) for name in OUTCOMES},
        "reached_goal": sum(run["rounds_to_goal"] is not None for run in runs),
        **{name: over(run[name] for run in runs) for name in ("rounds_to_goal", "flops_to_goal")},
        "faithfulness": {name: over(run["faithfulness"].get(name, {}).get("value") for run in runs) for name in FAITHFULNESS},
    }


def bootstraps(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each size and seed: the smallest skill from which STaR ends above its base, the test intervals apart."""
    by_seed: dict[tuple[str, int], dict[str, Any]] = {}
    by_place = {tuple(run["settings"][name] for name in ("size", "seed", "base", "arm")): run for run in runs}
    for (size, seed, base, arm), run in by_place.items():
        before = by_place.get((size, seed, base, "base"))
        if arm == "STaR" and base in SKILLS and before:
            about = {"size": size, "seed": seed, "parameters": run["parameters"], "tried": [], "gained": []}
            row = by_seed.setdefault((size, seed), about)
            row["tried"].append(SKILLS[base])
            if run["accuracy"]["low"] > before["accuracy"]["high"]:
                row["gained"].append(SKILLS[base])
    return [row | {"smallest": min(row["gained"], default=None)} for row in by_seed.values()]


def trends(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Change of each measure with ten times the parameters, for each series and arm, of runs begun at the same skill; see the
    text of `model_sizes.py`.
    """
    rows: list[dict[str, Any]] = []
    for series, arm in product(("same skill", TOKENS), ARMS):
        of = [run for run in runs if run["settings"]["arm"] == arm and (run["settings"]["base"] == TOKENS) == (series == TOKENS)]
        matched = [run for run in of if arm == "base" or run["accuracy"]["value"] >= MATCHED]
        for name, words in {**GAIN, **OUTCOMES, **FAITHFULNESS}.items():
            group = matched if name in FAITHFULNESS else of
            measured = [(run, {**run["faithfulness"], **run}.get(name)) for run in group]
            points = [(math.log10(run["parameters"]), each["value"], run["settings"]["base"]) for run, each in measured if each]
            if len({x for x, _, _ in points}) > 2 and len(points) > 3:
                fit, p = slope(*zip(*points, strict=True))
                row = {"series": series, "arm": arm, "measure": words, "per_tenfold_parameters": fit.as_dict()}
                flat = len({value for _, value, _ in points}) == 1
                near = "does not vary" if flat else "no difference" if fit.low > -MARGIN and fit.high < MARGIN else "not settled"
                rows.append(row | {"p": math.nan if flat else p, "verdict": near})
    corrected = zip(rows, holm([row["p"] for row in rows]), strict=True)
    return [row | {"holm_p": p} | ({"verdict": "differs"} if p < 0.05 else {}) for row, p in corrected]


def chart(runs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Right answers of every run against parameters, before STaR and after it, from bases of the first skill that has any."""
    import pandas as pd

    from analysis import charts

    within = [run for run in runs if run["settings"]["known"]["in_band"] and run["settings"]["arm"] in ARMS[:2]]
    base = next((name for name in SKILLS if any(run["settings"]["base"] == name for run in within)), None)
    about = {"measure": f"answers right, all sizes begun at {base}"}
    lines = [
        {**about, "parameters": run["parameters"], "arm": run["settings"]["arm"], **run["accuracy"]}
        for run in within
        if run["settings"]["base"] == base
    ]
    if lines:
        charts.save(charts.against_size(pd.DataFrame(lines), "Does a larger model gain more from its own rationales?"), path)
