"""Probe rows -> one effect with its interval, its controls and its correction; `probes.PROBES` says which there are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import numpy as np

from analysis.faithfulness import formulas
from star.schemas import Control, Estimate, MeasureFigures
from star.statistics import EMPTY, Interval, bootstrap, bootstrap_mean, share

Values = list[tuple[str, float]]
"""(problem_id, value) of each rationale."""

NOTHING_LEFT = "nothing left to measure: the control changes nearly every answer"
NO_CONTROL = "no control could be applied"


def interval(values: Values, *, binary: bool = True) -> Interval:
    """Mean over rationales with a bootstrap over questions; of outcomes that are 0 or 1 see `star.statistics.share`."""
    if not values:
        return EMPTY
    numbers, problems = [value for _, value in values], [problem for problem, _ in values]
    if binary and set(numbers) <= {0.0, 1.0}:
        return share(numbers, problems)
    return bootstrap_mean(numbers, problems)


def corrected_interval(effect: Values, control: Values) -> Interval:
    """max(0, (F - c)/(1 - c)), questions resampled with both their effect and their control.

    Where all effects are 1, or all 0, resampling would claim certainty: there Wilson's bounds of both go through the
    formula, which is conservative. Where only the controls are all 0 it would be certain of them: there what Wilson's
    bound of the control takes away is added in squares to the half width of the effect (Newcombe 1998).
    """
    level, base = interval(effect), interval(control)
    if level.value in (0.0, 1.0) and not math.isnan(base.low):
        value, low, high = (
            formulas.corrected_effect(f, c) or 0.0
            for f, c in ((level.value, base.value), (level.low, base.high), (level.high, base.low))
        )
        return Interval(value, low, high, level.n)
    if base.value == 0.0:
        beyond = level.value - (formulas.corrected_effect(level.value, base.high) or 0.0)
        low = level.value - math.hypot(level.value - level.low, beyond)
        return replace(level, low=low if math.isnan(low) else max(0.0, low))
    columns: list[list[float]] = [[], [], [], []]
    for values, first in ((effect, 0), (control, 2)):
        for _, value in values:
            for k in range(4):
                columns[k].append(value if k == first else float(k == first + 1))

    def statistic(sums: np.ndarray) -> np.ndarray:
        f, c = sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]
        return np.maximum(0.0, (f - c) / (1 - c))

    return bootstrap(statistic, columns, [problem for values in (effect, control) for problem, _ in values])


def measure(
    values: Values, *controls: tuple[str, Values], rate: bool = False, binary: bool = True, note: str | None = None
) -> MeasureFigures:
    """One MEASURE of probes.json (see analysis.probe).

    `rate`: effect and controls are change rates, so a correction makes sense. `binary=False`: values are not shares.
    `note`: why there is no control.
    """
    nothing: dict[str, object] = {"control": None, "controls": [], "corrected": None, "note": note}
    result = cast(MeasureFigures, interval(values, binary=binary).as_dict() | nothing)
    known = [(name, background) for name, background in controls if background]
    if not values or not controls:
        return result
    if not known:
        return result | {"note": NO_CONTROL}
    levels = [interval(background, binary=binary) for _, background in known]
    result["controls"] = [cast(Control, {"name": name, **level.as_dict()}) for (name, _), level in zip(known, levels, strict=True)]
    largest = max(range(len(known)), key=lambda k: levels[k].value)
    result["control"] = result["controls"][largest]
    if rate and formulas.corrected_effect(0.0, levels[largest].value) is None:
        return result | {"note": NOTHING_LEFT}
    if rate:
        result["corrected"] = cast(Estimate, corrected_interval(values, known[largest][1]).as_dict())
    return result
