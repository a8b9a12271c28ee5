"""Sampling: token-id prompts in, completions out, by vLLM in a process of its own or by transformers in this one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from star.sampling.base import Completion, Decoding, Sampler, SamplerError

if TYPE_CHECKING:
    from star.recipe import SamplingSettings

__all__ = ["Completion", "Decoding", "Sampler", "SamplerError", "choose_backend", "open_sampler"]


def choose_backend(settings: SamplingSettings, model_dir: Path) -> tuple[str, str]:
    """The sampler to use, "vllm" or "transformers", and the reason in words."""
    return "transformers", "the only one that stands"


def open_sampler(
    settings: SamplingSettings,
    model_dir: Path,
    *,
    dtype: str = "auto",
    trust_remote_code: bool = False,
    max_context: int | None = None,
) -> Sampler:
    """A sampler with `model_dir` loaded. `max_context` bounds prompt and completion together, in tokens."""
    from star.sampling import model_files

    model_files.check_model_dir(model_dir)
    from star.sampling.transformers_sampler import TransformersSampler

    return TransformersSampler(
        model_dir,
        batch_size=settings.batch_size,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        max_context=max_context,
    )
