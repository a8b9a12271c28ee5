"""Fits the detectors that are shipped, from the labelled data.

    python benchmarks/fit_detector.py            # writes analysis/models/*.json and benchmarks/results/fit_detector.json
    python benchmarks/fit_detector.py --quick    # a small part of the data, models go to benchmarks/results/quick

Contrast: GSM8K's worked solutions against the same with one mistake put in (no labels). Answer: GSM8K model solutions, right
or wrong. Hazard: Mr-Ben and MR-GSM8K, first wrong step. Curves: isotonic regression on scores of held-out questions.
Exact kinds: how often the exact checkers agree with BIG-Bench-Mistake's labels. Recovery: see `analysis.recovery`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analysis.consistency import EXACT, check_exact, detect_kind
from analysis.consistency.reading import read
from analysis.detector import logit
from analysis.judging import MODEL_FILE, Detector, answer_matches
from analysis.records import Record
from benchmarks import evaluation as ev
from benchmarks import feature_tables, fitting, labelled
from benchmarks.common import CACHE, RESULTS, ROOT, CommonFlags, parse, write_result
from star.runs import write_text

SEEDS = (0, 1, 2)
"""Of the trees that judge answers; one seed is enough for the hazard."""
SOURCES = (
    "analysis/consistency/numbers.py",
    "analysis/consistency/equations.py",
    "analysis/consistency/reading.py",
    "analysis/consistency/known.py",
    "analysis/features.py",
    "analysis/relations.py",
    "benchmarks/corruptions.py",
)
"""The code that the contrast features depend on."""


def readings_of(records: Sequence[Record]) -> list[Any]:
    """Records -> readings."""
    return [read(record.question, record.steps, record.answer, record.choices) for record in records]


def main() -> None:
    flags = parse(CommonFlags, __doc__)
    folder = RESULTS / "quick" if flags.quick else MODEL_FILE.parent
    figures = fit_all(folder, quick=flags.quick)
    figures["recovery"] = fit_recovery(folder, quick=flags.quick)
    write_result("fit_detector", figures, quick=flags.quick, seeds=list(SEEDS), device=flags.device)


def fit_all(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Fit, write `detector.json`, and return sizes, calibration and reliability."""
    limit = 400 if quick else None
    contrast, sizes = fit_contrast(limit)
    answers = labelled.load("gsm8k_model_solutions", limit)
    table = feature_tables.tabulate(readings_of(answers))
    scores = contrast.scores(table)
    right, groups = labelled.answer_right(answers), labelled.groups(answers)
    answer = fitting.fit_answer(table, scores, right, groups, SEEDS)
    answer_oof = -ev.cross_validate_answer(table, scores, right, groups)
    located = labelled.load("mr_ben", limit) + labelled.load("mr_gsm8k_590", limit)
    steps = feature_tables.tabulate_steps(readings_of(located), contrast.relations)
    step_groups, first = labelled.groups(located), labelled.first_errors(located)
    hazard = fitting.fit_hazard(steps, first, step_groups, np.arange(len(located)))
    hazard_oof = ev.cross_validate_hazard(steps, first, step_groups)
    unsound_oof = logit(fitting.unsound_from(steps, hazard_oof, len(located)))
    unsound = labelled.unsound(located)
    exam = np.array([record.source.startswith("mr_ben") or bool(record.choices) for record in located]) & (unsound >= 0)
    curves = {
        "math_word": fitting.calibrate(answer_oof, 1 - right),
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
        "answer": ev.crossed_probabilities(answer_oof, 1 - right, groups),
        "hazard": ev.crossed_probabilities(unsound_oof[exam], unsound[exam], step_groups[exam]),
    }
    return {
        "rows": {**sizes, "answers": len(answers), "located": int((first >= -1).sum())},
        "bytes": (folder / "detector.json").stat().st_size,
        "thresholds": detector.thresholds,
        "exact": detector.exact,
        "gold": detector.gold,
        "reliability": {
            "answer": ev.reliability(crossed["answer"], 1 - right),
            "hazard": ev.reliability(crossed["hazard"], unsound[exam]),
        },
    }


def fit_contrast(limit: int | None) -> tuple[fitting.Contrast, dict[str, int]]:
    """Worked solutions against corrupted ones."""
    table, sound, groups = contrast_table(limit)
    contrast = fitting.fit_contrast(table, sound, groups, trees=60 if limit else 500)
    return contrast, {"worked": int(sum(sound)), "corrupted": int(len(sound) - sum(sound))}


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

    matches = [answer_matches(record) for record in records]
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


def contrast_table(limit: int | None) -> tuple[feature_tables.Table, np.ndarray, np.ndarray]:
    """The features of worked and corrupted solutions. Kept in benchmarks/cache until the code that makes them changes."""
    code = "".join((ROOT / name).read_text(encoding="utf-8") for name in SOURCES)
    file = CACHE / f"contrast-{limit or 'all'}-{hashlib.sha256(code.encode()).hexdigest()[:12]}.npz"
    if file.is_file():
        return feature_tables.load_table(file)
    readings, sound, groups = fitting.contrast_readings(labelled.worked_solutions(limit), negatives=4, seed=0)
    table = feature_tables.tabulate(readings)
    feature_tables.save_table(file, table, sound, groups)
    return table, sound, groups


if __name__ == "__main__":
    main()
