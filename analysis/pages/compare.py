"""What changed, and for whom? Rounds, sizes or recipes side by side, and the questions that were fixed or broke."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import streamlit as st

from analysis import charts
from analysis import comparing as comparison
from analysis.comparing import Arm
from analysis.pages.widgets import changes, context, parts, state, text
from analysis.pages.widgets.changes import Side
from analysis.pages.widgets.measures import explanations, interval_words, measure_words
from analysis.pages.widgets.words import p_words
from analysis.rationales.records import RecordError
from analysis.rationales.table_reading import load_table
from analysis.sources import Source
from star.errors import counted
from star.paired import Comparison
from star.run import Run, RunError, stamp

MOST = 6
"""Arms side by side; more cannot be read."""
WRITER = "generator"
"""The facet that says who wrote a rationale of a record file."""


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
    if len(sides) < 2:
        return
    if source.kind == "run":
        _measures(_probed_arms(names, options), "all of them were asked")
    elif all(name.startswith(f"{WRITER}@") for name in names):
        _measures([side.arm for side in sides], "all of them answered")
    else:
        _measures([side.arm for side in sides], "")
    changes.show(sides)


def _run_arms() -> dict[str, str]:
    """Name of an arm -> words; every round of every run that has an evaluation."""
    arms: dict[str, str] = {}
    sources = context.sources()
    labels = context.labels_of(sources)
    for one in sources:
        evaluated = Run(one.path).evaluated_rounds()
        for line in Run(one.path).overview().rounds:
            number = line["round"]
            if number in evaluated:
                name = labels[one.name].split(" · ")
                same = sum(label.split(" · ")[0] == name[0] for label in labels.values()) > 1
                run = " · ".join(name) if same else name[0]
                arms[f"{one.name}@{number}"] = f"{run}, {parts.facet_words('round', str(number))}"
    return arms


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
    by_name = {one.name: one for one in context.sources()}
    sides = []
    for name in names:
        place, _, value = name.rpartition("@") if source.kind == "run" else name.partition("@")
        try:
            table = load_table(by_name[place]) if source.kind == "run" else context.table()
        except (RecordError, RunError) as error:
            st.warning(text.plain(error))
            continue
        asked = {"round": value, "mode": "evaluated", "split": "selection"} if source.kind == "run" else {place: value}
        sides.append(changes.side(table, options[name], tuple(asked.items())))
    return sides


def _probed_arms(names: Sequence[str], options: Mapping[str, str]) -> list[Arm]:
    """The rounds with what `analysis.probe` found; one that cannot be read is named and left out."""
    by_name = {one.name: one for one in context.sources()}
    arms = []
    for name in names:
        run, _, number = name.rpartition("@")
        source = by_name[run]
        folder = source.path / "analysis"
        files = [folder / "soundness.parquet", folder / "probes.parquet", folder / "probes.json"]
        written = stamp([*files, Run(source.path).folder(int(number)) / "evaluation.parquet"])
        try:
            arms.append(changes.probed_arm(source, int(number), options[name], written))
        except RunError as error:
            said = f"{options[name]} is left out: {error}".replace(f"{source.path}/", "")
            st.warning(text.plain(said), icon=":material/broken_image:")
    return arms


def _measures(arms: Sequence[Arm], who: str) -> None:
    """Chart and table of every measure, and paired differences from the first arm.

    `who`: whose questions count, such as "all of them answered"; "" for kinds of tasks, which share none.
    """
    if len(arms) < 2:
        return
    fair = bool(who) and state.switch("only questions that all of them answer right", "fair")
    questions, figures, tests = changes.compared(tuple(arms), bool(who), fair)
    if not questions:
        st.info("There is no question that all of them answer right." if fair else "They share no question.")
        return
    said = "all answer right" if fair else who
    rows = [{"label": f.arm.label, "measure": _words(f.measure), "unit": f.measure.unit, **asdict(f.interval)} for f in figures]
    frame = pd.DataFrame(rows).dropna(subset=["value"])
    several = frame[frame.groupby("measure")["label"].transform("nunique") > 1]
    note = f"{counted(len(questions), 'question')} that {said}." if said else "Each on the questions of its kind."
    probed = questions & comparison.probed_questions(arms)
    if any(arm.probed for arm in arms) and probed != questions:
        note += f" What changing the reasoning does is measured on the {len(probed):,} of these that were probed for all that were."
    st.caption(note)
    parts.draw(charts.comparison(several, "Side by side"), width="content")
    if len(several) < len(frame):
        st.caption("What only one of them has been measured for is in the table alone.")
    _figures_table(figures)
    _differences(tests)
    missing = sorted({command for arm in arms for command in arm.missing})
    if missing:
        with st.expander(
            f"Not everything is measured yet ({len(missing)} {'command' if len(missing) == 1 else 'commands'} to type)"
        ):
            # as one would type them in the working directory
            parts.command(*(command.replace(f"{Path.cwd()}/", "") for command in missing))


def _words(measure: comparison.Measure) -> str:
    return measure_words(measure.key, measure.name)


def _unit(measure: comparison.Measure, share: str) -> str:
    return share if measure.unit == "share" else measure.unit


def _figures_table(figures: Sequence[comparison.Figure]) -> None:
    rows: dict[str, dict[str, str]] = {}
    for figure in figures:
        words, interval = _words(figure.measure), figure.interval
        shown = f"{interval_words(vars(interval), _unit(figure.measure, '%'))}, n = {interval.n:,}"
        rows.setdefault(words, {"measure": words})[figure.arm.label] = shown if interval.n else ""
    parts.table(pd.DataFrame(list(rows.values())), 560)
    said = ["Brackets: 95 % intervals. Sound: by the labels in the file, else the task's exact check, else the automatic score."]
    st.caption("  \n".join(explanations(" ".join(cell for row in rows.values() for cell in row.values())) + said))


def _differences(tests: Sequence[Comparison]) -> None:
    rows = []
    for one in tests:
        measure = comparison.MEASURES[one.measure]
        rows.append(
            {
                "measure": _words(measure),
                "from": one.a,
                "to": one.b,
                "change": interval_words(vars(one.difference), _unit(measure, "points")),
                "questions": one.n,
                "p": p_words(one.p),
                "p, corrected": p_words(one.p_holm),
                "test": one.test,
            }
        )
    if not rows:
        return
    with st.expander(f"Are the differences real? ({len(rows)} paired tests on the same questions)", expanded=True):
        parts.table(pd.DataFrame(rows))
        st.caption("95 %: Newcombe and McNemar for right or wrong answers, else a bootstrap over questions; corrected: Holm.")


if __name__ == "__main__":
    page()
