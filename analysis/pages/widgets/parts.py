"""Pieces that several pages share: facets, the four-way count, the rows of the table, numbers in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis.pages.widgets import markup, state, text
from analysis.pages.widgets.words import KINDS, MODES
from analysis.rationales.filters import CELLS, EVIDENCE, FACETS, JUDGES, SORTS, Judge, View, evidence, judges, soundness
from analysis.rationales.table import Table
from analysis.soundness.grades import THRESHOLD

STATUSES = {
    "unlabelled": "not labelled yet",
    "labelled": "labelled",
    "sound": "labelled sound",
    "unsound": "labelled unsound",
    "unsure": "labelled unsure",
    "disputed": "label and judge differ",
}
FILTERS = ("cell", *FACETS, "evidence", "check", "fewest", "most", "words", "status")
VIEW = (*FILTERS, "sort", "judge", "cut")
"""Parameters of a link that say which rationales are on show, and in what order."""
JUDGED = ({1: "sound", 0: "unsound"}, {1: "not flagged", 0: "proven unsound or flagged"})
"""What a judgement is called: of people and exact checks, of a score."""
HEADERS = {
    "suspicion": ("suspicious", "trusted"),
    "question": ("asked", "asked-back"),
    "answer": ("answer", "answer-back"),
    "answer right?": ("wrong", "right"),
    "evidence": ("suspicious", "trusted"),
    "first error": ("early", "late"),
    "steps": ("long", "short"),
}
"""Column of the table -> the two orders that a click on its head goes through."""
PILLS = {
    "sound": "green",
    "unsound": "red",
    **dict(zip(EVIDENCE.values(), ("red", "orange", "gray", "green", "gray"), strict=True)),
}
"""Judgement in words -> its colour in the table."""
ALL = "all"
"""The parameter `cell` where all four are asked for; without it the page Rationales opens on right answers of unsound reasoning."""
WINDOW = 100
"""Rows of the table that the browser gets at a time."""


def draw(chart: Any, *, width: Any = "stretch") -> None:
    """A chart in the project's look, in ink that can be read on the page's theme; "content": as wide as it is."""
    from analysis import charts  # imports altair, which no table needs

    if width == "stretch":
        chart = chart.properties(width="container")
    dark = st.context.theme.type == "dark"
    st.altair_chart(charts.style(chart, "dark" if dark else "light"), width=width, theme=None)


def two(name: str) -> list[Any]:
    """Two columns that stand below each other on a narrow screen."""
    with st.container(key=f"stack-{name}"):
        return list(st.columns(2, gap="large"))


def table(rows: pd.DataFrame, most: int = 400, **more: Any) -> None:
    """A table without its index, as high as its rows but at most so many pixels; what is missing is blank, and whole numbers have
    separators of thousands."""
    rows = rows.convert_dtypes()  # whole numbers with gaps are whole numbers too
    counts = {name: st.column_config.NumberColumn(format="localized") for name in rows.select_dtypes("integer")}
    more["column_config"] = counts | more.get("column_config", {})
    st.dataframe(rows, hide_index=True, height=min(most, 38 + 35 * max(len(rows), 1)), placeholder="", **more)


def command(*lines: str) -> None:
    """What to type, all of it in view."""
    st.code("\n".join(lines), language=None, wrap_lines=True)


def note_missing(table: Table) -> None:
    """Say so where the link names a rationale that is not here."""
    identifier = state.param("id")
    if identifier is not None and table.row_of(identifier) is None:
        st.info("The rationale that this link names is not here; this is another one.", icon=":material/link_off:")


def check_words(name: str) -> str:
    """ "equation_false" -> "equation false"."""
    return text.shorten(name.replace("_", " "), 60)


def facet_words(facet: str, value: str) -> str:
    """A facet's value for a person."""
    if facet == "round":
        return "base model" if value == "0" else f"round {value}"
    named = {"slice": KINDS.get(value, value.replace("_", " ")), "mode": MODES.get(value, value)}
    return text.shorten(named.get(facet, value), 60)


def read_view(table: Table) -> View:
    """The view that the link asks for; what does not fit the table is ignored."""
    there = judges(table) or ["score"]
    judge: Judge = next((one for one in JUDGES if one == state.param("judge") and one in there), there[0])
    facets = [(name, value) for name in facet_names(table) if (value := state.choice(name, values(table, name)))]
    cut = state.number("cut")
    return View(
        cell=state.choice("cell", list(CELLS)),
        facets=tuple(facets),
        check=state.choice("check", list(table.checks)),
        fewest=state.number("fewest"),
        most=state.number("most"),
        words=(state.param("words") or "")[:200],
        status=state.choice("status", list(STATUSES)),
        evidence=state.choice("evidence", list(EVIDENCE)) if table.scored else None,
        sort=str(state.choice("sort", list(SORTS), "suspicious" if table.scored else "stored")),
        judge=judge,
        cut=THRESHOLD if cut is None else min(max(cut, 1), 99) / 100,
    )


def facet_names(table: Table) -> dict[str, str]:
    """Column -> what a person reads: those that all tables have, and those that the records of a file bring along in `meta`."""
    brought = [str(name) for name in table.frame if str(name).startswith("meta.")]
    return FACETS | {name: name.removeprefix("meta.").replace("_", " ") for name in brought}


def carried() -> list[str]:
    """Parameters of the link that say which rationales are on show, in what order and how."""
    return [*VIEW, "raw", *(name for name in st.query_params if name.startswith("meta."))]


def filtered(view: View) -> dict[str, str | None]:
    """What the link must change to show all rationales; nothing where it filters nothing."""
    on = [name for name in carried() if name in FILTERS or name.startswith("meta.") if state.param(name)]
    return dict.fromkeys([*on, "id"]) | {"cell": ALL} if view.cell or set(on) - {"cell"} else {}


def values(table: Table, facet: str) -> list[str]:
    """Values of a facet that occur, in order."""
    column = table.frame[facet].cat
    return column.categories[np.unique(column.codes[column.codes >= 0])].astype(str).tolist()


def facets(table: Table, *, blind: bool = False) -> None:
    """The row of filters. `blind` leaves out those that tell the automatic score."""
    forget = ("id",)
    with st.container(horizontal=True, vertical_alignment="bottom", key="facets"):
        for name in FACETS:
            _facet(table, name)
        if table.scored and not blind:
            state.select("Evidence", "evidence", list(EVIDENCE), show=EVIDENCE.__getitem__, forget=forget, width=150)
        brought = [name for name in facet_names(table) if name not in FACETS]
        active = sum(state.param(name) is not None for name in (*brought, "check", "fewest", "most", "status"))
        with st.popover(f"More filters{f' ({active})' * bool(active)}", icon=":material/filter_alt:"):
            statuses = [status for status in STATUSES if not (blind and status == "disputed")]
            state.select("Label", "status", statuses, show=STATUSES.__getitem__, forget=forget)
            if table.checks and not blind:
                checks = sorted(table.checks, key=lambda name: -len(table.checks[name]))
                fired = {name: f"{check_words(name)} ({len(table.checks[name]):,})" for name in checks}
                state.select("Check that fired", "check", checks, show=fired.__getitem__, forget=forget)
            most = max(int(table.frame["n_steps"].max()), 1) if len(table) else 1
            state.whole("Steps from", "fewest", 0, most, placeholder="any")
            state.whole("to", "most", 0, most, placeholder="any")
            for name in brought:
                _facet(table, name)
        state.words(
            "Search texts and ids",
            "words",
            forget,
            width="stretch",
            icon=":material/search:",
            help='All words must occur. "Several words" in quotation marks are searched as they are.',
        )


def _facet(table: Table, name: str) -> None:
    options = values(table, name)
    if len(options) > 1:
        words = {value: facet_words(name, value) for value in options}
        wide = 112 if max(map(len, options)) < 10 else 160
        label = text.plain(facet_names(table)[name])
        state.select(label, name, options, show=words.__getitem__, forget=("id",), width=wide)


def ordering(table: Table, view: View) -> None:
    """Who judges, from which score on, and the order."""
    there, words = judges(table), {str(name): said for name, said in JUDGES.items()}
    with st.container(horizontal=True, vertical_alignment="bottom", key="ordering"):
        if len(there) > 1:
            state.select("Sound according to", "judge", there, default=there[0], show=words.__getitem__, width=230)
        if view.judge == "score" and table.scored:
            state.whole("flagged from %", "cut", 1, 99, width=130, placeholder=f"{100 * THRESHOLD:.0f}")
        sorts = [name for name, (_, column, _) in SORTS.items() if table.scored or column not in ("p_unsound", "first_error")]
        default = "suspicious" if table.scored else "stored"
        state.select("Order", "sort", sorts, default=default, show=lambda name: SORTS[name][0], width=220)


def window_frame(table: Table, view: View, rows: np.ndarray, labels: Mapping[str, str]) -> pd.DataFrame:
    """The columns of the rows on show, in words; the first ones are all that a narrow screen shows."""
    part = table.frame.iloc[rows]
    asked = [text.shorten(markup.unmarked((table.texts.get("question", int(row)) or "")[:500]), 120) for row in rows]
    known = [EVIDENCE[name] for name in evidence(table, view.cut)[rows]]
    sound = [JUDGED[0].get(int(value), "?") for value in soundness(table, view.judge, view.cut)[rows]]
    first = part["first_error"].to_numpy()
    return pd.DataFrame(
        {
            "question": asked,
            "answer right?": [{1: "right", 0: "wrong"}.get(value, "?") for value in part["right"]],
            "reasoning": [[] if view.judge == "score" or word == "?" else [word] for word in sound],
            "evidence": [[word] if table.scored else [] for word in known],
            "suspicion": np.round(100 * part["p_unsound"].to_numpy()),
            "answer": [text.shorten(value, 40) if isinstance(value, str) else "none" for value in part["answer"]],
            "first error": [f"step {step + 1}" if step >= 0 else "" for step in first],
            "steps": part["n_steps"].to_numpy(),
            "label": [labels.get(name, "") for name in part["id"]],
            "made in": [made_in(row) for row in part[["round", "mode"]].itertuples(index=False)],
        }
    )


def made_in(row: tuple[object, object]) -> str:
    """(round, mode) in words: "round 2, rationalized"."""
    number, mode = row
    words = [facet_words("round", number)] if isinstance(number, str) else []
    return ", ".join(words + ([MODES.get(mode, mode).split(" (")[0]] if isinstance(mode, str) else []))


def place_of(row: int, rows: np.ndarray) -> int:
    """Place of a row among others, -1 where it is none of them."""
    places = np.flatnonzero(rows == row)
    return int(places[0]) if len(places) else -1
