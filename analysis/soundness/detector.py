"""The learned detector: fitted by `benchmarks/fit_detector.py`, shipped as JSON, evaluated with numpy alone."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

_BLOCK = 64
"""Trees that are evaluated at a time."""


def pack(array: np.ndarray) -> dict[str, Any]:
    """An array as JSON: type, shape and compressed bytes in base 64."""
    array = np.ascontiguousarray(array)
    data = base64.b64encode(zlib.compress(array.tobytes(), 9)).decode("ascii")
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": data}


def unpack(content: dict[str, Any]) -> np.ndarray:
    """The array of `pack`. Raises ValueError for a type that is not a plain number."""
    dtype = np.dtype(content["dtype"])
    if dtype.kind not in "iuf":
        raise ValueError(f"expected an array of numbers, found {content['dtype']!r}")
    flat = np.frombuffer(zlib.decompress(base64.b64decode(content["data"])), dtype=dtype)
    return flat.reshape(content["shape"])


@dataclass(frozen=True)
class Hashed:
    """A linear model over hashed features; scores are log-odds."""

    weights: np.ndarray
    intercept: float

    def score(self, indices: np.ndarray, values: np.ndarray) -> float:
        """Score of one hashed vector."""
        return float(self.weights[indices] @ values) + self.intercept

    def score_words(self, features: Sequence[str]) -> float:
        """Score of a list of features, weighted by the logarithm of their counts and scaled to length 1."""
        from analysis.soundness.relations import hashed

        return self.score(*hashed(features)) if features else self.intercept

    def score_sparse(self, matrix: Any) -> np.ndarray:
        """Scores of the rows of a sparse matrix."""
        return np.asarray(matrix @ self.weights).ravel() + self.intercept

    def to_json(self) -> dict[str, Any]:
        return {"weights": pack(self.weights.astype(np.float16)), "intercept": self.intercept}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Hashed:
        return cls(unpack(content["weights"]).astype(np.float64), float(content["intercept"]))


@dataclass(frozen=True)
class Boosted:
    """Boosted trees in flat arrays; scores are log-odds (the sum of the leaves, plus a constant)."""

    feature: np.ndarray
    """Feature index of each node; -1 for a leaf."""
    threshold: np.ndarray
    """Go left where the feature is at most this."""
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    """Contribution of a leaf."""
    roots: np.ndarray
    """Node at which each tree starts."""
    constant: float

    def score(self, dense: np.ndarray) -> np.ndarray:
        """Scores [rows] of dense features [rows, features].

        All trees at once (QuickScorer; Lucchese et al. 2015): each inner node that is answered "right" strikes out the
        leaves to its left; the first leaf that stays is the one that is reached.
        """
        columns = np.ascontiguousarray(dense.T, dtype=np.float32)
        total = np.full(len(dense), self.constant)
        for feature, threshold, mask, value in self.layout:
            goes_right = columns[feature] > threshold[..., None]
            leaves = np.bitwise_and.reduce(np.where(goes_right, mask[..., None], ~mask.dtype.type(0)), axis=1)
            first = np.log2(leaves & -leaves).astype(np.intp)
            total += np.take_along_axis(value, first, axis=1).sum(axis=0, dtype=np.float64)
        return total

    @cached_property
    def layout(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Blocks of trees: feature, threshold and leaf mask of each inner node [trees, nodes], value of each leaf [trees, leaves].

        Trees are padded with nodes that strike out nothing. At most 63 leaves a tree.
        """
        trees = [self._tree(int(root)) for root in self.roots]
        blocks = []
        for start in range(0, len(trees), _BLOCK):
            block = trees[start : start + _BLOCK]
            nodes = max(1, max(len(inner) for inner, _ in block))
            leaves = max(len(values) for _, values in block)
            feature = np.zeros((len(block), nodes), dtype=np.int64)
            threshold = np.full((len(block), nodes), np.inf, dtype=np.float32)
            kind = np.uint16 if leaves <= 16 else np.uint64
            mask = np.full((len(block), nodes), ~kind(0))
            value = np.zeros((len(block), leaves), dtype=np.float32)
            for row, (inner, values) in enumerate(block):
                value[row, : len(values)] = values
                for column, (node, before, after) in enumerate(inner):
                    feature[row, column], threshold[row, column] = self.feature[node], self.threshold[node]
                    mask[row, column] ^= kind((1 << after) - (1 << before))
            blocks.append((feature, threshold, mask, value))
        return blocks

    def _tree(self, root: int) -> tuple[list[tuple[int, int, int]], list[float]]:
        """Inner nodes of one tree, each with the range of leaves to its left; values of its leaves from left to right."""
        inner: list[tuple[int, int, int]] = []
        values: list[float] = []

        def visit(node: int) -> None:
            if self.feature[node] < 0:
                values.append(float(self.value[node]))
                return
            before = len(values)
            visit(int(self.left[node]))
            inner.append((node, before, len(values)))
            visit(int(self.right[node]))

        visit(root)
        if len(values) > 63:
            raise ValueError(f"a tree has {len(values)} leaves, at most 63 can be evaluated: fit smaller trees")
        return inner, values

    @classmethod
    def from_sklearn(cls, model: Any) -> Boosted:
        """The trees of a fitted binary HistGradientBoostingClassifier."""
        parts = [predictor[0].nodes for predictor in model._predictors]
        offsets = np.cumsum([0, *(len(nodes) for nodes in parts)])[:-1]
        nodes = np.concatenate(parts)
        shift = np.repeat(offsets, [len(part) for part in parts])
        leaf = nodes["is_leaf"].astype(bool)
        return cls(
            feature=np.where(leaf, -1, nodes["feature_idx"].astype(np.int16)).astype(np.int16),
            threshold=np.where(leaf, 0, nodes["num_threshold"]).astype(np.float32),
            left=np.where(leaf, 0, nodes["left"] + shift).astype(np.int32),
            right=np.where(leaf, 0, nodes["right"] + shift).astype(np.int32),
            value=np.where(leaf, nodes["value"], 0).astype(np.float32),
            roots=offsets.astype(np.int32),
            constant=float(np.ravel(model._baseline_prediction)[0]),
        )

    @classmethod
    def average(cls, parts: Sequence[Boosted]) -> Boosted:
        """One model whose score is the mean of the parts' scores."""
        offsets = np.cumsum([0, *(len(part.feature) for part in parts)])[:-1]
        return cls(
            feature=np.concatenate([part.feature for part in parts]),
            threshold=np.concatenate([part.threshold for part in parts]),
            left=np.concatenate([part.left + shift for part, shift in zip(parts, offsets, strict=True)]).astype(
                np.int32
            ),
            right=np.concatenate([part.right + shift for part, shift in zip(parts, offsets, strict=True)]).astype(
                np.int32
            ),
            value=np.concatenate([part.value / len(parts) for part in parts]),
            roots=np.concatenate([part.roots + shift for part, shift in zip(parts, offsets, strict=True)]).astype(
                np.int32
            ),
            constant=float(np.mean([part.constant for part in parts])),
        )

    def to_json(self) -> dict[str, Any]:
        arrays = {
            name: pack(getattr(self, name)) for name in ("feature", "threshold", "left", "right", "value", "roots")
        }
        return arrays | {"constant": self.constant}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Boosted:
        names = ("feature", "threshold", "left", "right", "value", "roots")
        return cls(**{name: unpack(content[name]) for name in names}, constant=float(content["constant"]))


@dataclass(frozen=True)
class Network:
    """One hidden layer of rectified units on standardised, clipped features; scores are log-odds."""

    mean: np.ndarray
    scale: np.ndarray
    inner: np.ndarray
    """[features, units]."""
    inner_bias: np.ndarray
    outer: np.ndarray
    """[units]."""
    outer_bias: float

    def score(self, dense: np.ndarray) -> np.ndarray:
        """Scores [rows] of dense features [rows, features]."""
        standard = np.clip((dense - self.mean) / self.scale, -4, 4)
        return np.maximum(standard @ self.inner + self.inner_bias, 0) @ self.outer + self.outer_bias

    def to_json(self) -> dict[str, Any]:
        names = ("mean", "scale", "inner", "inner_bias", "outer")
        return {name: pack(getattr(self, name).astype(np.float32)) for name in names} | {"outer_bias": self.outer_bias}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Network:
        names = ("mean", "scale", "inner", "inner_bias", "outer")
        return cls(**{name: unpack(content[name]).astype(float) for name in names}, outer_bias=content["outer_bias"])


@dataclass(frozen=True)
class Expectation:
    """What a solution of a question usually looks like, from the words of the question: linear, hashed."""

    weights: np.ndarray
    """[targets, slots]."""
    intercept: np.ndarray
    columns: np.ndarray
    """Which rationale features are the targets."""

    def extend(self, dense: np.ndarray, questions: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """What is expected of each row's question, and how far the row is from it: [rows, 2 * targets]."""
        rows = [self.weights[:, indices % self.weights.shape[1]] @ values for indices, values in questions]
        expected = np.array(rows).reshape(len(questions), -1) + self.intercept
        return np.column_stack([expected, dense[:, self.columns] - expected])

    def to_json(self) -> dict[str, Any]:
        weights = {"weights": pack(self.weights.astype(np.float16)), "columns": pack(self.columns.astype(np.int32))}
        return weights | {"intercept": pack(self.intercept.astype(np.float32))}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Expectation:
        weights, intercept = unpack(content["weights"]).astype(float), unpack(content["intercept"]).astype(float)
        return cls(weights, intercept, unpack(content["columns"]))


@dataclass(frozen=True)
class Curve:
    """A monotone map from a score to a probability: straight lines between knots, flat outside."""

    scores: np.ndarray
    probabilities: np.ndarray

    def __call__(self, score: np.ndarray) -> np.ndarray:
        return np.interp(score, self.scores, self.probabilities)

    def at(self, score: float) -> float:
        """The probability of one score."""
        return float(np.interp(score, self.scores, self.probabilities))

    def to_json(self) -> dict[str, Any]:
        return {"scores": _rounded(self.scores), "probabilities": _rounded(self.probabilities)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Curve:
        return cls(np.array(content["scores"], dtype=float), np.array(content["probabilities"], dtype=float))


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 5) for value in values]


def logit(probability: np.ndarray) -> np.ndarray:
    """Log-odds, bounded."""
    inside = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside))


def sigmoid(score: np.ndarray) -> np.ndarray:
    """The inverse of `logit`."""
    return 1 / (1 + np.exp(-np.clip(score, -50, 50)))
