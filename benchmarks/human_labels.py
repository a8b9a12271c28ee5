"""How far can a judgement be trusted? Proofs, the score without a model and recoveries against people's labels.

    python benchmarks/human_labels.py [--quick]

Exact checkers and proofs are not fitted. The score without a model is measured on what was left out of its fit: of school word
problems the writer and the question, of every other domain the whole domain; position and length alone, fitted and left out
in the same way, stand beside it. 95 % intervals resample whole questions. Of `exact`, a fifth of the questions (by a hash)
was kept out of sight while the checkers were written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.rationales.records import Record
from analysis.soundness import fit, labelled
from analysis.soundness.features import BASELINE
from analysis.soundness.grades import GRADES, THRESHOLD, flagged
from analysis.soundness.hazard import FOLDS, folds, sigmoid
from analysis.soundness.judging import EXACT_CHECK, Judgement, judge
from benchmarks import evaluation as ev
from benchmarks.common import CommonArguments, parse, write_result
from benchmarks.recovery import evaluate_recovery
from star.command_line import run_command
from star.statistics import wilson

PUBLISHED = {
    "multistep_arithmetic": (44.0, 95.0),
    "tracking_shuffled_objects": (90.7, 95.0),
    "word_sorting": (44.3, 90.0),
    "logical_deduction": (75.0, 85.0),
    "dyck_languages": (44.3, 80.0),
}
"""Location of the first mistake, per cent: the best published (Tyen et al. 2024, tables 4 and 6: GPT-4, three ways of prompting),
and what is to be reached here."""

HIDDEN_SHARE = 0.2
"""Of the questions of `exact`: out of sight until the end."""
UNKNOWN = -9


def parts(rows: fit.Rows) -> np.ndarray:
    """Of each row the domain and, below it, the writer, the area or the data set."""
    return np.array([_part(*each) for each in zip(rows.domain, rows.writer, rows.records, strict=True)])


def _part(domain: str, writer: str, record: Record) -> str:
    if domain == "exam":
        return f"exam: {record.meta.get('area')}"
    if domain == "symbolic":
        return f"symbolic: {record.task.replace('_', ' ')}"
    return f"{domain}: {writer}" if domain == "school" else domain


def main() -> None:
    arguments = parse(CommonArguments, __doc__)
    limit, resamples = (300, 50) if arguments.quick else (None, 500)
    rows = fit.load_rows(limit)
    judgements = judge(rows.records)
    score, baseline = fit.left_out(rows), fit.left_out(rows, BASELINE)
    figures: dict[str, Any] = {
        "exact": exact(limit, resamples),
        "threshold": THRESHOLD,
        "score": auroc_by_domain(rows, score, baseline, resamples),
        "speaks_for": list(fit.speaks_for(fit.gains(rows, score, baseline))),
        "school": school(rows, judgements, score, baseline, resamples),
        "grades": grades(rows, judgements),
        "calibration": calibration(rows),
        "recovery": evaluate_recovery(arguments.quick),
    }
    path = write_result("human_labels", figures, quick=arguments.quick, seeds=[0], device=arguments.device)
    draw(figures, path.parent)


def exact(limit: int | None, resamples: int) -> dict[str, Any]:
    """BIG-Bench-Mistake: exact location of the first mistake, all rows and the hidden fifth."""
    records = labelled.load("bigbench_mistake_dev", limit)
    groups = labelled.groups(records)
    hidden = np.array([labelled.digest(f"hidden {record.question}") % 1000 < 1000 * HIDDEN_SHARE for record in records])
    first = np.array([UNKNOWN if r.first_error_step is None else r.first_error_step for r in records])
    judged = judge(records)
    named = np.array([said.first_error_step if said.scorer == EXACT_CHECK else UNKNOWN for said in judged])
    by_task: dict[str, Any] = {}
    for task in sorted({record.task for record in records}):
        rows = np.array([record.task == task for record in records])
        hit = (named == first) & rows
        by_task[task] = {
            "accuracy": ev.share_interval(hit[rows].astype(float), groups[rows], resamples),
            "seen": _share(hit[rows & ~hidden]),
            "hidden": _share(hit[rows & hidden]),
            "abstained": int((named[rows] == UNKNOWN).sum()),
            "best_published": PUBLISHED[task][0] / 100,
            "to_reach": PUBLISHED[task][1] / 100,
        }
    return by_task


def _share(hit: np.ndarray) -> dict[str, Any]:
    return {"value": float(hit.mean()) if len(hit) else float("nan"), "n": len(hit)}


def auroc_by_domain(rows: fit.Rows, score: np.ndarray, baseline: np.ndarray, resamples: int) -> dict[str, Any]:
    """AUROC for unsound, left out, of rationales about which nothing is proven: the score, position and length, the gain."""
    part, by_domain = parts(rows), {}
    for name in sorted(set(rows.domain) | set(part)):
        mask = ((part == name) | (rows.domain == name)) & ~rows.proven & (rows.source != fit.ONE_SIDED)
        unsound, question = rows.unsound[mask], rows.question[mask]
        if len(set(unsound)) < 2:
            continue
        a, b = score[mask], baseline[mask]

        def gain(i: np.ndarray, a: np.ndarray = a, b: np.ndarray = b, unsound: np.ndarray = unsound) -> float:
            return fit.auroc(a[i], unsound[i]) - fit.auroc(b[i], unsound[i])

        by_domain[name] = {
            "score": ev.auroc_interval(a, unsound, question, resamples),
            "position_and_length": ev.auroc_interval(b, unsound, question, resamples),
            "gain": ev.clustered(gain, question, resamples=resamples),
            "unsound": float(unsound.mean()),
            "rationales": int(mask.sum()),
        }
    return by_domain


def school(
    rows: fit.Rows, judgements: Sequence[Judgement], score: np.ndarray, baseline: np.ndarray, resamples: int
) -> dict[str, Any]:
    """School word problems as they are judged, proofs first and the score elsewhere, writer and question left out: AUROC, and how
    well the first wrong step is named."""
    whole = np.where(rows.proven, 1.0, score)
    by_writer = {}
    for writer in sorted(set(rows.writer[rows.domain == "school"])):
        mask = (rows.domain == "school") & (rows.writer == writer) & (rows.source != fit.ONE_SIDED)
        given = (rows.unsound[mask], rows.question[mask], resamples)
        by_writer[writer] = {
            "auroc": ev.auroc_interval(whole[mask], *given),
            "position_and_length": ev.auroc_interval(baseline[mask], *given),
        }
    mask = rows.source == fit.CALIBRATED
    named = np.array([-1 if j.first_error_step is None else j.first_error_step for j in judgements])
    return {"by_writer": by_writer, "first_error_in_sample": ev.first_error_f1(named[mask], rows.first[mask])}


def grades(rows: fit.Rows, judgements: Sequence[Judgement]) -> dict[str, Any]:
    """What the shipped judgement says, of error-free and of unsound rationales: shares by grade and of flags. Of the school
    problems it has seen the labels; of other domains it says nothing but proofs."""
    part, counted = parts(rows), np.array([j.grade for j in judgements])
    flag = np.array([j.p_unsound is not None and bool(flagged(j.p_unsound)) for j in judgements])
    by_part: dict[str, Any] = {}
    for name in sorted(set(part)):
        by_part[name] = {}
        for label, unsound in (("error_free", 0), ("unsound", 1)):
            mask = (part == name) & (rows.unsound == unsound)
            if mask.any():
                share = {grade: float((counted[mask] == grade).mean()) for grade in GRADES}
                by_part[name][label] = share | {"flagged": wilson(int(flag[mask].sum()), int(mask.sum()))}
    return by_part


def calibration(rows: fit.Rows) -> dict[str, Any]:
    """Of labelled school problems, question left out of the fit and of the calibration: scores alone, and with proofs."""
    p = fit.questions_left_out(rows)
    mask = ~np.isnan(p)
    fold, probability = folds(rows.question), np.full(len(p), np.nan)
    for number in range(FOLDS):
        train, test = mask & (fold != number) & ~rows.proven, mask & (fold == number)
        probability[test] = sigmoid(fit.calibrate(p[train], rows.unsound[train]).log_odds(p[test]))
    whole, scored = np.where(rows.proven, 1.0, probability), mask & ~rows.proven
    return {
        "scored": ev.reliability(probability[scored], rows.unsound[scored]),
        "with_proofs": ev.reliability(whole[mask], rows.unsound[mask]),
    }


def draw(figures: dict[str, Any], folder: Path) -> None:
    """The reliability of the score, as PNG beside the JSON."""
    import pandas as pd

    from analysis import charts

    bins = pd.DataFrame(figures["calibration"]["scored"]["bins"])
    charts.save(charts.reliability(bins), folder / "human_labels_reliability.png")


if __name__ == "__main__":
    sys.exit(run_command(main))
