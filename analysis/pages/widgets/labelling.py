"""The bar of buttons that labels a rationale, each with a key, shared by the pages Rationales and Label."""

from __future__ import annotations

import streamlit as st

from analysis.labels import Label, LabelError, Labels, Verdict, append, label_folder
from analysis.pages.widgets import context, state, text
from analysis.rationales.table import Rationale

KEYS: dict[str, tuple[Verdict, str, str]] = {
    "S": ("sound", "Sound", ":material/check_circle:"),
    "U": ("unsound", "Unsound", ":material/cancel:"),
    "N": ("unsure", "Not sure", ":material/help:"),
}
DIGITS = 9


def bar(one: Rationale, labels: Labels, *, blind: bool = False, after: str | None = None) -> None:
    """Buttons S, U, N and 1 to 9 (unsound, wrong from that step on), a note, and Z to take a label back.

    `after`: the rationale to go on to once this one is labelled; None stays.
    """
    who = context.labeller()
    mine = labels.latest.get((who, one.id))
    note = f"note-{one.id}"
    with st.container(horizontal=True, vertical_alignment="center", key="verdicts"):
        for key, (verdict, words, icon) in KEYS.items():
            st.button(
                words,
                key=f"verdict-{verdict}",
                shortcut=key,
                icon=icon,
                type="primary" if mine and mine.verdict == verdict else "secondary",
                on_click=_store,
                args=(one, who, verdict, None, blind, after),
            )
        if mine:
            back = (one, who, None, None, blind, None)
            st.button("Take back", key="take-back", shortcut="Z", type="tertiary", on_click=_store, args=back)
    if one.steps:
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="error-steps"):
            st.caption("or unsound, wrong from step")
            for step in range(min(DIGITS, len(one.steps))):
                st.button(
                    str(step + 1),
                    key=f"step-{step}",
                    shortcut=str(step + 1),
                    type="primary" if mine and mine.error_step == step else "secondary",
                    on_click=_store,
                    args=(one, who, "unsound", step, blind, after),
                )
            if len(one.steps) > DIGITS:
                later = [str(step + 1) for step in range(DIGITS, len(one.steps))]
                st.selectbox(
                    "a later step",
                    later,
                    index=None,
                    key=f"later-{one.id}",
                    placeholder="later",
                    label_visibility="collapsed",
                    width=110,
                    on_change=_later,
                    args=(one, who, blind, after),
                )
    st.session_state.setdefault(note, mine.note if mine else "")
    st.text_input(
        "Note",
        key=note,
        max_chars=500,
        placeholder="a note, kept with the label",
        label_visibility="collapsed",
        on_change=_note,
        args=(one, who, mine, blind),
    )
    said = (
        f"{mine.verdict}{'' if mine.error_step is None else f' from step {mine.error_step + 1}'}" if mine else "nothing"
    )
    others = sorted({label.labeller for label in labels.of(one.id)} - {who})
    more = f" Also labelled by {len(others)} other{'s' * (len(others) > 1)}." if others else ""
    st.caption(f"{text.plain(who)} says: {said}.{more}")


def _store(one: Rationale, who: str, verdict: Verdict | None, step: int | None, blind: bool, after: str | None) -> None:
    note = str(st.session_state.get(f"note-{one.id}") or "")
    label = Label(one.id, who, verdict, step, note if verdict else "", blind)
    if _append(label):
        state.go({"id": after or one.id})


def _later(one: Rationale, who: str, blind: bool, after: str | None) -> None:
    picked = st.session_state.get(f"later-{one.id}")
    if picked is not None:
        _store(one, who, "unsound", int(picked) - 1, blind, after)


def _note(one: Rationale, who: str, mine: Label | None, blind: bool) -> None:
    """A note alone is no label; it is kept once there is a verdict."""
    if mine is not None and mine.verdict is not None:
        _store(one, who, mine.verdict, mine.error_step, blind, None)


def _append(label: Label) -> bool:
    try:
        append(label_folder(context.source()), label)
    except LabelError as error:
        st.toast(text.plain(error), icon=":material/error:")
        return False
    return True


def who_am_i() -> None:
    """The labeller's name; it goes into the link, and each name has a file of its own."""
    who = context.labeller()
    st.session_state["w-who"] = who
    st.text_input(
        "Labelled by",
        key="w-who",
        max_chars=40,
        width=170,
        on_change=lambda: state.go({"who": str(st.session_state["w-who"]).strip() or None}),
    )
