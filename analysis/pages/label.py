"""Is the automatic score to be trusted? Label by keyboard, rank blindly, and compare with the score."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import streamlit as st

from analysis import agreement, charts
from analysis.labels import Labels, export_rows, to_csv, to_jsonl
from analysis.pages.widgets import context, labelling, parts, ranking, rationale, state, text
from analysis.rationales.filters import View, base_mask, select, shuffled
from analysis.rationales.table import Table
from analysis.soundness.grades import THRESHOLD
from star.statistics import wilson

TABS = {"label": "Label", "rank": "Rank three", "agreement": "Agreement and export"}


def page() -> None:
    """The page, from top to bottom."""
    table = context.table()
    if not len(table):
        st.info(
            "There are no rationales to label yet: the first round is still going.", icon=":material/hourglass_top:"
        )
        return
    labels = context.labels()
    with st.container(horizontal=True, vertical_alignment="bottom", key="head"):
        tab = state.segments("What to do", "tab", list(TABS), "label", TABS, label_visibility="collapsed")
        labelling.who_am_i()
        blind = tab == "label" and state.switch("blind: hide the automatic score", "blind", True)
        auto = tab == "label" and state.switch("go on by itself", "auto", True)
    if labels.torn:
        st.caption(f"{labels.torn} lines of the label files cannot be read and are left out.")
    if tab == "label":
        parts.facets(table, blind=blind)
        _label(table, blind=blind, auto=auto)
    elif tab == "rank":
        ranking.tab(table, labels)
    else:
        _agreement(table, labels)


@st.fragment
def _label(table: Table, *, blind: bool, auto: bool) -> None:
    """One rationale and its buttons. A fragment: a label draws these again and nothing around them."""
    labels = context.labels()
    view = parts.read_view(table)
    who = context.labeller()
    rows = _queue(table, view, labels, who, blind=blind)
    if not len(rows):
        st.info("No rationale matches these filters.", icon=":material/filter_alt_off:")
        return
    parts.note_missing(table)
    identifier = state.param("id")
    asked = table.row_of(identifier) if identifier else None
    names = table.frame["id"].to_numpy()
    mine = [table.row_of(name) for labeller, name in labels.latest if labeller == who]
    done = np.isin(rows, [row for row in mine if row is not None])
    if asked is None:
        asked = int(rows[np.flatnonzero(~done)[0]]) if (~done).any() else int(rows[0])
    places = np.flatnonzero(rows == asked)
    place = int(places[0]) if len(places) else -1
    open_ones = np.flatnonzero(~done & (np.arange(len(rows)) != place))
    later = open_ones[open_ones > place]
    following = later if len(later) else open_ones
    upcoming = str(names[rows[following[0]]]) if len(following) else None
    one = table.rationale(asked)
    with st.container(key="stack-label"):
        left, right = st.columns([3, 2], gap="large")
    with left:
        rationale.question(one)
        if blind:
            right_word = {1: "right", 0: "wrong"}.get(one.row["right"], "not graded")
            text.facts([("answer", f"{one.answer or 'none'}: {right_word}"), ("gold", one.gold)])
        else:
            rationale.judgement(one, view)
        own = labels.latest.get((who, one.id))
        rationale.steps(one, blind=blind, error_step=own.error_step if own else None)
    with right:
        with st.container(key="labelling"):
            labelling.bar(one, labels, blind=blind, after=upcoming if auto else None)
        with st.container(horizontal=True, vertical_alignment="center"):
            state.jump(
                "Previous", str(names[rows[place - 1]]) if place > 0 else None, "K", icon=":material/arrow_upward:"
            )
            following_id = str(names[rows[place + 1]]) if place + 1 < len(rows) else None
            state.jump("Next", following_id, "J", icon=":material/arrow_downward:")
            chance = str(names[rows[int(np.random.default_rng().integers(len(rows)))]])
            state.jump("Random", chance, "X", icon=":material/casino:")
            rationale.raw_button()
        where = f"{place + 1:,} of {len(rows):,}" if place >= 0 else f"not among the {len(rows):,} filtered ones"
        order = (
            "in mixed order, so that nothing gives the score away" if blind else "in the order of the page Rationales"
        )
        st.caption(f"{where}, {order}. {text.plain(who)} has labelled {int(done.sum()):,} of them.")
        if blind and any(state.param(name) for name in ("cell", "check")):
            st.caption("Filters by the reasoning or by a check are off while the score is hidden.")
        labelling.recent(table, labels, who)
        if not blind:
            with st.expander("Where it comes from", icon=":material/history:"):
                rationale.provenance(one)
            carried = state.link(*context.KEPT, *parts.carried(), id=one.id)
            st.page_link(
                "analysis/pages/rationales.py", label="All about it", icon=":material/search:", query_params=carried
            )


def _queue(table: Table, view: View, labels: Labels, who: str, *, blind: bool) -> np.ndarray:
    """Rows to label, in order. Blind: mixed by the labeller's name, and no filter that uses the score."""
    if blind:
        hidden = View(facets=view.facets, fewest=view.fewest, most=view.most, words=view.words, sort="stored")
        status = view.status if view.status != "disputed" else None
        hidden = View(**(vars(hidden) | {"status": status}))
        return shuffled(np.flatnonzero(base_mask(table, hidden, labels.verdicts())), who)
    return select(table, view, base_mask(table, view, labels.verdicts()))


def _agreement(table: Table, labels: Labels) -> None:
    people = labels.labellers
    if not people:
        st.info("Nobody has labelled anything here yet.", icon=":material/rate_review:")
        ranking.download(labels)
        return
    scores, steps = _automatic(table, labels)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        person = state.select("Labels of", "of", people, show=_name, anything="everybody", width=200)
        cut = state.whole("flagged from %", "cut", 1, 99, width=130, placeholder=f"{100 * THRESHOLD:.0f}")
        rows = export_rows(labels, scores)
        st.download_button("All labels as JSONL", to_jsonl(rows), "labels.jsonl", "application/jsonl")
        st.download_button("All labels as CSV", to_csv(rows), "labels.csv", "text/csv")
        ranking.download(labels)
    verdicts = labels.verdicts(person)
    named = {
        label.id: (label.error_step, steps.get(label.id, -1))
        for (name, _), label in labels.latest.items()
        if person in (None, name)
    }
    found = agreement.agreement(verdicts, scores, cut / 100 if cut else THRESHOLD, named)
    if not found.n:
        st.info("None of the labelled rationales is both scored and labelled sound or unsound.")
        _people(labels)
        return
    _numbers(found)
    _people(labels)


def _name(labeller: str) -> str:
    return text.shorten(labeller, 40)


def _automatic(table: Table, labels: Labels) -> tuple[dict[str, float], dict[str, int]]:
    """p_unsound and first error of the labelled rationales."""
    scores: dict[str, float] = {}
    steps: dict[str, int] = {}
    for _, identifier in labels.latest:
        row = table.row_of(identifier)
        if row is not None:
            scores[identifier] = float(table.frame["p_unsound"].to_numpy()[row])
            steps[identifier] = int(table.frame["first_error"].to_numpy()[row])
    return scores, steps


def _numbers(found: agreement.Agreement) -> None:
    agreed = found.both_sound + found.both_unsound
    with st.container(key="stack-agreement"):
        left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Labels against the automatic score", anchor=False)
        same, placed = found.steps
        text.facts(
            [
                ("agreement", f"{parts.share(agreed, found.n)}, n = {found.n:,}"),
                ("Cohen's kappa", f"{_kappa(found.n, found.kappa)}, n = {found.n:,}"),
                ("same first wrong step", f"{parts.share(same, placed)}, n = {placed:,}" if placed else None),
                ("left out", f"{found.unsure:,} unsure or not scored" if found.unsure else None),
            ]
        )
        table = pd.DataFrame(
            {
                "": ["labelled sound", "labelled unsound"],
                "score: sound": [found.both_sound, found.only_person],
                "score: unsound": [found.only_score, found.both_unsound],
            }
        )
        st.dataframe(table, hide_index=True)
        if found.precision:
            rows = [
                {"k": k, "unsound by label": f"{hits} of {k}", "share": parts.share(hits, k)}
                for k, hits in found.precision
            ]
            st.caption("Precision at k: the k labelled rationales with the highest score")
            st.dataframe(pd.DataFrame(rows), hide_index=True)
        st.caption(
            "Brackets: 95 % intervals (Wilson; kappa: bootstrap). Labels given to picked rationales favour the score."
        )
    with right:
        _reliability(found)


def _kappa(n: int, kappa: tuple[float, float, float]) -> str:
    """ "0.61 (0.42 to 0.80)", or why there is none."""
    if n < agreement.LEAST_FOR_KAPPA:
        return f"needs {agreement.LEAST_FOR_KAPPA} rationales that both have judged"
    value, low, high = kappa
    return (
        "cannot be computed: one side says the same of all"
        if math.isnan(value)
        else f"{value:.2f} ({low:.2f} to {high:.2f})"
    )


def _reliability(found: agreement.Agreement) -> None:
    rows = []
    for _, _, n, mean, unsound in found.reliability:
        observed = wilson(unsound, n)
        rows.append({"predicted": mean, "observed": observed.value, "low": observed.low, "high": observed.high, "n": n})
    frame = pd.DataFrame(rows)
    parts.draw(charts.reliability(frame, "Is 80 % suspicion right 80 % of the time?"))


def _people(labels: Labels) -> None:
    pairs = agreement.between_people(labels)
    if not pairs:
        return
    st.subheader("People against each other", anchor=False)
    rows = [
        {
            "first": text.shorten(first, 40),
            "second": text.shorten(second, 40),
            "both labelled": n,
            "agree": parts.share(same, n),
            "kappa": _kappa(n, kappa),
        }
        for first, second, n, same, kappa in pairs
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)


if __name__ == "__main__":
    page()
