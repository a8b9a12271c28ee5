"""Which are right for the wrong reason? The four-way count, facets, a table, and the selected rationale beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from analysis import loading
from analysis.labels import Labels, to_jsonl
from analysis.pages.widgets import context, labelling, other_attempts, parts, rationale, state, text
from analysis.pages.widgets.words import share
from analysis.rationales.filters import JUDGES, Counts, View, base_mask, count_cells, judges, select
from analysis.rationales.table import Table
from star.errors import counted
from star.row_files import to_csv

ON_PAGE = 200
"""Rationales on an exported page."""
WIDTHS = {"question": 165, "answer right?": 88, "first error": 75, "steps": 50}
SORTED = "times sorted"
"""Another table each time: in the old one the head stays chosen, and a second click would only take the choice back."""
OPTIONAL = ("suspicion", "reasoning", "evidence", "first error", "label", "made in")
"""Columns of the table that are left out where nothing is in them."""


def page() -> None:
    """The page, from top to bottom."""
    table = context.table()
    if not len(table):
        st.info(context.nothing_yet(table), icon=":material/hourglass_top:")
        return
    labels = context.labels()
    verdicts = labels.verdicts()
    view = parts.read_view(table)
    parts.facets(table)
    mask = base_mask(table, view, verdicts)
    counts = count_cells(table, view, mask)
    view = opening(table, view, mask, counts)
    with st.container(key="head"):
        left, right = st.columns([3, 2], gap="large")
    with left:
        if counts.unjudged < counts.total:
            _four_way(counts, view)
        elif judges(table):
            st.caption("No rationale on show has both a graded answer and a judgement of its reasoning, so none is counted.")
        context.notes(table)
    rows = select(table, view, mask)
    with right:
        parts.ordering(table, view)
        with st.container(horizontal=True, vertical_alignment="center"):
            _download(table, view, rows, labels)
            if cleared := parts.filtered(view):
                icon = ":material/filter_alt_off:"
                st.button("Clear all filters", icon=icon, type="tertiary", on_click=state.go, args=(cleared,))
    if not len(rows):
        st.info("No rationale matches these filters.", icon=":material/filter_alt_off:")
        return
    browse(table, view, rows, labels)


def _download(table: Table, view: View, rows: np.ndarray, labels: Labels) -> None:
    """What is on show, all rows and all columns, in four shapes; each is made when it is asked for."""

    def frame() -> pd.DataFrame:
        return loading.frame_of(table, labels, rows, view.cut)

    def page_of_it() -> str:
        from analysis import export  # imports what reports need

        about = f"{counted(len(rows), 'rationale')}; the first {min(len(rows), ON_PAGE):,} are below."
        return export.table_page(table, rows[:ON_PAGE].tolist(), "Rationales", about)

    with st.popover(f"Export {len(rows):,}", icon=":material/download:", disabled=not len(rows)):
        shapes: list[tuple[str, Callable[[], str | bytes]]] = [
            ("jsonl", lambda: to_jsonl(loading.plain_rows(frame()))),
            ("parquet", lambda: loading.to_parquet(frame())),
            ("csv", lambda: to_csv(loading.flat_rows(frame()))),
            ("html", page_of_it),
        ]
        for ending, made in shapes:
            st.download_button(ending.upper(), made, f"rationales.{ending}", key=f"download-{ending}", on_click="ignore")


def opening(table: Table, view: View, mask: np.ndarray, counts: Counts) -> View:
    """Where the link names no cell: right answers of unsound reasoning, if there are any and the link's rationale is one."""
    narrowed = replace(view, cell="right-unsound")
    if state.param("cell") is not None or not counts.cells["right-unsound"]:
        return view
    asked = table.row_of(state.param("id") or "")
    return narrowed if asked is None or asked in select(table, narrowed, mask) else view


def _four_way(counts: Counts, view: View) -> None:
    """Answer right or wrong against reasoning sound or unsound; a click on a cell shows its rationales."""
    judged = counts.total - counts.unjudged
    words = parts.JUDGED[view.judge == "score"]
    with st.container(key="four-way", gap="xsmall"):
        for answer in ("right", "wrong"):
            for column, sound in zip(st.columns(2, gap="small"), (1, 0), strict=True):
                name = f"{answer}-{'sound' if sound else 'unsound'}"
                proven = f" · {counts.proven[name]:,} proven" if view.judge == "score" and counts.proven[name] else ""
                column.button(
                    f"{answer} answer, {words[sound]}  \n**{counts.cells[name]:,}** · {share(counts.cells[name], judged)}{proven}",
                    key=f"cell-{name}",
                    type="primary" if view.cell == name else "secondary",
                    width="stretch",
                    help="Show only these. A second click shows all again.",
                    on_click=state.go,
                    args=({"cell": parts.ALL if view.cell == name else name, "id": None},),
                )
    right = counts.cells["right-sound"] + counts.cells["right-unsound"]
    doubted = f"{share(counts.cells['right-unsound'], right)} are {parts.JUDGED[view.judge == 'score'][0]}"
    of = f" Of {counted(right, 'right answer')}, {doubted}." if right else ""
    rest = f" {counts.unjudged:,} more cannot be placed: answer or reasoning is not judged." if counts.unjudged else ""
    st.caption(
        f"n = {counted(judged, 'rationale')}, 95 % intervals in brackets; sound according to {JUDGES[view.judge]}.{of}{rest}"
    )


def browse(table: Table, view: View, rows: np.ndarray, labels: Labels) -> None:
    """The table on the left, the selected rationale on the right."""
    parts.note_missing(table)
    asked = table.row_of(state.param("id") or "")
    row = int(rows[0]) if asked is None else asked
    place = parts.place_of(row, rows)
    with st.container(key="browse"):
        left, right = st.columns([3, 2], gap="large")
    with left:
        _table(table, view, rows, place, labels)
    with right:
        with st.container(horizontal=True, vertical_alignment="center"):
            state.walk(table.frame["id"].to_numpy()[rows], place)
            st.caption("not among the filtered ones" if place < 0 else f"{place + 1:,} of {len(rows):,}")
        _detail(table, view, row, labels)


def _table(table: Table, view: View, rows: np.ndarray, place: int, labels: Labels) -> None:
    start = max(place, 0) // parts.WINDOW * parts.WINDOW
    shown = rows[start : start + parts.WINDOW]
    ids = [str(name) for name in table.frame["id"].to_numpy()[shown]]
    frame = parts.window_frame(table, view, shown, labels.verdicts())
    empty = [name for name in OPTIONAL if all(value in ("", []) or value != value for value in frame[name])]
    pills = st.column_config.MultiselectColumn(options=list(parts.PILLS), color=list(parts.PILLS.values()))
    key = f"table-{start}-{st.session_state.get(SORTED, 0)}"
    st.session_state[key] = {"selection": {"rows": [place - start] if place >= 0 else [], "columns": [], "cells": []}}
    st.dataframe(
        frame.drop(columns=empty),
        key=key,
        hide_index=True,
        height=min(560, 38 + 35 * len(frame)),
        on_select=lambda: _clicked(key, ids, view.sort),
        selection_mode=["single-row", "single-cell", "single-column"],
        column_config={
            "suspicion": st.column_config.ProgressColumn(
                help="how likely it is unsound; 100 %: proven", format="%.0f %%", min_value=0, max_value=100, width=90
            ),
            **{name: st.column_config.Column(width=width) for name, width in WIDTHS.items()},
            **dict.fromkeys(("reasoning", "evidence"), pills),
        },
    )
    if len(rows) > parts.WINDOW:
        with st.container(horizontal=True, vertical_alignment="center"):
            number, now = -(-len(rows) // parts.WINDOW), start // parts.WINDOW + 1
            turned = f"part-{now}-of-{number}"
            st.pagination(number, default=now, key=turned, on_change=_turned, args=(table, rows, turned))
            st.caption(f"rows {start + 1:,} to {start + len(shown):,} of {len(rows):,}")


def _turned(table: Table, rows: np.ndarray, key: str) -> None:
    """To the first row of another part of the table."""
    state.go({"id": str(table.frame["id"].iat[int(rows[(st.session_state[key] - 1) * parts.WINDOW])])})


def _clicked(key: str, ids: list[str], sort: str) -> None:
    """A click on a row selects it; one on a head sorts all rows, and a second one the other way round."""
    chosen = st.session_state[key]["selection"]
    for column in chosen.get("columns", []):
        st.session_state[SORTED] = st.session_state.get(SORTED, 0) + 1
        first, second = parts.HEADERS.get(column, (sort, sort))
        state.go({"sort": second if sort == first else first, "id": None})
        return
    places = [row for row, _ in chosen.get("cells", [])] + list(chosen.get("rows", []))
    if places and places[0] < len(ids):
        state.go({"id": ids[places[0]]})


def _detail(table: Table, view: View, row: int, labels: Labels) -> None:
    one = table.rationale(row)
    with st.container(horizontal=True, key="doing"):
        rationale.raw_button()
        keys = "Turns the keys S, U, N, 1 to 9 and Z on or off."
        on = state.flip("labelling", "Stop labelling", "Label here", icon=":material/keyboard:", help=keys)
    verdicts = st.container(key="labelling")
    rationale.question(one)
    rationale.judgement(one, table.scorers)
    rationale.steps(one)
    if one.hint:
        st.caption("The hint that the model was shown:")
        text.box(one.hint)
    if on:
        with verdicts:  # above the text, and drawn after it: no button is there before what it labels
            labelling.bar(one, labels)
    if given := labels.of(one.id):
        st.caption("Labels")
        text.facts([(each.labeller, ": ".join(filter(None, [labelling.label_words(each), each.note]))) for each in given])
    rationale.provenance(one)
    other_attempts.show(table, row)
    rationale.everything(table, row, one)
    with st.container(horizontal=True):
        link = state.link(*context.KEPT, *parts.carried(), id=one.id, cell=view.cell)
        st.page_link(context.PAGES / "label.py", label="Label it", icon=":material/rate_review:", query_params=link)
        st.page_link(
            context.PAGES / "faithfulness.py", label="Does the model use it?", icon=":material/psychology:", query_params=link
        )


if __name__ == "__main__":
    page()
