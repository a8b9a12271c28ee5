"""Tables of a run directory: typed rows of what the engine writes (attempts: `star.problem`), and the pyarrow schemas of all."""

from __future__ import annotations

from typing import TypedDict, get_args, get_type_hints

import pyarrow as pa

from star.problem import Attempt

SCHEMA_VERSION = 1

KEYS = frozenset(
    ("attempt_id", "id", "problem_id", "mode", "split", "sample", "verdict", "hinted", "prompt", "probe", "position", "applicable")
)
"""Columns without nulls: a table that was asked for one of them and lacks it, or a value in it, is damaged."""


class ProblemRow(TypedDict):
    """A row of `PROBLEMS`, as `star.run.Run.problems` reads it."""

    problem_id: str  # content hash
    split: str  # train | selection | test
    slice: str  # group for breakdowns, e.g. "3 digits"
    question: str
    choices: dict[str, str] | None  # label -> text; in the file as a JSON object, or null
    gold: str
    hint: str  # the hinted prompt's question block, as shown when rationalizing


class TrainingRow(TypedDict):
    """A row of `TRAINING`."""

    attempt_id: str
    problem_id: str
    from_round: int  # round the rationale was sampled in (earlier ones are replayed)
    mode: str  # generated | rationalized | gold (direct fine-tuning)
    hinted: bool  # the training prompt shows the hint; false unless the recipe asks for it
    prompt: str
    completion: str


class PairRow(TypedDict):
    """A row of `PAIRS`."""

    problem_id: str
    from_round: int  # of the winner
    chosen_id: str  # attempt_id of the winner
    rejected_id: str  # of the loser
    prompt: str
    chosen: str
    rejected: str
    rejected_ended: bool | None  # false: cut off at sampling.max_new_tokens, so trained on without an end token


def schema_of(row: type, **others: pa.DataType) -> pa.Schema:
    """The columns of a typed row, in its order; `others`: types of columns that are not the usual one."""
    usual = {str: pa.string(), int: pa.int32(), float: pa.float64(), bool: pa.bool_()}
    hints = {name: (get_args(kind) or (kind,))[0] for name, kind in get_type_hints(row).items()}
    return pa.schema([(name, others[name] if name in others else usual[kind]) for name, kind in hints.items()])


ATTEMPTS = schema_of(Attempt, seed=pa.int64())
PROBLEMS = schema_of(ProblemRow, choices=pa.string())
TRAINING = schema_of(TrainingRow)
PAIRS = schema_of(PairRow)
SCORES = pa.schema(
    [
        ("place", pa.int64()),  # row of the rationale in the order of its file, or of the run's files of attempts
        ("attempt_id", pa.string()),
        ("p_unsound", pa.float64()),  # null: nothing can be said
        ("first_error_step", pa.int32()),  # 0-based; -1: none suspected; null: nothing can be said
        ("status", pa.string()),  # "ok", or why nothing is judged: see `analysis.soundness.scorer`
        ("n_steps", pa.int32()),
        ("checks", pa.list_(pa.string())),  # names of those that fired
        ("flags", pa.string()),  # JSON: a list of {step, check, message, severity}
    ]
)
"""What readers of scores need; `analysis.score` writes more columns."""
