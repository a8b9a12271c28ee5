"""What the files of a run directory hold: pyarrow schemas of the tables, TypedDicts of the JSON and YAML files.

Only what readers rely on is named: other keys are let through, missing ones are those of an older version.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

import pyarrow as pa
from pydantic import AfterValidator, Field
from typing_extensions import TypedDict  # pydantic cannot read that of typing before Python 3.12

from star.problem import Reading

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
    ]
)

SCORES = pa.schema(
    [
        ("place", pa.int64()),  # row of the rationale in the order of its file, or of the run's files of attempts
        ("attempt_id", pa.string()),
        ("p_unsound", pa.float64()),  # null: nothing can be said
        ("first_error_step", pa.int32()),  # 0-based; -1: none suspected; null: nothing can be said
        ("n_steps", pa.int32()),
        ("checks", pa.list_(pa.string())),  # names of those that fired
        ("flags", pa.string()),  # JSON: a list of {step, check, message, severity}
    ]
)
"""What readers of scores need; `analysis.score` writes more columns."""

Whole = Annotated[int, Field(ge=0, lt=2**53)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Real = Annotated[float, Field(allow_inf_nan=False)]


def _consistent(counts: Any) -> Any:
    """Raises ValueError where more are right than there are, or more sound than right."""
    n, correct = counts.get("n", 0), counts.get("correct", 0)
    if correct > n:
        raise ValueError(f"{correct} right of {n}")
    if counts.get("sound", 0) > correct:
        raise ValueError(f"{counts['sound']} sound of {correct} right")
    return counts


class SliceCounts(TypedDict):
    """Evaluated problems of one slice."""

    n: Whole
    correct: Whole
    sound: NotRequired[Whole]
    """Of the right ones."""


class Counts(TypedDict):
    """Evaluated problems; see `star.attempts.summarise`."""

    n: Whole
    correct: Whole
    accuracy: NotRequired[Share | None]
    low: NotRequired[Share | None]
    high: NotRequired[Share | None]
    no_answer: NotRequired[Whole | None]
    truncated: NotRequired[Whole | None]
    strict: NotRequired[Whole | None]
    lenient: NotRequired[Whole | None]
    sound_of_correct: NotRequired[Share | None]
    best_of_k: NotRequired[dict[str, Share] | None]
    weighted_at_k: NotRequired[dict[str, Share] | None]
    slices: NotRequired[dict[str, Annotated[SliceCounts, AfterValidator(_consistent)]] | None]


class RoundData(TypedDict, total=False):
    """What became of a round's attempts."""

    pool: Whole | None
    drawn: Whole
    generated: Whole
    rationalized: Whole
    dropped: dict[str, Whole]
    problems_used: Whole
    kept_sound: Share | None
    kept_hint_unsure: Whole | None
    kept_not_judged: Whole | None


class Cost(TypedDict, total=False):
    """What was sampled."""

    samples: Whole | None
    sampled_tokens: Whole | None
    prompt_tokens: Whole | None
    flops: dict[str, Amount | None] | None


class Training(TypedDict, total=False):
    """One fine-tuning; the trainer's other facts stand beside these."""

    rows: Whole
    steps: Whole
    tokens: Whole
    dropped_rows: Whole
    ended: Whole | None


class RoundLine(Cost):
    """A line of metrics.jsonl."""

    round: Annotated[int, Field(ge=0, lt=10_000)]
    selection: Annotated[Counts, AfterValidator(_consistent)]
    data: NotRequired[RoundData | None]
    training: NotRequired[Training | None]
    seconds: NotRequired[dict[str, Amount | None] | None]
    gate: NotRequired[dict[str, Any] | None]


class Result(TypedDict):
    """result.json."""

    chosen_round: Annotated[int, Field(ge=0, lt=10_000)]
    test: Annotated[Counts, AfterValidator(_consistent)]
    rounds: NotRequired[Whole]
    select_on: NotRequired[str]
    parameters: NotRequired[Whole | None]
    seconds_total: NotRequired[Amount | None]
    cost: NotRequired[Cost | None]
    gate: NotRequired[dict[str, Any] | None]
    round_without_model: NotRequired[dict[str, Any] | None]


class ModelFacts(TypedDict, total=False):
    """The base model."""

    path: str
    parameters: Whole | None


class Manifest(TypedDict, total=False):
    """run.json."""

    schema_version: Whole
    commit: str | None
    dirty: bool | None
    started: str
    argv: list[str]
    seed: int
    recipe: str
    model: ModelFacts | None
    versions: dict[str, str | None] | None
    hardware: dict[str, Any] | None
    fingerprints: dict[str, str] | None
    skipped_rows: dict[str, Whole] | None
    accept: Reading


class TaskSection(TypedDict, total=False):
    """What is read of a recipe's section `task`."""

    name: str
    answer_type: str | None


class ModelSection(TypedDict, total=False):
    """What is read of a recipe's section `model`."""

    path: str


class EvaluationSection(TypedDict, total=False):
    """What is read of a recipe's section `evaluation`."""

    select_on: str


class RecipeFile(TypedDict, total=False):
    """recipe.yaml of any version; `star.recipe.Recipe` checks one that is to be run."""

    name: str
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    task: TaskSection | None
    model: ModelSection | None
    evaluation: EvaluationSection | None
    loop: dict[str, Any] | None
    curation: dict[str, Any] | None
    prompting: dict[str, Any] | None


class Estimate(TypedDict):
    """A value with its 95 % interval; n independent units."""

    value: Real | None
    low: NotRequired[Real | None]
    high: NotRequired[Real | None]
    n: NotRequired[Whole | None]


class Control(Estimate):
    """What an edit that should change nothing changes."""

    name: NotRequired[str]


class MeasureFigures(Estimate):
    """A measure of probes.json beside its controls; see `analysis.probe`."""

    control: NotRequired[Control | None]
    controls: NotRequired[list[Control]]
    corrected: NotRequired[Estimate | None]
    note: NotRequired[str | None]


class CurvePoint(TypedDict, total=False):
    """Share of answers that stay the same when a rationale of n_steps steps is cut at a position."""

    n_steps: Whole
    position: Whole
    same: Share | None
    low: Share | None
    high: Share | None
    n: Whole


class Score(TypedDict):
    """A line of a file of scores (JSON) beside a record file."""

    id: str | int | float
    p_unsound: NotRequired[Real | None]
    first_error_step: NotRequired[Annotated[int, Field(gt=-(2**31), lt=2**31)] | None]
    n_steps: NotRequired[Whole | None]
    place: NotRequired[Whole | None]
    flags: NotRequired[list[Any] | None]
    checks: NotRequired[list[str] | None]


class ProbedRound(TypedDict, total=False):
    """One round of probes.json."""

    model: str
    model_digest: str
    seed: int
    settings: dict[str, str | int | float | bool | None]
    n_rationales: Whole
    n_correct: Whole | None
    accuracy: Estimate | None
    measures: dict[str, MeasureFigures]
    measures_correct: dict[str, MeasureFigures]
    curves: dict[str, list[CurvePoint]]
    applicability: dict[str, Any]


class ProbesFile(TypedDict):
    """probes.json: round number, or "-" for a record file -> figures."""

    schema_version: NotRequired[int]
    rounds: dict[Annotated[str, Field(pattern=r"^(-|\d{1,4})$")], ProbedRound]
