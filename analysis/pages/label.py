"""Is the automatic score to be trusted? Label by keyboard, rank blindly, and compare with the score."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from analysis.labels import SETTLED, Labels
from analysis.pages.widgets import agreement_tab, context, labelling, parts, ranking, rationale, state, text
from analysis.pages.widgets.words import right_words
from analysis.rationales.filters import OVERLAP, QUEUES, View, base_mask, dealt, queue, select
from analysis.rationales.table import Table
from star.errors import counted

TABS = {"label": "Label", "rank": "Rank three", "settle": "Settle", "agreement": "Agreement and export"}


def page() -> None:
    """The page, from top to bottom."""
    table = context.table()
    if not len(table):
        st.info(context.nothing_yet(table), icon=":material/hourglass_top:")
        return
    labels = context.labels()
    with st.container(horizontal=True, vertical_alignment="bottom", key="head"):
        tab = state.segments("What to do", "tab", list(TABS), "label", TABS, label_visibility="collapsed")
        state.words("Labelled by", "who", default=context.login(), width=170)
        blind = tab == "label" and state.switch("blind: hide the automatic score", "blind", True)
        auto = tab == "label" and state.switch("next automatically", "auto", True)
        if tab == "label":
            _options()
    if labels.torn:
        st.caption(f"Left out: {counted(labels.torn, 'line')} of the label files that cannot be read.")
    if tab == "label":
        parts.facets(table, blind=blind)
        _label(table, blind=blind, auto=auto)
    elif tab == "rank":
        ranking.tab(table, labels)
    elif tab == "settle":
        _settle(table)
    else:
        agreement_tab.tab(table)


def _options() -> None:
    """How the queue is ordered and shared, and what is labelled."""
    with st.popover("Queue", icon=":material/queue:"):
        state.select("Order", "queue", list(QUEUES), default="mixed", show=QUEUES.__getitem__)
        state.switch("rate every step", "by_step")
        state.words(
            "Shared by", "raters", help=f"Names with commas between them: one in {OVERLAP} goes to all, the others in turn."
        )


def _settle(table: Table) -> None:
    """What people differ on, with what each of them said; the label given here counts for everybody."""
    labels = context.labels()
    rows = [row for identifier in labels.disputed() if (row := table.row_of(identifier)) is not None]
    names = [str(table.frame["id"].iat[row]) for row in rows]
    open_ones = [name for name in names if (SETTLED, name) not in labels.latest]
    if not names:
        st.info("Nobody differs: no rationale has two labels that do not agree.", icon=":material/handshake:")
        return
    st.progress(1 - len(open_ones) / len(names), f"{len(names) - len(open_ones):,} of {len(names):,} settled")
    asked = state.choice("id", names, (open_ones or names)[0])
    one = table.rationale(rows[names.index(str(asked))])
    following = next((name for name in open_ones if name != one.id), None)
    with st.container(key="stack-label"):
        left, right = st.columns([3, 2], gap="large")
    with left:
        rationale.question(one)
        rationale.steps(one, blind=True)
    with right:
        said = [(label.labeller, labelling.label_words(label)) for label in labels.of(one.id) if label.labeller != SETTLED]
        text.facts(list(said))
        with st.container(key="labelling"):
            labelling.bar(one, labels, blind=True, after=following, who=SETTLED)


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
    done, skipped = (
        np.isin(rows, [row for by, name in given if by == who and (row := table.row_of(name)) is not None])
        for given in (labels.latest, labels.skipped)
    )
    if asked is None:
        asked = int(rows[np.lexsort([skipped, done])[0]])  # what is not labelled comes first, of these what is not skipped
    place = parts.place_of(asked, rows)
    onward = np.lexsort([np.arange(len(rows)) < place, skipped])
    onward = onward[~done[onward] & (onward != place)]
    upcoming = str(names[rows[onward[0]]]) if len(onward) else None
    one = table.rationale(asked)
    with st.container(key="stack-label"):
        left, right = st.columns([3, 2], gap="large")
    with left:
        rationale.question(one)
        if blind:
            text.facts([("answer", f"{one.answer or 'none'}: {right_words(one.row['right'])}"), ("gold", one.gold)])
        else:
            rationale.judgement(one, table.scorers)
        own = labels.latest.get((who, one.id))
        by_step = state.param("by_step") == "True"
        notes = labelling.step_notes(one, labels) if by_step else None
        rationale.steps(one, blind=blind, error_step=own.error_step if own else None, notes=notes)
    with right:
        with st.container(key="labelling"):
            turn = labelling.bar(one, labels, blind=blind, after=upcoming if auto else None, by_step=by_step)
        with st.container(horizontal=True, vertical_alignment="center"):
            state.walk(names[rows], place, skip=partial(labelling.skip, turn, one.id, labels), turn=turn)
            rationale.raw_button()
        where = f"{place + 1:,} of {len(rows):,}" if place >= 0 else f"not among the {len(rows):,} filtered ones"
        how = QUEUES[str(state.choice("queue", list(QUEUES), "mixed"))]
        order = f"order: {how}" if blind else "in the order of the page Rationales"
        said = f"{where}, {order}. {text.plain(who)} has labelled {int(done.sum()):,} of them."
        st.progress(float(done.mean()), said)
        if blind and any(state.param(name) for name in ("cell", "check")):
            st.caption("Filters by the reasoning or by a check are off while the score is hidden.")
        _recent(table, labels, who)
        if not blind:
            with st.expander("Where it comes from", icon=":material/history:"):
                rationale.provenance(one)
            carried = state.link(*context.KEPT, *parts.carried(), id=one.id)
            st.page_link(context.PAGES / "rationales.py", label="All about it", icon=":material/search:", query_params=carried)


def _recent(table: Table, labels: Labels, who: str) -> None:
    """The last labels of one person, each with a jump to its rationale."""
    last = [(label, row) for label in labels.recent(who, 10) if (row := table.row_of(label.id)) is not None]
    if not last:
        return
    recent = st.expander(f"The last {counted(len(last), 'label')}", icon=":material/history:", key="recent", on_change="rerun")
    with recent:
        for place, (label, row) in enumerate(last if recent.open else ()):  # a key draws all that is here again
            asked = text.shorten(table.texts.get("question", row) or label.id, 60)
            st.button(
                f"{labelling.label_words(label)} · {text.plain(asked)}",
                key=f"recent-{place}",
                type="tertiary",
                on_click=state.go,
                args=({"id": label.id},),
            )


def _queue(table: Table, view: View, labels: Labels, who: str, *, blind: bool) -> np.ndarray:
    """Rows to label, in order. Blind: no filter that uses the score, and the order of `_options`; raters who share a queue have
    the same order, others one of their own."""
    if not blind:
        return select(table, view, base_mask(table, view, labels.verdicts()))
    status = view.status if view.status != "disputed" else None
    hidden = View(facets=view.facets, fewest=view.fewest, most=view.most, words=view.words, status=status)
    raters = sorted({name.strip() for name in (state.param("raters") or "").split(",")} - {""})
    seed = ",".join(raters) if who in raters else who
    rows = np.flatnonzero(base_mask(table, hidden, labels.verdicts()))
    return dealt(queue(table, rows, str(state.choice("queue", list(QUEUES), "mixed")), seed, view.cut), raters, who)


if __name__ == "__main__":
    page()
