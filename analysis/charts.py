"""Every chart of the project: for the app, the benchmarks and the README alike.

Each function takes a DataFrame with the columns its docstring names and returns an unstyled altair chart; `style` gives
it the project's look once, on the outermost chart, and `save` styles and writes it. A colour means the same in every
chart (`star.charts.COLOURS`), titles state the question, n is in every tooltip. Those of a run are in `star.charts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from star.charts import (
    COLOURS,
    HEIGHT,
    SERIES,
    WIDTH,
    accuracy_by_round,
    n_note,
    rounds_frame,
    save,
    share_axis,
    soundness_by_round,
    style,
    title,
    tooltip,
)

__all__ = ["COLOURS", "accuracy_by_round", "rounds_frame", "save", "soundness_by_round", "style"]
"""What of `star.charts` can be had here too."""

Chart = Any
"""Layered, faceted or concatenated: altair has no common public name for them."""


def _series(labels: Iterable[str], field: str, **options: Any) -> alt.Color:
    """Colours of labels that have no fixed meaning, in order of appearance."""
    names = list(dict.fromkeys(labels))
    range_ = [SERIES[index % len(SERIES)] for index in range(len(names))]
    options = {"legend": _legend(names)} | options
    return alt.Color(f"{field}:N", sort=names, scale=alt.Scale(domain=names, range=range_), title=None, **options)


def _shape(names: list[str]) -> alt.Shape:
    """A shape for each arm, in the order of its colours, so that no chart rests on colour alone."""
    shapes = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
    scale = alt.Scale(domain=names, range=[shapes[i % len(shapes)] for i in range(len(names))])
    return alt.Shape("arm:N", sort=names, scale=scale, legend=_legend(names))


def _legend(names: list[str]) -> alt.Legend:
    return alt.Legend(title=None, columns=3 if len(names) > 4 else 0)


def _dots_across(base: alt.Chart, x: alt.X) -> Chart:
    """Each value as a dot on its interval, from left to right; `x` is of the column low."""
    rule = base.mark_rule(strokeWidth=3, opacity=0.5).encode(x=x, x2="high:Q")
    return alt.layer(rule, base.mark_circle(size=90, opacity=1).encode(x="value:Q"))


def data_frame(metrics: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Columns round, kind (generated, rationalized, dropped), label (reason of the drop), rows; from metrics.jsonl."""
    rows = []
    for line in metrics:
        data = line.get("data") or {}
        rows += [
            {"round": line["round"], "kind": kind, "label": "kept", "rows": data[kind]}
            for kind in ("generated", "rationalized")
            if data.get(kind) is not None
        ]
        for reason, count in (data.get("dropped") or {}).items():
            rows.append({"round": line["round"], "kind": "dropped", "label": str(reason), "rows": count})
    return pd.DataFrame(rows, columns=["round", "kind", "label", "rows"])


def data_by_round(frame: pd.DataFrame) -> Chart:
    """Stacked bars: rationales kept as generated, kept as rationalized, and dropped. Takes `data_frame`."""
    kinds = {kind: COLOURS.get(kind, COLOURS["neutral"]) for kind in ("generated", "rationalized", "dropped")}
    order = alt.Scale(domain=list(kinds), range=list(kinds.values()))
    frame = frame.assign(rank=frame["kind"].map({kind: index for index, kind in enumerate(kinds)}))
    rounds = max(1, frame["round"].nunique())
    bars = alt.Chart(frame).mark_bar(size=max(4, min(46, 0.6 * WIDTH / rounds)))
    bars = bars.encode(
        x=alt.X("round:O", title="round", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("sum(rows):Q", title="rationales", axis=alt.Axis(format="~s")),
        color=alt.Color("kind:N", scale=order, title=None),
        order=alt.Order("rank:Q"),
        tooltip=["round:O", "kind:N", alt.Tooltip("label:N", title="reason"), alt.Tooltip("rows:Q", format=",d")],
        detail="label:N",
    )
    note = "sampled rationales by what became of them"
    return bars.properties(width=WIDTH, height=HEIGHT, title=title("What did each round train on?", note))


def truncation_curve(frame: pd.DataFrame) -> Chart:
    """Share of answers unchanged when the rationale is cut: columns place (0..1), same, low, high, n."""
    tips = [alt.Tooltip("place:Q", format=".0%", title="part shown"), *tooltip("same", "low", "high", "n")]
    base = alt.Chart(frame).encode(
        x=alt.X(
            "place:Q",
            title="part of the rationale shown",
            axis=alt.Axis(format="%", tickCount=5),
            scale=alt.Scale(domain=[0, 1]),
        ),
        color=alt.value(COLOURS["faithfulness"]),
    )
    band = base.mark_area(opacity=0.15).encode(y="low:Q", y2="high:Q")
    line = base.mark_line(strokeWidth=2.5, point=alt.OverlayMarkDef(size=36))
    line = line.encode(y=share_axis("answer as with the whole rationale", "same"), tooltip=tips)
    note = f"{n_note(frame)} rationales; high on the left: the answer was settled before the reasoning; band: 95 %"
    heading = title("How much of the rationale does the answer need?", note)
    return alt.layer(band, line).properties(width=WIDTH, height=HEIGHT, title=heading)


def measure_bars(frame: pd.DataFrame) -> Chart:
    """Each effect beside its control: columns label, kind (effect, control), value, low, high, n."""
    kinds = {"effect": COLOURS["faithfulness"], "control": COLOURS["neutral"]}
    tips = ["label:N", "kind:N", *tooltip("value", "low", "high", "n")]
    base = alt.Chart(frame).encode(
        y=alt.Y("label:N", sort=list(dict.fromkeys(frame["label"])), title=None, axis=alt.Axis(labelLimit=450)),
        yOffset=alt.YOffset("kind:N", sort=list(kinds)),
        color=alt.Color("kind:N", scale=alt.Scale(domain=list(kinds), range=list(kinds.values())), title=None),
        tooltip=tips,
    )
    drawn = _dots_across(base, alt.X("low:Q", title="share", **_across(frame)))
    note = "grey: what a change that should not matter does; bars: 95 % intervals"
    heading = title("Does changing the rationale change the answer?", note)
    return drawn.properties(width=WIDTH - 160, height=alt.Step(14), title=heading)


def _across(frame: pd.DataFrame) -> dict[str, Any]:
    """Axis and scale across the page for shares: 0 to 100 %, with room for a dot at either end; wider where they are."""
    if not frame["value"].between(-0.01, 1).all() or frame["low"].min() < -0.03:
        return {"axis": alt.Axis(format="%", tickCount=5), "scale": alt.Scale(zero=True, padding=12)}
    axis = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1])
    return {"axis": axis, "scale": alt.Scale(domain=[-0.03, 1.03], nice=False)}


def _unit(part: pd.DataFrame) -> str:
    """What one measure is counted in, by its column unit: "share" where there is none."""
    return str(part["unit"].iloc[0]) if "unit" in part else "share"


def _whole(part: pd.DataFrame) -> alt.Scale:
    """A scale that holds 0 and all intervals."""
    ends = part[["value", "low", "high"]].to_numpy(float)
    return alt.Scale(domain=[min(0.0, float(np.nanmin(ends))), max(0.0, float(np.nanmax(ends)))], padding=12)


def against_size(frame: pd.DataFrame, question: str) -> Chart:
    """A panel per measure against parameters (log): columns parameters, measure, value, low, high, n and the arm.

    A column unit names what is not a share. Several dots of one arm and size are seeds; the line goes through their mean.
    """
    measures = list(dict.fromkeys(frame["measure"]))
    names = list(dict.fromkeys(frame["arm"]))
    across = min(2, len(measures))
    width = WIDTH if across == 1 else (WIDTH - 70) / across
    panels = []
    for measure in measures:
        part = frame[frame["measure"] == measure]
        unit = _unit(part)
        y = share_axis("share", "value") if unit == "share" else alt.Y("value:Q", title=unit, scale=_whole(part))
        tips = ["measure:N", "arm:N", alt.Tooltip("parameters:Q", format=",d"), *tooltip("value", "low", "high", "n")]
        sizes = sorted({float(size) for size in part["parameters"]})
        axis_x = alt.Axis(format=".2~s", title="parameters (log scale)", grid=False, values=sizes, labelOverlap="greedy")
        x = alt.X("parameters:Q", scale=alt.Scale(type="log", nice=False, padding=14), axis=axis_x)
        base = alt.Chart(part).encode(x=x, color=_series(names, "arm"), tooltip=tips)
        bars = base.mark_rule(strokeWidth=1.6, opacity=0.6).encode(y=alt.Y("low:Q"), y2="high:Q")
        means = part.groupby(["arm", "parameters"], sort=False)["value"].mean().reset_index()
        line = alt.Chart(means).mark_line(strokeWidth=2.2).encode(x=x, y=y, color=_series(names, "arm"))
        dots = base.mark_point(size=50, filled=True, opacity=1).encode(y=y, shape=_shape(names))
        head = alt.TitleParams(measure, fontSize=13, offset=8)
        panels.append(alt.layer(bars, line, dots).properties(width=width, height=190, title=head))
    drawn = alt.concat(*panels, columns=across, spacing=26)
    seeds = "; a dot per seed, lines through their means" if frame.duplicated(["measure", "arm", "parameters"]).any() else ""
    return drawn.properties(title=title(question, f"{n_note(frame)}; bars: 95 % intervals{seeds}"))


def arms_by_round(panels: Mapping[str, pd.DataFrame]) -> Chart:
    """A panel like `accuracy_by_round` for each arm, two in a row; takes `rounds_frame` of each."""
    drawn = [accuracy_by_round(frame, name).properties(width=(WIDTH - 70) / 2, height=200) for name, frame in panels.items()]
    return alt.concat(*drawn, columns=2, spacing=26).properties(title=title("Which arm learns what, and when?"))


def comparison(frame: pd.DataFrame, question: str = "Do they differ?", counted: str = "questions") -> Chart:
    """A panel per measure, a dot and interval per arm: columns label (arm), measure, value, low, high, n (of what is `counted`).

    A column unit names what is not a share.
    """
    frame = frame.dropna(subset=["value"])
    labels = list(dict.fromkeys(frame["label"]))
    panels = []
    for measure in dict.fromkeys(frame["measure"]):
        part = frame[frame["measure"] == measure]
        unit = _unit(part)
        there = [name for name in labels if name in set(part["label"])]
        y = alt.Y("label:N", scale=alt.Scale(domain=there), title=None, axis=alt.Axis(labelLimit=230))
        base = alt.Chart(part).encode(
            y=y, color=_series(labels, "label", legend=None), tooltip=["label:N", *tooltip("value", "low", "high", "n")]
        )
        amount = {"axis": alt.Axis(format=".2~f", tickCount=5), "scale": _whole(part)}
        x = alt.X("low:Q", **({"title": "", **_across(part)} if unit == "share" else {"title": unit, **amount}))
        head = alt.TitleParams(str(measure), fontSize=13, offset=6)
        panels.append(_dots_across(base, x).properties(width=210, height=alt.Step(24), title=head))
    note = f"{n_note(frame)} {counted}; bars: 95 % intervals"
    return alt.concat(*panels, columns=2, spacing=26).properties(title=title(question, note))


def reliability(frame: pd.DataFrame, question: str = "Is 30 % unsound really 30 %?") -> Chart:
    """Columns predicted (mean of the bin), observed (share), low, high, n."""
    tips = tooltip("predicted", "observed", "low", "high", "n")
    axis = alt.Axis(format="%", tickCount=5)
    base = alt.Chart(frame).encode(
        x=alt.X("predicted:Q", title="unsound by the automatic score", axis=axis, scale=alt.Scale(domain=[0, 1])), tooltip=tips
    )
    line = alt.Chart(pd.DataFrame({"predicted": [0, 1], "observed": [0, 1]}))
    perfect = line.mark_line(color=COLOURS["neutral"], strokeDash=[5, 4]).encode(x="predicted:Q", y="observed:Q")
    colour = COLOURS["unsound"]
    bars = base.mark_rule(color=colour, strokeWidth=2).encode(y=alt.Y("low:Q"), y2="high:Q")
    size = alt.Size("n:Q", title="rationales", scale=alt.Scale(range=[30, 320]), legend=alt.Legend(format="~s"))
    dots = base.mark_circle(color=colour, opacity=1).encode(y=share_axis("unsound by label", "observed"), size=size)
    note = f"n = {int(frame['n'].sum()):,} labelled rationales; dashed: perfect; bars: 95 % intervals"
    return alt.layer(perfect, bars, dots).properties(width=WIDTH * 0.6, height=WIDTH * 0.5, title=title(question, note))
