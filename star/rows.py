"""Rows and records of a run directory, as typed dictionaries; attempts are in `star/problem.py`.

Their columns on disk, with what each one holds, are in `star/run.py`.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class TrainingRow(TypedDict):
    """A row of `star.run.TRAINING`."""

    attempt_id: str
    problem_id: str
    from_round: int
    mode: str
    hinted: bool
    prompt: str
    completion: str


class PairRow(TypedDict):
    """A row of `star.schemas.PAIRS`."""

    problem_id: str
    from_round: int
    chosen_id: str
    rejected_id: str
    prompt: str
    chosen: str
    rejected: str


class SliceCounts(TypedDict):
    """Greedy answers to the problems of one slice."""

    n: int
    correct: int
    sound: int
    """Right answers with a sound rationale."""


class Counts(TypedDict):
    """An evaluation: counts and shares of greedy answers."""

    n: int
    correct: int
    accuracy: float
    low: float
    high: float
    no_answer: int
    truncated: int
    ungradable: int
    strict: int
    """Right in the form that was asked for."""
    lenient: int
    """Right in any form. `correct` is one of the two, see `curation.accept`."""
    sound_of_correct: float | None
    slices: dict[str, SliceCounts]


class SampledFigures(TypedDict, total=False):
    """What the samples beside the greedy answers say; nothing without samples. Keys of the figures are k."""

    samples_per_problem: int
    pass_at_k: dict[str, float]
    maj_at_k: dict[str, float]


class RankedFigures(TypedDict, total=False):
    """What a verifier makes of those samples; keys are k."""

    best_of_k: dict[str, float]
    weighted_at_k: dict[str, float]


class TestCounts(Counts, SampledFigures, RankedFigures):
    """The evaluation on test."""


class Gate(TypedDict):
    """The first pass of round 1 against chance."""

    correct: int
    lenient: int
    """Right in any form."""
    n: int
    chance: float
    p_value: float
    passed: bool


class RoundData(TypedDict):
    """Where a round's training rows come from."""

    pool: int
    """Training problems there are."""
    drawn: int
    generated: int
    rationalized: int
    dropped: dict[str, int]
    """Attempts by the reason for which they were not kept."""
    problems_used: int
    kept_sound: float | None
    """Share of the kept rationales that the task's exact check calls sound."""
    kept_hint_unsure: NotRequired[int]
    """Kept rationalizations with words that may speak of the hint, or may not."""
    kept_not_judged: NotRequired[int]
    """Kept rationales that `curation.require: sound` asked about without an answer."""


class PairFacts(TypedDict, total=False):
    """[first, last] figures of training on pairs."""

    chosen_logprob: list[float]
    """Mean of the winners' summed log-probabilities."""
    rejected_logprob: list[float]
    pairs_right: list[float]
    """Share of pairs whose winner gained more than its loser."""
    reference_tokens: int
    """What the reference model read: each pair once."""


class Training(PairFacts):
    """What a fine-tuning did."""

    steps: int
    rows: int
    tokens: int
    """Tokens that were read, prompts included."""
    loss: float
    """The last one logged."""
    loss_curve: NotRequired[list[float]]
    """In round_NN/model/finetuning.json alone."""
    truncated_rows: int
    """Cut to training.max_length."""
    dropped_rows: int
    """Left out: the prompt alone has training.max_length tokens or more, or a pair does not differ within them."""
    num_processes: int
    ended: NotRequired[int]
    """How many of 4 greedy completions end by themselves; not in what a process of a launch returns."""
    seconds: float


class Ranking(TypedDict):
    """A verifier, and what it was for."""

    figures: RankedFigures
    training: Training
    tokens: int
    """Read to rank the test answers."""


class RoundFacts(TypedDict, total=False):
    """What a round did besides its evaluation; round 0 did nothing."""

    gate: Gate | None
    temperature: float
    """Chosen on a probe, where the recipe tries several."""
    data: RoundData
    training: Training


class Flops(TypedDict):
    """Floating-point operations, by the rule of `star.ledger`."""

    sampling: int
    training: int


class Cost(TypedDict):
    """What was sampled, and the work it was."""

    samples: int
    sampled_tokens: int
    prompt_tokens: int
    flops: Flops


class RoundLine(RoundFacts, Cost):
    """A line of metrics.jsonl."""

    round: int
    selection: Counts
    seconds: dict[str, float]
    """By stage."""


class UnfinishedRound(RoundFacts):
    """A round that ended without a model."""

    round: int
    seconds: dict[str, float]


class Result(TypedDict):
    """The content of result.json."""

    chosen_round: int
    rounds: int
    select_on: str
    test: TestCounts
    gate: Gate | None
    round_without_model: UnfinishedRound | None
    verifier: NotRequired[Training]
    parameters: int
    seconds_total: float
    cost: Cost
    """Of the test, of a verifier, and of a round without a model."""
