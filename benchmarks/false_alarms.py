"""How many rationales does p_unsound above 0.5 call unsound: right and wrong ones, and worked solutions by their length?"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.soundness.judging import judge
from benchmarks import evaluation as ev
from benchmarks import labelled
from benchmarks.answer_rows import Answers
from star.statistics import Interval, wilson

LONG = 7
"""Solutions of this many steps or more are counted together."""


def called_unsound(answers: Answers, probability: np.ndarray, resamples: int) -> dict[str, Any]:
    """Shares above 0.5: of solutions of models and of worked and corrupted ones, with questions held out (`probability`), and by
    the shipped detector of worked solutions that nothing was fitted on."""
    found: dict[str, Any] = {}
    parts = [("model", 1), ("model", 0), ("short", 1), ("short", 0), ("long", 1)]
    for origin, right in parts:
        name = f"{origin}_{'right' if right else 'wrong'}"
        rows = (answers.origin == origin) & (answers.right == right)
        found[name] = ev.share_interval((probability[rows] > 0.5).astype(float), answers.groups[rows], resamples)
    records = labelled.gold_records()
    alarm = np.array([(judgement.p_unsound or 0.0) > 0.5 for judgement in judge(records)])
    steps = np.minimum([len(record.steps) - 1 for record in records], LONG)
    for source in ("GSM8K", "SVAMP"):
        part = np.array([record.source == source for record in records])
        by_length = {f"{n} steps": _share(alarm[part & (steps == n)]) for n in sorted(set(steps[part]))}
        found[f"shipped_{source}"] = {"all": _share(alarm[part]), **by_length}
    return found


def _share(alarm: np.ndarray) -> Interval:
    return wilson(int(alarm.sum()), len(alarm))
