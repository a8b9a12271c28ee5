"""What changed, and for whom? Rounds, sizes or recipes side by side, and the questions that were fixed or broke."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import streamlit as st

from analysis import charts
from analysis import comparing as comparison
from analysis.pages.widgets import context, parts, state, text
from analysis.pages.widgets.probe_words import interval_words, measure_words
from analysis.rationales.filters import judges, soundness
from analysis.rationales.records import RecordError
from analysis.rationales.table import Table, load_table
from analysis.store import Source, Stamp, run_state, stamp
from star.charts import COLOURS
from star.run import RunError
from star.statistics import mcnemar

MOST = 6
"""Arms side by side; more cannot be read."""
WRITER = "generator"
"""The facet that says who wrote a rationale of a record file."""
CHANGES = {
    "fixed": ("wrong before, right after", COLOURS["sound"]),
    "broke": ("right before, wrong after", COLOURS["unsound"]),
    "stayed right": ("right both times", COLOURS["generated"]),
    "stayed wrong": ("wrong both times", COLOURS["neutral"]),
}


@dataclass(frozen=True)
class Side:
    """One arm with its rows: a round of a run, or one writer of a record file."""

    name: str
    """What the link says."""
    label: str
    table: Table
    rows: Mapping[str, int]
    """Problem -> row of its rationale."""


def page() -> None:
    """The page, from top to bottom."""
    source = context.source()
    options = _file_arms() if source.kind == "file" else _run_arms()
    if len(options) < 2:
        st.info(
            "There is only one thing here so far: a comparison needs two rounds, two runs or two writers.",
            icon=":material/compare_arrows:",
        )
        return
    names = _chosen(options, source)
    if len(names) < 2:
        st.info("Pick at least two.", icon=":material/compare_arrows:")
        return
    sides = _sides(names, options, source)
    if source.kind == "run":
        _measures(names, options)
    else:
        _file_measures(sides)
    _changes(sides)


def _run_arms() -> dict[str, str]:
    """Name of an arm -> words; every round of every run that has an evaluation."""
    found: dict[str, str] = {}
    sources = context.sources()
    labels = context.labels_of(sources)
    for one in sources:
        for line in run_state(one.path).rounds:
            number = line["round"]
            if (one.path / f"round_{number:02d}" / "evaluation.parquet").is_file():
                name = labels[one.name].split(" · ")
                same = sum(label.split(" · ")[0] == name[0] for label in labels.values()) > 1
                run = " · ".join(name) if same else name[0]
                found[f"{one.name}@{number}"] = f"{run}, {parts.facet_words('round', str(number))}"
    return found


def _file_arms() -> dict[str, str]:
    table = context.table()
    facet = WRITER if len(parts.values(table, WRITER)) > 1 else "slice"
    return {f"{facet}@{value}": parts.facet_words(facet, value) for value in parts.values(table, facet)}


def _chosen(options: dict[str, str], source: Source) -> list[str]:
    """The arms of the link; by default the base model and the last round of this run, or the first two writers."""
    mine = [name for name in options if name.rpartition("@")[0] == source.name] or list(options)
    default = [mine[0], mine[-1]] if len(mine) > 1 else list(options)[:2]
    linked = {_linked(name): name for name in options}
    asked = [linked[part] for part in (state.param("arms") or "").split("|") if part in linked]
    st.session_state["w-arms"] = asked[:MOST] or default
    st.multiselect(
        f"What to compare (up to {MOST}; the first is what the others are held against)",
        list(options),
        key="w-arms",
        format_func=lambda name: options.get(name, name),
        max_selections=MOST,
        on_change=_push_arms,
    )
    return list(st.session_state["w-arms"])


def _push_arms() -> None:
    arms = "|".join(map(_linked, st.session_state["w-arms"]))
    state.go({"arms": arms, "change": None, "problem": None})


def _linked(name: str) -> str:
    """The name of an arm as it stands in the link, where "|" sets one arm apart from the next."""
    return name.replace("|", "%7C")


def _sides(names: Sequence[str], options: Mapping[str, str], source: Source) -> list[Side]:
    if source.kind == "file":
        table = context.table()
        found = []
        for name in names:
            facet, _, value = name.partition("@")
            mask = (table.frame[facet] == value).to_numpy()
            found.append(Side(name, options[name], table, _first_rows(table, mask)))
        return found
    by_name = {one.name: one for one in context.sources()}
    found = []
    for name in names:
        run, _, number = name.rpartition("@")
        try:
            table = load_table(by_name[run])
        except RecordError as error:
            st.warning(text.plain(error))
            continue
        frame = table.frame
        asked = (frame["mode"] == "evaluated") & (frame["split"] == "selection") & (frame["round"] == number)
        found.append(Side(name, options[name], table, _first_rows(table, asked.to_numpy())))
    return found


def _first_rows(table: Table, mask: np.ndarray) -> dict[str, int]:
    rows = np.flatnonzero(mask)[::-1]
    return dict(zip(table.frame["problem"].to_numpy()[rows].tolist(), rows.tolist(), strict=True))


@lru_cache(maxsize=64)
def _arm(source: Source, number: int, label: str, _: Stamp) -> comparison.Arm:
    return comparison.read_arm(source.path, number, label=label)


def _measures(names: Sequence[str], options: Mapping[str, str]) -> None:
    """Chart and table of every measure, and paired differences from the first arm."""
    by_name = {one.name: one for one in context.sources()}
    arms: list[comparison.Arm] = []
    for name in names:
        run, _, number = name.rpartition("@")
        source = by_name[run]
        folder = source.path / "analysis"
        files = [folder / "soundness.parquet", folder / "probes.parquet", folder / "probes.json"]
        found = stamp([*files, source.path / f"round_{int(number):02d}" / "evaluation.parquet"])
        try:
            arms.append(_arm(source, int(number), options[name], found))
        except (RunError, OSError, KeyError, ValueError, pa.ArrowInvalid):
            st.warning(f"{text.plain(options[name])} cannot be read and is left out.", icon=":material/broken_image:")
    if len(arms) < 2:
        return
    fair = state.switch("only questions that all of them answer right", "fair")
    questions = comparison.all_right(arms) if fair else comparison.shared_questions(arms)
    if not questions:
        st.info("There is no question that all of them answer right." if fair else "They share no question.")
        return
    figures = comparison.figures(arms, questions)
    rows = [
        {"label": f.label, "measure": _words(f.measure), "unit": f.measure.unit, "n": f.interval.n}
        | {"value": f.interval.value, "low": f.interval.low, "high": f.interval.high}
        for f in figures
    ]
    frame = pd.DataFrame(rows).dropna(subset=["value"])
    several = frame[frame.groupby("measure")["label"].transform("nunique") > 1]
    said = f"{len(questions):,} questions that {'all answer right' if fair else 'all of them were asked'}."
    probed = questions & comparison.probed_questions(arms)
    if any(arm.probed for arm in arms) and probed != questions:
        said += f" Measures of changed reasoning rest on the {len(probed):,} of these that were probed for each one probed at all."
    st.caption(said)
    parts.draw(charts.comparison(several, "Side by side"), width="content")
    if len(several) < len(frame):
        st.caption("What only one of them has been measured for is in the table alone.")
    _figures_table(figures, arms)
    _differences(arms, questions)
    missing = sorted({command for arm in arms for command in arm.missing})
    if missing:
        with st.expander(
            f"Not everything is measured yet ({len(missing)} {'command' if len(missing) == 1 else 'commands'} to type)"
        ):
            parts.command(*(_relative(command) for command in missing))


def _words(measure: comparison.Measure) -> str:
    return measure_words(measure.key, measure.name)


def _unit(measure: comparison.Measure, share: str) -> str:
    return share if measure.unit == "share" else measure.unit


def _relative(command: str) -> str:
    """As one would type it in the working directory."""
    return command.replace(f"{Path.cwd()}/", "")


def _figures_table(figures: Sequence[comparison.Figure], arms: Sequence[comparison.Arm]) -> None:
    cells = {(f.measure, f.label): f.interval for f in figures}
    rows = []
    for measure in dict.fromkeys(f.measure for f in figures):
        row: dict[str, str] = {"measure": _words(measure)}
        for arm in arms:
            found = cells[measure, arm.label]
            shown = interval_words(vars(found), _unit(measure, "%"))
            row[arm.label] = f"{shown}, n = {found.n:,}" if found.n else ""
        rows.append(row)
    st.dataframe(pd.DataFrame(rows), hide_index=True, placeholder="", height=min(560, 38 + 35 * len(rows)))
    st.caption(
        "Brackets: 95 % intervals. Sound: by the task's exact check, or by the automatic score where there is none."
    )


def _differences(arms: Sequence[comparison.Arm], questions: set[str]) -> None:
    rows = []
    for one in comparison.differences(comparison.pairs(arms, every=False), questions):
        rows.append(
            {
                "measure": _words(one.measure),
                "from": one.a,
                "to": one.b,
                "change": interval_words(vars(one.interval), _unit(one.measure, "points")),
                "questions": one.interval.n,
                "p": "" if math.isnan(one.p) else f"{one.p:.2g}",
                "p, corrected": "" if math.isnan(one.p_holm) else f"{one.p_holm:.2g}",
                "test": one.test,
            }
        )
    with st.expander(f"Are the differences real? ({len(rows)} paired tests on the same questions)", expanded=True):
        st.dataframe(pd.DataFrame(rows), hide_index=True, height=min(420, 38 + 35 * len(rows)))
        st.caption(
            "Paired bootstrap over questions, 95 %; McNemar where each question is right or wrong; corrected: Holm."
        )


def _file_measures(sides: Sequence[Side]) -> None:
    """Chart of the measures: of writers on the questions that all of them answered; kinds of tasks never share one."""
    shared = set.intersection(*(set(side.rows) for side in sides))
    writers = all(side.name.startswith(f"{WRITER}@") for side in sides)
    if writers and not shared:
        if len(sides) > 2:  # of two, what follows says so
            st.info("There is no question that all of them answered.")
        return
    said = f"{len(shared):,} questions that all of them answered." if writers else "Each on the questions of its kind."
    st.caption(said)
    rows = []
    for side in sides:
        kept = [row for problem, row in side.rows.items() if not writers or problem in shared]
        found = np.array(kept, dtype=int)
        right = side.table.frame["right"].to_numpy()[found]
        measures = [("answers right", right[right >= 0] == 1)]
        for judge in judges(side.table)[:1]:
            sound = soundness(side.table, judge, 0.5)[found]
            measures.append(("sound", sound[sound >= 0] == 1))
            both = (sound >= 0) & (right >= 0)
            measures.append(("right but unsound", (right[both] == 1) & (sound[both] == 0)))
        for name, hits in measures:
            if len(hits):
                low, high = parts.wilson_bounds(int(hits.sum()), len(hits))
                share = float(hits.mean())
                bounds = {"value": share, "low": float(low), "high": float(high), "n": len(hits)}
                rows.append({"label": side.label, "measure": name, **bounds})
    if rows:
        parts.draw(charts.comparison(pd.DataFrame(rows), "Side by side"), width="content")


def _changes(sides: Sequence[Side]) -> None:
    """What got fixed and what broke from the first arm to the last, and one question answered by all of them."""
    if len(sides) < 2:
        return
    before, after = sides[0], sides[-1]
    shared = [problem for problem in before.rows if problem in after.rows]
    groups = change_groups(before, after, shared)
    st.subheader(
        f"What got fixed and what broke, from {text.plain(before.label)} to {text.plain(after.label)}", anchor=False
    )
    n = sum(map(len, groups.values()))
    if not n:
        st.info("They share no question whose answers are graded.")
        return
    picked = state.choice("change", list(CHANGES))
    for column, (name, (words, _)) in zip(st.columns(4), CHANGES.items(), strict=True):
        column.button(
            f"{name}: **{len(groups[name]):,}**",
            key=f"change-{name.replace(' ', '-')}",
            type="primary" if picked == name else "secondary",
            help=f"{words.capitalize()}; {parts.share(len(groups[name]), n)} of n = {n:,}",
            width="stretch",
            on_click=state.go,
            args=({"change": None if picked == name else name, "problem": None, "id": None},),
        )
    fixed, broke = len(groups["fixed"]), len(groups["broke"])
    p = mcnemar([True] * broke + [False] * fixed, [False] * broke + [True] * fixed).p
    st.caption(
        f"n = {n:,} questions. Fixed {parts.share(fixed, n)}, broke {parts.share(broke, n)}, 95 % intervals in brackets; "
        f"McNemar's exact test that both are as frequent: p = {p:.2g}."
    )
    _question(sides, groups[picked] if picked else [problem for group in groups.values() for problem in group])


def change_groups(before: Side, after: Side, shared: Sequence[str]) -> dict[str, list[str]]:
    """Problems by what happened to their answers; those that are not graded on both sides are left out."""
    first, second = _right(before.table), _right(after.table)
    names = {(0, 1): "fixed", (1, 0): "broke", (1, 1): "stayed right", (0, 0): "stayed wrong"}
    groups: dict[str, list[str]] = {name: [] for name in CHANGES}
    for problem in shared:
        name = names.get((int(first[before.rows[problem]]), int(second[after.rows[problem]])))
        if name is not None:
            groups[name].append(problem)
    return groups


def _right(table: Table) -> np.ndarray:
    """1 right, 0 wrong, -1 not graded. An answer of a run that could not be graded counts as wrong, as in its accuracy."""
    right = table.frame["right"].to_numpy()
    return np.where((table.frame["verdict"] == "ungradable").to_numpy(), 0, right)


def _question(sides: Sequence[Side], problems: Sequence[str]) -> None:
    """One of the questions, with the rationale of each arm next to the others."""
    if not problems:
        st.caption("None.")
        return
    place = min(max((state.number("problem") or 1) - 1, 0), len(problems) - 1)
    with st.container(horizontal=True, vertical_alignment="center"):
        ahead = str(place + 2) if place + 1 < len(problems) else None
        state.jump("Previous", str(place) if place else None, "K", name="problem", icon=":material/arrow_upward:")
        state.jump("Next", ahead, "J", name="problem", icon=":material/arrow_downward:")
        chance = str(int(np.random.default_rng().integers(len(problems))) + 1)
        state.jump("Random", chance, "X", name="problem", icon=":material/casino:")
        st.caption(f"question {place + 1:,} of {len(problems):,}")
    problem = problems[place]
    text.question(sides[0].table.rationale(sides[0].rows[problem]).question)
    view = [parts.read_view(side.table) for side in sides]
    with st.container(key="wide-question" if len(sides) > 2 else "two-question"):
        for column, side, its in zip(st.columns(len(sides), gap="medium", border=True), sides, view, strict=True):
            with column:
                st.caption(text.plain(side.label))
                if problem not in side.rows:
                    st.write("Not asked.")
                    continue
                one = side.table.rationale(side.rows[problem])
                parts.judgement(one, its)
                parts.steps(one)


if __name__ == "__main__":
    page()
