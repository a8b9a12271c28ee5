"""Fit the score without a model, and say where it speaks.

    python -m analysis.soundness.fit             # writes hazard.json beside this file; needs the labelled data (STAR_DATA)
    python -m analysis.soundness.fit --dry-run   # only prints

Rationales with a wrong answer and no label are wrong at some step that is not known. Everything is chosen by leaving things out: of
school word problems, for which there are labels, the writer and the question; of every other domain the whole domain. The score
speaks for a domain where, of rationales about which nothing is proven, it tells unsound ones better than position and length by
GAIN in AUROC.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from analysis.checks.generic import generic_flags
from analysis.checks.reading import read
from analysis.rationales.records import Record, matches_gold
from analysis.soundness import labelled
from analysis.soundness.features import BASELINE, FEATURES, describe
from analysis.soundness.hazard import FOLDS, MODEL_FILE, SOMEWHERE, Hazard, Scaling, fit_weights, folds, logit, sigmoid
from analysis.soundness.judging import first_proven
from analysis.soundness.quality import auroc

GAIN = 0.03
"""AUROC by which the score has to be better than position and length."""
PULL = 10.0
"""Of the weights of standardised features towards 0."""
KNOT = 0.8
MOST = 1500
"""A source of more rationales than this counts as this many."""
DOMAINS = {
    "gsm8k_model_solutions": "school",
    "mr_gsm8k_dev": "school",
    "mr_gsm8k_590": "school",
    "processbench_math_dev": "competition",
    "mr_ben": "exam",
    "natural_program_dev": "numbered premises",
    "bigbench_mistake_dev": "symbolic",
}
"""Source -> the domain that its rows are left out with."""
SCHOOL = tuple(source for source, domain in DOMAINS.items() if domain == "school")
ONE_SIDED = "mr_gsm8k_590"
"""Wrong solutions only: fitted on, and in no AUROC, since it would tell the set as well as the label."""
CALIBRATED = "mr_gsm8k_dev"


@dataclass(frozen=True)
class Rows:
    """Labelled rationales. `matrix` and `record` have one row per step, the rest one per rationale."""

    records: list[Record]
    matrix: np.ndarray
    """Features, in the order of FEATURES."""
    record: np.ndarray
    first: np.ndarray
    """First wrong step; -1 none, SOMEWHERE."""
    question: np.ndarray
    source: np.ndarray
    """File of the labelled data."""
    writer: np.ndarray
    """Who wrote it, as far as that is known: sizes of one family count as two, a source without names as one."""
    domain: np.ndarray
    proven: np.ndarray
    """A check proves a step false, so that no score is asked."""

    @property
    def unsound(self) -> np.ndarray:
        return (self.first != -1).astype(int)

    def p_unsound(self, hazard: Hazard) -> np.ndarray:
        """Uncalibrated, per rationale."""
        h = sigmoid(hazard.intercept + self.columns(tuple(hazard.weights)) @ np.array(list(hazard.weights.values())))
        return 1 - np.exp(np.bincount(self.record, np.log1p(-np.minimum(h, 1 - 1e-9)), len(self.first)))

    def columns(self, names: Sequence[str]) -> np.ndarray:
        return self.matrix[:, [FEATURES.index(name) for name in names]]


def load_rows(limit: int | None = None) -> Rows:
    """All labelled rationales; a GSM8K solution of two models counts as unsound where its answer is wrong."""
    kept = []
    for source in DOMAINS:
        for record in labelled.load(source, limit):
            first = record.first_error_step
            sound = record.answer_correct if source == "gsm8k_model_solutions" else record.sound
            if first is None and sound is not None:
                first = -1 if sound else SOMEWHERE
            reading = read(record.question, record.steps, record.answer, record.choices)
            flags = generic_flags(reading)
            size = record.generator_params_b
            writer = f"{size:g}B" if size and record.source.startswith("GSM8K") else record.generator or record.source
            if first is not None and (steps := describe(reading, flags)):
                kept.append((record, source, min(first, len(steps) - 1), writer, first_proven(flags) is not None, steps))
    records, sources, firsts, writers, proven, rows = zip(*kept, strict=True)
    return Rows(
        records=list(records),
        matrix=np.array([[step.get(name, 0.0) for name in FEATURES] for steps in rows for step in steps]),
        record=np.repeat(np.arange(len(kept)), [len(steps) for steps in rows]),
        first=np.array(firsts),
        question=labelled.groups(records),
        source=np.array(sources),
        writer=np.array(writers),
        domain=np.array([DOMAINS[source] for source in sources]),
        proven=np.array(proven),
    )


def fit_hazard(rows: Rows, train: np.ndarray, names: Sequence[str] = FEATURES) -> Hazard:
    """The discrete hazard of the first wrong step, fitted on the rationales of the mask `train` about which nothing is proven.

    Steps behind the first wrong one say nothing. Weights are given for features as they are, not standardised.
    """
    train = train & ~rows.proven
    steps, number = train[rows.record], np.cumsum(train) - 1
    counts = Counter(rows.source[train].tolist())
    weight = np.array([min(1.0, MOST / counts[source]) for source in rows.source[train].tolist()])
    intercept, weights = fit_weights(
        rows.columns(names)[steps], number[rows.record[steps]], rows.first[train], pull=PULL, weight=weight
    )
    return Hazard(round(intercept, 5), {name: round(float(w), 5) for name, w in zip(names, weights, strict=True)})


def left_out(rows: Rows, names: Sequence[str] = FEATURES) -> np.ndarray:
    """p_unsound of every rationale by a fit that saw neither its writer nor its question (school), or nothing of its domain."""
    p = np.full(len(rows.first), np.nan)
    for train, test in _splits(rows):
        p[test] = rows.p_unsound(fit_hazard(rows, train, names))[test]
    return p


def _splits(rows: Rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    school, fitted, fold = rows.domain == "school", np.isin(rows.source, SCHOOL), folds(rows.question)
    for writer, number in itertools.product(sorted(set(rows.writer[school])), range(FOLDS)):
        mine = school & (rows.writer == writer) & (fold == number)
        yield fitted & (rows.writer != writer) & (fold != number), mine
    for domain in sorted(set(rows.domain) - {"school"}):
        yield rows.domain != domain, rows.domain == domain


def questions_left_out(rows: Rows) -> np.ndarray:
    """p_unsound of the rationales that calibrate the score, by fits that saw other questions; NaN for the rest."""
    p, fold, fitted = np.full(len(rows.first), np.nan), folds(rows.question), np.isin(rows.source, SCHOOL)
    for number in range(FOLDS):
        test = (rows.source == CALIBRATED) & (fold == number)
        p[test] = rows.p_unsound(fit_hazard(rows, fitted & (fold != number)))[test]
    return p


def calibrate(p: np.ndarray, unsound: np.ndarray) -> Scaling:
    """Platt's scaling (Platt 1999) of log-odds with a knot at their KNOT quantile."""
    x = logit(p)
    knot = round(float(np.quantile(x, KNOT)), 4)
    intercept, slope, above = _logistic(unsound, np.minimum(x, knot), np.maximum(x - knot, 0))
    return Scaling(intercept, max(slope, 0.02), knot, max(above, 0.02))


def _logistic(unsound: np.ndarray, *columns: np.ndarray) -> tuple[float, float, float]:
    """Intercept and weights of two columns, by logistic regression."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0).fit(np.column_stack(columns), unsound)
    first, second = (round(float(value), 4) for value in model.coef_[0])
    return round(float(model.intercept_[0]), 4), first, second


def gains(rows: Rows, score: np.ndarray, baseline: np.ndarray) -> dict[str, dict[str, tuple[float, float, int]]]:
    """Domain -> writer (school) or area -> (AUROC of the score, of position and length, rationales), where nothing is proven."""
    found: dict[str, dict[str, tuple[float, float, int]]] = {}
    parts = np.where(rows.domain == "school", rows.writer, "all")
    for domain, part in sorted(set(zip(rows.domain.tolist(), parts.tolist(), strict=True))):
        mask = (rows.domain == domain) & (parts == part) & ~rows.proven & (rows.source != ONE_SIDED)
        ours, plain = (auroc(p[mask], rows.unsound[mask]) for p in (score, baseline))
        if ours == ours:
            found.setdefault(domain, {})[part] = (ours, plain, int(mask.sum()))
    return found


def speaks_for(measured: dict[str, dict[str, tuple[float, float, int]]]) -> tuple[str, ...]:
    """Domains in which the score is better than position and length by GAIN, on average over the parts."""
    mean = {domain: float(np.mean([a - b for a, b, _ in parts.values()])) for domain, parts in measured.items()}
    return tuple(domain for domain in ("school", "competition", "exam") if mean.get(domain, 0.0) >= GAIN)


def fit(rows: Rows, speaks: tuple[str, ...]) -> Hazard:
    """The score that is shipped: fitted on the school problems, calibrated on human labels of questions left out."""
    hazard = fit_hazard(rows, np.isin(rows.source, SCHOOL))
    p = questions_left_out(rows)
    known = ~np.isnan(p) & ~rows.proven
    calibration = calibrate(p[known], rows.unsound[known])
    matches = [matches_gold(record) for record in rows.records]
    graded = known & np.array([match is not None for match in matches])
    right = np.array([bool(match) for match in matches], dtype=float)
    gold = _logistic(rows.unsound[graded], calibration.log_odds(p[graded]), 1.0 - 2.0 * right[graded])
    return replace(hazard, speaks_for=speaks, calibration=calibration, gold=gold)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="print, write nothing")
    arguments = parser.parse_args(argv)
    rows = load_rows()
    measured = gains(rows, left_out(rows), left_out(rows, BASELINE))
    print("AUROC where nothing is proven, left out: the score, position and length, rationales")
    for domain, parts in measured.items():
        for part, (score, baseline, count) in parts.items():
            print(f"  {domain:12} {part:16} {score:.3f}  {baseline:.3f}  {count:,}")
    hazard = fit(rows, speaks_for(measured))
    print(f"speaks for: {', '.join(hazard.speaks_for) or 'nothing'}\n{hazard}")
    if not arguments.dry_run:
        from star.run import write_json

        write_json(MODEL_FILE, asdict(hazard))
        print(f"wrote {MODEL_FILE.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
