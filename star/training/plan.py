"""What a fine-tuning gets: which rows fit `max_length`, cut to what is learned of them, and how many optimizer steps.

The rows are in a file, from which TRL reads what a step needs: so memory does not grow with them, and every process of a launch
sees the same ones.
"""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa

from star.errors import InputError
from star.files import as_tables
from star.settings import StepSchedule, TrainingSettings

Ids = tuple[int, ...]
Encoded = tuple[Ids, Ids]
"""(prompt ids, completion ids) of a training row."""
Row = dict[str, Sequence[int]]
ROW = ("input_ids", "labels")
PAIR = ("prompt_ids", "chosen_ids", "rejected_ids")

AT_A_TIME = 1_000
"""Rows in memory while they are written."""
SHOWN = 4
"""Rows that a job holds itself."""
NO_LOSS = -100
"""The label of a token that carries none."""


class FinetuningError(InputError):
    """Training cannot start or did not work; the message says what was found and what to do."""


@dataclass(frozen=True)
class Job:
    """One fine-tuning: everything a training process needs beside `data`, so that it can be written to a file and launched."""

    base: str
    """Model directory or Hub id to start from."""
    output: str
    """Directory to write; appears whole or not at all."""
    steps: int
    seed: int
    settings: TrainingSettings
    dtype: str = "auto"
    trust_remote_code: bool = False
    run_name: str = "star"
    trained_on: str = "self-generated rationales"
    """What the completions are, for the model card."""
    rows: int = 0
    """How many rows or pairs `data` has."""
    truncated: int = 0
    """How many of them are cut to max_length."""
    dropped: int = 0
    """Rows that were left out, as their prompt alone is that long, or pairs, as they do not differ within it."""
    shown: tuple[Encoded, ...] = ()
    """The first rows, not cut, or the winners of the first pairs."""
    preference: dict[str, float] | None = None
    """`beta` and `nll` of training on pairs, see star/training/dpo.py; None: on rows alone."""
    generates: bool = True
    """Whether the model is there to generate, so that `sft.count_endings` tells something."""

    @property
    def scratch(self) -> Path:
        """The directory that becomes `output`."""
        return Path(self.output + ".tmp")

    @property
    def data(self) -> Any:
        """What `with_data` has written, as a memory-mapped datasets.Dataset."""
        import datasets

        return datasets.Dataset.from_file(str(self.scratch / "rows.arrow"))


def steps_of_round(schedule: StepSchedule, round_number: int, sequences: int, batch_size: int) -> int:
    """Optimizer steps of round n (1-based): the paper's 40 x 1.2^(n-1), capped; or epochs over the sequences, rounded up."""
    if schedule.epochs is not None:
        # As a fraction: 1.1 * 100 is more than 110 in floating point.
        return max(1, math.ceil(Fraction(str(schedule.epochs)) * sequences / batch_size))
    wanted = schedule.uncapped(round_number)
    return max(1, int(min(wanted, schedule.cap) if schedule.cap is not None else wanted))


def count_sequences(job: Job) -> int:
    """Sequences of one pass over the rows: one for each, or as TRL packs them."""
    if not job.rows or not job.settings.packing or job.preference is not None:
        return job.rows
    from trl import pack_dataset

    return len(pack_dataset(job.data, job.settings.max_length, "bfd"))


def with_data(job: Job, examples: Iterable[tuple[Ids, ...]]) -> Job:
    """The job, once its file is written. `examples`: (prompt, completion), or (prompt, chosen, rejected) where it has a preference;
    they are cut to max_length, and left out where nothing is learned of them.

    Raises FinetuningError when none of some rows is left.
    """
    as_row: Callable[..., Row | None] = _row if job.preference is None else _pair
    names = ROW if job.preference is None else PAIR
    most, counted, shown, left_out = job.settings.max_length, Counter[str](), list[Encoded](), list[int]()

    def rows() -> Iterator[Row]:
        for prompt, *completions in examples:
            if (row := as_row(job.settings, prompt, *completions)) is None:
                left_out.append(len(prompt))
                continue
            counted["rows"] += 1
            counted["truncated"] += len(prompt) + max(map(len, completions)) > most
            if len(shown) < SHOWN:
                shown.append((prompt, completions[0]))
            yield row

    schema = pa.schema([(name, pa.list_(pa.int32())) for name in names])
    shutil.rmtree(job.scratch, ignore_errors=True)
    job.scratch.mkdir(parents=True, exist_ok=True)  # a file that is still open elsewhere outlives its removal on a network's disk
    with pa.OSFile(str(job.scratch / "rows.arrow"), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for table in as_tables(rows(), schema, AT_A_TIME):
            writer.write_table(table)
    if left_out and not counted["rows"] and job.preference is None:
        raise FinetuningError(
            f"no training row has a token to learn from: the shortest prompt alone is {min(left_out)} tokens and "
            f"training.max_length is {most}. Raise training.max_length or use fewer prompting.shots."
        )
    return replace(job, rows=counted["rows"], truncated=counted["truncated"], dropped=len(left_out), shown=tuple(shown))


def _row(settings: TrainingSettings, prompt: Ids, completion: Ids) -> Row | None:
    """None where max_length leaves no token that carries loss; the first of a row never does."""
    ids = [*prompt, *completion][: settings.max_length]
    silent = 0 if settings.loss_on == "all" else len(prompt)
    return dict(zip(ROW, (ids, [NO_LOSS] * silent + ids[silent:]), strict=True)) if len(ids) > max(1, silent) else None


def _pair(settings: TrainingSettings, prompt: Ids, chosen: Ids, rejected: Ids) -> Row | None:
    """None where max_length leaves no difference."""
    room = max(0, settings.max_length - len(prompt))
    chosen, rejected = chosen[:room], rejected[:room]
    return dict(zip(PAIR, (prompt, chosen, rejected), strict=True)) if chosen != rejected else None
