"""Pieces that several pages share: a rationale with its marked steps, facets, the four-way count, the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis import charts
from analysis.pages.widgets import state, text
from analysis.pages.widgets.run_words import DROPPED, KINDS, MODES, NO_REASON, VERDICTS
from analysis.rationales.filters import (
    CELLS,
    EVIDENCE,
    FACETS,
    JUDGES,
    SORTS,
    Counts,
    Judge,
    View,
    evidence,
    judges,
    soundness,
)
from analysis.rationales.table import Rationale, Table
from analysis.soundness.grades import THRESHOLD, score_words
from star.charts import COLOURS
from star.statistics import wilson

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
PILLS = {"sound": "green", "unsound": "red", **dict(zip(EVIDENCE.values(), ("red", "orange", "gray", "green", "gray"), strict=True))}
"""Judgement in words -> its colour in the table."""
"""Parameters of a link that say which rationales are on show, and in what order."""
ALL = "all"
"""The parameter `cell` where all four are asked for; without it the page Rationales opens on right answers of unsound reasoning."""
WINDOW = 100
"""Rows of the table that the browser gets at a time."""


def draw(chart: Any, *, width: Any = "stretch") -> None:
    """A chart in the project's look, in ink that can be read on the page's theme; "content": as wide as it is."""
    if width == "stretch":
        chart = chart.properties(width="container")
    dark = st.context.theme.type == "dark"
    st.altair_chart(charts.style(chart, "dark" if dark else "light"), width=width, theme=None)


def command(*lines: str) -> None:
    """What to type, all of it in view."""
    st.code("\n".join(lines), language=None, wrap_lines=True)


def note_missing(table: Table) -> None:
    """Say so where the link names a rationale that is not here."""
    identifier = state.param("id")
    if identifier is not None and table.row_of(identifier) is None:
        st.info("The rationale that this link names is not here; this is another one.", icon=":material/link_off:")


def share(k: int, n: int) -> str:
    """ "12.3 % (10.1 to 14.8)", or "-" of nothing."""
    if not n:
        return "-"
    interval = wilson(k, n)
    return f"{100 * interval.value:.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def check_words(name: str) -> str:
    """ "equation_false" -> "equation false"."""
    return text.shorten(name.replace("_", " "), 60)


def facet_words(facet: str, value: str) -> str:
    """A facet's value for a person."""
    if facet == "round":
        return "base model" if value == "0" else f"round {value}"
    if facet == "slice":
        return text.shorten(KINDS.get(value, value.replace("_", " ")), 60)
    return MODES.get(value, text.shorten(value, 60)) if facet == "mode" else text.shorten(value, 60)


def read_view(table: Table) -> View:
    """The view that the link asks for; what does not fit the table is ignored."""
    there = judges(table) or ["score"]
    judge: Judge = next((one for one in JUDGES if one == state.param("judge") and one in there), there[0])
    facets = [(name, value) for name in FACETS if (value := state.choice(name, values(table, name)))]
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


def values(table: Table, facet: str) -> list[str]:
    """Values of a facet that occur, in order."""
    column = table.frame[facet]
    used = np.bincount(column.cat.codes.to_numpy() + 1, minlength=len(column.cat.categories) + 1)[1:] > 0
    return [str(value) for value, there in zip(column.cat.categories, used, strict=True) if there]


def facets(table: Table, *, blind: bool = False) -> None:
    """The row of filters. `blind` leaves out those that tell the automatic score."""
    forget = ("id",)
    with st.container(horizontal=True, vertical_alignment="bottom", key="facets"):
        for name, label in FACETS.items():
            options = values(table, name)
            if len(options) > 1:
                words = {value: facet_words(name, value) for value in options}
                state.select(label, name, options, show=words.__getitem__, forget=forget, width=_wide(options))
        if table.checks and not blind:
            checks = sorted(table.checks, key=lambda name: -len(table.checks[name]))
            state.select(
                "Check that fired",
                "check",
                checks,
                show=lambda name: f"{check_words(name)} ({len(table.checks[name]):,})",
                forget=forget,
                width=180,
            )
        if table.scored and not blind:
            state.select("Evidence", "evidence", list(EVIDENCE), show=EVIDENCE.__getitem__, forget=forget, width=150)
        most = int(table.frame["n_steps"].max()) if len(table) else 0
        state.whole("Steps from", "fewest", 0, max(most, 1), width=95, placeholder="any")
        state.whole("to", "most", 0, max(most, 1), width=95, placeholder="any")
        statuses = [status for status in STATUSES if not (blind and status == "disputed")]
        state.select("Label", "status", statuses, show=STATUSES.__getitem__, forget=forget, width=140)
        state.words(
            "Search texts and ids",
            "words",
            forget,
            width="stretch",
            icon=":material/search:",
            help='All words must occur. "Several words" in quotation marks are searched as they are.',
        )


def _wide(options: list[str]) -> int:
    return 112 if max(map(len, options)) < 10 else 160


def ordering(table: Table, view: View) -> None:
    """Who judges, from which score on, and the order."""
    there = judges(table)
    with st.container(horizontal=True, vertical_alignment="bottom", key="ordering"):
        if len(there) > 1:
            state.select("Sound according to", "judge", there, default=there[0], show=_judge_words, width=230)
        if view.judge == "score" and table.scored:
            state.whole("flagged from %", "cut", 1, 99, width=130, placeholder=f"{100 * THRESHOLD:.0f}")
        sorts = [name for name, (_, column, _) in SORTS.items() if table.scored or column not in ("p_unsound", "first_error")]
        default = "suspicious" if table.scored else "stored"
        state.select("Order", "sort", sorts, default=default, show=lambda name: SORTS[name][0], width=220)


def _judge_words(judge: str) -> str:
    return next(words for name, words in JUDGES.items() if name == judge)


def four_way(counts: Counts, view: View) -> None:
    """Answer right or wrong against reasoning sound or unsound; a click on a cell shows its rationales."""
    judged = counts.total - counts.unjudged
    words = JUDGED[view.judge == "score"]
    with st.container(key="four-way", gap="xsmall"):
        for answer in ("right", "wrong"):
            for column, sound in zip(st.columns(2, gap="small"), (1, 0), strict=True):
                name = f"{answer}-{'sound' if sound else 'unsound'}"
                proven = f" · {counts.proven[name]:,} proven" if view.judge == "score" and counts.proven[name] else ""
                column.button(
                    f"{answer} answer, {words[sound]}  \n**{counts.cells[name]:,}**  {share(counts.cells[name], judged)}{proven}",
                    key=f"cell-{name}",
                    type="primary" if view.cell == name else "secondary",
                    width="stretch",
                    help="Show only these. A second click shows all again.",
                    on_click=state.go,
                    args=({"cell": ALL if view.cell == name else name, "id": None},),
                )
    right = counts.cells["right-sound"] + counts.cells["right-unsound"]
    doubted = f"{share(counts.cells['right-unsound'], right)} are {JUDGED[view.judge == 'score'][0]}"
    of = f" Of {right:,} right answers, {doubted}." if right else ""
    rest = f" {counts.unjudged:,} more cannot be placed: answer or reasoning is not judged." if counts.unjudged else ""
    st.caption(
        f"n = {judged:,} rationales, 95 % intervals in brackets; sound according to {_judge_words(view.judge)}.{of}{rest}"
    )


def window_frame(table: Table, view: View, rows: np.ndarray, labels: Mapping[str, str]) -> pd.DataFrame:
    """The columns of the rows on show, in words."""
    part = table.frame.iloc[rows]
    asked = [text.shorten(table.texts.get("question", int(row)) or "", 120) for row in rows]
    known = [EVIDENCE[name] for name in evidence(table, view.cut)[rows]]
    sound = [JUDGED[0].get(int(value), "?") for value in soundness(table, view.judge, view.cut)[rows]]
    first = part["first_error"].to_numpy()
    return pd.DataFrame(
        {
            "suspicion": np.round(100 * part["p_unsound"].to_numpy()),
            "question": asked,
            "answer": [text.shorten(value, 40) if isinstance(value, str) else "none" for value in part["answer"]],
            "answer right?": [{1: "right", 0: "wrong"}.get(value, "?") for value in part["right"]],
            "reasoning": [[] if view.judge == "score" or word == "?" else [word] for word in sound],
            "evidence": [[word] if table.scored else [] for word in known],
            "first error": [f"step {step + 1}" if step >= 0 else "" for step in first],
            "steps": part["n_steps"].to_numpy(),
            "label": [labels.get(name, "") for name in part["id"]],
            "made in": [_made_in(row) for row in part[["round", "mode"]].itertuples(index=False)],
        }
    )


def _made_in(row: tuple[object, object]) -> str:
    number, mode = row
    words = [facet_words("round", number)] if isinstance(number, str) else []
    return ", ".join(words + ([MODES.get(mode, mode).split(" (")[0]] if isinstance(mode, str) else []))


def neighbours(rows: np.ndarray, table: Table, identifier: str | None) -> tuple[int, str | None, str | None]:
    """(place of the selected rationale in the rows, id before, id after); place -1: it is not among them."""
    row = table.row_of(identifier) if identifier else None
    places = np.flatnonzero(rows == row) if row is not None else np.array([], dtype=int)
    if not len(places):
        return -1, None, _id(table, rows[0]) if len(rows) else None
    place = int(places[0])
    before = _id(table, rows[place - 1]) if place else None
    return place, before, _id(table, rows[place + 1]) if place + 1 < len(rows) else None


def _id(table: Table, row: int) -> str:
    return str(table.frame["id"].iat[int(row)])


def steps(one: Rationale, *, blind: bool = False, error_step: int | None = None) -> None:
    """The steps, with the first wrong or likeliest wrong one marked and the reason under every flagged step.

    `error_step`: a person's label instead of the automatic one. `blind`: neither marks nor reasons. Only what is proven or
    labelled has the colour of an error.
    """
    if not one.steps:
        st.caption("This rationale is empty.")
        return
    first = error_step if error_step is not None else -1 if blind else one.first_error
    reasons: dict[int, list[str]] = {}
    for flag in () if blind else one.flags:
        reasons.setdefault(flag.step, []).append(flag.message or check_words(flag.check))
    if error_step is None and first >= 0:
        reasons.setdefault(first, [NO_REASON])
    certain = error_step is not None or one.p_unsound == 1
    name = "first wrong step" if error_step is not None else _first_words(one)
    items = []
    for i, step in enumerate(one.steps[:500]):
        why = "".join(f'<div class="r-why">↳ {text.escaped(message)}</div>' for message in reasons.get(i, []))
        style = "r-first" if i == first and certain else "r-flagged" if why or i == first else ""
        mark = f'<div class="r-why r-mark">▲ {name}</div>' if i == first else ""
        body = f'<div class="r-text">{text.escaped(step)}{mark}{why}</div>'
        items.append(f'<li class="r-step {style}"><span class="r-no">{i + 1}</span>{body}</li>')
    st.html(f'<ol class="r-steps">{"".join(items)}</ol>')
    if len(one.steps) > 500:
        st.caption(f"{len(one.steps) - 500:,} more steps are not shown.")
    for message in reasons.get(-1, []):
        st.html(f'<div class="r-why">↳ the whole: {text.escaped(message)}</div>')
    entries = [(COLOURS["unsound" if certain else "rationalized"], name)] * (first >= 0)
    if any(0 <= step != first for step in reasons):
        entries.append((COLOURS["rationalized"], "another doubt"))
    if entries:
        text.key(*entries)


def _first_words(one: Rationale) -> str:
    """What the step is that the judgement names."""
    return "first wrong step" if one.p_unsound == 1 else "likeliest wrong step"


def judgement(one: Rationale, view: View) -> None:
    """Right or wrong, sound or unsound, with how sure the score is."""
    right = {1: "right", 0: "wrong"}.get(one.row["right"], "not graded")
    said = "none" if one.answer is None else text.shorten(one.answer, 200)
    gold = f" (expected {text.shorten(one.gold, 200)})" if one.gold is not None and right != "right" else ""
    doubt = score_words(one.p_unsound)
    exact = {1: "sound by the task's exact check", 0: "unsound by the task's exact check"}.get(one.row["exact"])
    human = {1: "sound by the label in the file", 0: "unsound by the label in the file"}.get(one.row["human"])
    where = ""
    if one.first_error >= 0:
        where = f"{_first_words(one)}: step {one.first_error + 1}"
    pairs: list[tuple[str, object]] = [
        ("answer", f"{said}: {right}{gold}"),
        ("gold", one.gold if right == "right" else None),
        ("reasoning", "; ".join(part for part in (human, exact, doubt, where) if part)),
    ]
    text.facts(pairs)


def provenance(one: Rationale) -> None:
    """Where the attempt came from."""
    row = one.row
    number = row.get("round")
    kept = row.get("kept")
    reason = DROPPED.get(str(row.get("drop_reason")))
    fate = "became a training row" if kept is True or kept == 1 else f"dropped: {reason}" if reason else ""
    text.facts(
        [
            ("made in", None if number is None else facet_words("round", str(number))),
            ("how", MODES.get(str(row.get("mode")), row.get("mode"))),
            ("split", row.get("split")),
            ("kind of task", facet_words("slice", row["slice"]) if row.get("slice") else None),
            ("written by", row.get("generator")),
            ("verdict", VERDICTS.get(str(row.get("verdict")))),
            ("what became of it", fate),
            ("length", f"{row['tokens']:,} tokens, {len(one.steps)} steps" if row.get("tokens") else None),
        ]
    )
