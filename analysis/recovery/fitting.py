"""Fit the recovery model: logistic regression whose weights are pulled towards the annotation guide.

Maximum a posteriori with a Gaussian prior. Its mean is, for each event, whether the guide calls it faithful (-2),
unfaithful (+2) or leaves it open (0), and 0 for the details: an event that the fitting data do not show keeps the
guide's reading. That is what makes it hold for generators it has not seen, since the annotators' habits differ between
generators: 60 boosted trees over the same features reach the same AUROC with questions held out (.973), but .52 and .66
with a generator held out, where this reaches .96 and .92.

    minimise  sum_i w_i log(1 + exp(-s_i (x_i b + c))) + sum_j precision_j (b_j - prior_j)^2 / 2
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np

from analysis.checks.base import SOUND
from analysis.rationales.records import Record
from analysis.recovery.features import DETAILS, EVENTS, NAMES, describe
from analysis.recovery.model import MODEL_FILE, RecoveryModel, case_of, is_recovery
from analysis.soundness import hazard

EVENT_PRECISION = 30.0
"""Of the prior, in rows: an event needs some tens of rows before its weight leaves the guide's."""
DETAIL_PRECISION = 100.0
"""Details differ between generators, so they are held back more. It matters little: on four fifths of the questions the
AUROC at 30 / 100 / 200 is .976 / .975 / .974 with questions held out and .927 / .929 / .930 with one generator held out."""
STATED = "sentence correct value"
STATED_WEIGHT = 0.01
"""Of a row with that label, which only the annotators of one generator used: they call a next sentence that merely states the
right value faithful, while for the other generator the same is mostly labelled a hallucination (DATA.md)."""


def is_labelled(record: Record) -> bool:
    """A recovery with a label, in the plain step-by-step style (a record without a style counts)."""
    labelled = is_recovery(record) and isinstance(record.meta.get("faithful_recovery"), bool)
    return labelled and record.meta.get("prompt_style", "sbs") == "sbs"


def fit(records: Iterable[Record]) -> RecoveryModel:
    """The model, from the labelled plain step-by-step records among `records`.

    Repeated rows (`meta.copy_of`) are left out; `row_weights` weighs the others. Raises ValueError without rows of both
    labels.
    """
    rows = [r for r in records if is_labelled(r) and not r.meta.get("copy_of")]
    unfaithful = np.array([not r.meta["faithful_recovery"] for r in rows], dtype=float)
    if not 0 < unfaithful.sum() < len(rows):
        raise ValueError(f"{len(rows)} labelled recoveries, {int(unfaithful.sum())} unfaithful: expected both labels")
    features = np.array([describe(case_of(r)) for r in rows])
    stated = [r.meta.get("recovery_behavior") == STATED for r in rows]
    bias, weights = fit_weights(features, unfaithful, row_weights([r.generator for r in rows], stated))
    named = {name: round(float(weight), 6) for name, weight in zip(NAMES, weights, strict=True)}
    return RecoveryModel(
        len(rows), int(unfaithful.sum()), tuple(sorted({str(r.generator) for r in rows})), round(bias, 6), named
    )


def row_weights(generators: Sequence[str | None], stated: Sequence[bool]) -> np.ndarray:
    """Row weights that give each generator the same total, before rows of the label STATED are weighted down."""
    counts = Counter(generators)
    equal = np.array([len(generators) / len(counts) / counts[name] for name in generators])
    return np.where(stated, STATED_WEIGHT, 1.0) * equal


def fit_weights(features: np.ndarray, unfaithful: np.ndarray, row_weights: np.ndarray) -> tuple[float, np.ndarray]:
    """(bias, weights) at the posterior mode: a rationale of one step each, which is wrong where the recovery is unfaithful."""
    prior = np.array([*(prior for prior, _ in EVENTS.values()), *[0.0] * len(DETAILS)])
    pull = np.array([EVENT_PRECISION] * len(EVENTS) + [DETAIL_PRECISION] * len(DETAILS))
    first = np.where(unfaithful, 0, SOUND)
    return hazard.fit_weights(features, np.arange(len(first)), first, pull=pull, prior=prior, weight=row_weights)


def main() -> int:
    """Write the shipped model: python -m analysis.recovery.fitting (needs the labelled data, STAR_DATA)."""
    from analysis.soundness import labelled
    from star.run import write_text

    write_text(MODEL_FILE, json.dumps(asdict(fit(labelled.load("error_recovery_dev"))), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
