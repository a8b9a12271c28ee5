"""Fitting the detector's models with scikit-learn, and turning them into plain arrays (`analysis.soundness.detector`)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.checks.reading import Reading, read
from analysis.soundness.detector import Boosted, Curve, Expectation, Hashed, Network, sigmoid
from benchmarks.corruptions import KINDS, rewrite, without_words
from benchmarks.feature_tables import StepTable, Table


def linear(
    matrix: Any, target: np.ndarray, c: float, *, balanced: bool = False, weight: np.ndarray | None = None
) -> Hashed:
    """Logistic regression over hashed features."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=c, solver="liblinear", class_weight="balanced" if balanced else None)
    model.fit(matrix, target, sample_weight=weight)
    return Hashed(model.coef_[0].astype(np.float16).astype(np.float64), float(model.intercept_[0]))


def out_of_fold(
    matrix: Any,
    target: np.ndarray,
    groups: np.ndarray,
    c: float,
    *,
    balanced: bool = False,
    weight: np.ndarray | None = None,
    folds: int = 5,
) -> np.ndarray:
    """Scores of the linear model on rows whose group it was not fitted on."""
    from sklearn.model_selection import GroupKFold

    scores = np.zeros(len(target))
    for train, test in GroupKFold(folds).split(matrix, target, groups):
        part = None if weight is None else weight[train]
        model = linear(matrix[train], target[train], c, balanced=balanced, weight=part)
        scores[test] = model.score_sparse(matrix[test])
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
    weight: np.ndarray | None = None,
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
        model.fit(dense.astype(np.float32), target, sample_weight=weight)
        parts.append(Boosted.from_sklearn(model))
    return Boosted.average(parts)


@dataclass(frozen=True)
class Contrast:
    """Sound solutions against solutions with one mistake: needs no labels, only worked solutions."""

    relations: Hashed
    trees: Boosted
    expectation: Expectation

    def scores(self, table: Table) -> np.ndarray:
        """[rows, 2]: log-odds of being sound, by relations alone and by everything."""
        first = self.relations.score_sparse(table.numbers)
        expected = self.expectation.extend(table.dense, table.questions)
        return np.column_stack([first, self.trees.score(np.column_stack([table.dense, first, expected]))])


WITHOUT_WORDS = 0.25
"""Share of the worked and of the corrupted solutions that are written as calculations alone, so that style says nothing."""


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
            steps = without_words(new, rng) if rng.random() < WITHOUT_WORDS else new.steps
            readings.append(read(row["question"], steps, new.answer))
            sound.append(kind is None)
            groups.append(number)
            made += kind is not None
            if made == negatives:
                break
    return readings, np.array(sound).astype(int), np.array(groups)


TARGETS = (
    "equations",
    "operators",
    "operators_+",
    "operators_-",
    "operators_*",
    "operators_/",
    "answer_log",
    "reused",
    "source_c",
    "source_r",
    "uncomputed",
    "steps",
)
"""What is expected of a solution, by the words of its question."""
QUESTION_SLOTS = 2**13


def fit_expectation(table: Table, rows: np.ndarray) -> Expectation:
    """Ridge regression of the targets on the words of the questions, over sound solutions."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import Ridge

    columns = np.array([table.names.index(name) for name in TARGETS])
    parts = [table.questions[row] for row in rows]
    offsets = np.cumsum([0, *(len(indices) for indices, _ in parts)])
    indices = np.concatenate([indices % QUESTION_SLOTS for indices, _ in parts])
    matrix = csr_matrix((np.concatenate([v for _, v in parts]), indices, offsets), shape=(len(rows), QUESTION_SLOTS))
    model = Ridge(alpha=1.0).fit(matrix, table.dense[rows][:, columns])
    weights = np.asarray(model.coef_).astype(np.float16).astype(float)
    return Expectation(weights, np.asarray(model.intercept_), columns)


def fit_contrast(table: Table, sound: np.ndarray, groups: np.ndarray, *, trees: int = 400) -> Contrast:
    """Fit all stages; the trees see out-of-fold scores of the others."""
    from sklearn.model_selection import GroupKFold

    first = out_of_fold(table.numbers, sound, groups, 2.0, balanced=True)
    expected = np.zeros((len(table), 2 * len(TARGETS)))
    for train, test in GroupKFold(5).split(groups, groups, groups):
        part = fit_expectation(table, train[sound[train] == 1])
        expected[test] = part.extend(table.dense[test], [table.questions[row] for row in test])
    dense = np.column_stack([table.dense, first, expected])
    second = boosted(dense, sound, trees=trees, rate=0.06, leaves=16, balanced=True)
    whole = fit_expectation(table, np.flatnonzero(sound == 1))
    return Contrast(linear(table.numbers, sound, 2.0, balanced=True), second, whole)


def network(
    dense: np.ndarray,
    target: np.ndarray,
    *,
    units: int = 32,
    seeds: Sequence[int] = range(8),
    weight: np.ndarray | None = None,
) -> Network:
    """A small network, averaged over seeds (which is one wider network)."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    mean, scale = dense.mean(axis=0), dense.std(axis=0) + 1e-9
    standard = np.clip((dense - mean) / scale, -4, 4)
    models = []
    for seed in seeds:
        model = MLPClassifier((units,), alpha=3.0, learning_rate_init=2e-3, max_iter=25, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 25 passes are early stopping
            models.append(model.fit(standard, target, sample_weight=weight))
    return Network(
        mean,
        scale,
        np.concatenate([model.coefs_[0] for model in models], axis=1),
        np.concatenate([model.intercepts_[0] for model in models]),
        np.concatenate([model.coefs_[1][:, 0] for model in models]) / len(models),
        float(np.mean([model.intercepts_[1][0] for model in models])),
    )


@dataclass(frozen=True)
class AnswerModel:
    """Is the answer right? Two stages, the second on top of the first and of the contrast scores."""

    wording: Hashed
    trees: Boosted
    network: Network

    def score(self, table: Table, contrast: np.ndarray) -> np.ndarray:
        """Grows with the odds that the answer is right, per row: the sum of the log-odds of trees and network."""
        dense = np.column_stack([table.dense, contrast, self.wording.score_sparse(table.words)])
        return self.trees.score(dense) + self.network.score(dense)


def fit_answer(
    table: Table,
    contrast: np.ndarray,
    right: np.ndarray,
    groups: np.ndarray,
    seeds: Sequence[int] = (0, 1, 2),
    weight: np.ndarray | None = None,
) -> AnswerModel:
    """Fit both stages; the second sees out-of-fold scores of the first. Averaging seeds takes chance out of it."""
    first = out_of_fold(table.words, right, groups, 1.0, weight=weight)
    dense = np.column_stack([table.dense, contrast, first])
    trees = boosted(dense, right, trees=300, rate=0.03, leaves=8, seeds=seeds, weight=weight)
    return AnswerModel(linear(table.words, right, 1.0, weight=weight), trees, network(dense, right, weight=weight))


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


def calibrate(score: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> Curve:
    """Isotonic regression of a 0/1 label on a score, thinned to at most 60 knots and kept off 0 and 1."""
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0.01, y_max=0.99, out_of_bounds="clip").fit(score, label, sample_weight=weight)
    knots = np.unique(np.quantile(score, np.linspace(0, 1, 40)))
    values = model.predict(knots)
    smooth = np.maximum.accumulate(np.convolve(np.pad(values, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid"))
    return Curve(knots, smooth)
