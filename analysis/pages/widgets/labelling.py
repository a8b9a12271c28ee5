"""The bar of buttons that labels a rationale, each with a key, shared by the pages Rationales and Label.

What is pressed is on the disk at once, ratings of single steps and skips as well; `turns` says which presses count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import streamlit as st

from analysis.labels import SETTLED, Label, LabelError, Labels, Ranking, Verdict, append, label_folder
from analysis.pages.widgets import context, text, turns
from analysis.rationales.table import Rationale
from star.errors import counted

ChoiceT = TypeVar("ChoiceT")
KEYS: dict[str, tuple[Verdict, str, str]] = {
    "S": ("sound", "Sound", ":material/check_circle:"),
    "U": ("unsound", "Unsound", ":material/cancel:"),
    "N": ("unsure", "Not sure", ":material/help:"),
}
RATINGS: dict[str, tuple[int, str, str]] = {
    "S": (1, "Right", ":material/check_circle:"),
    "U": (-1, "Wrong", ":material/cancel:"),
    "N": (0, "Neutral", ":material/remove_circle:"),
}
"""Key -> (rating of one step, words, icon)."""
DIGITS = 9


def step_notes(one: Rationale, labels: Labels) -> dict[int, str]:
    """What stands below each step while steps are rated: the rating, and which one is next."""
    who = context.labeller()
    draft, own = labels.drafts.get((who, one.id), ()), labels.latest.get((who, one.id))
    names = {rating: words.lower() for rating, words, _ in RATINGS.values()}
    notes = {step: names[rating] for step, rating in enumerate(draft or (own.ratings if own else ()))}
    return notes if own and not draft else notes | {len(notes): "is this step right?"}


def bar(
    one: Rationale,
    labels: Labels,
    *,
    blind: bool = False,
    after: str | None = None,
    who: str | None = None,
    by_step: bool = False,
) -> int:
    """Buttons S, U, N and 1 to 9 (unsound, wrong from that step on), a note, and Z to undo the last label.

    `after`: the rationale to go on to once this one is labelled; None stays. `who`: whose label it is, by default the person's in
    the link. `by_step`: S, U and N rate one step after the other. Returns the number of the turn.
    """
    who = who or context.labeller()
    mine = labels.latest.get((who, one.id))
    by_step = by_step and bool(one.steps)
    draft = labels.drafts.get((who, one.id), ()) if by_step else ()
    number = turns.turn(f"{one.id} {len(draft)}")
    label = Label(one.id, who, None, blind=blind)
    with st.container(horizontal=True, vertical_alignment="center", key="ratings" if by_step else "verdicts"):
        if by_step:
            st.caption(f"step {min(len(draft) + 1, len(one.steps))} of {len(one.steps)}")
            choices = {rating: _rated(label, (*draft, rating), len(one.steps)) for rating, _, _ in RATINGS.values()}
            _buttons(number, RATINGS, choices, after, None)
        else:
            verdicts = {verdict: replace(label, verdict=verdict) for verdict, _, _ in KEYS.values()}
            _buttons(number, KEYS, verdicts, after, mine.verdict if mine else None)
        _undo_button(number, labels, replace(label, ratings=draft, kind="draft"))
    if one.steps and not by_step:
        _steps_bar(number, one, replace(label, verdict="unsound"), after, mine.error_step if mine else None)
    note = st.session_state.setdefault(_note_key(one.id), mine.note if mine else "")
    box = f"{_note_key(one.id)}-{note}"  # a new box for every note: it has lost the focus, so that keys work again
    st.text_input(
        "Note",
        note, key=box, max_chars=500,
        placeholder="a note, kept with the label",
        label_visibility="collapsed",
        on_change=_note, args=(box, one.id, mine),
    )
    said = label_words(mine) if mine else "nothing"
    if who == SETTLED:
        st.caption(f"Settled as: {said if mine else 'nothing yet'}.")
        return number
    others = {label.labeller for label in labels.of(one.id)} - {who, SETTLED}
    more = f" Also labelled by {counted(len(others), 'other')}." if others else ""
    st.caption(f"{text.plain(who)} says: {said}.{more}")
    return number


def _rated(label: Label, given: tuple[int, ...], n_steps: int) -> Label:
    """A draft until the last step is rated; as in PRM800K, a wrong step is the last one."""
    if given[-1] >= 0 and len(given) < n_steps:
        return replace(label, ratings=given, kind="draft")
    wrong = len(given) - 1 if given[-1] < 0 else None
    return replace(label, verdict="sound" if wrong is None else "unsound", error_step=wrong, ratings=given)


def _buttons(
    number: int,
    keys: Mapping[str, tuple[ChoiceT, str, str]],
    labels: Mapping[ChoiceT, Label],
    after: str | None,
    chosen: ChoiceT | None,
) -> None:
    for key, (value, words, icon) in keys.items():
        st.button(
            words,
            key=f"verdict-{value}-{number}",
            shortcut=key,
            icon=icon,
            type="primary" if value == chosen else "secondary",
            on_click=_press,
            args=(number, labels[value], after),
        )


def _steps_bar(number: int, one: Rationale, label: Label, after: str | None, chosen: int | None) -> None:
    """A button for each of the first steps, and a list of the later ones."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="error-steps"):
        st.caption("or unsound, wrong from step")
        for step in range(min(DIGITS, len(one.steps))):
            st.button(
                str(step + 1),
                key=f"step-{step}-{number}",
                shortcut=str(step + 1),
                type="primary" if chosen == step else "secondary",
                on_click=_press,
                args=(number, replace(label, error_step=step), after),
            )
        if len(one.steps) > DIGITS:
            st.selectbox(
                "a later step",
                range(DIGITS + 1, len(one.steps) + 1),
                index=None,
                key=f"later-{one.id}",
                placeholder="later",
                label_visibility="collapsed",
                width=110,
                on_change=_later,
                args=(number, label, after),
            )


def label_words(label: Label) -> str:
    """ "unsound from step 3"."""
    return f"{label.verdict}{'' if label.error_step is None else f' from step {label.error_step + 1}'}"


def _note_key(identifier: str) -> str:
    return f"note-{identifier}"


def _noted(label: Label) -> Label:
    """The label with the note of its rationale."""
    return replace(label, note=str(st.session_state.get(_note_key(label.id)) or ""))


def _press(number: int, label: Label, after: str | None) -> None:
    if not turns.too_early(number) and store(_noted(label)):
        turns.go({"id": label.id if label.kind == "draft" else after or label.id})


def _later(number: int, label: Label, after: str | None) -> None:
    picked = st.session_state.get(f"later-{label.id}")
    if picked is not None:
        _press(number, replace(label, error_step=picked - 1), after)


def _note(box: str, identifier: str, mine: Label | None) -> None:
    """A note alone is no label; it is kept once there is a verdict."""
    st.session_state[_note_key(identifier)] = st.session_state[box]
    if mine is not None:
        store(replace(_noted(mine), at=""))


def store(entry: Label | Ranking) -> bool:
    """Put a label on the disk; False where that failed, once the page has said so."""
    try:
        append(label_folder(context.source()), entry)
    except LabelError as error:
        turns.say(text.plain(error))
        return False
    return True


def skip(number: int, identifier: str, labels: Labels, going: dict[str, str | None]) -> None:
    """Put a rationale, or a problem to be ranked, off until nothing else is left, and change the link."""
    if turns.too_early(number):
        return
    who = context.labeller()
    known = (who, identifier) in labels.skipped or (who, identifier) in labels.latest
    if known or store(Label(identifier, who, None, kind="skip")):
        turns.go(going)


def _undo_button(number: int, labels: Labels, draft: Label) -> None:
    """`draft`: what is rated of the steps of the rationale on show; the last of these is taken back first."""
    last = labels.recent(draft.labeller, 1)
    back = replace(draft, ratings=draft.ratings[:-1]) if draft.ratings else replace(last[0], verdict=None, at="") if last else None
    st.button(
        "Undo",
        key=f"undo-{number}",
        shortcut="Z",
        type="tertiary",
        icon=":material/undo:",
        disabled=back is None,
        help="Takes the last label back, wherever it was, and goes there.",
        on_click=_undo,
        args=(number, back, "" if draft.ratings or not last else label_words(last[0])),
    )


def _undo(number: int, back: Label, words: str) -> None:
    if turns.too_early(number) or not store(back):
        return
    turns.go({"id": back.id})
    if words:
        st.session_state.pop(_note_key(back.id), None)
        turns.say(f"Taken back: {words}.")
