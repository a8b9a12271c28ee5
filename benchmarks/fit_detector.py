"""Fits the detectors that are shipped, from the labelled data.

    python benchmarks/fit_detector.py            # writes analysis/*/*.json and benchmarks/results/fit_detector.json
    python benchmarks/fit_detector.py --quick    # a small part of the data, models go to benchmarks/results/quick

Contrast: worked solutions of GSM8K and SVAMP against the same with one mistake put in (no labels). Answer: GSM8K model
solutions, right or wrong, and short problems of SVAMP. Hazard: Mr-Ben and MR-GSM8K, first wrong step. Curves: isotonic
regression on scores of held-out questions; for word problems with the prior and the worked solutions of `answer_rows`. Exact
kinds: how often the exact checkers agree with BIG-Bench-Mistake's labels. Recovery: see `analysis.recovery`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from star.command_line import run_command

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analysis.checks import EXACT, check_exact, detect_kind
from analysis.rationales.records import Record, matches_gold
from analysis.recovery.model import MODEL_FILE as RECOVERY_FILE
from analysis.soundness.detector import logit
from analysis.soundness.judging import MODEL_FILE, Detector
from benchmarks import answer_rows, feature_tables, fitting, labelled
from benchmarks import evaluation as ev
from benchmarks.answer_rows import readings_of
from benchmarks.common import RESULTS, CommonArguments, parse, write_result
from star.run import write_text

SEEDS = (0, 1, 2)
"""Of the trees that judge answers; one seed is enough for the hazard."""


def main() -> None:
    arguments = parse(CommonArguments, __doc__)
    quick = RESULTS / "quick"
    figures = fit_all(quick if arguments.quick else MODEL_FILE.parent, quick=arguments.quick)
    figures["recovery"] = fit_recovery(quick if arguments.quick else RECOVERY_FILE.parent, quick=arguments.quick)
    write_result("fit_detector", figures, quick=arguments.quick, seeds=list(SEEDS), device=arguments.device)


def fit_all(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Fit, write `detector.json`, and return sizes, calibration and reliability."""
    limit = 400 if quick else None
    worked = answer_rows.worked_table(limit)
    contrast = worked.fit_contrast(trees=60 if quick else 500)
    answers = answer_rows.answer_rows(labelled.load("gsm8k_model_solutions", limit), contrast, worked)
    answer = answers.fit(SEEDS)
    answer_oof, wrong, weight = -ev.cross_validate_answer(answers), 1 - answers.right, answers.curve_weight()
    located = labelled.load("mr_ben", limit) + labelled.load("mr_gsm8k_590", limit)
    steps = feature_tables.tabulate_steps(readings_of(located), contrast.relations)
    groups, first = labelled.groups(located), labelled.first_errors(located)
    hazard = fitting.fit_hazard(steps, first, groups, np.arange(len(located)))
    hazard_oof = ev.cross_validate_hazard(steps, first, groups)
    unsound_oof = logit(fitting.unsound_from(steps, hazard_oof, len(located)))
    unsound = labelled.unsound(located)
    exam = np.array([bool(record.choices) for record in located]) & (unsound >= 0)
    curves = {
        "math_word": fitting.calibrate(answer_oof, wrong, weight),
        "other": fitting.calibrate(unsound_oof[exam], unsound[exam]),
    }
    probability = curves["other"](unsound_oof)
    detector = Detector(
        contrast=contrast.relations,
        contrast_trees=contrast.trees,
        wording=answer.wording,
        expectation=contrast.expectation,
        answer=answer.trees,
        answer_network=answer.network,
        step_wording=hazard.wording,
        hazard=hazard.trees,
        curves=curves,
        thresholds={"math_word": 0.5, "other": ev.best_threshold(probability, steps, hazard_oof, first)},
        exact=exact_rates(labelled.load("bigbench_mistake_dev", limit)),
        gold=gold_weights(located, probability, unsound),
    )
    write_text(folder / "detector.json", ev.as_text(detector.to_json()))
    crossed = {
        "answer": ev.crossed_probabilities(answer_oof, wrong, answers.groups, weight),
        "hazard": ev.crossed_probabilities(unsound_oof[exam], unsound[exam], groups[exam]),
    }
    return {
        "rows": {
            "worked": int(worked.sound.sum()),
            "corrupted": int((1 - worked.sound).sum()),
            "set_apart": int(worked.apart.sum()),
            "answers": int(answers.of_model.sum()),
            "located": int((first >= -1).sum()),
        },
        "bytes": (folder / "detector.json").stat().st_size,
        "thresholds": detector.thresholds,
        "exact": detector.exact,
        "gold": detector.gold,
        "reliability": {
            "answer": ev.reliability(crossed["answer"], wrong, weight),
            "hazard": ev.reliability(crossed["hazard"], unsound[exam]),
        },
    }


def exact_rates(records: Sequence[Record]) -> dict[str, tuple[float, float]]:
    """Kind -> labelled unsound share of what its checker finds sound, and unsound (one row of each added). Addition has no
    labelled rows: its checker decides by the rules of the scratchpad alone."""
    counts = {kind: [[1, 2], [1, 2]] for kind in EXACT}
    for record in records:
        kind = detect_kind(record.question, record.steps, record.choices)
        finding = check_exact(kind, record.question, record.steps, record.answer, record.choices)
        if finding is not None and finding.first_error_step is not None and record.sound is not None:
            cell = counts[finding.kind][finding.first_error_step >= 0]
            cell[0] += not record.sound
            cell[1] += 1
    rates = {kind: (round(a[0] / a[1], 4), round(b[0] / b[1], 4)) for kind, (a, b) in counts.items()}
    return rates | {"addition": (0.01, 0.99)}


def gold_weights(records: Sequence[Record], probability: np.ndarray, unsound: np.ndarray) -> tuple[float, float, float]:
    """Logistic regression of the label on log-odds of p_unsound and on whether the answer is the gold answer."""
    from sklearn.linear_model import LogisticRegression

    matches = [matches_gold(record) for record in records]
    rows = [place for place, match in enumerate(matches) if match is not None and unsound[place] >= 0]
    features = np.array([[logit(probability[place]), -1.0 if matches[place] else 1.0] for place in rows])
    model = LogisticRegression(C=1.0).fit(features, unsound[rows])
    a, b = (round(float(weight), 4) for weight in model.coef_[0])
    return round(float(model.intercept_[0]), 4), a, b


def fit_recovery(folder: Path, *, quick: bool) -> dict[str, Any]:
    """The recovery classifier, fitted and written by its own package."""
    from analysis.recovery import fit

    model = fit(labelled.load("error_recovery_dev", 2_000 if quick else None))
    write_text(folder / "recovery.json", json.dumps(model, indent=1, ensure_ascii=False) + "\n")
    return {name: model[name] for name in ("rows", "unfaithful") if name in model}


if __name__ == "__main__":
    sys.exit(run_command(main))
