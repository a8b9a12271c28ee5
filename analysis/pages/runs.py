"""Does it learn? Accuracy and soundness by round, the data of each round, and what the run was and cost."""

from __future__ import annotations

import time
from functools import partial

import pandas as pd
import streamlit as st

from analysis import charts
from analysis.pages.widgets import context, parts, recipe, state, text
from analysis.pages.widgets.words import DROPPED, share
from analysis.rationales.table import UNKNOWN
from analysis.soundness.grades import flagged
from analysis.sources import Source, typed
from star.charts import slice_order
from star.run import Overview, Run, stamp
from star.schemas import Counts

STALE = 1_800
"""Seconds without a new file after which an unfinished run is called stopped."""


def page() -> None:
    """The page; while a run is going it looks again every few seconds."""
    source = context.source()
    if source.kind == "file":
        _file(source)
        return
    going = not Run(source.path).overview().finished and _age(source) < STALE
    st.fragment(_run, run_every=5 if going else None)(source)


def _age(source: Source) -> float:
    """Seconds since the run last wrote something."""
    folders = [path for path in source.path.iterdir() if path.is_dir()]
    times = [mtime for _, mtime, _ in stamp([source.path, *folders, source.path / "metrics.jsonl"])]
    return time.time() - max(times, default=0) / 1e9


def _run(source: Source) -> None:
    run = Run(source.path).overview()
    for sentence in run.damage:
        st.warning(text.plain(sentence), icon=":material/broken_image:")
    _status(source, run)
    if not run.rounds:
        st.info("No round is finished yet. This page fills by itself.", icon=":material/hourglass_top:")
        recipe.show(run)
        return
    _headline(run)
    frame = charts.rounds_frame(run.rounds, source.name)
    slices = slice_order(set(frame["slice"]) - {"all"})
    picked = None
    if len(slices) > 1:
        picked = state.select(
            "Part of the problems", "slice", slices, show=partial(text.shorten, length=60), anything="all", width=240
        )
    shown = frame if picked is None else frame[frame["slice"] == picked].assign(slice="all")
    left, right = parts.two("accuracy")
    with left:
        parts.draw(charts.accuracy_by_round(shown, "Right answers by round"))
    with right:
        soundness = charts.soundness_by_round(shown[shown["slice"] == "all"])
        if soundness is None:
            st.caption("This task has no exact check of the reasoning; see the automatic score on the page Rationales.")
        else:
            parts.draw(soundness)
    _data(run)
    _table(run)
    recipe.show(run)


def _status(source: Source, run: Overview) -> None:
    if run.finished:
        return
    planned = (run.recipe.get("loop") or {}).get("rounds")
    last = run.rounds[-1]["round"] if run.rounds else 0
    if _age(source) < STALE:
        of = f" of {planned}" if isinstance(planned, int) else ""
        st.info(f"Still going: round {last}{of} is done. This page renews itself.", icon=":material/autorenew:")
    else:
        st.warning("This run stopped before its end. To go on where it stopped, type:", icon=":material/pause_circle:")
        parts.command(f"python -m star.train {typed(source.path / 'recipe.yaml')}")


def _headline(run: Overview) -> None:
    """Base model, last round and test, each with n and interval."""
    first, last = run.rounds[0], run.rounds[-1]
    entries = [("base model", first["selection"])] if first["round"] == 0 else []
    if last is not first or not entries:
        entries.append((f"after round {last['round']}", last["selection"]))
    if run.result:
        entries.append((f"test, with the model of round {run.result['chosen_round']}", run.result["test"]))
    for column, (name, counts) in zip(st.columns(len(entries)), entries, strict=True):
        n, correct = counts["n"], counts["correct"]
        with column.container(border=True):
            st.caption(f"Right answers, {name}")
            st.subheader(f"{100 * correct / max(n, 1):.1f} %", anchor=False)
            st.caption(f"95 %: {share(correct, n).partition('(')[2].rstrip(')')}; n = {n:,}. {_sound(counts)}")
    if run.result and run.result.get("select_on") == "test":
        st.warning("The round was chosen on the test problems, so its test accuracy is too high.")


def _sound(counts: Counts) -> str:
    sound, correct = counts.get("sound_of_correct"), counts["correct"]
    if sound is None or not correct:
        return ""
    return f"Of the right ones, {share(round(sound * correct), correct)} are sound (n = {correct:,})."


def _data(run: Overview) -> None:
    frame = charts.data_frame(run.rounds)
    if not len(frame):
        return
    frame["label"] = [DROPPED.get(reason, reason) for reason in frame["label"]]
    left, right = parts.two("data")
    with left:
        parts.draw(charts.data_by_round(frame))
    with right:
        st.subheader("What became of the sampled rationales", anchor=False)
        dropped = frame["kind"] == "dropped"
        columns = ((frame["kind"], ~dropped), (frame["label"], dropped))
        counts = [pd.crosstab(frame["round"][rows], by[rows], frame["rows"][rows], aggfunc="sum") for by, rows in columns]
        sampled = frame.groupby("round")["rows"].sum().rename("sampled")
        parts.table(pd.concat([sampled, *counts], axis=1).fillna(0).astype(int).reset_index())


def _table(run: Overview) -> None:
    """A row per round: counts and cost."""
    rows = []
    for line in run.rounds:
        selection, training = line["selection"], line.get("training") or {}
        n, correct = selection["n"], selection["correct"]
        sound = selection.get("sound_of_correct")
        seconds = {name: float(value) for name, value in (line.get("seconds") or {}).items() if value is not None}
        flops = sum(float(value) for value in (line.get("flops") or {}).values() if value is not None)
        rows.append(
            {
                "round": "base model" if line["round"] == 0 else str(line["round"]),
                "right": f"{share(correct, n)}, n = {n:,}",
                "sound, of the right ones": "" if sound is None else share(round(sound * correct), correct),
                "no answer": selection.get("no_answer"),
                "cut off": selection.get("truncated"),
                "training rows": training.get("rows"),
                "steps": training.get("steps"),
                "samples": line.get("samples"),
                "tokens sampled": line.get("sampled_tokens"),
                "seconds": round(sum(seconds.values()), 1),
                "FLOPs": f"{flops:.1e}" if flops else "",
            }
        )
    st.subheader("Round by round", anchor=False)
    parts.table(pd.DataFrame(rows).dropna(axis=1, how="all"))
    st.caption("Right and sound with 95 % intervals in brackets; seconds: sampling, training, evaluation and loading.")


def _file(source: Source) -> None:
    """A record file has no rounds: say so, and count what is in it."""
    table = context.table()
    st.write("This is a file of rationales, not a run: it has no rounds.")
    context.notes(table)
    group = "generator" if table.frame["generator"].notna().any() else "slice"
    rows = []
    for name, part in table.frame.groupby(table.frame[group].astype(object).fillna("not recorded")):
        graded = part[part["right"] >= 0]
        judged = part[part["p_unsound"].notna()]
        doubted = int(flagged(judged["p_unsound"]).sum())
        people, program = part.loc[part["human"] >= 0, "human"] == 0, part.loc[part["program_step"] > UNKNOWN, "program_step"] >= 0
        rows.append(
            {
                "written by" if group == "generator" else "kind of task": parts.facet_words(group, str(name)),
                "rationales": len(part),
                "questions": part["problem"].nunique(),
                "right answers": f"{share(int(graded['right'].sum()), len(graded))}, n = {len(graded):,}",
                "proven unsound or flagged": f"{doubted:,} of {len(judged):,} that are judged" if len(judged) else "not judged",
                "unsound by people's labels": f"{people.sum():,} of {len(people):,}" if len(people) else None,
                "unsound by a program's labels": f"{program.sum():,} of {len(program):,}" if len(program) else None,
            }
        )
    parts.table(pd.DataFrame(rows).dropna(axis=1, how="all"))
    st.page_link(
        context.PAGES / "rationales.py", label="Browse them", icon=":material/search:", query_params=state.link(*context.KEPT)
    )


if __name__ == "__main__":
    page()
