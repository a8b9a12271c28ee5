"""The Sampler seam: token-id prompts in, completions with finish reasons and token log-probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from star.errors import InputError

FinishReason = Literal["stop", "length"]


class SamplerError(InputError):
    """The sampler cannot go on; the message says what happened and what to do."""


@dataclass(frozen=True)
class Decoding:
    """One call's settings. Temperature 0 is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    samples: int = 1
    max_new_tokens: int = 256
    stop: tuple[str, ...] = ()
    """Strings that end a completion; they are cut off from its text."""
    seed: int = 0
    top_k: int | None = None
    """Sample from this many likeliest tokens only."""


@dataclass(frozen=True)
class Completion:
    """One sampled continuation of a prompt."""

    text: str
    """Decoded without special tokens, cut before a stop string."""
    token_ids: tuple[int, ...]
    """As sampled, end-of-sequence and stop-string tokens included."""
    finish_reason: FinishReason
    """stop: an end token or a stop string; length: max_new_tokens or the context ran out."""
    logprobs: tuple[float, ...]
    """Natural log-probability of each token of `token_ids` under the model (before temperature and top-p)."""


class Sampler(Protocol):
    """Two implementations: vLLM in a process of its own, and transformers. A third, scripted, lives in the tests."""

    name: str
    model_dir: Path | None

    def load(self, model_dir: Path) -> None:
        """Swap to the weights in `model_dir` and prove that they are the ones in use. Raises SamplerError if not."""

    def sample(
        self, prompts: Sequence[Sequence[int]], decoding: Decoding, *, progress: str | None = None
    ) -> list[list[Completion]]:
        """`decoding.samples` completions for each prompt, in order. `progress` labels a progress bar; None shows none.

        The same call on the same weights gives the same completions; an empty list gives an empty list.
        """

    def sleep(self) -> None:
        """Give back accelerator memory until the next `load`; nothing on a CPU."""

    def close(self) -> None:
        """Free everything. Safe to call twice."""
