"""Other attempts at the question of a rationale: samples, rounds and models, one of them beside it with a word diff."""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis.pages.widgets import parts, state, text
from analysis.pages.widgets.words import right_words
from analysis.rationales.table import Table
from star.charts import COLOURS


def show(table: Table, row: int) -> None:
    """Other attempts at the same question, one of them beside this one with the words that differ marked."""
    problems = table.frame["problem"].to_numpy()
    rows = np.flatnonzero(problems == problems[row])
    rows = rows[rows != row]
    if not len(rows):
        return
    on = state.flip(
        "others", "Hide the other attempts", f"Other attempts at this question ({len(rows):,})", icon=":material/difference:"
    )
    if not on:
        return
    names = {str(i): f"{i + 1}: {_origin(table, int(other))}" for i, other in enumerate(rows[:200])}
    picked = state.select("Held against", "other", list(names), default="0", show=names.__getitem__)
    other = int(rows[int(picked or 0)])
    before, after = ("\n".join(table.rationale(each).steps) for each in (row, other))
    left, right = st.columns(2, gap="small")
    for column, words, body in zip((left, right), ("this one", names[str(picked)]), text.diff(before, after), strict=True):
        with column:
            st.caption(text.plain(words))
            text.marked(body)
    text.key((COLOURS["accuracy"], "only in this one"), (COLOURS["rationalized"], "only in the other"))


def _origin(table: Table, row: int) -> str:
    """Who wrote it, in which round, and whether its answer is right."""
    attempt = table.frame.iloc[row]
    words = [
        parts.made_in((attempt["round"], attempt["mode"])),
        attempt["generator"] if isinstance(attempt["generator"], str) else "",
    ]
    answer = f"answer {text.shorten(attempt['answer'], 30)}" if isinstance(attempt["answer"], str) else "no answer"
    return ", ".join([*filter(None, words), answer, right_words(attempt["right"])])
