"""The sides of a comparison, what differs between two of them, and one question with what each wrote.

What is remembered is remembered here: Streamlit runs the file of a page anew for every view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import streamlit as st

from analysis import comparing as comparison
from analysis.comparing import Arm
from analysis.pages.widgets import rationale, state, text
from analysis.pages.widgets.words import p_words, share
from analysis.rationales.table import Table
from analysis.sources import Source
from star.errors import counted
from star.paired import Comparison, paired
from star.run import Stamp

CHANGES = {
    "fixed": ("only {1} right", (0, 1)),
    "broke": ("only {0} right", (1, 0)),
    "stayed right": ("both right", (1, 1)),
    "stayed wrong": ("both wrong", (0, 0)),
}
"""Name -> (what it is called between different models, outcomes of the first and the second side)."""


@dataclass(frozen=True)
class Side:
    """An arm of the comparison with its rationales: a round of a run, or one writer of a record file."""

    arm: Arm
    table: Table
    rows: Mapping[str, int]
    """Problem -> row of its rationale, of several the first."""
    several: bool
    """Whether a problem has more than one."""

    def right(self) -> dict[str, float]:
        """Problem -> whether the answer of its row is right; without those that are not graded."""
        graded = self.table.graded()
        return {problem: float(graded[row]) for problem, row in self.rows.items() if graded[row] >= 0}


@lru_cache(maxsize=12)
def side(table: Table, label: str, asked: tuple[tuple[str, str], ...]) -> Side:
    """The rationales whose columns have these values. Of several in a round only the first counts: the others are for pass@k."""
    matching = np.flatnonzero(np.logical_and.reduce([table.frame[name] == value for name, value in asked]))
    rows: dict[str, list[int]] = {}
    for problem, row in zip(table.frame["problem"].to_numpy()[matching].tolist(), matching.tolist(), strict=True):
        rows.setdefault(problem, []).append(row)
    if table.source.kind == "run":
        rows = {problem: places[:1] for problem, places in rows.items()}
    first, several = {problem: places[0] for problem, places in rows.items()}, any(len(places) > 1 for places in rows.values())
    return Side(comparison.record_arm(label, table, rows), table, first, several)


@lru_cache(maxsize=64)
def probed_arm(source: Source, number: int, label: str, _: Stamp) -> Arm:
    """A round with what `analysis.probe` found."""
    return comparison.read_arm(source.path, number, label=label)


@lru_cache(maxsize=12)
def compared(arms: tuple[Arm, ...], shared: bool, fair: bool) -> tuple[set[str], list[comparison.Figure], list[Comparison]]:
    """Questions that count, figures, and paired tests against the first arm."""
    if shared:
        questions = comparison.all_right(arms) if fair else comparison.shared_questions(arms)
    else:
        questions = {key for arm in arms for each in arm.values.values() for key in each}
    return questions, comparison.figures(arms, questions), comparison.differences(comparison.pairs(arms, every=False), questions)


def show(sides: Sequence[Side]) -> None:
    """What got fixed and what broke from the first side to the last one, and one question answered by all of them. Nothing gets
    fixed from one model to another: only rounds of the same run are called so."""
    before, after = sides[0], sides[-1]
    labels = before.arm.label, after.arm.label
    first, second = before.right(), after.right()
    compared = paired(labels, [first], [second])
    if compared is None:
        st.caption("The first and the last of them share no question whose answers are graded.")
        return
    several = before.several or after.several
    rounds = before.table is after.table and before.table.source.kind == "run"
    head = "What got fixed and what broke, from {} to {}" if rounds else "Where only one of them is right: {} and {}"
    st.subheader(head.format(*map(text.plain, labels)), anchor=False)
    short = [text.plain(text.shorten(label, 40)) for label in labels]
    words = {name: called.format(*short) for name, (called, _) in CHANGES.items()}
    names = {name: name for name in CHANGES} if rounds else words
    shared = [problem for problem in before.rows if problem in first and problem in second]
    groups = {
        name: [problem for problem in shared if (first[problem], second[problem]) == outcomes]
        for name, (_, outcomes) in CHANGES.items()
    }
    picked = state.choice("change", list(CHANGES))
    for column, name in zip(st.columns(len(CHANGES)), CHANGES, strict=True):
        column.button(
            f"{names[name]}: **{len(groups[name]):,}**",
            key=f"change-{name.replace(' ', '-')}",
            type="primary" if picked == name else "secondary",
            help=f"{words[name]}; {share(len(groups[name]), compared.n)} of n = {compared.n:,}",
            width="stretch",
            on_click=state.go,
            args=({"change": None if picked == name else name, "problem": None, "id": None},),
        )
    fixed, broke = (share(count or 0, compared.n) for count in (compared.only_b, compared.only_a))
    st.caption(
        f"n = {counted(compared.n, 'question')}; {names['fixed']} {fixed}, {names['broke']} {broke}, 95 % intervals in brackets; "
        f"McNemar's exact test that both are as frequent: p {'' if compared.p < 1e-10 else '= '}{p_words(compared.p)}."
        + (" Some questions have several answers: here the first one counts, above their mean." if several else "")
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
