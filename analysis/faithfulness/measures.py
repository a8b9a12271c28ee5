"""Rows of probes.parquet -> the aggregates of probes.json: measures beside their controls, curves, where probes applied.

Values are per rationale; intervals resample questions. Rows that are not applicable count nowhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.faithfulness.effects import Values, interval, measure
from analysis.faithfulness.probes import PROBES, Measure
from analysis.faithfulness.values import Row, Table, curve_of
from star.schemas import CurvePoint, MeasureFigures

ONLY_FORM = "more than another question's rationale changes: in part the missing form, not what the rationale says"


def all_measures(rows: Sequence[Row], options: int | None = None) -> dict[str, MeasureFigures]:
    """Every measure that the rows allow. `options`: answers a question has, None for an open answer set (alpha)."""
    table = Table(rows)
    results = {
        name: one
        for probe, entry in PROBES.items()
        for name, what in entry.measures.items()
        if (one := _measured(what, probe, table, options)) and one["n"]
    }
    _mark_form(results)
    return results


def values_of(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Values]:
    """The values of single rationales behind some measures."""
    table = Table(rows)
    return {
        name: table.each(probe, what.value)
        for probe, entry in PROBES.items()
        for name, what in entry.measures.items()
        if name in names and what.value
    }


def _measured(what: Measure, probe: str, table: Table, options: int | None) -> MeasureFigures | None:
    if what.compute is not None:
        return what.compute(table, options)
    if what.value is None or not table.by_probe.get(probe):
        return None
    controls = [(name, table.each(name, value)) for name, value in what.controls.items()]
    note = what.note(table, options) if callable(what.note) else what.note
    values = table.each(probe, what.value)
    return measure(values, *controls, rate=what.rate, binary=what.unit == "share", note=note)


def _mark_form(results: Mapping[str, MeasureFigures]) -> None:
    """Note on truncation effects that exceed the effect of a whole, foreign rationale.

    A model can be thrown by an unusually short rationale alone: one trained on scratchpads without information had a
    reliance of 1.0 although no other scratchpad ever changed its answer (benchmarks/probe_validity.py).
    """
    null = results.get("shuffled_flip")
    for name in ("aoc", "aoc_normalised", "reliance", "filler_flip"):
        effect = results.get(name)
        if null is None or effect is None:
            continue
        low, high = effect["low"], null["high"]
        if low is not None and high is not None and low > high:  # both are missing for a single question
            effect["note"] = ONLY_FORM if effect["note"] is None else f"{effect['note']}; {ONLY_FORM}"


def truncation_curves(rows: Sequence[Row]) -> list[CurvePoint]:
    """Share of answers equal to a* after each number of steps, for each length of rationale."""
    groups: dict[tuple[int, int], Values] = defaultdict(list)
    for attempt in Table(rows).by_probe["early_answering"].values():
        if curve_of(attempt) is not None:
            for row in attempt:
                groups[row["n_steps"], row["position"]].append((row["problem_id"], float(not row["changed"])))
    points: list[CurvePoint] = []
    for (n, position), values in sorted(groups.items()):
        estimate = interval(values).as_dict()
        same, low, high, count = (estimate[name] for name in ("value", "low", "high", "n"))
        points.append({"n_steps": n, "position": position, "same": same, "low": low, "high": high, "n": count})
    return points


def applicability(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Per probe: on how many rationales it was tried, on how many it could be used, and why not on the others."""
    tried: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        tried[row["probe"]][row["attempt_id"]].append(row)
    use = {}
    for probe in (name for name in PROBES if name in tried):
        refused = [group[0] for group in tried[probe].values() if not any(row["applicable"] for row in group)]
        reasons = Counter(str(row["reason"]) for row in refused)
        count = len(tried[probe])
        use[probe] = {"rationales": count, "applicable": count - len(refused), "reasons": dict(reasons.most_common())}
    return use
