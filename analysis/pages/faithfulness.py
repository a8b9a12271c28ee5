"""Does the model use its reasoning? One rationale cut short and changed, and the averages with their controls."""

from __future__ import annotations

import itertools
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import streamlit as st

from analysis.faithfulness.rows import row_schema
from analysis.pages.widgets import averages, context, parts, rationale, state, text
from analysis.pages.widgets.measures import outcome_words, probe_words
from analysis.rationales.table import Table
from analysis.sources import Source
from star.charts import COLOURS
from star.errors import counted
from star.run import Run, RunError, read_json, read_table
from star.schemas import ProbedRound, ProbesFile

COLUMNS = ("attempt_id", "round", "probe", "position", "n_steps", "changed", "applicable")
PICKED = 2_000
"""Rationales offered in the list."""
SHOWN = 200
"""Steps of one rationale that are shown."""


def page() -> None:
    """The page, from top to bottom."""
    source = context.source()
    try:
        file = _file(source, "probes.parquet")
        if not file.is_file():
            st.info("These rationales have not been probed yet. To ask the model again with changed reasoning, type:")
            more = "" if source.kind == "run" else " --model MODEL"
            parts.command(f"python -m analysis.probe {source.typed}{more}")
            return
        rows = read_table(file, row_schema(), COLUMNS).to_pandas().dropna(subset=["n_steps"])
    except RunError as error:
        st.error(text.plain(str(error).replace(f"{source.path}/", "")))
        return
    rounds: dict[str, ProbedRound] = {}
    try:
        summary = _file(source, "probes.json")
        rounds = read_json(summary, ProbesFile)["rounds"] if summary.is_file() else {}
    except RunError as error:
        st.warning(text.plain(str(error).replace(f"{source.path}/", "")), icon=":material/broken_image:")
    number = _round(list(rounds))
    shown = rows if number in (None, "-") else rows[rows["round"] == int(str(number))]
    _one(context.table(), shown, file)
    if number is not None:
        averages.show(rounds[number])
    else:
        st.info("The averages (analysis/probes.json) are missing; run analysis.probe again.")


def _file(source: Source, name: str) -> Path:
    """Where `analysis.probe` writes. Raises RunError where a link leads out of the run."""
    if source.kind == "run":
        return Run(source.path).file(f"analysis/{name}")
    return source.path.with_name(source.path.name + ".analysis") / name


def _round(rounds: list[str]) -> str | None:
    if len(rounds) < 2:
        return rounds[0] if rounds else None
    ordered = sorted(rounds, key=lambda name: int(name) if name.isdigit() else -1)
    words = {name: parts.facet_words("round", name) for name in ordered}
    return state.select(
        "Round", "probed", ordered, default=ordered[-1], show=lambda name: words[name], forget=("id",), width=160
    )


def commit_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Per rationale of early_answering: id, n_steps and the first position from which on the answer never changes."""
    early = rows[(rows["probe"] == "early_answering") & rows["applicable"].astype(bool)].sort_values("position")
    changed = early.assign(last=np.where(early["changed"].fillna(False).astype(bool), early["position"] + 1, 0))
    commits = changed.groupby("attempt_id", sort=False).agg(n_steps=("n_steps", "max"), commit=("last", "max"))
    return commits.reset_index().rename(columns={"attempt_id": "id"})


def _one(table: Table, rows: pd.DataFrame, file: Path) -> None:
    """One rationale: where its answer is settled, and what a false value does to it."""
    commits = commit_steps(rows)
    parts.note_missing(table)
    asked = state.param("id")
    known = commits["id"].tolist()
    if asked is not None and asked not in known and table.row_of(asked) is not None:
        st.info("That rationale was not probed; here is one that was.", icon=":material/info:")
    if not known:
        st.info("No probed rationale has steps that could be cut short.")
        return
    order = commits.sort_values("commit", kind="stable", ascending=False)["id"].tolist()[:PICKED]
    identifier = asked if asked in known else order[0]
    order = order if identifier in order else [identifier, *order]
    place = order.index(identifier)
    with st.container(horizontal=True, vertical_alignment="center"):
        state.walk(order, place)
        st.caption(f"{place + 1:,} of {len(order):,} probed rationales, those that use most of their reasoning first")
    row = table.row_of(str(identifier))
    if row is None:
        st.warning("This rationale is no longer in the run's files.")
        return
    probed = read_table(file, row_schema())
    mine = probed.filter(pc.equal(probed.column("attempt_id"), str(identifier))).to_pandas()
    rationale.question(table.rationale(row))
    early = mine[(mine["probe"] == "early_answering") & mine["applicable"]].sort_values("position")
    commit = int(commits.loc[commits["id"] == identifier, "commit"].iloc[0])
    with st.container(key="stack-one"):
        left, right = st.columns(2, gap="large")
        with left:
            _steps(early, commit)
        with right:
            _curve(early, commit)
    _mistakes(early, mine[(mine["probe"] == "added_mistake") & mine["applicable"]])
    _others(mine)


def probed_steps(early: pd.DataFrame) -> list[tuple[int, str]]:
    """(place, text) of the steps as the probe counted them: what each truncation shows beyond the one before."""
    texts = early["perturbed"].fillna("").tolist()
    added = [after[len(before) :].strip() for before, after in itertools.pairwise(["", *texts])]
    return list(zip(early["position"].astype(int).tolist(), added, strict=True))


def _steps(early: pd.DataFrame, commit: int) -> None:
    """The steps with the answer the model gives after each, and the place where it is settled."""
    st.subheader("The answer after each step", anchor=False)
    marks, answers = {commit: ["the answer is settled here"]}, early["answer_after"].tolist()
    words = [f"answers {text.shorten(one, 60)}" if isinstance(one, str) else "gives no answer" for one in answers]
    said = {place: [one] for place, one in zip(early["position"].tolist(), words, strict=True)}  # some may lack
    items = [
        rationale.step_line(i, step if i else "before any reasoning", "settled" if i >= commit else "", marks, said, first=0)
        for i, step in probed_steps(early)[:SHOWN]
    ]
    st.html(f'<ol class="r-steps">{"".join(items)}</ol>')
    text.key((COLOURS["faithfulness"], "from here on the answer stays the same"))


def _curve(early: pd.DataFrame, commit: int) -> None:
    """Probability of the final answer after each step."""
    frame = pd.DataFrame(
        {
            "step": early["position"].astype(int),
            "probability": np.exp(early["logprob_after"].astype(float).clip(upper=0)),
            "answer": np.where(early["changed"].fillna(False).astype(bool), "another answer", "the final answer"),
        }
    )
    colours = {"the final answer": COLOURS["faithfulness"], "another answer": COLOURS["neutral"]}
    base = alt.Chart(frame).encode(
        x=alt.X("step:O", title="steps shown", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("probability:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=5)),
        tooltip=["step:O", alt.Tooltip("probability:Q", format=".1%"), "answer:N"],
    )
    line = base.mark_line(color=COLOURS["neutral"], strokeWidth=2)
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    dots = base.mark_circle(size=110, opacity=1).encode(color=alt.Color("answer:N", scale=scale, title=None))
    rule = alt.Chart(pd.DataFrame({"step": [commit]})).mark_rule(color=COLOURS["faithfulness"], strokeDash=[5, 4])
    n = int(early["n_steps"].max())
    note = f"one rationale, {counted(n, 'step')}; dashed: the answer is settled after {commit} of them"
    title = alt.TitleParams("How likely is the final answer after each step?", subtitle=[note])
    parts.draw(alt.layer(line, dots, rule.encode(x="step:O")).properties(height=270, title=title))


def _mistakes(early: pd.DataFrame, rows: pd.DataFrame) -> None:
    """The rationale and what the model wrote after one value was falsified, side by side, answers included."""
    if not len(rows):
        return
    rows = rows.sort_values("position")
    st.subheader("One value falsified, the rest written again by the model", anchor=False)
    places = [str(int(position)) for position in rows["position"]]
    words = {place: f"step {place}" for place in places}
    place = state.segments("Falsified in", "at", places, places[0], words) if len(places) > 1 else places[0]
    row = rows.iloc[places.index(place)]
    injected = str(row["injected_value"] or "")
    shown = dict(zip(early["position"].astype(int).astype(str), early["perturbed"], strict=True))
    before = text.joined(shown.get(place, ""), row["original_continuation"] or "")
    after = text.joined(row["perturbed"] or "", row["new_continuation"] or "")
    first, second = text.diff(before, after, injected)
    left, right = st.columns(2, gap="large")
    with left:
        st.caption("The rationale as it was")
        text.marked(first)
        text.facts([("answer", row["answer_before"] or "none")])
    with right:
        st.caption(f"After the mistake in step {text.plain(place)}")
        text.marked(second)
        text.facts([("answer", row["answer_after"] or "none")])
    original = text.shorten(row["original_value"], 30) if isinstance(row["original_value"], str) else "another value"
    text.key(
        (COLOURS["unsound"], f"the false value ({text.shorten(injected, 30)} for {original})"),
        (COLOURS["accuracy"], "gone"),
        (COLOURS["rationalized"], "new"),
    )
    st.write(outcome_words("added_mistake", row["outcome"]))


def _others(mine: pd.DataFrame) -> None:
    """The other probes of this rationale, a line each."""
    rows = []
    for row in mine[~mine["probe"].isin(["early_answering", "added_mistake", "information_gain"])].to_dict("records"):
        outcome = outcome_words(row["probe"], row["outcome"])
        rows.append(
            {
                "what was done": probe_words(row["probe"]),
                "step": row["position"] if row["position"] > 0 else None,
                "answer before": row["answer_before"],
                "answer after": row["answer_after"],
                "answer changed": {True: "yes", False: "no"}.get(row["changed"], ""),
                "remark": outcome if row["applicable"] else f"could not be done: {row['reason']}",
            }
        )
    if rows:
        with st.expander(f"Everything else that was tried on this rationale ({len(rows)})", icon=":material/science:"):
            parts.table(pd.DataFrame(rows))


if __name__ == "__main__":
    page()
