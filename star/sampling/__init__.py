"""Sampling: token-id prompts in, completions out, by vLLM in a process of its own or by transformers in this one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from star.sampling.base import Completion, Decoding, Sampler, SamplerError

if TYPE_CHECKING:
    from star.recipe import SamplingSettings

__all__ = ["Completion", "Decoding", "Sampler", "SamplerError", "choose_backend", "open_sampler"]


def choose_backend(settings: SamplingSettings, model_dir: Path) -> tuple[str, str]:
    """The sampler to use, "vllm" or "transformers", and the reason in words. Raises SamplerError: see backends."""
    from star.sampling import backends

    return backends.choose_backend(settings, model_dir)


def open_sampler(
    settings: SamplingSettings,
    model_dir: Path,
    *,
    dtype: str = "auto",
    trust_remote_code: bool = False,
    max_context: int | None = None,
) -> Sampler:
    """A sampler with `model_dir` loaded. `max_context` bounds prompt and completion together, in tokens.

    Raises SamplerError when the directory is broken or the sampler cannot be started.
    """
    from star.sampling import model_files

    model_files.check_model_dir(model_dir)
    name, _ = choose_backend(settings, model_dir)
    if name == "vllm":
        from star.sampling.vllm_sampler import VllmSampler

        return VllmSampler(
            model_dir,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            max_context=max_context,
            gpu_memory=settings.gpu_memory,
        )
    from star.sampling.transformers_sampler import TransformersSampler

    return TransformersSampler(
        model_dir,
        batch_size=settings.batch_size,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        max_context=max_context,
    )
