"""The bar of buttons that labels a rationale, each with a key, shared by the pages Rationales and Label.

A key press belongs to the rationale that was on screen when it was pressed. The browser may still show one rationale while the
server has gone on to the next, so buttons are made anew for every turn, and a press on a button of an earlier turn counts for
nothing; the page says so.
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from analysis.labels import SETTLED, Label, LabelError, Labels, Ranking, Verdict, append, label_folder
from analysis.pages.widgets import context, state, text
from analysis.rationales.table import Rationale, Table

KEYS: dict[str, tuple[Verdict, str, str]] = {
    "S": ("sound", "Sound", ":material/check_circle:"),
    "U": ("unsound", "Unsound", ":material/cancel:"),
    "N": ("unsure", "Not sure", ":material/help:"),
}
DIGITS = 9
RECENT = 10
"""Labels in the list of the last ones."""


def turn(shown: str) -> int:
    """Number of the turn of what is drawn now; another rationale, or the same one after a label, has another number."""
    number, before = st.session_state.get("turn", (0, ""))
    st.session_state["turn"] = (number + (before not in ("", shown)), shown)
    return int(st.session_state["turn"][0])


def too_early(number: int) -> bool:
    """Whether a press comes from a turn that is over; if it does not, its turn is over now."""
    current, _ = st.session_state["turn"]
    if number != current:
        st.session_state["ignored in"] = current
        return True
    st.session_state["turn"] = (current + 1, "")
    return False


def sign(number: int) -> None:
    """Say so where a press was ignored."""
    if st.session_state.get("ignored in") == number:
        st.warning("A key was pressed before this was on screen. It was ignored.", icon=":material/bolt:")


RATINGS: dict[str, tuple[int, str, str]] = {
    "S": (1, "Right", ":material/check_circle:"),
    "U": (-1, "Wrong", ":material/cancel:"),
    "N": (0, "Neutral", ":material/remove_circle:"),
}
"""Key -> (rating of one step, words, icon)."""


def rated(identifier: str) -> list[int]:
    """Ratings of the first steps of a rationale that is being rated step by step."""
    found: list[int] = st.session_state.setdefault(f"rated-{identifier}", [])
    return found


def step_notes(one: Rationale, own: Label | None) -> dict[int, str]:
    """What stands below each step while steps are rated: the rating, and which one is next."""
    names = {rating: words.lower() for rating, words, _ in RATINGS.values()}
    given = rated(one.id) or (own.ratings if own else ())
    notes = {step: names[rating] for step, rating in enumerate(given)}
    return notes if own and not rated(one.id) else notes | {len(given): "is this step right?"}


def _rating_bar(one: Rationale, who: str, number: int, blind: bool, after: str | None) -> None:
    """One step at a time; as in PRM800K, a wrong step is the last one."""
    with st.container(horizontal=True, vertical_alignment="center", key="ratings"):
        st.caption(f"step {min(len(rated(one.id)) + 1, len(one.steps))} of {len(one.steps)}")
        for key, (rating, words, icon) in RATINGS.items():
            args = (number, one.id, len(one.steps), who, rating, blind, after)
            st.button(words, key=f"rate-{rating}-{number}", shortcut=key, icon=icon, on_click=_rate, args=args)


def _rate(number: int, identifier: str, n_steps: int, who: str, rating: int, blind: bool, after: str | None) -> None:
    if too_early(number):
        return
    given = [*rated(identifier), rating]
    if rating >= 0 and len(given) < n_steps:
        st.session_state[f"rated-{identifier}"] = given
        state.go({"id": identifier})
        return
    wrong = given.index(-1) if -1 in given else None
    note = str(st.session_state.get(_note_key(identifier)) or "")
    verdict: Verdict = "sound" if wrong is None else "unsound"
    if store(Label(identifier, who, verdict, wrong, note, blind, ratings=tuple(given))):
        del st.session_state[f"rated-{identifier}"]
        state.go({"id": after or identifier})


def bar(
    one: Rationale,
    labels: Labels,
    *,
    blind: bool = False,
    after: str | None = None,
    who: str | None = None,
    by_step: bool = False,
) -> None:
    """Buttons S, U, N and 1 to 9 (unsound, wrong from that step on), a note, and Z to undo the last label.

    `after`: the rationale to go on to once this one is labelled; None stays. `who`: whose label it is, by default the person's in
    the link. `by_step`: S, U and N rate one step after the other.
    """
    who = who or context.labeller()
    mine = labels.latest.get((who, one.id))
    number = turn(f"{one.id} {len(rated(one.id))}" if by_step else one.id)
    sign(number)
    if by_step and one.steps:
        _rating_bar(one, who, number, blind, after)
        _undo_button(number, labels, who, one.id if rated(one.id) else None)
    else:
        _verdict_bar(one, labels, mine, who, number, blind, after)
    st.session_state.setdefault(_note_key(one.id), mine.note if mine else "")
    st.text_input(
        "Note",
        key=_note_key(one.id),
        max_chars=500,
        placeholder="a note, kept with the label",
        label_visibility="collapsed",
        on_change=_note,
        args=(one.id, mine),
    )
    said = label_words(mine) if mine else "nothing"
    others = sorted({label.labeller for label in labels.of(one.id)} - {who, SETTLED})
    more = f" Also labelled by {len(others)} other{'s' * (len(others) > 1)}." if others and who != SETTLED else ""
    st.caption(f"{text.plain(who)} says: {said}.{more}")


def _verdict_bar(
    one: Rationale, labels: Labels, mine: Label | None, who: str, number: int, blind: bool, after: str | None
) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="verdicts"):
        for key, (verdict, words, icon) in KEYS.items():
            st.button(
                words,
                key=f"verdict-{verdict}-{number}",
                shortcut=key,
                icon=icon,
                type="primary" if mine and mine.verdict == verdict else "secondary",
                on_click=_press,
                args=(number, one.id, who, verdict, None, blind, after),
            )
        _undo_button(number, labels, who)
    if one.steps:
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="error-steps"):
            st.caption("or unsound, wrong from step")
            for step in range(min(DIGITS, len(one.steps))):
                st.button(
                    str(step + 1),
                    key=f"step-{step}-{number}",
                    shortcut=str(step + 1),
                    type="primary" if mine and mine.error_step == step else "secondary",
                    on_click=_press,
                    args=(number, one.id, who, "unsound", step, blind, after),
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
                    args=(number, one.id, who, blind, after),
                )


def label_words(label: Label) -> str:
    """ "unsound from step 3"."""
    return f"{label.verdict}{'' if label.error_step is None else f' from step {label.error_step + 1}'}"


def _note_key(identifier: str) -> str:
    return f"note-{identifier}"


def _press(
    number: int, identifier: str, who: str, verdict: Verdict, step: int | None, blind: bool, after: str | None
) -> None:
    if not too_early(number):
        note = str(st.session_state.get(_note_key(identifier)) or "")
        if store(Label(identifier, who, verdict, step, note, blind)):
            state.go({"id": after or identifier})


def _later(number: int, identifier: str, who: str, blind: bool, after: str | None) -> None:
    picked = st.session_state.get(f"later-{identifier}")
    if picked is not None:
        _press(number, identifier, who, "unsound", int(picked) - 1, blind, after)


def _note(identifier: str, mine: Label | None) -> None:
    """A note alone is no label; it is kept once there is a verdict."""
    if mine is not None:
        note = str(st.session_state.get(_note_key(identifier)) or "")
        store(replace(mine, note=note, at=""))


def store(entry: Label | Ranking) -> bool:
    """Put a label on the disk; False where that failed, once the page has said so."""
    try:
        append(label_folder(context.source()), entry)
    except LabelError as error:
        st.toast(text.plain(error), icon=":material/error:")
        return False
    return True


def _undo_button(number: int, labels: Labels, who: str, rating: str | None = None) -> None:
    """`rating`: id of the rationale whose last rated step is taken back, where its rating has begun."""
    last = labels.recent(who, 1)
    st.button(
        "Undo",
        key=f"undo-{number}",
        shortcut="Z",
        type="tertiary",
        icon=":material/undo:",
        disabled=not (last or rating),
        help="Takes the last label back, wherever it was, and goes there.",
        on_click=_undo,
        args=(number, last[0] if last else None, rating),
    )


def _undo(number: int, last: Label | None, rating: str | None) -> None:
    if too_early(number):
        return
    if rating is not None:
        rated(rating).pop()
        state.go({"id": rating})
    if rating is not None or last is None:
        return
    if store(Label(last.id, last.labeller, None)):
        st.session_state.pop(_note_key(last.id), None)
        state.go({"id": last.id})
        st.toast(f"Taken back: {label_words(last)}.", icon=":material/undo:")


def recent(table: Table, labels: Labels, who: str) -> None:
    """The last labels of one person, each with a jump to its rationale."""
    last = [(label, row) for label in labels.recent(who, RECENT) if (row := table.row_of(label.id)) is not None]
    if not last:
        return
    with st.expander(f"The last {len(last)} labels" if len(last) > 1 else "The last label", icon=":material/history:"):
        for place, (label, row) in enumerate(last):
            asked = text.shorten(table.texts.get("question", row) or label.id, 60)
            st.button(
                f"{label_words(label)} · {text.plain(asked)}",
                key=f"recent-{place}",
                type="tertiary",
                on_click=state.go,
                args=({"id": label.id},),
            )


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
