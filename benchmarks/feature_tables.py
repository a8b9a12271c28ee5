"""Readings -> tables of features: what the fitting and the benchmarks work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.checks.generic import generic_flags
from analysis.checks.reading import Reading
from analysis.soundness.detector import Hashed
from analysis.soundness.features import rationale_features
from analysis.soundness.relations import SIZE, hashed, hashed_question, relations
from analysis.soundness.step_features import step_features, step_words


@dataclass
class Table:
    """Features of rationales, row by row."""

    dense: np.ndarray
    """Rationale features [rows, features]."""
    numbers: Any
    """Hashed relations of numbers and operators, sparse [rows, SIZE]."""
    words: Any
    """The same with the wording of the steps."""
    names: tuple[str, ...] = field(default=())
    questions: tuple[tuple[np.ndarray, np.ndarray], ...] = field(default=())
    """Hashed words of each row's question."""

    def __len__(self) -> int:
        return len(self.dense)

    def rows(self, index: np.ndarray) -> Table:
        questions = tuple(self.questions[place] for place in index) if self.questions else ()
        return Table(self.dense[index], self.numbers[index], self.words[index], self.names, questions)


def tabulate(readings: Sequence[Reading]) -> Table:
    """Readings -> features."""
    features = [rationale_features(reading) for reading in readings]
    names = tuple(features[0])
    dense = np.array([[row[name] for name in names] for row in features], dtype=np.float64)
    pairs = [relations(reading)[:2] for reading in readings]
    questions = tuple(hashed_question(tuple(reading.question.words[:300])) for reading in readings)
    return Table(dense, _sparse([a for a, _ in pairs]), _sparse([a + b for a, b in pairs]), names, questions)


def joined(tables: Sequence[Table]) -> Table:
    """Tables of the same features, one behind the other."""
    from scipy.sparse import vstack

    return Table(
        np.concatenate([table.dense for table in tables]),
        vstack([table.numbers for table in tables], format="csr"),
        vstack([table.words for table in tables], format="csr"),
        tables[0].names,
        tuple(question for table in tables for question in table.questions),
    )


def save_table(path: Path, table: Table, sound: np.ndarray, groups: np.ndarray) -> None:
    """Write a table to an .npz file of plain arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Any] = {"dense": table.dense, "names": np.array(table.names), "sound": sound, "groups": groups}
    for name, matrix in (("numbers", table.numbers), ("words", table.words)):
        parts |= {f"{name}_data": matrix.data, f"{name}_indices": matrix.indices, f"{name}_indptr": matrix.indptr}
    parts["question_lengths"] = np.array([len(indices) for indices, _ in table.questions])
    parts["question_indices"] = np.concatenate([indices for indices, _ in table.questions])
    parts["question_values"] = np.concatenate([values for _, values in table.questions])
    temporary = path.with_name(path.name + ".tmp.npz")
    np.savez_compressed(temporary, **parts)
    temporary.replace(path)


def load_table(path: Path) -> tuple[Table, np.ndarray, np.ndarray]:
    """What `save_table` wrote."""
    from scipy.sparse import csr_matrix

    with np.load(path, allow_pickle=False) as parts:
        rows = len(parts["dense"])
        matrices = [
            csr_matrix((parts[f"{n}_data"], parts[f"{n}_indices"], parts[f"{n}_indptr"]), shape=(rows, SIZE))
            for n in ("numbers", "words")
        ]
        names = tuple(str(name) for name in parts["names"])
        cuts = np.cumsum(parts["question_lengths"])[:-1]
        places, values = np.split(parts["question_indices"], cuts), np.split(parts["question_values"], cuts)
        questions = tuple(zip(places, values, strict=True))
        return Table(parts["dense"], matrices[0], matrices[1], names, questions), parts["sound"], parts["groups"]


def _sparse(lists: Sequence[list[str]]) -> Any:
    from scipy.sparse import csr_matrix

    parts = [hashed(features) for features in lists]
    offsets = np.cumsum([0, *(len(indices) for indices, _ in parts)])
    return csr_matrix(
        (np.concatenate([v for _, v in parts]), np.concatenate([i for i, _ in parts]), offsets),
        shape=(len(parts), SIZE),
    )


@dataclass
class StepTable:
    """Features of steps, row by row, with the record and the place each belongs to."""

    rows: np.ndarray
    words: Any
    record: np.ndarray
    step: np.ndarray

    def of(self, records: np.ndarray) -> np.ndarray:
        """Row numbers of some records."""
        return np.flatnonzero(np.isin(self.record, records))


def tabulate_steps(readings: Sequence[Reading], contrast: Hashed) -> StepTable:
    """Readings -> step features; the column of the wording score is left at 0."""
    parts = [step_features(reading, generic_flags(reading), contrast, None) for reading in readings]
    lengths = [len(part) for part in parts]
    words = _sparse([step_words(step) for reading in readings for step in reading.steps])
    record = np.repeat(np.arange(len(readings)), lengths)
    step = np.concatenate([np.arange(length) for length in lengths])
    return StepTable(np.concatenate(parts), words, record, step)
