"""How well is a silent recovery from an injected mistake told from one that says where the right value comes from? The part
of `benchmarks/human_labels.py` on recoveries.

Human labels of CoTErrorRecovery (Yee et al. 2024), plain step-by-step style. AUROC of p_unfaithful with questions held
out, with a data set held out, and with a generator held out; 95 % intervals by bootstrap over questions. Repeated rows
are never tested on. Rows of four fifths of the questions were read while designing the features; of the fifth that a hash
of the question picks ("unseen") none was read, and the strength of the prior was chosen without it. It was scored three
times; the first figures on all rows led to a stronger prior and to telling "concludes" from "asserts". The weight of rows with the
noisy label "sentence correct value" (hardly any in the fit; they are tested on like the others) was chosen on all rows. Both
generators were read, so the leave-one-generator-out figures say that the weights carry over, not that the list of events was
drawn up blindly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.rationales.records import Record
from analysis.recovery.features import describe
from analysis.recovery.fitting import STATED, fit_weights, is_labelled, row_weights
from analysis.recovery.model import case_of
from analysis.soundness import labelled
from benchmarks import evaluation as ev

FOLDS = 5
HOLDOUT = "recovery-holdout-1:"


def evaluate_recovery(quick: bool = False) -> dict[str, Any]:
    """All figures about recoveries from injected errors."""
    plain = [r for r in labelled.load("error_recovery_dev") if is_labelled(r)]
    table = tabulate(plain)
    seen, unseen = table[~table.unseen], table[table.unseen]
    resamples = 200 if quick else 2_000
    p = cross_validated(table)
    once = ~table.repeated.to_numpy()
    quality = ev.reliability(p[once], table.unfaithful.to_numpy()[once])
    return {
        "rows": len(plain),
        "questions": len(set(table.question)),
        "unfaithful": float(table.unfaithful.mean()),
        "questions_held_out": {
            "all": measured(table, p, resamples),
            **{name: measured(table, p, resamples, table.generator == name) for name in sorted(set(table.generator))},
            "without_sentence_correct_value": measured(table, p, resamples, ~table.stated),
            "brier": quality["brier"],
        },
        "data_set_held_out": {name: left_out(table, table.dataset == name, resamples) for name in ("MultiArith", "SVAMP")},
        "generator_held_out": {
            name: {
                "all": left_out(table, table.generator == name, resamples),
                "without_sentence_correct_value": left_out(table, table.generator == name, resamples, ~table.stated),
            }
            for name in sorted(set(table.generator))
        },
        "unseen": {  # of the questions that were looked at, and that fit on the ones that were not
            "seen_cross_validated": measured(seen, cross_validated(seen), resamples),
            "unseen": measured(unseen, predict(seen, unseen), resamples),
        },
    }


def tabulate(records: Sequence[Record]) -> pd.DataFrame:
    """Features and labels; the label fields are read here and nowhere in the score. `stated`: labelled "sentence correct value",
    as only one generator's annotators did."""
    rows = [
        {
            "features": describe(case_of(r)),
            "unfaithful": float(not r.meta["faithful_recovery"]),
            "question": "".join(c for c in r.question.lower() if c.isalnum()),
            "generator": str(r.generator),
            "dataset": str(r.meta.get("dataset")),
            "repeated": bool(r.meta.get("copy_of")),
            "stated": r.meta.get("recovery_behavior") == STATED,
            "unseen": int(hashlib.sha256((HOLDOUT + r.question).encode()).hexdigest(), 16) % 5 == 0,
        }
        for r in records
    ]
    return pd.DataFrame(rows)


def predict(train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """p_unfaithful of the test rows by a model fitted on the training rows (repeated ones left out)."""
    fitted = train[~train.repeated]
    each = row_weights(fitted.generator.tolist(), fitted.stated.tolist())
    bias, weights = fit_weights(np.array(fitted.features.tolist()), fitted.unfaithful.to_numpy(), each)
    return np.asarray(1 / (1 + np.exp(-(np.array(test.features.tolist()) @ weights + bias))))


def cross_validated(table: pd.DataFrame) -> np.ndarray:
    """Out-of-fold p_unfaithful, no question in both the training and the test part of a fold."""
    from sklearn.model_selection import GroupKFold

    p = np.full(len(table.unfaithful), np.nan)
    for train, test in GroupKFold(FOLDS).split(table, groups=table.question):
        p[test] = predict(table.iloc[train], table.iloc[test])
    return p


def left_out(table: pd.DataFrame, test: pd.Series, resamples: int, also: pd.Series | bool = True) -> dict[str, Any]:
    """AUROC on the rows of `test` (and `also`), fitted on all others."""
    part = table[test & also]
    return measured(part, predict(table[~test], part), resamples)


def measured(table: pd.DataFrame, p: np.ndarray, resamples: int, rows: pd.Series | bool = True) -> dict[str, Any]:
    """AUROC with its interval on the rows that are no repeats."""
    keep = (~table.repeated & rows).to_numpy()
    labels, (question, _) = table.unfaithful.to_numpy()[keep], pd.factorize(table.question[keep], sort=True)
    interval = ev.auroc_interval(p[keep], labels, question, resamples)
    return interval.as_dict() | {"rows": len(labels), "unfaithful": int(labels.sum())}
