"""Fitting the detector's models with scikit-learn, and turning them into plain arrays that `analysis.detector` evaluates."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.consistency.reading import Reading, read
from analysis.detector import Boosted, Hashed
from analysis.features import rationale_features
from analysis.relations import SIZE, hashed, relations
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
