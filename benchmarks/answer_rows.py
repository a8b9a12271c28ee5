"""What the models of word problems are fitted on: worked solutions beside corrupted ones, and solutions of models.

Some of the worked questions take no part in the contrast. Of these, the short ones of SVAMP join the solutions of models, sound
and corrupted, when the answer models are fitted: those solve no question of one step. The long ones of GSM8K are held
against the models' wrong solutions when the curve to p_unsound is fitted, as the questions that models answer rightly
are shorter than questions are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.checks.reading import Reading, read
from analysis.rationales.records import Record
from benchmarks import feature_tables, fitting, labelled
from benchmarks.common import CACHE, ROOT

APART_SHARE = {"GSM8K": 0.125, "SVAMP": 0.5}
"""Share of the worked questions that take no part in the contrast."""
SHORT_SHARE = 0.1
"""Weight of all short solutions in the answer models, as a share of that of the models' solutions. AUROC on the latter: .8202
without, .8215 with them; .8168 with long worked and corrupted solutions at a weight of 0.5."""
PRIOR = 0.3
"""Share of unsound rationales that p_unsound assumes. At .5, one long worked solution in three would be above 0.5; at .33, 18 %."""
SOURCES = (
    "analysis/checks/numbers.py",
    "analysis/checks/calculations.py",
    "analysis/checks/equations.py",
    "analysis/checks/reading.py",
    "analysis/checks/known.py",
    "analysis/checks/arithmetic.py",
    "analysis/soundness/features.py",
    "analysis/soundness/relations.py",
    "benchmarks/corruptions.py",
    "benchmarks/fitting.py",
    "benchmarks/labelled.py",
)
"""The code that the features of worked solutions depend on."""


@dataclass(frozen=True)
class Worked:
    """Worked solutions and the same with one mistake put in."""

    table: feature_tables.Table
    sound: np.ndarray
    groups: np.ndarray
    """One number per question."""
    apart: np.ndarray
    """Mask of the rows whose questions take no part in the contrast."""
    solutions: list[dict[str, str]]
    """What the rows were made of; `groups` are places in it."""

    @property
    def short(self) -> np.ndarray:
        """Mask of the rows of SVAMP."""
        return np.array([row["source"] == "SVAMP" for row in self.solutions])[self.groups]

    def fit_contrast(self, *, trees: int = 500) -> fitting.Contrast:
        """Sound against corrupted, on all questions that are not set apart."""
        rows = np.flatnonzero(~self.apart)
        return fitting.fit_contrast(self.table.rows(rows), self.sound[rows], self.groups[rows], trees=trees)

    def written(self) -> tuple[list[Reading], np.ndarray]:
        """The long solutions that are set apart, as they stand, and their groups."""
        numbers = np.unique(self.groups[self.apart & ~self.short])
        records = [labelled.written(self.solutions[number]) for number in numbers]
        return readings_of(records), numbers


@dataclass(frozen=True)
class Answers:
    """Solutions of models, whose answer is right or wrong, and after them worked (right) and corrupted (wrong) ones."""

    table: feature_tables.Table
    contrast: np.ndarray
    """[rows, 2]."""
    right: np.ndarray
    groups: np.ndarray
    origin: np.ndarray
    """Of each row: "model", "short" or "long"."""

    @property
    def of_model(self) -> np.ndarray:
        """Mask of the solutions of models."""
        return self.origin == "model"

    def rows(self, index: np.ndarray) -> Answers:
        """Some of the rows."""
        columns = (self.contrast, self.right, self.groups, self.origin)
        return Answers(self.table.rows(index), *(column[index] for column in columns))

    def fit(self, seeds: Sequence[int] = (0, 1, 2)) -> fitting.AnswerModel:
        """The answer models, fitted on the solutions of models and on short ones, right and wrong of these equally."""
        rows = self.rows(np.flatnonzero(self.origin != "long"))
        weight = np.ones(len(rows.right))
        for value in (0, 1):
            short = (rows.origin == "short") & (rows.right == value)
            weight[short] = SHORT_SHARE / 2 * rows.of_model.sum() / max(1, short.sum())
        return fitting.fit_answer(rows.table, rows.contrast, rows.right, rows.groups, seeds, weight)

    def curve_weight(self) -> np.ndarray:
        """Row weights for the curve: wrong solutions of models weigh PRIOR, their right ones and the long worked ones share
        the rest, so that length says less; 1 on average over these rows."""
        shares = (("model", 0, PRIOR), ("model", 1, (1 - PRIOR) / 2), ("long", 1, (1 - PRIOR) / 2))
        weight = np.zeros(len(self.right))
        for origin, value, share in shares:
            part = (self.origin == origin) & (self.right == value)
            weight[part] = share / max(1, part.sum())
        return weight * (weight > 0).sum()


def readings_of(records: Sequence[Record]) -> list[Reading]:
    """Records -> readings."""
    return [read(record.question, record.steps, record.answer, record.choices) for record in records]


def worked_table(limit: int | None) -> Worked:
    """The features of worked and corrupted solutions. Kept in benchmarks/cache until the code that makes them changes."""
    solutions = labelled.worked_solutions(limit)
    code = "".join((ROOT / name).read_text(encoding="utf-8") for name in SOURCES)
    file = CACHE / f"contrast-{limit or 'all'}-{hashlib.sha256(code.encode()).hexdigest()[:12]}.npz"
    if not file.is_file():
        readings, sound, groups = fitting.contrast_readings(solutions, negatives=4, seed=0)
        feature_tables.save_table(file, feature_tables.tabulate(readings), sound, groups)
    table, sound, groups = feature_tables.load_table(file)
    shares = np.array([1000 * APART_SHARE[row["source"]] for row in solutions])
    apart = np.array([labelled.digest("apart " + row["question"]) % 1000 for row in solutions]) < shares
    return Worked(table, sound, groups, apart[groups], solutions)


def answer_rows(records: Sequence[Record], contrast: fitting.Contrast, worked: Worked) -> Answers:
    """The rows of the answer models: solutions of models, the short ones that are set apart, the long ones as they are written."""
    short = np.flatnonzero(worked.apart & worked.short)
    written, numbers = worked.written()
    table = feature_tables.joined(
        [feature_tables.tabulate(readings_of(records)), worked.table.rows(short), feature_tables.tabulate(written)]
    )
    right = np.concatenate([labelled.answer_right(records), worked.sound[short], np.ones(len(written), dtype=int)])
    groups = labelled.groups(records)
    groups = np.concatenate([groups, groups.max() + 1 + worked.groups[short], groups.max() + 1 + numbers])
    origin = np.repeat(["model", "short", "long"], [len(records), len(short), len(written)])
    return Answers(table, contrast.scores(table), right, groups, origin)
