"""Does it learn? Accuracy and soundness by round, the data of each round, and what the run was and cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st
import yaml

from analysis import charts
from analysis.pages.widgets import context, parts, state, text
from analysis.pages.widgets.run_words import DROPPED
from analysis.soundness.grades import flagged
from analysis.sources import Source, started, typed
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
        _recipe(run)
        return
    _headline(run)
    frame = charts.rounds_frame(run.rounds, source.name)
    slices = slice_order(set(frame["slice"]) - {"all"})
    picked = None
    if len(slices) > 1:
        picked = state.select("Part of the problems", "slice", slices, show=_short, anything="all", width=240)
    shown = frame if picked is None else frame[frame["slice"] == picked].assign(slice="all")
    left, right = _two("accuracy")
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
    _recipe(run)


def _two(name: str) -> list[Any]:
    """Two columns that stand below each other on a narrow screen."""
    with st.container(key=f"wide-{name}"):
        return list(st.columns(2, gap="large"))


def _short(value: str) -> str:
    return text.shorten(value, 60)


def _status(source: Source, run: Overview) -> None:
    planned = (run.recipe.get("loop") or {}).get("rounds")
    last = run.rounds[-1]["round"] if run.rounds else 0
    if run.finished:
        return
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
            st.caption(f"95 %: {parts.share(correct, n).partition('(')[2].rstrip(')')}; n = {n:,}. {_sound(counts)}")
    if run.result and run.result.get("select_on") == "test":
        st.warning("The round was chosen on the test problems, so its test accuracy is too high.")


def _sound(counts: Counts) -> str:
    share, correct = counts.get("sound_of_correct"), counts["correct"]
    if share is None or not correct:
        return ""
    return f"Of the right ones, {parts.share(round(share * correct), correct)} are sound (n = {correct:,})."


def _data(run: Overview) -> None:
    frame = charts.data_frame(run.rounds)
    if not len(frame):
        return
    frame["label"] = [DROPPED.get(reason, reason) for reason in frame["label"]]
    left, right = _two("data")
    with left:
        parts.draw(charts.data_by_round(frame))
    with right:
        st.subheader("What became of the sampled rationales", anchor=False)
        dropped = frame[frame["kind"] == "dropped"]
        wide = dropped.pivot_table(index="round", columns="label", values="rows", aggfunc="sum", fill_value=0)
        sampled = frame.groupby("round")["rows"].sum()
        kept = frame[frame["kind"] != "dropped"].pivot_table(
            index="round", columns="kind", values="rows", aggfunc="sum", fill_value=0
        )
        table = pd.concat([sampled.rename("sampled"), kept, wide], axis=1).fillna(0).astype(int).reset_index()
        st.dataframe(table, hide_index=True, height=_height(table))


def _height(table: pd.DataFrame) -> int:
    return min(400, 38 + 35 * len(table))


def _table(run: Overview) -> None:
    """A row per round: counts and cost."""
    rows = []
    for line in run.rounds:
        selection, training = line["selection"], line.get("training") or {}
        n, correct = selection["n"], selection["correct"]
        share = selection.get("sound_of_correct")
        seconds = {name: float(value) for name, value in (line.get("seconds") or {}).items() if value is not None}
        flops = sum(float(value) for value in (line.get("flops") or {}).values() if value is not None)
        rows.append(
            {
                "round": "base model" if line["round"] == 0 else str(line["round"]),
                "right": f"{parts.share(correct, n)}, n = {n:,}",
                "sound, of the right ones": "" if share is None else parts.share(round(share * correct), correct),
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
    table = pd.DataFrame(rows).dropna(axis=1, how="all")
    st.dataframe(table, hide_index=True, height=_height(table), placeholder="")
    st.caption("Right and sound with 95 % intervals in brackets; seconds: sampling, training, evaluation and loading.")


def _recipe(run: Overview) -> None:
    """What was run, from which commit, on what, and what it cost."""
    manifest = run.manifest
    left, right = _two("recipe")
    with left:
        st.subheader("What it was", anchor=False)
        model = manifest.get("model")
        seconds = run.result.get("seconds_total") if run.result else None
        flops = sum(float(v) for line in run.rounds for v in (line.get("flops") or {}).values() if v is not None)
        text.facts(
            [
                ("started", started(manifest)),
                ("base model", _model(model) or (run.recipe.get("model") or {}).get("path")),
                ("commit", _commit(manifest)),
                ("command", _command(manifest.get("argv"))),
                ("hardware", _hardware(manifest.get("hardware") or {})),
                ("versions", _flat(manifest.get("versions"))),
                ("time", f"{seconds / 60:.1f} minutes" if isinstance(seconds, int | float) else None),
                ("computation", f"{flops:.2e} floating-point operations" if flops else None),
            ]
        )
    with right:
        st.subheader("Recipe", anchor=False)
        if run.recipe:
            content = yaml.safe_dump(dict(run.recipe), sort_keys=False, allow_unicode=True)
            with st.expander("All settings", icon=":material/tune:"):
                st.code(text.clean(content), language=None, height=420)
        else:
            st.caption("The recipe of this run is missing.")


def _model(model: Any) -> str:
    if not isinstance(model, dict):
        return ""
    size = model.get("parameters")
    return f"{model.get('path')}" + (f", {size:,} parameters" if isinstance(size, int) else "")


def _commit(manifest: Mapping[str, Any]) -> str:
    commit = str(manifest.get("commit") or "")[:12]
    return commit + (", with changes that are not committed" if commit and manifest.get("dirty") else "")


def _command(argv: Any) -> str:
    return " ".join(map(str, argv)) if isinstance(argv, list) else ""


def _hardware(found: Mapping[str, Any]) -> str:
    """ "AMD EPYC, 2 cores, 23.5 GiB of memory, no GPU", of what is recorded."""
    memory, gpus = found.get("memory_gib"), found.get("gpus")
    entries = [
        found.get("processor"),
        f"{found['cores']} cores" if found.get("cores") else None,
        f"{memory:g} GiB of memory" if isinstance(memory, int | float) else None,
        (", ".join(map(str, gpus)) or "no GPU") if isinstance(gpus, list) else None,
    ]
    return ", ".join(str(entry) for entry in entries if entry)


def _flat(content: Any) -> str:
    if not isinstance(content, dict):
        return ""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in content.items() if value is not None)


def _file(source: Source) -> None:
    """A record file has no rounds: say so, and count what is in it."""
    table = context.table()
    st.write("This is a file of rationales, not a run: it has no rounds.")
    context.notes(table)
    frame = table.frame
    group = "generator" if frame["generator"].notna().any() else "slice"
    rows = []
    for name, part in frame.groupby(group, observed=True):
        graded = part[part["right"] >= 0]
        judged = part[part["p_unsound"].notna()]
        doubted = int(flagged(judged["p_unsound"]).sum())
        rows.append(
            {
                "written by" if group == "generator" else "kind of task": parts.facet_words(group, str(name)),
                "rationales": len(part),
                "questions": part["problem"].nunique(),
                "right answers": f"{parts.share(int(graded['right'].sum()), len(graded))}, n = {len(graded):,}",
                "proven unsound or flagged": f"{parts.share(doubted, len(judged))}, n = {len(judged):,}",
            }
        )
    counts = pd.DataFrame(rows)
    st.dataframe(counts, hide_index=True, height=_height(counts))
    st.page_link(
        "analysis/pages/rationales.py",
        label="Browse them",
        icon=":material/search:",
        query_params=state.link(*context.KEPT),
    )


if __name__ == "__main__":
    page()
