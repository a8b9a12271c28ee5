"""Rationales in a notebook: texts, verdicts, scores and people's labels of a run or a file, one row each.

    >>> import analysis
    >>> frame = analysis.load("runs/addition-1a2b3c")
    >>> frame[(frame.right == 1) & (frame.evidence == "proven")][["question", "rationale", "first_error"]]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.labels import Labels, label_folder, read_labels
from analysis.rationales.filters import evidence
from analysis.rationales.formats import Columns
from analysis.rationales.steps import split_steps
from analysis.rationales.table import UNKNOWN, Table, choices_from
from analysis.rationales.table_reading import load_table
from analysis.soundness.grades import THRESHOLD
from analysis.sources import source_of

ALWAYS = (
    *("id", "problem", "question", "choices", "rationale", "steps", "answer", "gold", "right", "exact", "human", "human_step"),
    *("program_step", "p_unsound", "evidence", "first_error", "flags", "label", "label_step"),
)
"""Columns that are there also where nothing is known."""


def load(path: Path | str, columns: Columns | None = None) -> pd.DataFrame:
    """All rationales of a run directory or a record file, whose columns may be called otherwise. Raises RecordError, RunError.

    Columns: id, problem, question, choices (dictionary), rationale, steps (list), answer, gold; right, exact and human (1, 0; -1:
    not known) with human_step (0-based; -1: none; missing: not known) and program_step (the same by a label with `label_source`
    auto); p_unsound (0 to 1; missing: not judged), evidence (proven, flagged, clear, checked, none), first_error (as human_step),
    flags (list of {step, check, message}); label (what most people said in the app: sound, unsound, unsure) and label_step; round,
    mode, split, slice, verdict, generator, meta (dictionary) and meta.NAME, a filter of the app, as far as there are any.
    """
    source = source_of(path, columns)
    return frame_of(load_table(source), read_labels(label_folder(source)))


def frame_of(table: Table, labels: Labels, rows: np.ndarray | None = None, cut: float = THRESHOLD) -> pd.DataFrame:
    """The columns of `load` for some rows of a table, in their order. `cut`: from which score on a rationale counts as flagged."""
    rows = np.arange(len(table)) if rows is None else rows
    frame = table.frame.iloc[rows].reset_index(drop=True)
    for name in {"human_step", "program_step", "first_error"}.intersection(frame):
        frame[name] = frame[name].astype("Int32").mask(frame[name] == UNKNOWN)
    places = pa.array(rows)
    frame.insert(2, "question", table.texts.column("question").take(places).to_pylist())
    frame.insert(3, "choices", [choices_from(text) or None for text in _column(table, "choices", places)])
    frame["meta"] = [json.loads(text or "{}").get("meta") or None for text in _column(table, "record", places)]
    texts = table.texts.column("rationale").take(places).to_pylist()
    own = "steps" in table.texts.loaders
    steps = _column(table, "steps", places) if own else [split_steps(each or "") for each in texts]
    frame.insert(4, "rationale", texts)
    frame.insert(5, "steps", steps)
    frame["evidence"] = evidence(table, cut)[rows]
    frame["flags"] = [json.loads(text or "[]") for text in _column(table, "flags", places)]
    verdicts, named = labels.verdicts(), labels.error_steps()
    frame["label"] = [verdicts.get(name) for name in frame["id"]]
    frame["label_step"] = pd.array([named.get(name) for name in frame["id"]], dtype="Int32")
    empty = [name for name in frame if name not in ALWAYS and frame[name].isna().all()] if len(frame) else []
    return frame.drop(columns=empty)


def _column(table: Table, name: str, places: pa.Array) -> list[Any]:
    return table.texts.column(name).take(places).to_pylist() if name in table.texts.loaders else [None] * len(places)


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON: missing values are None."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [dict(row) for row in json.loads(json.dumps(rows, default=str), parse_constant=lambda _: None)]


def to_parquet(frame: pd.DataFrame) -> bytes:
    """As Parquet, choices and meta as their JSON text, as in record files."""
    texts = {name: frame[name].map(json.dumps, na_action="ignore") for name in {"choices", "meta"}.intersection(frame)}
    return bytes(frame.assign(**texts).to_parquet())


def flat_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for a spreadsheet: a list or dictionary is its JSON text."""
    return [
        {name: json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value for name, value in row.items()}
        for row in plain_rows(frame)
    ]
