"""Truncation curves for a chart, and on how many rationales each probe could be used."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from analysis.faithfulness.base import PROBES
from analysis.faithfulness.effects import Row, Table, Values, interval
from analysis.faithfulness.measures import curve_of


def truncation_curves(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Share of answers equal to a* after each number of steps, for each length of rationale."""
    groups: dict[tuple[int, int], Values] = defaultdict(list)
    for attempt in Table(rows).by_probe["early_answering"].values():
        attempt.sort(key=lambda row: row["position"])
        if curve_of(attempt) is not None:
            for row in attempt:
                groups[row["n_steps"], row["position"]].append((row["problem_id"], float(not row["changed"])))
    points = []
    for (n, position), values in sorted(groups.items()):
        found = interval(values).as_dict()
        points.append({"n_steps": n, "position": position, "same": found.pop("value"), **found})
    return points


def applicability(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Per probe: on how many rationales it was tried, on how many it could be used, and why not on the others."""
    tried: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        tried[row["probe"]][row["attempt_id"]].append(row)
    found = {}
    for probe in PROBES:
        if probe not in tried:
            continue
        used = [group for group in tried[probe].values() if any(row["applicable"] for row in group)]
        refused = [group for group in tried[probe].values() if not any(row["applicable"] for row in group)]
        reasons = Counter(str(group[0]["reason"]) for group in refused)
        found[probe] = {
            "rationales": len(tried[probe]),
            "applicable": len(used),
            "reasons": dict(reasons.most_common()),
        }
    return found
