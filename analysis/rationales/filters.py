"""Which rationales are on show: facets, the four-way count, order, and the neighbours of the selected one.

Pure functions of a table's columns, so that a filter over a hundred thousand rows takes milliseconds and can be tested
without an app.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from analysis.rationales.table import Table
from analysis.soundness.grades import THRESHOLD, flagged

Judge = Literal["exact", "score", "human"]
JUDGES: dict[Judge, str] = {
    "human": "human labels in the file",
    "exact": "the task's exact check",
    "score": "what is proven or flagged by the score",
}
CELLS: dict[str, tuple[int, int]] = {
    "right-sound": (1, 1),
    "right-unsound": (1, 0),
    "wrong-sound": (0, 1),
    "wrong-unsound": (0, 0),
}
"""Name in a link -> (answer right, reasoning sound)."""
FACETS: dict[str, str] = {
    "round": "Round",
    "mode": "How it was made",
    "slice": "Kind of task",
    "split": "Split",
    "generator": "Written by",
}
SORTS: dict[str, tuple[str, str, bool]] = {
    "suspicious": ("strongest evidence first", "p_unsound", False),
    "trusted": ("weakest evidence first", "p_unsound", True),
    "long": ("most steps first", "n_steps", False),
    "short": ("fewest steps first", "n_steps", True),
    "asked": ("questions, A to Z", "question", True),
    "asked-back": ("questions, Z to A", "question", False),
    "answer": ("answers, A to Z", "answer", True),
    "answer-back": ("answers, Z to A", "answer", False),
    "right": ("right answers first", "right", False),
    "wrong": ("wrong answers first", "right", True),
    "early": ("earliest error first", "first_error", True),
    "late": ("latest error first", "first_error", False),
    "stored": ("as stored", "", True),
}
"""Name in a link -> (what a person reads, column, ascending). Of the evidence, what is proven comes first."""
EVIDENCE: dict[str, str] = {
    "proven": "proven unsound",
    "flagged": "flagged by the score",
    "clear": "not flagged",
    "checked": "checked, none wrong",
    "none": "not judged",
}
"""Name in a link -> what a person reads: the grades of `analysis.soundness.grades`, scores on both sides of the threshold."""


@dataclass(frozen=True)
class View:
    """A filter and an order; the fields are the parameters of a link."""

    cell: str | None = None
    facets: tuple[tuple[str, str], ...] = ()
    check: str | None = None
    fewest: int | None = None
    most: int | None = None
    words: str = ""
    status: str | None = None
    evidence: str | None = None
    """A key of EVIDENCE."""
    sort: str = "suspicious"
    judge: Judge = "score"
    cut: float = THRESHOLD
    """p_unsound from which on a rationale is flagged, where the score judges."""


def judges(table: Table) -> list[Judge]:
    """The judgements of soundness that this table has, the most trustworthy first."""
    return [judge for judge in JUDGES if (table.scored if judge == "score" else bool((table.frame[judge] >= 0).any()))]


def soundness(table: Table, judge: Judge, cut: float) -> np.ndarray:
    """1 sound, 0 unsound (of a score: flagged), -1 not judged, for each row."""
    if judge != "score":
        return table.frame[judge].to_numpy()
    p = table.frame["p_unsound"].to_numpy()
    return np.where(np.isnan(p), -1, 1 - flagged(p, cut))


def evidence(table: Table, cut: float) -> np.ndarray:
    """A key of EVIDENCE for each row."""
    p = table.frame["p_unsound"].to_numpy()
    return np.select([p == 1, p == 0, flagged(p, cut), p >= 0], ["proven", "checked", "flagged", "clear"], "none")


@dataclass(frozen=True)
class Counts:
    """The four-way count, and what it leaves out."""

    cells: Mapping[str, int]
    proven: Mapping[str, int]
    """How many of each cell are proven unsound."""
    unjudged: int
    """Rationales whose soundness or answer nobody knows."""
    total: int


def base_mask(table: Table, view: View, labels: Mapping[str, str] | None = None) -> np.ndarray:
    """Rows that pass every facet except the cell. `labels`: id -> sound, unsound or unsure."""
    frame = table.frame
    mask = np.ones(len(frame), dtype=bool)
    for name, value in view.facets:
        mask &= _equals(frame[name], value)
    if view.check is not None:
        fired = np.zeros(len(frame), dtype=bool)
        fired[table.checks.get(view.check, np.array([], dtype=int))] = True
        mask &= fired
    if view.evidence is not None:
        mask &= evidence(table, view.cut) == view.evidence
    steps = frame["n_steps"].to_numpy()
    if view.fewest is not None:
        mask &= steps >= view.fewest
    if view.most is not None:
        mask &= steps <= view.most
    if view.words:
        mask &= table.search(view.words)
    if view.status is not None:
        mask &= status_mask(table, view, labels or {})
    return mask


def _equals(column: pd.Series, value: str) -> np.ndarray:
    names = column.cat.categories.tolist()
    return np.asarray(column.cat.codes == names.index(value)) if value in names else np.zeros(len(column), dtype=bool)


def status_mask(table: Table, view: View, labels: Mapping[str, str]) -> np.ndarray:
    """Rows with a label status: labelled, unlabelled, sound, unsound, unsure or disputed (against the judge)."""
    rows = {table.row_of(identifier): verdict for identifier, verdict in labels.items()}
    mask = np.zeros(len(table), dtype=bool)
    sound = soundness(table, view.judge, view.cut) if view.status == "disputed" else None
    for row, verdict in rows.items():
        if row is None:
            continue
        if sound is not None:
            mask[row] = (verdict, sound[row]) in (("sound", 0), ("unsound", 1))
        else:
            mask[row] = view.status in ("labelled", "unlabelled", verdict)
    return ~mask if view.status == "unlabelled" else mask


def count_cells(table: Table, view: View, mask: np.ndarray) -> Counts:
    """The four-way count of the rows in the mask."""
    right = table.frame["right"].to_numpy()[mask]
    sound = soundness(table, view.judge, view.cut)[mask]
    proven = table.frame["p_unsound"].to_numpy()[mask] == 1
    inside = {name: (right == r) & (sound == s) for name, (r, s) in CELLS.items()}
    cells = {name: int(rows.sum()) for name, rows in inside.items()}
    both = {name: int((rows & proven).sum()) for name, rows in inside.items()}
    return Counts(cells, both, len(right) - sum(cells.values()), len(right))


def select(table: Table, view: View, mask: np.ndarray) -> np.ndarray:
    """Rows on show, in order: the mask narrowed to the view's cell, then sorted. Ties keep the stored order."""
    if view.cell in CELLS:
        right, sound = CELLS[view.cell]
        mask = mask & (table.frame["right"].to_numpy() == right)
        mask &= soundness(table, view.judge, view.cut) == sound
    rows = np.flatnonzero(mask)
    _, column, ascending = SORTS.get(view.sort, SORTS["suspicious"])
    if not column or (column == "p_unsound" and not table.scored):
        return rows
    if column in ("question", "answer"):
        texts = table.texts.column(column) if column == "question" else pa.array(table.frame[column], pa.large_string())
        order = pc.array_sort_indices(texts.take(pa.array(rows)), order="ascending" if ascending else "descending")
        return rows[order.to_numpy()]
    values = table.frame[column].to_numpy(dtype=float)[rows]
    unknown = np.isnan(values) | ((values < 0) & (column != "n_steps"))
    key = np.where(unknown, np.inf, values if ascending else -values)
    return rows[np.argsort(key, kind="stable")]


QUEUES = {
    "mixed": "mixed",
    "uncertain": "where the score is least certain",
    "disagree": "where scorers, checks and labels differ most",
    "strata": "each cell of the four-way count in turn",
}
"""Order in which people label: name in a link -> what a person reads."""
OVERLAP = 5
"""One in this many rationales of a shared queue goes to everybody."""


def queue(table: Table, rows: np.ndarray, how: str, seed: str, cut: float) -> np.ndarray:
    """The rows in the order of QUEUES; what that leaves open is mixed by the seed's text."""
    rows = shuffled(rows, seed)
    p = table.frame["p_unsound"].to_numpy()[rows]
    if how == "uncertain":
        return rows[np.argsort(np.where(np.isnan(p), np.inf, np.abs(p - cut)), kind="stable")]
    if how == "disagree":
        said = [p, *(table.frame[f"{name}_p_unsound"].to_numpy()[rows] for name in table.scorers)]
        for name in ("exact", "human"):
            sound = table.frame[name].to_numpy()[rows]
            said.append(np.where(sound < 0, np.nan, 1.0 - sound))
        highest, lowest = np.fmax.reduce(said), np.fmin.reduce(said)
        return rows[np.argsort(-np.nan_to_num(highest - lowest), kind="stable")]
    if how == "strata":
        cell = pd.Series(table.frame["right"].to_numpy()[rows] * 3.0 + soundness(table, "score", cut)[rows])
        return rows[np.argsort(cell.groupby(cell).cumcount().to_numpy(), kind="stable")]
    return rows


def dealt(rows: np.ndarray, raters: list[str], who: str) -> np.ndarray:
    """The part of a queue that falls to one of several raters: one in OVERLAP to all of them, the others in turn."""
    if who not in raters:
        return rows
    place = np.arange(len(rows))
    return rows[(place % OVERLAP == 0) | ((place - place // OVERLAP) % len(raters) == sorted(raters).index(who))]


def shuffled(rows: np.ndarray, seed: str) -> np.ndarray:
    """The rows in an order that depends on the seed's text alone."""
    digits = np.frombuffer(seed.encode() or b"\0", dtype="uint8")
    return np.random.default_rng(digits).permutation(rows)
