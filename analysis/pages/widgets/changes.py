"""What got fixed and what broke between two arms, and one question with what each of them wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from analysis.comparing import Arm
from analysis.pages.widgets import parts, rationale, state, text
from analysis.rationales.table import Table
from star.charts import COLOURS
from star.paired import paired

CHANGES = {
    "fixed": ("wrong before, right after", COLOURS["sound"], (0, 1)),
    "broke": ("right before, wrong after", COLOURS["unsound"], (1, 0)),
    "stayed right": ("right both times", COLOURS["generated"], (1, 1)),
    "stayed wrong": ("wrong both times", COLOURS["neutral"], (0, 0)),
}
"""Name -> (words, colour, outcomes before and after)."""


@dataclass(frozen=True)
class Side:
    """An arm of the comparison with its rationales: a round of a run, or one writer of a record file."""

    arm: Arm
    table: Table
    rows: Mapping[str, int]
    """Problem -> row of its rationale."""


def show(before: Side, after: Side, sides: Sequence[Side]) -> None:
    """What got fixed and what broke between two of the sides, and one question answered by all of them."""
    labels = before.arm.label, after.arm.label
    st.subheader("What got fixed and what broke, from {} to {}".format(*map(text.plain, labels)), anchor=False)
    first, second = (side.arm.values.get("accuracy", {}) for side in (before, after))
    compared = paired(labels, [first], [second])
    if compared is None:
        st.info("They share no question whose answers are graded.")
        return
    shared = [problem for problem in before.rows if problem in first and problem in second]
    groups = {
        name: [problem for problem in shared if (first[problem], second[problem]) == outcomes]
        for name, (_, _, outcomes) in CHANGES.items()
    }
    picked = state.choice("change", list(CHANGES))
    for column, (name, (words, _, _)) in zip(st.columns(len(CHANGES)), CHANGES.items(), strict=True):
        column.button(
            f"{name}: **{len(groups[name]):,}**",
            key=f"change-{name.replace(' ', '-')}",
            type="primary" if picked == name else "secondary",
            help=f"{words.capitalize()}; {parts.share(len(groups[name]), compared.n)} of n = {compared.n:,}",
            width="stretch",
            on_click=state.go,
            args=({"change": None if picked == name else name, "problem": None, "id": None},),
        )
    fixed, broke = (parts.share(count or 0, compared.n) for count in (compared.only_b, compared.only_a))
    st.caption(
        f"n = {compared.n:,} questions. Fixed {fixed}, broke {broke}, 95 % intervals in brackets; "
        f"McNemar's exact test that both are as frequent: p {'' if compared.p < 1e-10 else '= '}{parts.p_words(compared.p)}."
    )
    _question(sides, groups[picked] if picked else [problem for group in groups.values() for problem in group])


@st.fragment
def _question(sides: Sequence[Side], problems: Sequence[str]) -> None:
    """One of the questions, with the rationale of each arm next to the others. A fragment: another question draws these alone."""
    if not problems:
        st.caption("None.")
        return
    place = min(max((state.number("problem") or 1) - 1, 0), len(problems) - 1)
    with st.container(horizontal=True, vertical_alignment="center"):
        state.walk([str(number + 1) for number in range(len(problems))], place, "problem")
        rationale.raw_button()
        st.caption(f"question {place + 1:,} of {len(problems):,}")
    problem = problems[place]
    rationale.question(sides[0].table.rationale(sides[0].rows[problem]))
    with st.container(key="stack-question" if len(sides) > 2 else "two-question"):
        columns = st.columns(len(sides), gap="medium", border=True)
        for i, (column, side) in enumerate(zip(columns, sides, strict=True)):
            with column:
                st.caption(text.plain(side.arm.label))
                if problem not in side.rows:
                    st.write("Not asked.")
                    continue
                one = side.table.rationale(side.rows[problem])
                rationale.judgement(one, side.table.scorers)
                rationale.steps(one, place=str(i))
