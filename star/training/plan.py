"""What a fine-tuning gets: which rows fit `max_length`, cut to what is learned of them, and how many optimizer steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from star.errors import InputError
from star.settings import StepSchedule, TrainingSettings

Encoded = tuple[tuple[int, ...], tuple[int, ...]]
"""(prompt ids, completion ids) of a training row."""


class FinetuningError(InputError):
    """Training cannot start or did not work; the message says what was found and what to do."""


@dataclass(frozen=True)
class Job:
    """One fine-tuning: everything a training process needs, so that it can be written to a file and launched."""

    base: str
    """Model directory or Hub id to start from."""
    output: str
    """Directory to write; appears whole or not at all."""
    rows: tuple[Encoded, ...]
    steps: int
    seed: int
    settings: TrainingSettings
    dtype: str = "auto"
    trust_remote_code: bool = False
    run_name: str = "star"
    trained_on: str = "self-generated rationales"
    """What the completions are, for the model card."""
    rejected: tuple[tuple[int, ...], ...] = ()
    """The losing completion beside each row, where there are pairs."""
    dropped: int = 0
    """Pairs that were left out, as they do not differ within max_length."""
    preference: dict[str, float] | None = None
    """`beta` and `nll` of training on pairs, see star/training/dpo.py; None: on rows alone."""
    generates: bool = True
    """Whether the model is there to generate, so that `sft.count_endings` tells something."""


def steps_of_round(schedule: StepSchedule, round_number: int, sequences: int, batch_size: int) -> int:
    """Optimizer steps of round n (1-based): the paper's 40 x 1.2^(n-1), capped; or epochs over the sequences, rounded up."""
    if schedule.epochs is not None:
        # As a fraction: 1.1 * 100 is more than 110 in floating point.
        wanted: float = math.ceil(Fraction(str(schedule.epochs)) * sequences / batch_size)
    else:
        wanted = schedule.uncapped(round_number)
    return max(1, int(min(wanted, schedule.cap) if schedule.cap is not None else wanted))


def count_sequences(rows: Sequence[Encoded], settings: TrainingSettings) -> int:
    """Sequences of one pass over the rows that can be learned: one for each, or as TRL packs them."""
    lengths = [min(len(p) + len(c), settings.max_length) for p, c in rows if has_target(p, c, settings)]
    if not settings.packing:
        return len(lengths)
    import datasets
    from trl import pack_dataset

    rows_of_zeros = datasets.Dataset.from_dict({"input_ids": [[0] * length for length in lengths]})
    return len(pack_dataset(rows_of_zeros, settings.max_length, "bfd"))


def has_target(prompt: Sequence[int], completion: Sequence[int], settings: TrainingSettings) -> bool:
    """Whether max_length leaves a token that carries loss; the first of a row never does."""
    first = 1 if settings.loss_on == "all" else max(1, len(prompt))
    return min(len(prompt) + len(completion), settings.max_length) > first


def prepare(encoded: Sequence[Encoded], settings: TrainingSettings) -> tuple[list[dict[str, list[int]]], int]:
    """(rows for TRL, number of rows cut to max_length); rows whose prompt alone is that long are left out.

    Raises FinetuningError when no row is left.
    """
    if not encoded:
        raise FinetuningError("there is no training row: no rationale was kept")
    fit = [row for row in encoded if has_target(*row, settings)]
    if not fit:
        shortest = min(len(prompt) for prompt, _ in encoded)
        raise FinetuningError(
            f"no training row has a token to learn from: the shortest prompt alone is {shortest} tokens and "
            f"training.max_length is {settings.max_length}. Raise training.max_length or use fewer prompting.shots."
        )
    rows, truncated = [], 0
    for prompt, completion in fit:
        ids = [*prompt, *completion]
        mask = [int(settings.loss_on == "all")] * len(prompt) + [1] * len(completion)
        truncated += len(ids) > settings.max_length
        rows.append({"input_ids": ids[: settings.max_length], "completion_mask": mask[: settings.max_length]})
    return rows, truncated
