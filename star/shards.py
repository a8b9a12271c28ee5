"""A stage's sampling, cut into shards: each is sampled and graded in one call, and lands as a file that is whole or absent.

A shard is the unit of randomness, of a retry and of a resume. The same recipe cuts the same shards, each with a seed of its
own, so a run computes the same whatever worker takes which shard, in what order, and wherever it was killed in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from star.files import RunError, StoredRows, write_parquet
from star.problem import Attempt, Problem
from star.run import derived_seed
from star.sampling.base import Decoding
from star.tables import ATTEMPTS

Mode = Literal["generated", "rationalized", "evaluated", "probed"]


@dataclass(frozen=True)
class Shard:
    """Problems that are sampled in one call, and how."""

    number: int
    """Place in its stage, from 0."""
    problems: tuple[Problem, ...]
    decoding: Decoding
    mode: Mode
    split: str
    round_number: int
    shots: bool
    """Whether the prompts show the few-shot examples."""
    first_sample: int = 0
    """Number of each problem's first sample."""

    @property
    def stage(self) -> str:
        """What it is part of, for progress and errors."""
        return f"round {self.round_number}: {self.mode} ({self.split})"

    @property
    def label(self) -> str:
        """The stage and its place in there."""
        return f"{self.stage}, shard {self.number}" if self.number else self.stage

    @property
    def advice(self) -> str:
        """What to do where it cannot be sampled."""
        return (
            f"Its problems are {self.problems[0].id} to {self.problems[-1].id} of problems.parquet: lower sampling.max_new_tokens "
            "or sampling.shard, or leave those out."
        )

    def part(self, folder: Path) -> Path:
        """The file of its attempts."""
        return folder / f"{self.mode}-{self.first_sample}-{self.number:05d}.parquet"


def cut(problems: Sequence[Problem], decoding: Decoding, size: int, first: int = 0, **call: Any) -> list[Shard]:
    """Shards of at most `size` completions, but of one problem at least; `first`: number of the first of them; `call`: the other
    fields of `Shard`.

    Number 0 has the stage's own seed: a stage of one shard is what it was before there were shards.
    """
    each = max(1, size // decoding.samples)
    chunks = [tuple(problems[at : at + each]) for at in range(0, len(problems), each)]
    return [
        Shard(number, chunk, replace(decoding, seed=derived_seed(decoding.seed, f"shard-{number}")) if number else decoding, **call)
        for number, chunk in enumerate(chunks, start=first)
    ]


def parts_of(file: Path) -> Path:
    """The folder that holds the parts of a file of attempts until it is there."""
    return file.with_suffix(".parts")


def collect(
    shards: Sequence[Shard],
    folder: Path,
    load: Callable[[], None],
    sample: Callable[[Sequence[Shard]], Iterable[tuple[Shard, list[Attempt]]]],
) -> StoredRows[Attempt]:
    """Attempts of all shards, in order. `sample` is asked, after `load`, for those without a part; it may answer in any order."""
    if missing := [shard for shard in shards if not _finished(shard.part(folder), shard)]:
        load()
        for shard, rows in sample(missing):
            write_parquet(shard.part(folder), rows, ATTEMPTS)
    return StoredRows([shard.part(folder) for shard in shards], ATTEMPTS)


def _finished(part: Path, shard: Shard) -> bool:
    """Whether a part is there, whole, and of these problems."""
    rows: StoredRows[Attempt] = StoredRows([part], ATTEMPTS)
    wanted = [problem.id for problem in shard.problems for _ in range(shard.decoding.samples)]
    try:
        rows.check()
        return [row["problem_id"] for row in rows.only("problem_id")] == wanted
    except RunError:
        return False
