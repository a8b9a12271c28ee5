"""What the JSON and YAML files of a run directory hold, as typed dictionaries that are checked when a file is read.

Only what readers rely on is constrained: other keys are let through, those that older versions did not write are not required.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict  # pydantic cannot read that of typing before Python 3.12

from star.problem import Reading

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
    """Greedy answers to the problems of one slice."""

    n: Whole
    correct: Whole
    sound: NotRequired[Whole]
    """Right answers with a sound rationale."""


class SampledFigures(TypedDict, total=False):
    """What the samples beside the greedy answers say, the last two where a verifier ranked them; nothing without samples. Keys of
    the figures are k.
    """

    samples_per_problem: Whole
    pass_at_k: dict[str, Share]
    maj_at_k: dict[str, Share]
    best_of_k: dict[str, Share] | None
    weighted_at_k: dict[str, Share] | None


class Counts(SampledFigures):
    """An evaluation: counts and shares of greedy answers."""

    n: Whole
    correct: Whole
    accuracy: NotRequired[Share | None]
    low: NotRequired[Share | None]
    high: NotRequired[Share | None]
    no_answer: NotRequired[Whole | None]
    truncated: NotRequired[Whole | None]
    ungradable: NotRequired[Whole | None]
    strict: NotRequired[Whole | None]
    """Right in the form that was asked for."""
    lenient: NotRequired[Whole | None]
    """Right in any form. `correct` is one of the two, see `curation.accept`."""
    sound_of_correct: NotRequired[Share | None]
    slices: NotRequired[dict[str, Annotated[SliceCounts, AfterValidator(_consistent)]] | None]


class Gate(TypedDict, total=False):
    """The first pass of round 1 against chance."""

    correct: Whole
    lenient: Whole
    """Right in any form."""
    n: Whole
    chance: Share
    p_value: Share
    passed: bool


class RoundData(TypedDict, total=False):
    """Where a round's training rows come from."""

    pool: Whole | None
    """Training problems that the round could draw from: fewer than there are while the pool of `task.grow` grows."""
    drawn: Whole
    generated: Whole
    rationalized: Whole
    dropped: dict[str, Whole]
    """Attempts by the reason for which they were not kept."""
    problems_used: Whole
    kept_sound: Share | None
    """Share of the kept rationales that the task's exact check calls sound."""
    kept_hint_unsure: Whole | None
    """Kept rationalizations with words that may speak of the hint, or may not."""
    kept_not_judged: Whole | None
    """Kept rationales that `curation.require: sound` asked about without an answer."""


class PairFacts(TypedDict, total=False):
    """[first, last] figures of training on pairs."""

    chosen_logprob: list[float]
    """Mean of the winners' summed log-probabilities."""
    rejected_logprob: list[float]
    pairs_right: list[float]
    """Share of pairs whose winner gained more than its loser."""
    reference_tokens: Whole
    """What the reference model read: each pair once."""


class Training(PairFacts, total=False):
    """What a fine-tuning did."""

    steps: Whole
    rows: Whole
    tokens: Whole
    """Tokens that were read, prompts included."""
    loss: float
    """The last one logged."""
    loss_curve: list[float]
    """In round_NN/model/finetuning.json alone."""
    truncated_rows: Whole
    """Cut to training.max_length."""
    dropped_rows: Whole
    """Left out: the prompt alone has training.max_length tokens or more, or a pair does not differ within them."""
    num_processes: Whole
    ended: Whole | None
    """How many of 4 greedy completions end by themselves; not in what a process of a launch returns."""
    seconds: Amount


class Ranking(TypedDict):
    """A verifier, and what it was for."""

    scores: dict[str, float]
    """attempt_id -> log-likelihood."""
    training: Training
    tokens: int
    """Read to rank the test answers."""


class RoundFacts(TypedDict, total=False):
    """What a round did besides its evaluation; round 0 did nothing."""

    gate: Gate | None
    temperature: float
    """Chosen on a probe, where the recipe tries several."""
    data: RoundData | None
    training: Training | None
    seconds: dict[str, Amount | None] | None
    """By stage."""


class Cost(TypedDict, total=False):
    """What was sampled, and the work it was."""

    samples: Whole | None
    sampled_tokens: Whole | None
    prompt_tokens: Whole | None
    flops: dict[str, Amount | None] | None
    """Of sampling and of training, by the rule of `star.ledger`."""


Round = Annotated[int, Field(ge=0, lt=10_000)]


class RoundLine(RoundFacts, Cost):
    """A line of metrics.jsonl."""

    round: Round
    selection: Annotated[Counts, AfterValidator(_consistent)]


class UnfinishedRound(RoundFacts):
    """A round that ended without a model."""

    round: Round


class Result(TypedDict):
    """The content of result.json."""

    chosen_round: Round
    test: Annotated[Counts, AfterValidator(_consistent)]
    rounds: NotRequired[Whole]
    select_on: NotRequired[str]
    gate: NotRequired[Gate | None]
    round_without_model: NotRequired[UnfinishedRound | None]
    verifier: NotRequired[Training]
    parameters: NotRequired[Whole | None]
    seconds_total: NotRequired[Amount | None]
    cost: NotRequired[Cost | None]
    """Of the test, of a verifier, and of a round without a model."""


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
