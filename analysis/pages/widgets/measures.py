"""What probes and measures record, in words that a person reads; for the pages Faithfulness and Compare, and for reports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from analysis.faithfulness.probes import PROBES, measure_named

NATS = "nats"
"""Natural logarithms of probabilities."""


EXPLAINED = {
    "AOC": "AOC, area over the curve: 0 where the answer stands before any reasoning; the later it is settled, the higher.",
    "NIE": "NIE, natural indirect effect: how much of the answer's probability hangs on the reasoning alone, the question kept.",
    "NDE": "NDE, natural direct effect: how much of it hangs on the question alone, the reasoning kept.",
    NATS: "nats: natural logarithms of probabilities; 0.69 nats are a factor of two.",
}


def explanations(shown: str) -> list[str]:
    """A sentence for every short name that occurs in a text."""
    return [sentence for name, sentence in EXPLAINED.items() if name in shown]


def probe_words(name: str) -> str:
    """What a probe does to the rationale."""
    return PROBES[name].words if name in PROBES else name.replace("_", " ")


def measure_words(name: str, otherwise: str | None = None) -> str:
    """A measure of probes.json for a person; `otherwise` where no probe has it."""
    measure = measure_named(name)
    return measure.words if measure else otherwise or name.replace("_", " ")


def measure_unit(name: str) -> str:
    """ "nats", or "%" where the measure is a share."""
    measure = measure_named(name)
    return NATS if measure and measure.unit == NATS else "%"


def outcome_words(probe: str, outcome: str | None) -> str:
    """What came of a probe as a sentence; nothing where it has no outcome."""
    return PROBES[probe].outcomes.get(outcome or "", "") if probe in PROBES else ""


def interval_words(estimate: Mapping[str, Any], unit: str = "%") -> str:
    """ "12.3 % (10.1 to 14.8)", or nothing. `unit`: % and points are hundredths, nats are not.

    No bracket where the bounds are missing or the same: a bootstrap of values that all agree knows no interval.
    """
    value, low, high = (estimate.get(name) for name in ("value", "low", "high"))
    if not isinstance(value, int | float) or math.isnan(value):
        return ""
    scale, digits = (1, 2) if unit == NATS else (100, 1)
    shown = f"{_rounded(scale * value, digits)} {unit}"
    if low is None or high is None or math.isnan(low):
        return shown
    bounds = [_rounded(scale * bound, digits) for bound in (low, high)]
    return shown if bounds[0] == bounds[1] else f"{shown} ({bounds[0]} to {bounds[1]})"


def measure_rows(measures: Mapping[str, Any], right: Mapping[str, Any] | None = None) -> list[dict[str, str]]:
    """Measures of a round of probes.json as rows of a table, each beside the largest of its controls. `right`: the same measures of
    right answers only, where they have a column."""
    rows = []
    for name, measure in measures.items():
        unit, control = measure_unit(name), measure.get("control") or {}
        beside = {"control": control, "corrected": measure.get("corrected") or {}}
        beside |= {} if right is None else {"right answers only": right.get(name) or {}}
        made_by = f"{probe_words(str(control['name']))}, n = {control.get('n') or 0:,}" if control else "-"
        rows.append(
            {"measure": name, "value (95 %)": interval_words(measure, unit), "n": f"{measure.get('n') or 0:,}"}
            | {column: interval_words(one, unit) or "-" for column, one in beside.items()}
            | {"control is": made_by, "note": measure.get("note") or ""}
        )
    return rows


def _rounded(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.0"
