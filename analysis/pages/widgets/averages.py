"""Averages of all probed rationales: measures with their controls and intervals, and the truncation curve."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from analysis import charts
from analysis.pages.widgets import parts, state
from analysis.pages.widgets.measures import NATS, explanations, interval_words, measure_rows, measure_unit, measure_words
from star.errors import counted
from star.schemas import CurvePoint, ProbedRound
from star.statistics import wilson


def show(content: ProbedRound) -> None:
    """Measures with their controls and intervals, and the truncation curve of all rationales."""
    st.header("All probed rationales", anchor=False, divider="gray")
    right = content.get("n_correct")  # None: the answers are not graded
    accuracy = interval_words(content.get("accuracy") or {})
    graded = "" if right is None else f", {right:,} with a right answer: {accuracy}"
    st.caption(
        f"n = {counted(content.get('n_rationales') or 0, 'rationale')}{graded}. Brackets: 95 % intervals, questions resampled."
    )
    scopes = {"all": "all", "right": "right answers only"}
    scope = "all" if right is None else state.segments("Counted", "scope", list(scopes), "all", scopes)
    measures = (content.get("measures") if scope == "all" else content.get("measures_correct")) or {}
    curve = curve_frame((content.get("curves") or {}).get("early_answering") or [])
    if len(curve):
        parts.draw(charts.truncation_curve(curve))
    bars = [
        {"label": measure_words(name), "kind": kind} | {key: value.get(key) for key in ("value", "low", "high", "n")}
        for name, measure in measures.items()
        if (control := measure.get("control")) and None not in (measure["value"], control["value"]) and measure_unit(name) != NATS
        for kind, value in (("effect", measure), ("control", control))
    ]
    if bars:
        parts.draw(charts.measure_bars(pd.DataFrame(bars)))
    if rows := measure_rows(measures):
        frame = pd.DataFrame(rows).replace(["", "-"], None).dropna(axis=1, how="all")
        frame["measure"] = frame["measure"].map(measure_words)
        widths = {"n": 60, "measure": 400, "value (95 %)": 180, "control": 170, "corrected": 180}
        columns = {name: st.column_config.Column(width=width) for name, width in widths.items()}
        said = ["Corrected: what is left of an effect without its control, (effect - control) / (1 - control)."]
        st.caption("  \n".join(explanations(" ".join(map(str, frame.to_numpy().ravel()))) + said))
        parts.table(frame, 700, column_config=columns)


def curve_frame(points: Sequence[CurvePoint]) -> pd.DataFrame:
    """Points of all lengths, averaged at tenths of the rationale by their n.

    Of the points of one length only the one nearest to the tenth counts: several cuts of the same rationales are no
    independent answers.
    """
    known = [point for point in points if point.get("n_steps") and point.get("n") and point.get("same") is not None]
    if not known:
        return pd.DataFrame()
    frame = pd.DataFrame(known)
    part = frame["position"] / frame["n_steps"]
    frame = frame.assign(place=(part * 10).round() / 10, kept=frame["n"] * frame["same"])
    frame["away"] = (part - frame["place"]).abs().round(9)
    nearest = frame.sort_values("away", kind="stable").drop_duplicates(["place", "n_steps"])
    sums = nearest.groupby("place")[["kept", "n"]].sum().reset_index()
    intervals = [wilson(round(kept), int(n)).as_dict() for kept, n in zip(sums["kept"], sums["n"], strict=True)]
    return pd.DataFrame(intervals).assign(place=sums["place"], same=sums["kept"] / sums["n"])
