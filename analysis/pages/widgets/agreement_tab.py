"""Labels against the automatic score, people against each other, and labels out of the app and into it."""

from __future__ import annotations

import math
from functools import partial

import pandas as pd
import streamlit as st

from analysis import agreement, charts
from analysis.labels import LabelError, Labels, append, export_rows, imported, label_folder, to_jsonl
from analysis.pages.widgets import context, parts, ranking, state, text
from analysis.pages.widgets.words import share
from analysis.rationales.table import Table
from analysis.soundness.grades import THRESHOLD
from analysis.sources import typed
from analysis.step_labels import prm800k_rows, trl_rows
from star.errors import counted
from star.row_files import to_csv
from star.statistics import wilson

LEAST_TO_CALIBRATE = 30
"""Labels with which `analysis.calibrate` is worth a try; it says the same."""


def _import(table: Table) -> None:
    """Labels that were made elsewhere."""
    with st.expander("Bring labels along", icon=":material/upload:"):
        st.caption(
            "JSON lines as this page writes them, or with id and first_error_step (0-based; -1: sound) or sound (true, false)."
        )
        file = st.file_uploader("A file of labels", type=["jsonl"], max_upload_size=20)
        if file is None:
            return
        given, unread = imported(file.getvalue().decode("utf-8", "replace"), context.labeller())
        here = [label for label in given if table.row_of(label.id) is not None]
        st.write(f"{counted(len(given), 'label')}, {len(here):,} of rationales that are here; not read: {counted(unread, 'line')}.")
        if here and st.button(f"Store {counted(len(here), 'label')}"):
            try:
                for label in here:
                    append(label_folder(context.source()), label)
                st.success(f"Stored: {counted(len(here), 'label')}.")
            except LabelError as error:
                st.error(text.plain(error))


def tab(table: Table) -> None:
    """The page's part of this name, from top to bottom."""
    _import(table)
    labels = context.labels()
    people = labels.labellers
    if not people:
        st.info("Nobody has labelled anything here yet.", icon=":material/rate_review:")
        ranking.download(labels)
        return
    rows = {name: row for _, name in labels.latest if (row := table.row_of(name)) is not None}
    scored = table.frame.iloc[list(rows.values())]
    scores, steps = (dict(zip(rows, scored[column].tolist(), strict=True)) for column in ("p_unsound", "first_error"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        person = state.select("Labels of", "of", people, show=partial(text.shorten, length=40), anything="everybody", width=200)
        cut = state.whole("flagged from %", "cut", 1, 99, width=130, placeholder=f"{100 * THRESHOLD:.0f}")
        exported = export_rows(labels, scores)
        st.download_button("All labels as JSONL", lambda: to_jsonl(exported), "labels.jsonl")
        st.download_button("All labels as CSV", lambda: to_csv(exported), "labels.csv")
        st.download_button("Steps, for TRL", lambda: to_jsonl(trl_rows(table, labels)), "trl.jsonl")
        st.download_button("Steps, as PRM800K", lambda: to_jsonl(prm800k_rows(table, labels)), "prm800k.jsonl")
        ranking.download(labels)
    verdicts = labels.verdicts(person)
    wanting = LEAST_TO_CALIBRATE - sum(verdict != "unsure" for verdict in verdicts.values())
    folder = typed(label_folder(context.source()))
    if wanting > 0:
        st.caption(
            f"To calibrate a scorer, {counted(wanting, 'more label')} needed: {LEAST_TO_CALIBRATE} are enough to begin with."
        )
    else:
        st.caption("Enough to calibrate a scorer with:")
        parts.command(f"python -m analysis.calibrate {context.source().typed} --labels {folder} -o calibration.json")
    named = {name: (step, steps.get(name, -1)) for name, step in labels.error_steps(person).items()}
    compared = agreement.agreement(verdicts, scores, cut / 100 if cut else THRESHOLD, named)
    if not compared.n:
        st.info("None of the labelled rationales is both scored and labelled sound or unsound.")
        _people(labels)
        return
    _numbers(compared)
    _people(labels)


def _numbers(compared: agreement.Agreement) -> None:
    agreed = compared.both_sound + compared.both_unsound
    with st.container(key="stack-agreement"):
        left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Labels against the automatic score", anchor=False)
        same, placed = compared.steps
        text.facts(
            [
                ("agreement", f"{share(agreed, compared.n)}, n = {compared.n:,}"),
                ("Cohen's kappa", f"{_kappa_words(compared.n, compared.kappa)}, n = {compared.n:,}"),
                ("same first wrong step", f"{share(same, placed)}, n = {placed:,}" if placed else None),
                ("left out", f"{compared.unsure:,} unsure or not scored" if compared.unsure else None),
            ]
        )
        table = pd.DataFrame(
            {
                "": ["labelled sound", "labelled unsound"],
                "score: sound": [compared.both_sound, compared.only_person],
                "score: unsound": [compared.only_score, compared.both_unsound],
            }
        )
        st.dataframe(table, hide_index=True)
        if compared.precision:
            rows = [{"k": k, "unsound by label": f"{hits} of {k}", "share": share(hits, k)} for k, hits in compared.precision]
            st.caption("Precision at k: the k labelled rationales with the highest score")
            parts.table(pd.DataFrame(rows))
        st.caption("Brackets: 95 % intervals (Wilson; kappa: bootstrap). Labels given to picked rationales favour the score.")
    with right:
        rows = [
            wilson(unsound, n).as_dict() | {"predicted": mean, "observed": unsound / n}
            for _, _, n, mean, unsound in compared.reliability
        ]
        parts.draw(charts.reliability(pd.DataFrame(rows), "Is 80 % suspicion right 80 % of the time?"))


def _kappa_words(n: int, kappa: tuple[float, float, float]) -> str:
    """ "0.61 (0.42 to 0.80)", or why there is none."""
    if n < agreement.LEAST_FOR_KAPPA:
        return f"needs {agreement.LEAST_FOR_KAPPA} rationales that both have judged"
    value, low, high = kappa
    return (
        "cannot be computed: one side says the same of all" if math.isnan(value) else f"{value:.2f} ({low:.2f} to {high:.2f})"
    )


def _people(labels: Labels) -> None:
    pairs = agreement.between_people(labels)
    if not pairs:
        return
    st.subheader("People against each other", anchor=False)
    rows = [
        {
            "first": text.shorten(first, 40),
            "second": text.shorten(second, 40),
            "both labelled": n,
            "agree": share(same, n),
            "kappa": _kappa_words(n, kappa),
        }
        for first, second, n, same, kappa in pairs
    ]
    parts.table(pd.DataFrame(rows))
