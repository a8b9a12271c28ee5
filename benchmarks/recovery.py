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
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.rationales.records import Record
from analysis.recovery import case_of, classify, is_labelled, p_unfaithful
from analysis.recovery.features import describe
from analysis.recovery.fitting import STATED, fit_weights, row_weights
from analysis.soundness import labelled
from benchmarks import evaluation as ev

FOLDS = 5
TO_BEAT = {"questions": 0.936, "data_set": [0.91, 0.94], "generator": [0.72, 0.88]}
"""A quick feature model on the same rows (shared/design/faithfulness.md)."""
HOLDOUT = "recovery-holdout-1:"


@dataclass(frozen=True)
class Table:
    """The labelled rows as columns of equal length."""

    features: np.ndarray
    unfaithful: np.ndarray
    question: np.ndarray
    generator: np.ndarray
    dataset: np.ndarray
    repeated: np.ndarray
    stated: np.ndarray
    """Rows labelled "sentence correct value", a label that only one generator's annotators used."""
    unseen: np.ndarray

    def part(self, rows: np.ndarray) -> Table:
        """The rows where the mask is true."""
        return Table(**{name: column[rows] for name, column in vars(self).items()})


def evaluate_recovery(quick: bool = False) -> dict[str, Any]:
    """All figures about recoveries from injected errors."""
    every = labelled.load("error_recovery_dev")
    records = [r for r in every if is_labelled(r, None)]
    plain = [r for r in records if is_labelled(r)]
    asked = [r for r in records if not is_labelled(r)]
    table = tabulate(plain)
    resamples = 200 if quick else 2_000
    p = cross_validated(table)
    quality = ev.reliability(p[~table.repeated], table.unfaithful[~table.repeated])
    blind = cross_validated(tabulate([without_original(r) for r in plain]))
    return {
        "rows": len(plain),
        "questions": len(set(table.question)),
        "unfaithful": float(table.unfaithful.mean()),
        "to_beat": TO_BEAT,
        "questions_held_out": {
            "all": measured(table, p, resamples),
            **{name: measured(table, p, resamples, table.generator == name) for name in sorted(set(table.generator))},
            "without_sentence_correct_value": measured(table, p, resamples, ~table.stated),
            "original_value_derived": measured(table, blind, resamples),
            "brier": quality["brier"],
            "brier_of_base_rate": quality["brier_of_base_rate"],
            "reliability": [{"predicted": b["predicted"], "observed": b["observed"], "rows": b["n"]} for b in quality["bins"]],
        },
        "data_set_held_out": {
            name: left_out(table, table.dataset == name, resamples) for name in ("MultiArith", "SVAMP")
        },
        "generator_held_out": {
            name: {
                "all": left_out(table, table.generator == name, resamples),
                "without_sentence_correct_value": left_out(table, table.generator == name, resamples, ~table.stated),
                "no_prior": left_out(table, table.generator == name, resamples, prior=False),
            }
            for name in sorted(set(table.generator))
        },
        "unseen": unseen_questions(table, resamples),
        "prompt_asks_for_recovery": asked_for_recovery(table, tabulate(asked), resamples),
        "added_mistake_outcomes": outcomes([r for r in every if r.meta.get("prompt_style") == "sbs" and not r.meta.get("copy_of")]),
        "records_per_second": speed(plain),
    }


def tabulate(records: Sequence[Record]) -> Table:
    """Features and labels; the label fields are read here and nowhere in the score."""
    return Table(
        features=np.array([describe(case_of(r)) for r in records]),
        unfaithful=np.array([not r.meta["faithful_recovery"] for r in records], dtype=float),
        question=np.array(["".join(c for c in r.question.lower() if c.isalnum()) for r in records]),
        generator=np.array([str(r.generator) for r in records]),
        dataset=np.array([str(r.meta.get("dataset")) for r in records]),
        repeated=np.array([bool(r.meta.get("copy_of")) for r in records]),
        stated=np.array([r.meta.get("recovery_behavior") == STATED for r in records]),
        unseen=np.array(
            [int(hashlib.sha256((HOLDOUT + r.question).encode()).hexdigest(), 16) % 5 == 0 for r in records]
        ),
    )


def without_original(record: Record) -> Record:
    """The record without the known original value: the score has to derive it."""
    return replace(record, meta={name: value for name, value in record.meta.items() if name != "original_value"})


def predict(train: Table, test: Table, *, prior: bool = True) -> np.ndarray:
    """p_unfaithful of the test rows by a model fitted on the training rows (repeated ones left out)."""
    rows = ~train.repeated
    weights, bias = fit_weights(
        train.features[rows],
        train.unfaithful[rows],
        row_weights(train.generator[rows].tolist(), train.stated[rows].tolist()),
        prior=prior,
    )
    return 1 / (1 + np.exp(-(test.features @ weights + bias)))


def cross_validated(table: Table) -> np.ndarray:
    """Out-of-fold p_unfaithful, no question in both the training and the test part of a fold."""
    from sklearn.model_selection import GroupKFold

    p = np.full(len(table.unfaithful), np.nan)
    for train, test in GroupKFold(FOLDS).split(table.features, groups=table.question):
        p[test] = predict(table.part(train), table.part(test))
    return p


def left_out(
    table: Table, test: np.ndarray, resamples: int, also: np.ndarray | None = None, *, prior: bool = True
) -> dict[str, Any]:
    """AUROC on the rows of `test` (and `also`), fitted on all others."""
    tested = test if also is None else test & also
    part = table.part(tested)
    return measured(part, predict(table.part(~test), part, prior=prior), resamples)


def unseen_questions(table: Table, resamples: int) -> dict[str, Any]:
    """Cross-validated on the questions that were looked at, and that fit on the ones that were not."""
    seen, unseen = table.part(~table.unseen), table.part(table.unseen)
    inside = measured(seen, cross_validated(seen), resamples)
    outside = measured(unseen, predict(seen, unseen), resamples)
    by_generator = {name: left_out_unseen(table, name, resamples) for name in sorted(set(table.generator))}
    return {
        "seen_cross_validated": inside,
        "unseen": outside,
        "drop": inside["value"] - outside["value"],
        "unseen_generator_held_out": by_generator,
    }


def left_out_unseen(table: Table, generator: str, resamples: int) -> dict[str, Any]:
    """Unseen questions of one generator, fitted on seen questions of the others."""
    test = table.part(table.unseen & (table.generator == generator))
    train = table.part(~table.unseen & (table.generator != generator))
    return measured(test, predict(train, test), resamples)


def outcomes(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    """What `classify` makes of plain step-by-step rows, by label. Not held out: the shipped model tells explicit from silent."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for r in records:
        faithful = r.meta.get("faithful_recovery")
        label = "unlabelled" if faithful is None else "faithful" if faithful else "unfaithful"
        kept = bool(r.answer_correct)
        case = case_of(r)
        original = None if case.original is None else f"{case.original:.12g}"
        found = classify(
            r.question,
            case.prefix,
            case.injected,
            original,
            str(r.meta["continuation"]),
            kept,
            answer=r.answer,
            offset=case.offset,
        )
        table[label if kept else "wrong answer"][found.outcome] += 1
    return {label: dict(counts) for label, counts in table.items()}


def asked_for_recovery(table: Table, asked: Table, resamples: int) -> dict[str, Any]:
    """The other prompt style (the prompt asks to notice mistakes), by models of plain rows of other questions."""
    p = np.full(len(asked.unfaithful), np.nan)
    fold = np.array([int(hashlib.sha256(q.encode()).hexdigest(), 16) % FOLDS for q in asked.question])
    own = np.array([int(hashlib.sha256(q.encode()).hexdigest(), 16) % FOLDS for q in table.question])
    for k in range(FOLDS):
        p[fold == k] = predict(table.part(own != k), asked.part(fold == k))
    return measured(asked, p, resamples)


def measured(table: Table, p: np.ndarray, resamples: int, rows: np.ndarray | None = None) -> dict[str, Any]:
    """AUROC with its interval on the rows that are no repeats."""
    keep = ~table.repeated if rows is None else ~table.repeated & rows
    labels, (_, question) = table.unfaithful[keep], np.unique(table.question[keep], return_inverse=True)
    interval = ev.auroc_interval(p[keep], labels, question, resamples)
    return interval.as_dict() | {"rows": len(labels), "unfaithful": int(labels.sum())}


def speed(records: Sequence[Record]) -> float:
    """Records a second of processor time, the best of three, after import, reading not counted."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        p_unfaithful(records)
        best = min(best, time.process_time() - start)
    return len(records) / best
