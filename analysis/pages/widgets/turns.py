"""Which presses count: a key belongs to the rationale that was on screen when it was pressed.

The browser may still show one rationale while the server has gone on to the next, so buttons are made anew for every turn, and a
press on a button of an earlier turn counts for nothing; the page says so.
"""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from analysis.pages.widgets import state


def turn(shown: str) -> int:
    """Number of the turn of what is drawn now; another rationale, or the same one after a label, has another number."""
    number, before = st.session_state.get("turn", (0, ""))
    number += before not in ("", shown)
    st.session_state["turn"] = (number, shown)
    said_in, sentence = st.session_state.get("said", (-2, ""))
    if number - said_in <= 1:
        st.warning(sentence)
    return int(number)


def say(sentence: str) -> None:
    """Put a sentence above the buttons until the turn after this one is over: a key may end this one before the sentence is drawn.
    In a fragment, a toast would take the place of the page's CSS."""
    st.session_state["said"] = (st.session_state["turn"][0], sentence)


def too_early(number: int) -> bool:
    """Whether a press comes from a turn that is over; if it does not, its turn is over now."""
    current, _ = st.session_state["turn"]
    if number != current:
        say("A key was pressed before this was on screen. It was ignored.")
        went_to, changes = st.session_state.get("went", (None, {}))
        if went_to == current:
            state.go(changes)  # the key came with the browser's link, which may be that of the turn before
        return True
    st.session_state["turn"] = (current + 1, "")
    return False


def go(changes: Mapping[str, str | None]) -> None:
    """Change the link for the turn that begins now."""
    st.session_state["went"] = (st.session_state["turn"][0], changes)
    state.go(changes)
