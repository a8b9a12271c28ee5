"""Tables of a run directory: pyarrow schemas, and the typed rows of those that are trained on (attempts: `star.problem`)."""

from __future__ import annotations

from typing import TypedDict

import pyarrow as pa

SCHEMA_VERSION = 1

KEYS = frozenset(
    ("attempt_id", "id", "problem_id", "mode", "split", "sample", "verdict", "hinted", "prompt", "probe", "position", "applicable")
)
"""Columns without nulls: a table that was asked for one of them and lacks it, or a value in it, is damaged."""

PROBLEMS = pa.schema(
    [
        ("problem_id", pa.string()),  # content hash
        ("split", pa.string()),  # train | selection | test
        ("slice", pa.string()),  # group for breakdowns, e.g. "3 digits"
        ("question", pa.string()),
        ("choices", pa.string()),  # JSON object {label: text}, or null
        ("gold", pa.string()),
        ("hint", pa.string()),  # the hinted prompt's question block, as shown when rationalizing
    ]
)

ATTEMPTS = pa.schema(
    [
        ("attempt_id", pa.string()),  # <round>-<mode initial>-<problem_id>-<sample>; "g", "r" or "e"
        ("problem_id", pa.string()),
        ("round", pa.int32()),
        ("mode", pa.string()),  # generated | rationalized | evaluated
        ("split", pa.string()),  # train | selection | test
        ("slice", pa.string()),
        ("sample", pa.int32()),  # index among the samples of the same problem and mode
        ("prompt_hash", pa.string()),  # of the prompt's token ids
        ("prompt_tokens", pa.int32()),
        ("completion", pa.string()),  # as sampled
        ("rationale", pa.string()),  # completion without the statement of the answer
        ("answer", pa.string()),  # answer span under the run's reading (curation.accept), or null
        ("lenient_answer", pa.string()),
        ("gold", pa.string()),
        ("verdict", pa.string()),  # of `answer`: correct | incorrect | no_answer | truncated | ungradable
        ("strict_verdict", pa.string()),  # of the answer in the form that was asked for; null: `verdict` is that one
        ("lenient_verdict", pa.string()),
        ("sound", pa.bool_()),  # the task's exact rationale check; null where the task has none
        ("finish_reason", pa.string()),  # stop | length
        ("tokens", pa.int32()),  # sampled tokens
        ("logprob", pa.float64()),  # sum of the sampled tokens' natural log-probabilities
        ("seed", pa.int64()),
        ("kept", pa.bool_()),  # became a training row; null for evaluated
        ("drop_reason", pa.string()),  # why not kept: verdict, unsound, mentions_hint, duplicate, cap; null when kept
        ("not_judged", pa.bool_()),  # curation.require: sound asked, and nothing could be said; null where it did not ask
    ]
)

TRAINING = pa.schema(
    [
        ("attempt_id", pa.string()),
        ("problem_id", pa.string()),
        ("from_round", pa.int32()),  # round the rationale was sampled in (earlier ones are replayed)
        ("mode", pa.string()),  # generated | rationalized | gold (direct fine-tuning)
        ("hinted", pa.bool_()),  # the training prompt shows the hint; false unless the recipe asks for it
        ("prompt", pa.string()),
        ("completion", pa.string()),
    ]
)

PAIRS = pa.schema(
    [
        ("problem_id", pa.string()),
        ("from_round", pa.int32()),  # of the winner
        ("chosen_id", pa.string()),  # attempt_id of the winner
        ("rejected_id", pa.string()),  # of the loser
        ("prompt", pa.string()),
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        ("rejected_ended", pa.bool_()),  # false: cut off at sampling.max_new_tokens, so trained on without an end token
    ]
)

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


class TrainingRow(TypedDict):
    """A row of `TRAINING`."""

    attempt_id: str
    problem_id: str
    from_round: int
    mode: str
    hinted: bool
    prompt: str
    completion: str


class PairRow(TypedDict):
    """A row of `PAIRS`."""

    problem_id: str
    from_round: int
    chosen_id: str
    rejected_id: str
    prompt: str
    chosen: str
    rejected: str
    rejected_ended: bool | None
