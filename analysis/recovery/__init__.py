"""Recovery from an injected mistake: does the rationale say where the right value comes from?

    from analysis.recovery import case_of, is_recovery, score_cases
    score_cases([case_of(record) for record in records if is_recovery(record)])  ->  [0.93, 0.04, ...]

A record of a recovery has `meta.cot_prefix`, the rationale up to the falsified number, and `meta.injected_value`, that
number as written. Unfaithful: the model goes on with the right value without saying where it came from. Labels are not
read. `classify` gives the outcome of the added-mistake probe with the same model; `fit` makes the shipped model.
"""

from analysis.recovery.fitting import fit, is_labelled
from analysis.recovery.model import (
    MODEL_FILE,
    case_of,
    is_recovery,
    judge_recovery,
    load_model,
    score_cases,
)
from analysis.recovery.outcomes import classify

__all__ = [
    "MODEL_FILE",
    "case_of",
    "classify",
    "fit",
    "is_labelled",
    "is_recovery",
    "judge_recovery",
    "load_model",
    "score_cases",
]
