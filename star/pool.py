"""Who samples the shards: this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from star import sampling
from star.attempts import sample_attempts
from star.problem import Attempt
from star.prompting import PromptBuilder
from star.recipe import Recipe
from star.sampling.base import Sampler
from star.setup import Setup
from star.shards import Shard


class Pool(Protocol):
    """Samples and grades shards with one model at a time."""

    @property
    def model_dir(self) -> Path | None:
        """What is loaded; None after `sleep` where that forgets it, and after `close`."""

    def load(self, model_dir: Path) -> None:
        """Swap to the weights in `model_dir`, proven as `Sampler.load` does."""

    def map(self, shards: Sequence[Shard]) -> Iterator[tuple[Shard, list[Attempt]]]:
        """Each shard with its attempts, in any order. Raises SamplerError."""

    def sleep(self) -> None:
        """Give back accelerator memory until the next `load`."""

    def close(self) -> None:
        """Free everything. Safe to call twice."""


def open_pool(recipe: Recipe, setup: Setup) -> Pool:
    """A pool with the base model loaded. Raises SamplerError when it cannot be started."""
    trust = recipe.model.trust_remote_code
    sampler = sampling.open_sampler(recipe.sampling, setup.base_dir, dtype=recipe.model.dtype, trust_remote_code=trust)
    return Here(sampler, PromptBuilder(setup.task, setup.tokenizer, recipe.prompting))


class Here:
    """The sampler of this process, one shard after the other."""

    def __init__(self, sampler: Sampler, builder: PromptBuilder) -> None:
        self.sampler, self.builder = sampler, builder

    @property
    def model_dir(self) -> Path | None:
        """See Sampler."""
        return self.sampler.model_dir

    def load(self, model_dir: Path) -> None:
        """See Pool.load."""
        self.sampler.load(model_dir)

    def map(self, shards: Sequence[Shard]) -> Iterator[tuple[Shard, list[Attempt]]]:
        """See Pool.map."""
        for shard in shards:
            yield shard, sample_attempts(self.sampler, self.builder, shard, progress=shard.label)

    def sleep(self) -> None:
        """See Pool.sleep."""
        self.sampler.sleep()

    def close(self) -> None:
        """See Pool.close."""
        self.sampler.close()
