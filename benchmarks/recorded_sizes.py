"""Recorded rationales of real models: GSM8K solutions of a 6B and a 175B model, and how much reasoning is behind right answers.

    python benchmarks/recorded_sizes.py [--quick]

No one has labelled these solutions, so soundness is estimated by the detector, and the detector errs: its sensitivity and
specificity are measured on human-labelled right answers to word problems, and the share of flagged ones is corrected for
them (Rogan and Gladen 1978):

    unsound share = (flagged share + specificity - 1) / (sensitivity + specificity - 1)

95 % intervals resample the questions of the solutions and those of the labels, both together in every draw. Where
sensitivity + specificity - 1 cannot be told from 0, nothing follows from the flags; where fewer right solutions are flagged
than false alarms alone would make, the error on the labels is not the error on the solutions. The result then says so.

The shipped detector was fitted on whether these very solutions are right, so its scores of them are in-sample. The main
figures are therefore of detectors fitted again without the scored question: neither a scored solution nor a human label
has been seen. What `analysis.score_records` says is beside them, marked as in-sample, and so is the plainest check there
is, a proven false equation, which is not fitted at all.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.rationales.records import Record
from benchmarks.common import CommonArguments, parse, write_result
from star.command_line import run_command
from star.statistics import LEVEL, Interval, wilson

RESAMPLES = 2_000
FLAGGED = 0.5
"""p_unsound above this is a flag: the threshold of the shipped detector."""
LEAST_YOUDEN = 0.05
"""Sensitivity + specificity - 1 whose interval reaches below this counts as indistinguishable from a coin."""
SMALL, LARGE = 6.0, 175.0
NOTHING = "cannot be estimated: sensitivity + specificity - 1 on human labels cannot be told from 0"

UNLIKE = (
    "cannot be estimated: fewer right solutions are flagged than sound rationales with a human label, so the detector does not err "
    "on these solutions as it does on the labelled ones"
)
CALCULATOR = (
    "cannot be estimated: a calculator wrote the results of these solutions, so false equations are rarer in them than in the "
    "labelled rationales, whatever the reasoning"
)


@dataclass(frozen=True)
class Labels:
    """Human-labelled right answers: flag and label per row, and the number of its question."""

    flagged: np.ndarray
    unsound: np.ndarray
    question: np.ndarray


def main() -> None:
    """Measure and write the result."""
    arguments = parse(CommonArguments, __doc__)
    write_result("recorded_sizes", recorded(arguments.quick), quick=arguments.quick, seeds=[0], device=arguments.device)


def recorded(quick: bool) -> dict[str, Any]:
    """Figures by size and generator."""
    from benchmarks import labelled

    limit, resamples = (300, 200) if quick else (None, RESAMPLES)
    solutions = labelled.load("gsm8k_model_solutions", limit)
    known = human_labels()
    scores = held_out(solutions, known, folds=2 if quick else 5, limit=limit)
    return {
        "solutions": len(solutions),
        "assumptions": "wrong answers count as unsound; the detector errs on these models as on the labelled ones",
        "held_out": figures(solutions, known, *scores, resamples=resamples),
        "shipped_detector_in_sample": figures(
            solutions, known, _shipped(solutions), _shipped(known), resamples=resamples
        ),
        "proven_false_equation": figures(
            solutions, known, _false_equation(solutions), _false_equation(known), resamples=resamples, unlike=CALCULATOR
        ),
    }


def human_labels() -> list[Record]:
    """Right answers to word problems with a human label of the rationale: Natural Program and Mr-Ben mathematics.

    MR-GSM8K is left out: all of its rationales are unsound, so a flag would tell the set as well as the label.
    """
    from benchmarks import labelled

    rows = [row for row in labelled.load("natural_program_dev") if row.task == "math_word"]
    rows += [row for row in labelled.load("mr_ben") if row.meta.get("area") == "math"]
    return [row for row in rows if row.answer_correct and row.sound is not None and row.label_source == "human"]


def source_of(record: Record) -> str:
    """The set a labelled row is reported under."""
    return str(record.meta.get("dataset") or record.meta.get("subject")).replace("_", " ")


def held_out(
    solutions: Sequence[Record], known: Sequence[Record], folds: int, limit: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """p_unsound of the solutions and of the labelled rows, by word-problem detectors that saw neither the scored question nor
    any label of soundness: fitted as the shipped one is, on the other questions."""
    from analysis.soundness.judging import shipped
    from benchmarks import answer_rows, fitting
    from benchmarks import evaluation as ev

    detector = shipped()
    contrast = fitting.Contrast(detector.contrast, detector.contrast_trees, detector.expectation)
    answers = answer_rows.answer_rows([*solutions, *known], contrast, answer_rows.worked_table(limit))
    row = np.arange(len(answers.right))
    labelled_row = (row >= len(solutions)) & (row < len(solutions) + len(known))
    parts = [(train[~labelled_row[train]], test) for train, test in ev.folds(answers.groups, folds)]
    score, probability = np.zeros(len(row)), np.zeros(len(row))
    for train, test in parts:
        model = answers.rows(train).fit()
        score[test] = -model.score(answers.table.rows(test), answers.contrast[test])
    for train, test in parts:
        seen = answers.rows(train)
        probability[test] = fitting.calibrate(score[train], 1 - seen.right, seen.curve_weight())(score[test])
    return probability[: len(solutions)], probability[labelled_row]


def _shipped(records: Sequence[Record]) -> np.ndarray:
    """p_unsound of `analysis.score_records`; 0, so not flagged, where nothing can be said."""
    from analysis import score_records

    return score_records(records)["p_unsound"].fillna(0.0).to_numpy()


def _false_equation(records: Sequence[Record]) -> np.ndarray:
    """1 where an equation of the rationale is proven false, else 0: nothing fitted, few alarms."""
    from analysis.checks.generic.arithmetic import equation_false
    from analysis.checks.reading import read

    readings = [read(r.question, r.steps, r.answer, r.choices) for r in records]
    return np.array([float(any(flag.severity >= 1 for flag in equation_false(reading))) for reading in readings])


def figures(
    solutions: Sequence[Record],
    known: Sequence[Record],
    p_unsound: np.ndarray,
    known_p_unsound: np.ndarray,
    *,
    resamples: int,
    unlike: str = "",
) -> dict[str, Any]:
    """Detector error on the labels, then shares by size and generator and the difference between the sizes.

    `unlike` says why the error on the labels is not the error on the solutions; then nothing is corrected.
    """
    from benchmarks import evaluation as ev
    from benchmarks import labelled

    flagged = p_unsound > FLAGGED
    labels = Labels(known_p_unsound > FLAGGED, labelled.unsound(known) == 1, labelled.groups(known))
    rng = np.random.default_rng(0)
    error = detector_error(labels, resamples, rng)
    right = labelled.answer_right(solutions) == 1
    size = np.array([record.generator_params_b for record in solutions])
    generator = np.array([str(record.generator) for record in solutions])
    parts = {f"{value:g}B": size == value for value in sorted(set(size))}
    parts |= {name: generator == name for name in sorted(set(generator))}
    counts = np.column_stack([part * column for part in parts.values() for column in (1, right, right & flagged)])
    draws = _draws(_by_question(counts, labelled.groups(solutions)), resamples, rng)
    of_part = {name: draws[:, 3 * place : 3 * place + 3] for place, name in enumerate(parts)}
    if not unlike and error["youden"].low <= LEAST_YOUDEN:
        unlike = NOTHING
    if not unlike and any(below_false_alarms(part, error["draws"]) for part in of_part.values()):
        unlike = UNLIKE
    shares = {name: shares_of(part, error["draws"], usable=not unlike) for name, part in of_part.items()}
    n = {name: len(set(labelled.groups(solutions)[part])) for name, part in parts.items()}
    shown = {name: {key: interval(value, n[name]) for key, value in found.items()} for name, found in shares.items()}
    small, large = shares[f"{SMALL:g}B"], shares[f"{LARGE:g}B"]
    questions = len(set(labelled.groups(solutions)))
    told_apart = ev.auroc_interval(known_p_unsound, labels.unsound.astype(int), labels.question, resamples)
    shown_error = {"auroc": told_apart, **{name: value for name, value in error.items() if name != "draws"}}
    return {
        "detector_on_human_labels": {name: value.as_dict() for name, value in shown_error.items()},
        "labels_by_source": _by_source(known, labels),
        "by_size_and_generator": shown,
        "175B minus 6B, same questions": {key: interval(large[key] - small[key], questions) for key in small},
        "unsound_of_right": unlike or "estimated",
    }


def detector_error(labels: Labels, resamples: int, rng: np.random.Generator) -> dict[str, Any]:
    """Sensitivity, specificity and Youden's sum with intervals over questions, and the draws [resamples + 1, 2] of the first
    two; the first draw is the estimate."""
    unsound, flagged = labels.unsound, labels.flagged
    counts = np.column_stack([unsound & flagged, unsound, ~unsound & ~flagged, ~unsound])
    table = _by_question(counts, labels.question)
    draws = _draws(table, resamples, rng)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity, specificity = draws[:, 0] / draws[:, 1], draws[:, 2] / draws[:, 3]
    return {
        "sensitivity": _interval(sensitivity, int((table[:, 1] > 0).sum())),
        "specificity": _interval(specificity, int((table[:, 3] > 0).sum())),
        "youden": _interval(sensitivity + specificity - 1, len(table)),
        "draws": np.column_stack([sensitivity, specificity]),
    }


def below_false_alarms(counts: np.ndarray, error: np.ndarray) -> bool:
    """Whether the share of right answers that is flagged is certainly below the share of false alarms, 1 - specificity."""
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = counts[:, 2] / counts[:, 1] + error[:, 1] - 1
    return _interval(excess, len(counts)).high < 0


def shares_of(counts: np.ndarray, error: np.ndarray, *, usable: bool) -> dict[str, np.ndarray]:
    """Draws of a part's shares from its counts [draws, (all, right, right and flagged)] and the detector's error [draws, 2].

    `unsound_of_right` is Rogan and Gladen's estimate kept within 0 and 1; with `usable` false only what needs no
    correction is given.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy, flagged = counts[:, 1] / counts[:, 0], counts[:, 2] / counts[:, 1]
        found = {"accuracy": accuracy, "flagged_of_right": flagged}
        if usable:
            unsound = np.clip((flagged + error[:, 1] - 1) / (error.sum(axis=1) - 1), 0, 1)
            found |= {
                "unsound_of_right": unsound,
                "right_but_unsound": accuracy * unsound,
                "sound": accuracy * (1 - unsound),
            }
    return found


def _by_question(counts: np.ndarray, question: np.ndarray) -> np.ndarray:
    """Sums [questions, columns] of the rows of each question."""
    _, place = np.unique(question, return_inverse=True)
    sums = np.zeros((place.max() + 1, counts.shape[1]))
    np.add.at(sums, place, counts.astype(float))
    return sums


def _draws(table: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Column sums [resamples + 1, columns]: of the table itself, then of questions drawn with replacement."""
    n = len(table)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    return np.concatenate([table.sum(axis=0, keepdims=True), weights @ table])


def _interval(draws: np.ndarray, n: int) -> Interval:
    """First draw with the percentile interval of the others."""
    finite = draws[1:][np.isfinite(draws[1:])]
    if not len(finite) or n < 2:
        return Interval(float(draws[0]), float("nan"), float("nan"), n)
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(draws[0]), float(low), float(high), n)


def interval(draws: np.ndarray, n: int) -> Mapping[str, Any]:
    """`_interval` for JSON."""
    return _interval(draws, n).as_dict()


def _by_source(known: Sequence[Record], labels: Labels) -> list[dict[str, Any]]:
    """What the sensitivity and the specificity rest on, set by set."""
    source = np.array([source_of(record) for record in known])
    rows = []
    for name in sorted(set(source)):
        bad, good = (source == name) & labels.unsound, (source == name) & ~labels.unsound
        rows.append(
            {
                "set": name,
                "sensitivity": wilson(int((bad & labels.flagged).sum()), int(bad.sum())).as_dict(),
                "specificity": wilson(int((good & ~labels.flagged).sum()), int(good.sum())).as_dict(),
            }
        )
    return rows


if __name__ == "__main__":
    sys.exit(run_command(main))
