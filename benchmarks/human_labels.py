"""How well are mistakes found? The checkers and the detector against human labels, beside published figures.

    python benchmarks/human_labels.py [--quick]

Questions are never in both training and test; 95 % intervals resample whole questions. Everything that is fitted on labels is
fitted again inside each fold; only the contrast of worked solutions with corrupted ones comes from the shipped detector,
and it has seen no label and no question of these data. The exact checkers are not fitted at all. A fifth of the
questions (by a hash) is kept out of `seen` and scored once at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from star.command_line import run_command

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analysis.checks import check_exact, detect_kind
from analysis.checks.generic.arithmetic import equation_false
from analysis.checks.reading import Reading, read
from analysis.rationales.records import Record
from analysis.soundness.detector import Curve, logit
from analysis.soundness.judging import PROVEN, judge, says_too_little, shipped
from benchmarks import answer_rows, feature_tables, fitting, labelled
from benchmarks import evaluation as ev
from benchmarks.common import CommonArguments, parse, write_result
from benchmarks.false_alarms import called_unsound
from benchmarks.human_labels_report import draw, show
from benchmarks.published import ANSWER_TO_BEAT, PUBLISHED, REACH
from benchmarks.recovery import evaluate_recovery


@dataclass(frozen=True)
class Rows:
    """Labelled records with the readings and features that every measure shares."""

    records: list[Record]
    readings: list[Reading]
    groups: np.ndarray
    hidden: np.ndarray

    @classmethod
    def of(cls, records: list[Record]) -> Rows:
        readings = [read(record.question, record.steps, record.answer, record.choices) for record in records]
        return cls(records, readings, labelled.groups(records), labelled.hidden(records))


def main() -> None:
    arguments = parse(CommonArguments, __doc__)
    limit, resamples = (300, 50) if arguments.quick else (None, 500)
    figures: dict[str, Any] = {"exact": exact(limit, resamples)}
    figures["answer"] = answers(limit, resamples)
    figures["steps"] = steps(limit, resamples)
    figures["natural_program"] = natural_program(limit, resamples)
    figures["recovery"] = evaluate_recovery(arguments.quick)
    path = write_result("human_labels", figures, quick=arguments.quick, seeds=[0], device=arguments.device)
    draw(figures, path.parent)
    show(figures)


def exact(limit: int | None, resamples: int) -> dict[str, Any]:
    """BIG-Bench-Mistake: exact location of the first mistake, all rows and the hidden fifth."""
    records = labelled.load("bigbench_mistake_dev", limit)
    groups, hidden, first = labelled.groups(records), labelled.hidden(records), labelled.first_errors(records)
    named = np.array([_named(record) for record in records])
    found: dict[str, Any] = {}
    for task in sorted({record.task for record in records}):
        rows = np.array([record.task == task for record in records])
        hit = (named == first) & rows
        found[task] = {
            "accuracy": ev.share_interval(hit[rows].astype(float), groups[rows], resamples),
            "seen": _share(hit[rows & ~hidden]),
            "hidden": _share(hit[rows & hidden]),
            "abstained": int((named[rows] == labelled.UNKNOWN).sum()),
            "best_published": PUBLISHED.get(task, 0) / 100,
            "to_reach": REACH.get(task, 0) / 100,
        }
    return found


def _named(record: Record) -> int:
    kind = detect_kind(record.question, record.steps, record.choices)
    finding = check_exact(kind, record.question, record.steps, record.answer, record.choices)
    return labelled.UNKNOWN if finding is None or finding.first_error_step is None else finding.first_error_step


def _share(hit: np.ndarray) -> dict[str, Any]:
    return {"value": float(hit.mean()) if len(hit) else float("nan"), "n": len(hit)}


def answers(limit: int | None, resamples: int) -> dict[str, Any]:
    """GSM8K model solutions: is the answer right, without gold."""
    rows = Rows.of(labelled.load("gsm8k_model_solutions", limit))
    detector = shipped()
    contrast = fitting.Contrast(detector.contrast, detector.contrast_trees, detector.expectation)
    known = answer_rows.answer_rows(rows.records, contrast, answer_rows.worked_table(limit))
    count = len(rows.records)
    right, without_labels = known.right[:count], known.contrast[:count, 1]
    crossed = -ev.cross_validate_answer(known)
    score = _raised(crossed, known, rows)
    found: dict[str, Any] = {
        "to_beat": ANSWER_TO_BEAT,
        "questions_held_out": ev.auroc_interval(-score, right, rows.groups, resamples),
        "equation_only": ev.auroc_interval(-_equation_only(rows.readings), right, rows.groups, resamples),
        "without_labels": ev.auroc_interval(without_labels, right, rows.groups, resamples),
        "by_generator": {},
    }
    for name in sorted({str(record.generator) for record in rows.records}):
        part = np.array([record.generator == name for record in rows.records])
        found["by_generator"][name] = ev.auroc_interval(-score[part], right[part], rows.groups[part], resamples)
    size = np.array([record.generator_params_b or 0 for record in rows.records])
    for value in sorted(set(size)):
        part = size == value
        left_out = np.append(part, np.zeros(len(known.right) - count, dtype=bool))
        alone = ev.cross_validate_answer(known, left_out)[:count]
        found[f"leave_{value:g}b_out"] = ev.auroc_interval(alone[part], right[part], rows.groups[part], resamples)
    found["hidden"] = _hidden_answers(known, rows, resamples)
    weight = known.curve_weight()
    probability = ev.crossed_probabilities(crossed, 1 - known.right, known.groups, weight)
    found["reliability"] = ev.reliability(probability, 1 - known.right, weight)
    found["called_unsound"] = called_unsound(known, probability, resamples)
    return found


def _raised(score: np.ndarray, known: answer_rows.Answers, rows: Rows) -> np.ndarray:
    """Scores of the solutions of models; where a step is proven wrong, at least that of p_unsound = PROVEN."""
    curve = fitting.calibrate(score, 1 - known.right, known.curve_weight())
    return ev.raised(score[: len(rows.records)], _equation_only(rows.readings) > 0, curve)


def _equation_only(readings: Sequence[Reading]) -> np.ndarray:
    """The baseline: the number of proven false equations."""
    return np.array([sum(flag.severity >= 1 for flag in equation_false(reading)) for reading in readings], dtype=float)


def _hidden_answers(known: answer_rows.Answers, rows: Rows, resamples: int) -> dict[str, Any]:
    """Cross-validation on the visible questions, and a model of all of these on the hidden ones."""
    count = len(rows.records)
    hidden = np.append(rows.hidden, np.zeros(len(known.right) - count, dtype=bool))
    seen, out = np.flatnonzero(~hidden), np.flatnonzero(hidden)
    visible = known.rows(seen)
    cross, of_model = ev.cross_validate_answer(visible), visible.of_model
    score = visible.fit().score(known.table.rows(out), known.contrast[out])
    return {
        "seen_cross_validated": ev.auroc_interval(
            cross[of_model], visible.right[of_model], visible.groups[of_model], resamples
        ),
        "hidden": ev.auroc_interval(score, known.right[out], known.groups[out], resamples),
    }


def steps(limit: int | None, resamples: int) -> dict[str, Any]:
    """Mr-Ben and MR-GSM8K: p_unsound and the first wrong step.

    The accuracy of the first wrong step rewards a baseline that calls nearly everything sound, as two rows of Mr-Ben in five
    are; F1 asks for both, mistakes found and sound rationales spared.
    """
    rows = Rows.of(labelled.load("mr_ben", limit) + labelled.load("mr_gsm8k_590", limit))
    table = feature_tables.tabulate_steps(rows.readings, shipped().contrast)
    first, unsound = labelled.first_errors(rows.records), labelled.unsound(rows.records)
    source = np.array(["mr_ben" if record.choices or "area" in record.meta else "mr_gsm8k" for record in rows.records])
    hazard = ev.cross_validate_hazard(table, first, rows.groups)
    score = logit(ev.unsound_probability(table, hazard, len(first)))
    baseline, plain = _equation_only(rows.readings), np.array([_first_false(reading) for reading in rows.readings])
    exam = (source == "mr_ben") & (unsound >= 0)
    probability, cuts = _crossed(score, unsound, rows.groups, exam, table, hazard, first)
    score = ev.raised(score, plain >= 0, fitting.calibrate(score[exam], unsound[exam]))
    probability = np.where(plain >= 0, np.maximum(probability, PROVEN), probability)
    named = np.where(probability > cuts, ev.located(table, hazard, len(first), plain), -1)
    kinds = [detect_kind(record.question, record.steps, record.choices) for record in rows.records]
    silent = np.array([says_too_little(reading, kind) for reading, kind in zip(rows.readings, kinds, strict=True)])
    found: dict[str, Any] = {
        "mr_ben": _unsound_figures(score, baseline, unsound, rows, exam, resamples),
        "right_answers": _right_answers(probability, baseline, unsound, rows, exam, resamples),
        "abstained": _share(silent[exam]),
        "reliability": ev.reliability(probability[exam], unsound[exam]),
    }
    for name in ("mr_ben", "mr_gsm8k"):
        part = (source == name) & (first >= -1)
        found[f"first_error_{name}"] = {
            "detector": ev.first_error_f1(named[part], first[part]),
            "equation_only": ev.first_error_f1(plain[part], first[part]),
            "accuracy": ev.share_interval((named == first)[part].astype(float), rows.groups[part], resamples),
        }
    found["leave_out"] = _leave_out(table, first, unsound, rows, source, resamples)
    found["hidden"] = _hidden_steps(table, first, unsound, rows, exam, resamples)
    return found


def _first_false(reading: Reading) -> int:
    return next((flag.step for flag in equation_false(reading) if flag.severity >= 1), -1)


def _crossed(
    score: np.ndarray,
    unsound: np.ndarray,
    groups: np.ndarray,
    fitted_on: np.ndarray,
    table: feature_tables.StepTable,
    hazard: np.ndarray,
    first: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """p_unsound and the cut for naming a step, both chosen on other questions than the ones they are applied to."""
    probability, cuts = np.zeros(len(score)), np.zeros(len(score))
    for train, test in ev.folds(groups):
        known = train[fitted_on[train]]
        curve: Curve = fitting.calibrate(score[known], unsound[known])
        probability[test] = curve(score[test])
        masked = np.full(len(first), labelled.UNKNOWN)
        masked[train] = first[train]
        cuts[test] = ev.best_threshold(curve(score), table, hazard, masked)
    return probability, cuts


def _unsound_figures(
    score: np.ndarray, baseline: np.ndarray, unsound: np.ndarray, rows: Rows, part: np.ndarray, resamples: int
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    right = labelled.answer_right(rows.records)
    areas = np.array([str(record.meta.get("area")) for record in rows.records])
    for name, mask in {"all": part, "right_answers": part & (right == 1)}.items():
        found[name] = {
            "auroc": ev.auroc_interval(score[mask], unsound[mask], rows.groups[mask], resamples),
            "equation_only": ev.auroc_interval(baseline[mask], unsound[mask], rows.groups[mask], resamples),
            "unsound_share": float(unsound[mask].mean()) if mask.any() else float("nan"),
        }
    for area in sorted(set(areas[part])):
        mask = part & (areas == area)
        found[area] = ev.auroc_interval(score[mask], unsound[mask], rows.groups[mask], resamples)
    return found


def _right_answers(
    probability: np.ndarray, baseline: np.ndarray, unsound: np.ndarray, rows: Rows, part: np.ndarray, resamples: int
) -> dict[str, Any]:
    """Right answer, wrong reasoning: precision at 20 and the whole precision-recall curve, human labels only."""
    human = np.array([record.label_source == "human" for record in rows.records])
    mask = part & human & (labelled.answer_right(rows.records) == 1)
    curve = ev.precision_recall(probability[mask], unsound[mask])
    plain = ev.precision_recall(baseline[mask], unsound[mask])
    return {
        "precision_at_20": curve[min(19, len(curve) - 1)]["precision"],
        "precision_at_20_equation_only": plain[min(19, len(plain) - 1)]["precision"],
        "base_rate": float(unsound[mask].mean()),
        "n": int(mask.sum()),
        "auroc": ev.auroc_interval(probability[mask], unsound[mask], rows.groups[mask], resamples),
        "curve": curve,
    }


def _leave_out(
    table: feature_tables.StepTable,
    first: np.ndarray,
    unsound: np.ndarray,
    rows: Rows,
    source: np.ndarray,
    resamples: int,
) -> dict[str, Any]:
    """A data set, or a generator, that nothing was fitted on."""
    found: dict[str, Any] = {}
    generators = np.array([str(record.generator) for record in rows.records])
    parts = {f"generator {name}": generators == name for name in sorted(set(generators[source == "mr_ben"]))}
    parts |= {"data set mr_gsm8k": source == "mr_gsm8k", "data set mr_ben": source == "mr_ben"}
    for name, part in parts.items():
        hazard = ev.cross_validate_hazard(table, first, rows.groups, left_out=part)
        score = ev.unsound_probability(table, hazard, len(first))
        known = part & (unsound >= 0)
        placed, wrong = ev.located(table, np.nan_to_num(hazard), len(first)), part & (first >= 0)
        found[name] = {
            "auroc": ev.auroc_interval(score[known], unsound[known], rows.groups[known], resamples),
            "located_when_wrong": ev.share_interval(
                (placed == first)[wrong].astype(float), rows.groups[wrong], resamples
            ),
        }
    return found


def _hidden_steps(
    table: feature_tables.StepTable,
    first: np.ndarray,
    unsound: np.ndarray,
    rows: Rows,
    exam: np.ndarray,
    resamples: int,
) -> dict[str, Any]:
    """A model of the visible questions on the hidden ones; compare with `mr_ben.all`."""
    model = fitting.fit_hazard(table, first, rows.groups, np.flatnonzero(~rows.hidden))
    hazard = model.predict(table, np.arange(len(table.rows)))
    score = ev.unsound_probability(table, hazard, len(first))
    mask = exam & rows.hidden
    return {"auroc": ev.auroc_interval(score[mask], unsound[mask], rows.groups[mask], resamples)}


def natural_program(limit: int | None, resamples: int) -> dict[str, Any]:
    """Natural Program chains: the shipped detector as it is; none of its models has seen these labels."""
    records = labelled.load("natural_program_dev", limit)
    unsound, groups = labelled.unsound(records), labelled.groups(records)
    judgements = judge(records)
    score = np.array([0.5 if j.p_unsound is None else j.p_unsound for j in judgements])
    silent = np.array([j.p_unsound is None for j in judgements])
    right = labelled.answer_right(records)
    baseline = _equation_only([read(r.question, r.steps, r.answer, r.choices) for r in records])
    found: dict[str, Any] = {}
    source = np.array([str(record.meta.get("dataset")) for record in records])
    parts = {"all": unsound >= 0, "right_answers": right == 1} | {name: source == name for name in sorted(set(source))}
    for name, mask in parts.items():
        found[name] = {
            "auroc": ev.auroc_interval(score[mask], unsound[mask], groups[mask], resamples),
            "equation_only": ev.auroc_interval(baseline[mask], unsound[mask], groups[mask], resamples),
            "abstained": _share(silent[mask]),
        }
    return found


if __name__ == "__main__":
    sys.exit(run_command(main))
