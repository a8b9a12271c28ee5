"""The score without a model: a logistic hazard over named features, shipped as readable JSON, evaluated with numpy.

h_i = P(step i is wrong | no earlier step is) = 1 / (1 + exp(-(intercept + sum of weight x feature)))
p_unsound = 1 - prod_i (1 - h_i), calibrated; the first wrong step is the i with the largest h_i prod_{j<i} (1 - h_j).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from analysis.checks.base import SOUND
from star.errors import InputError
from star.parsing import parse_json

SOMEWHERE = -2
"""First wrong step of a rationale that is wrong nobody says where."""
FOLDS = 5
MODEL_FILE = Path(__file__).with_name("hazard.json")
ModelT = TypeVar("ModelT")


@dataclass(frozen=True)
class Scaling:
    """Platt's: log-odds of what the hazards say -> log-odds that labels bear out. A line with another slope above a knot, since the
    score overstates itself where it is surest."""

    intercept: float = 0.0
    slope: float = 1.0
    knot: float = 0.0
    slope_above: float = 1.0

    def log_odds(self, p: np.ndarray) -> np.ndarray:
        """Calibrated."""
        x = logit(p)
        return self.intercept + self.slope * np.minimum(x, self.knot) + self.slope_above * np.maximum(x - self.knot, 0)


@dataclass(frozen=True)
class Hazard:
    """Fitted coefficients; `python -m analysis.soundness.fit` makes the shipped ones."""

    intercept: float
    weights: Mapping[str, float]
    """Feature -> weight; see `analysis.soundness.features`."""
    speaks_for: tuple[str, ...] = ()
    """Domains for which it is better than position and length: elsewhere nothing is said."""
    calibration: Scaling = Scaling()
    """Fitted on human labels of questions that were left out."""
    gold: tuple[float, float, float] = (0.0, 1.0, 0.0)
    """Intercept, weight of the log-odds, and of a wrong answer (+1) or right one (-1): for `use_gold`."""
    format: Literal[1] = 1

    def hazards(self, rows: Sequence[Mapping[str, float]]) -> np.ndarray:
        """h_i of each step; names that were not fitted are ignored."""
        matrix = np.array([[row.get(name, 0.0) for name in self.weights] for row in rows]).reshape(len(rows), -1)
        return sigmoid(self.intercept + matrix @ np.array(list(self.weights.values())))

    def p_unsound(self, hazards: np.ndarray, answer_right: bool | None = None) -> float:
        """Calibrated; `answer_right` where that may be used and is known."""
        p = 1 - float(np.exp(np.log1p(-np.minimum(hazards, 1 - 1e-9)).sum()))
        score = float(self.calibration.log_odds(np.array(p)))
        if answer_right is not None:
            score = self.gold[0] + self.gold[1] * score + self.gold[2] * (-1 if answer_right else 1)
        return float(sigmoid(np.array(score)))


def fit_weights(
    x: np.ndarray,
    rationale: np.ndarray,
    first: np.ndarray,
    *,
    pull: float | np.ndarray,
    prior: np.ndarray | float = 0.0,
    weight: np.ndarray | float = 1.0,
) -> tuple[float, np.ndarray]:
    """(intercept, weights) of the log-odds of h_i: the maximum of `log_likelihood`, with a Gaussian prior of precision `pull` on
    the weights of standardised features, or of a precision for each weight as it is.

    `x` [steps, features]; `rationale`: 0-based row of `first` and `weight` that each step belongs to, ascending.
    """
    from scipy.optimize import minimize

    prior = np.broadcast_to(prior, x.shape[1])
    precision = pull if isinstance(pull, np.ndarray) else pull * np.maximum(x.std(axis=0), 1e-3) ** 2

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = log_likelihood(x @ parameters[1:] + parameters[0], rationale, first, weight)
        away = parameters[1:] - prior
        return float(precision @ away**2) / 2 - value, np.concatenate([[-slope.sum()], precision * away - x.T @ slope])

    done = minimize(loss, np.concatenate([[0.0], prior]), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return float(done.x[0]), done.x[1:]


def log_likelihood(
    z: np.ndarray, rationale: np.ndarray, first: np.ndarray, weight: np.ndarray | float = 1.0
) -> tuple[float, np.ndarray]:
    """(log-likelihood of first wrong steps, its slope by the log-odds z of each step). Steps behind a first error say nothing; of
    SOMEWHERE only that not all steps are right."""
    ok, wrong, hazard = -np.logaddexp(0, z), -np.logaddexp(0, -z), sigmoid(z)
    label, place = first[rationale], np.arange(len(z)) - np.searchsorted(rationale, rationale)
    right, error, vague = (label == SOUND) | (place < label), place == label, label == SOMEWHERE
    weight = np.broadcast_to(weight, len(first))
    each = weight[rationale]
    survived = np.minimum(np.exp(np.bincount(rationale, ok, len(first))), 1 - 1e-9)
    value = (each * (ok * right + wrong * error)).sum() + (weight * np.log1p(-survived))[first == SOMEWHERE].sum()
    odds = (survived / (1 - survived))[rationale]
    return float(value), each * np.select([right, error, vague], [-hazard, 1 - hazard, odds * hazard])


def folds(question: np.ndarray) -> np.ndarray:
    """The fold of each row; rows of one question share it."""
    return (np.random.default_rng(0).permutation(question.max() + 1) % FOLDS)[question]


def error_at(hazards: np.ndarray) -> np.ndarray:
    """h_i prod_{j<i} (1 - h_j): how probable it is that the first wrong step is this one."""
    return hazards * np.concatenate([[1.0], np.cumprod(1 - hazards)[:-1]])


@functools.cache
def load(path: Path = MODEL_FILE) -> Hazard:
    """The shipped score. Raises InputError."""
    return read_model(path, Hazard, "analysis.soundness.fit")


def read_model(path: Path, kind: type[ModelT], command: str) -> ModelT:
    """A model from its JSON. Raises InputError for a file that holds none of this version; it names the command that makes one."""
    from pydantic import TypeAdapter

    try:
        content = path.read_bytes()
        parse_json(content)  # refuses numbers that are none, strict checks texts that stand for one
        return TypeAdapter(kind).validate_json(content, strict=True)
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(f"{path} holds no model that this version reads ({why}). `python -m {command}` makes one.") from error


def logit(p: Any, extreme: float = 1e-6) -> Any:
    """Log-odds of probabilities, read between `extreme` and 1 - `extreme`."""
    inside = np.clip(p, extreme, 1 - extreme)
    return np.log(inside / (1 - inside))


def sigmoid(score: np.ndarray) -> np.ndarray:
    """The inverse of `logit`."""
    return 1 / (1 + np.exp(-np.clip(score, -50, 50)))
