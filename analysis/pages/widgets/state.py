"""The state of a view is its link: every widget shows a parameter of the URL, and writes it when somebody uses it.

Nothing else remembers anything, so reloading, sending the link, and back and forward all lead to the same view.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st


def param(name: str) -> str | None:
    """One parameter of the link, or None."""
    return st.query_params.get(name)


def choice(name: str, options: Sequence[str], default: str | None = None) -> str | None:
    """A parameter if it is one of the options, else the default."""
    value = param(name)
    return value if value in options else default


def number(name: str) -> int | None:
    """A parameter as a whole number, None where it is none."""
    value = param(name) or ""
    return int(value) if re.fullmatch(r"-?[0-9]{1,9}", value) else None


def go(changes: Mapping[str, str | None]) -> None:
    """Change parameters of the link in one step, so that "back" undoes all of them together; None removes one.

    The run on show always goes along: without it, the same link would open another run once there is a newer one.
    """
    merged = {name: value for name, value in st.query_params.to_dict().items() if name not in changes}
    merged |= {name: value for name, value in changes.items() if value}
    st.query_params.from_dict(merged | _run())


def _run() -> dict[str, str]:
    """The run that the picker shows."""
    name = st.session_state.get(PICKER)
    return {"run": str(name)} if name else {}


def link(*names: str, **changes: str | None) -> dict[str, str]:
    """Parameters for a link to another page: those named, as they are now, with changes, and the run on show."""
    kept = {name: value for name in names if (value := param(name)) is not None}
    return {name: value for name, value in (kept | changes).items() if value} | _run()


def _bound(
    widget: Callable[..., Any],
    name: str,
    value: Any,
    default: Any,
    forget: Sequence[str] = (),
    key: str = "",
    **more: Any,
) -> Any:
    """A widget that shows `value` and writes the parameter when somebody uses it; the default is not written."""
    key = key or f"w-{name}"
    st.session_state[key] = value

    def push() -> None:
        chosen = st.session_state[key]
        text = None if chosen is None or chosen == default else str(chosen)
        go({name: text} | dict.fromkeys(forget))

    widget(key=key, on_change=push, **more)
    return st.session_state[key]


ANY = "any"
PICKER = "w-run"
"""Key of the list of runs, which every view has."""


def select(
    label: str,
    name: str,
    options: Sequence[str],
    *,
    default: str | None = None,
    show: Callable[[str], str] = str,
    forget: Sequence[str] = (),
    anything: str = ANY,
    **more: Any,
) -> str | None:
    """A drop-down list bound to a parameter. Without a default there is a first entry `anything`, which gives None.

    `forget`: parameters that lose their meaning when this one changes.
    """
    first = ANY if default is None else default
    more |= {"label": label, "options": [ANY, *options] if default is None else list(options)}
    more["format_func"] = lambda value: anything if value == ANY else show(value)
    picked = _bound(st.selectbox, name, choice(name, options, first), first, forget, **more)
    return None if picked == ANY and default is None else picked


def segments(label: str, name: str, options: Sequence[str], default: str, show: Mapping[str, str], **more: Any) -> str:
    """A row of buttons, one of which is on, bound to a parameter. `show` must hold words of the project, no data."""
    more |= {"label": label, "options": list(options), "format_func": lambda value: show.get(value, value), "required": True}
    return str(_bound(st.segmented_control, name, choice(name, options, default), default, **more))


def words(label: str, name: str, forget: Sequence[str] = (), default: str = "", **more: Any) -> str:
    """A line of text bound to a parameter."""
    value = (param(name) or default)[:200]
    key = f"w-{name}-{value}"  # a new box for every text: it has lost the focus, so that keys work again
    return str(_bound(st.text_input, name, value, default, forget, key, label=label, max_chars=200, **more))


def whole(label: str, name: str, low: int, high: int, **more: Any) -> int | None:
    """A whole number bound to a parameter, or None when it is left empty."""
    value = number(name)
    shown = None if value is None else min(max(value, low), high)
    chosen = _bound(st.number_input, name, shown, None, label=label, min_value=low, max_value=high, step=1, **more)
    return None if chosen is None else int(chosen)


def switch(label: str, name: str, default: bool = False, **more: Any) -> bool:
    """A toggle bound to a parameter."""
    on = choice(name, ("True", "False"), str(default)) == "True"
    return bool(_bound(st.toggle, name, on, default, label=label, **more))


def flip(name: str, on: str, off: str, **more: Any) -> bool:
    """A button that turns a parameter on and off; `on` and `off` are its words then. While a switch has the focus, the browser
    sends keys to it alone; a button leaves them to the page."""
    is_on = param(name) is not None
    change = {name: None if is_on else "on"}
    st.button(on if is_on else off, key=f"flip-{name}", on_click=go, args=(change,), **more)
    return is_on


def walk(
    targets: Sequence[str],
    place: int,
    name: str = "id",
    skip: Callable[[dict[str, str | None]], None] | None = None,
    turn: int = 0,
) -> None:
    """Buttons with the keys K, J and X that set a parameter to the target before, after, or any of them.

    `place`: of the target on show, -1 where it is none of them. `skip`: changes the link in place of `go` when J is pressed.
    `turn`: what is on screen now; a press on a button of an earlier turn is told apart by its number.
    """
    before = targets[place - 1] if place > 0 else None
    after = targets[place + 1] if place + 1 < len(targets) else None
    onward, arrow = "Skip" if skip else "Next", ":material/arrow_downward:"
    for label, target, key, icon, act in (
        ("Previous", before, "K", ":material/arrow_upward:", go),
        (onward, after, "J", arrow, skip or go),
        ("Random", random.choice(targets), "X", ":material/casino:", go),
    ):
        off, change = target is None, {name: target}
        st.button(label, key=f"jump-{key}-{turn}", shortcut=key, icon=icon, disabled=off, on_click=act, args=(change,))
