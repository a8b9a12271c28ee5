"""Fitting the detector's models with scikit-learn, and turning them into plain arrays that `analysis.detector` evaluates."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.consistency.generic import generic_flags
from analysis.consistency.reading import Reading, read
from analysis.detector import Boosted, Curve, Hashed, sigmoid
from analysis.features import rationale_features
from analysis.relations import SIZE, hashed, relations
from analysis.step_features import step_features, step_words
from benchmarks.corruptions import KINDS, rewrite


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

    def __len__(self) -> int:
        return len(self.dense)

    def rows(self, index: np.ndarray) -> Table:
        return Table(self.dense[index], self.numbers[index], self.words[index], self.names)


def tabulate(readings: Sequence[Reading]) -> Table:
    """Readings -> features."""
    features = [rationale_features(reading) for reading in readings]
    names = tuple(features[0])
    dense = np.array([[row[name] for name in names] for row in features])
    pairs = [relations(reading) for reading in readings]
    return Table(dense, _sparse([a for a, _ in pairs]), _sparse([a + b for a, b in pairs]), names)


def save_table(path: Path, table: Table, sound: np.ndarray, groups: np.ndarray) -> None:
    """Write a table to an .npz file of plain arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = {"dense": table.dense, "names": np.array(table.names), "sound": sound, "groups": groups}
    for name, matrix in (("numbers", table.numbers), ("words", table.words)):
        parts |= {f"{name}_data": matrix.data, f"{name}_indices": matrix.indices, f"{name}_indptr": matrix.indptr}
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
        return Table(parts["dense"], matrices[0], matrices[1], names), parts["sound"], parts["groups"]


def _sparse(lists: Sequence[list[str]]) -> Any:
    from scipy.sparse import csr_matrix

    parts = [hashed(features) for features in lists]
    offsets = np.cumsum([0, *(len(indices) for indices, _ in parts)])
    return csr_matrix(
        (np.concatenate([v for _, v in parts]), np.concatenate([i for i, _ in parts]), offsets),
        shape=(len(parts), SIZE),
    )


def linear(matrix: Any, target: np.ndarray, c: float, *, balanced: bool = False) -> Hashed:
    """Logistic regression over hashed features."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=c, solver="liblinear", class_weight="balanced" if balanced else None)
    model.fit(matrix, target)
    return Hashed(model.coef_[0].astype(np.float16).astype(np.float64), float(model.intercept_[0]))


def out_of_fold(
    matrix: Any, target: np.ndarray, groups: np.ndarray, c: float, *, balanced: bool = False, folds: int = 5
) -> np.ndarray:
    """Scores of the linear model on rows whose group it was not fitted on."""
    from sklearn.model_selection import GroupKFold

    scores = np.zeros(len(target))
    for train, test in GroupKFold(folds).split(matrix, target, groups):
        scores[test] = linear(matrix[train], target[train], c, balanced=balanced).score_sparse(matrix[test])
    return scores


def boosted(
    dense: np.ndarray,
    target: np.ndarray,
    *,
    trees: int,
    rate: float,
    leaves: int,
    seeds: Sequence[int] = (0,),
    balanced: bool = False,
) -> Boosted:
    """Gradient-boosted trees, averaged over seeds."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    parts = []
    for seed in seeds:
        model = HistGradientBoostingClassifier(
            max_iter=trees,
            learning_rate=rate,
            max_leaf_nodes=leaves,
            min_samples_leaf=30,
            l2_regularization=5,
            max_features=0.3,
            early_stopping=False,
            random_state=seed,
            class_weight="balanced" if balanced else None,
        )
        model.fit(dense.astype(np.float32), target)
        parts.append(Boosted.from_sklearn(model))
    return Boosted.average(parts)


@dataclass(frozen=True)
class Contrast:
    """Sound solutions against solutions with one mistake: needs no labels, only worked solutions."""

    relations: Hashed
    trees: Boosted

    def scores(self, table: Table) -> np.ndarray:
        """[rows, 2]: log-odds of being sound, by relations alone and by everything."""
        first = self.relations.score_sparse(table.numbers)
        return np.column_stack([first, self.trees.score(np.column_stack([table.dense, first]))])


def contrast_readings(
    rows: Sequence[dict[str, str]], negatives: int, seed: int
) -> tuple[list[Reading], np.ndarray, np.ndarray]:
    """(readings, sound, question number) of worked solutions (`question`, `answer` as in GSM8K) and their corruptions."""
    rng = random.Random(seed)
    readings: list[Reading] = []
    sound: list[int] = []
    groups: list[int] = []
    for number, row in enumerate(rows):
        body, _, final = row["answer"].partition("\n#### ")
        lines = body.split("\n")
        gold = float(final.strip().replace(",", "").replace("$", ""))
        numbers = [mention.value for mention in read(row["question"], []).question.mentions]
        whole = rewrite(lines, numbers, None, rng)
        if whole is None or abs(float(whole.answer) - gold) > 0.02 * abs(gold):
            continue
        kinds = [*rng.sample(KINDS, len(KINDS)), "operand", "flip", "operand", "operator", "leave out"]
        made = 0
        for kind in [None, *kinds]:
            new = rewrite(lines, numbers, kind, rng)
            if new is None or (kind is not None and abs(float(new.answer) - gold) < 1e-3 * abs(gold) + 1e-6):
                continue
            readings.append(read(row["question"], new.steps, new.answer))
            sound.append(kind is None)
            groups.append(number)
            made += kind is not None
            if made == negatives:
                break
    return readings, np.array(sound).astype(int), np.array(groups)


def fit_contrast(table: Table, sound: np.ndarray, groups: np.ndarray, *, trees: int = 400) -> Contrast:
    """Fit both stages; the second sees out-of-fold scores of the first."""
    first = out_of_fold(table.numbers, sound, groups, 2.0, balanced=True)
    second = boosted(np.column_stack([table.dense, first]), sound, trees=trees, rate=0.06, leaves=16, balanced=True)
    return Contrast(linear(table.numbers, sound, 2.0, balanced=True), second)


@dataclass(frozen=True)
class AnswerModel:
    """Is the answer right? Two stages, the second on top of the first and of the contrast scores."""

    wording: Hashed
    trees: Boosted

    def score(self, table: Table, contrast: np.ndarray) -> np.ndarray:
        """Log-odds that the answer is right, per row."""
        return self.trees.score(np.column_stack([table.dense, contrast, self.wording.score_sparse(table.words)]))


def fit_answer(
    table: Table, contrast: np.ndarray, right: np.ndarray, groups: np.ndarray, seeds: Sequence[int] = (0,)
) -> AnswerModel:
    """Fit both stages; the second sees out-of-fold scores of the first."""
    first = out_of_fold(table.words, right, groups, 1.0)
    dense = np.column_stack([table.dense, contrast, first])
    trees = boosted(dense, right, trees=300, rate=0.03, leaves=8, seeds=seeds)
    return AnswerModel(linear(table.words, right, 1.0), trees)


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


@dataclass(frozen=True)
class HazardModel:
    """P(this step is wrong | none before it is)."""

    wording: Hashed
    trees: Boosted

    def predict(self, table: StepTable, rows: np.ndarray) -> np.ndarray:
        """Hazard of some rows."""
        dense = table.rows[rows].copy()
        dense[:, -1] = self.wording.score_sparse(table.words[rows])
        return sigmoid(self.trees.score(dense))


def fit_hazard(
    table: StepTable, first_error: np.ndarray, groups: np.ndarray, records: np.ndarray, seeds: Sequence[int] = (0,)
) -> HazardModel:
    """Fit on the located records among `records`: on their steps up to and including the first wrong one.

    `first_error` is the label per record: -1 for none, -9 for unknown.
    """
    label = first_error[table.record]
    rows = table.of(records)
    rows = rows[(label[rows] >= -1) & ((label[rows] == -1) | (table.step[rows] <= label[rows]))]
    wrong = (table.step[rows] == label[rows]).astype(int)
    dense = table.rows[rows].copy()
    dense[:, -1] = out_of_fold(table.words[rows], wrong, groups[table.record[rows]], 1.0)
    trees = boosted(dense, wrong, trees=250, rate=0.04, leaves=8, seeds=seeds)
    return HazardModel(linear(table.words[rows], wrong, 1.0), trees)


def unsound_from(table: StepTable, hazard: np.ndarray, records: int) -> np.ndarray:
    """1 - prod(1 - h) per record."""
    log_sound = np.bincount(table.record, weights=np.log1p(-np.clip(hazard, 0, 1 - 1e-9)), minlength=records)
    return 1 - np.exp(log_sound)


def calibrate(score: np.ndarray, label: np.ndarray) -> Curve:
    """Isotonic regression of a 0/1 label on a score, thinned to at most 60 knots and kept off 0 and 1."""
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0.01, y_max=0.99, out_of_bounds="clip").fit(score, label)
    knots = np.unique(np.quantile(score, np.linspace(0, 1, 40)))
    values = model.predict(knots)
    smooth = np.maximum.accumulate(np.convolve(np.pad(values, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid"))
    return Curve(knots, smooth)
