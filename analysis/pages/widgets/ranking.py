"""Which reasoning is better? Three rationales of one question, their origin hidden, ranked by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import streamlit as st

from analysis import agreement
from analysis.labels import Labels, Ranking, ranking_rows
from analysis.pages.widgets import context, labelling, parts, rationale, state, text, turns
from analysis.pages.widgets.words import share
from analysis.rationales.filters import shuffled
from analysis.rationales.table import Table
from star.errors import counted
from star.row_files import to_csv

LETTERS = "ABC"
TRIED = 300
"""Questions looked at to find one whose three rationales differ."""


def origin(row: pd.Series) -> str:
    """Where a rationale came from, in words: the round and mode of a run, or the model that wrote it."""
    number, mode, generator = (row[name] if isinstance(row[name], str) else "" for name in ("round", "mode", "generator"))
    words = [parts.facet_words("round", number) if number else "", mode if mode == "rationalized" else ""]
    return ", ".join(filter(None, [*words, text.shorten(generator, 60)])) or "this file"


@lru_cache(maxsize=4)
def triples(table: Table, *, right: bool) -> list[tuple[int, int, int]]:
    """Three rationales of each question with different origins: the first, the middle and the last one.

    `right`: only rationales with a right answer; the paper's raters saw questions that all arms had solved.
    """
    frame = table.frame
    usable = frame["n_steps"].to_numpy() > 0
    rows = np.flatnonzero(usable & (frame["right"].to_numpy() == 1) if right else usable)
    part = frame.iloc[rows]
    kind = (part["mode"] == "rationalized").to_numpy().astype(int)
    number, writer = (part[name].cat.codes.to_numpy().astype(int) + 1 for name in ("round", "generator"))
    origin = number * 2 + kind + 1_000 * writer
    origins = pd.DataFrame({"row": rows, "problem": part["problem"].to_numpy(), "origin": origin})
    origins = origins.drop_duplicates(["problem", "origin"]).sort_values(["problem", "origin"], kind="stable")
    grouped = origins.groupby("problem", sort=False)["row"]
    sizes = grouped.size().to_numpy()
    first = (np.cumsum(sizes) - sizes)[sizes >= 3]
    row, sizes = origins["row"].to_numpy(), sizes[sizes >= 3]
    picked = [row[first], row[first + sizes // 2], row[first + sizes - 1]]
    return list(zip(*(column.tolist() for column in picked), strict=True))


def _open_triples(table: Table, who: str, ranked: set[str], skipped: set[str]) -> Iterator[tuple[tuple[int, int, int], bool]]:
    """Three rationales that differ, of a question not ranked yet, and whether all are right: such ones come first, and skipped
    questions last. Of each kind the one that the link asks for comes first, then those after it."""
    asked = table.row_of(state.param("ask") or "")
    problems = table.frame["problem"].to_numpy()

    def differ(triple: tuple[int, int, int]) -> bool:
        return len({table.texts.get("rationale", row) for row in triple}) == 3

    for late, kinds in ((False, (True,)), (False, (False,)), (True, (True, False))):
        by_problem: dict[str, tuple[tuple[int, int, int], bool]] = {}
        for right in kinds:
            known = triples(table, right=right)
            for one in (known[place] for place in shuffled(np.arange(len(known)), who)):
                problem = problems[one[0]]
                if problem not in ranked and (problem in skipped) == late and (not late or differ(one)):
                    by_problem.setdefault(problem, (one, right))
        left = list(by_problem.values())
        start = next((place for place, (one, _) in enumerate(left) if one[0] == asked), 0)
        yield from (each for each in (left[start:] + left[:start])[:TRIED] if differ(each[0]))


def tab(table: Table, labels: Labels) -> None:
    """Three rationales of one question, their origin hidden; the keys 1, 2, 3 pick the best, then the next best."""
    who = context.labeller()
    ranked, skipped = ({problem for name, problem in given if name == who} for given in (labels.rankings, labels.skipped))
    open_triples = _open_triples(table, who, ranked, skipped)
    shown = next(open_triples, None)
    if shown is not None:
        triple, right = shown
        if not right:
            st.caption("No question with three right answers is left: answers of this one may be wrong.")
        ids, problems = (table.frame[name].to_numpy() for name in ("id", "problem"))
        after = next((ids[other[0]] for other, _ in open_triples if problems[other[0]] != problems[triple[0]]), None)
        _ranking(table, triple, after, who, labels)
    elif ranked:
        st.success(f"{text.plain(who)} has ranked every question that can be ranked: {len(ranked):,}.")
    else:
        st.info(
            "Ranking needs three different rationales of the same question from different rounds or models, and there "
            "is no such question here."
        )
    _ranking_results(labels)


def _ranking(table: Table, triple: tuple[int, int, int], after: str | None, who: str, labels: Labels) -> None:
    """`after`: the id that the link asks for once these are skipped."""
    shown = [int(row) for row in shuffled(np.array(triple), f"{who} {table.frame['problem'].iat[triple[0]]}")]
    picked = [int(digit) for digit in (state.param("picked") or "") if digit in "123"][:1]
    rationale.question(table.rationale(shown[0]))
    best = "second best" if picked else "best"
    st.write(f"Which one is the **{best}** piece of reasoning? Where they come from is hidden.")
    part = table.frame.iloc[shown]
    tie = Ranking(str(part["problem"].iat[0]), who, tuple(part["id"]), tuple(origin(row) for _, row in part.iterrows()), tie=True)
    first = str(table.frame["id"].iat[triple[0]])
    number = turns.turn(f"{first} {picked}")
    for i, column in enumerate(st.columns(3, gap="medium", border=True)):
        with column:
            st.button(
                f"{LETTERS[i]}" + (f": number {picked.index(i + 1) + 1}" if i + 1 in picked else ""),
                key=f"rank-{i}-{number}",
                shortcut=str(i + 1),
                disabled=i + 1 in picked,
                type="primary" if i + 1 in picked else "secondary",
                on_click=_pick,
                args=(number, [*picked, i + 1], tie, first),
            )
            rationale.steps(table.rationale(shown[i]), blind=True, place=str(i))
    with st.container(horizontal=True):
        tied, tip = (number, [1, 2, 3], tie, first), "None is better than another."
        st.button("Tie", key=f"tie-{number}", shortcut="T", help=tip, on_click=_pick, args=tied)
        skipped = (number, tie.problem, labels, {"picked": None, "ask": after})
        st.button("Skip", key=f"skip-{number}", shortcut="J", disabled=after is None, on_click=labelling.skip, args=skipped)
        if picked:
            st.button("Start again", shortcut="Z", type="tertiary", on_click=state.go, args=({"picked": None},))


def _pick(number: int, order: list[int], tie: Ranking, first: str) -> None:
    """`order`: places of `tie`, the ranking of what is on show, that are picked by now; all of them store it as it is."""
    if turns.too_early(number):
        return
    if len(order) < 2:
        turns.go({"picked": str(order[0]), "ask": first})
        return
    places = [place - 1 for place in dict.fromkeys([*order, 1, 2, 3])]
    ids, origins = (tuple(names[place] for place in places) for names in (tie.order, tie.origins))
    if labelling.store(replace(tie, order=ids, origins=origins, tie=len(order) == 3)):
        turns.go({"picked": None, "ask": None})


def _ranking_results(labels: Labels) -> None:
    if not labels.rankings:
        return
    rankers = counted(len({name for name, _ in labels.rankings}), "rater")
    with st.expander(f"Result of {counted(len(labels.rankings), 'ranking')} by {rankers}"):
        rows = [
            {"from": origin, "ranked": n, "best of three": share(first, n), "mean place": round(mean, 2)}
            for origin, n, first, mean in agreement.ranking_results(labels.rankings.values())
        ]
        parts.table(pd.DataFrame(rows))
        st.caption("Best of three with 95 % intervals; by chance it would be 33.3 %, and the mean place 2.")


def download(labels: Labels) -> None:
    """A button for all rankings, where there are any."""
    if labels.rankings:
        st.download_button("All rankings as CSV", to_csv(ranking_rows(labels)), "rankings.csv", "text/csv")
