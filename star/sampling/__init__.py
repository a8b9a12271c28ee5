"""Sampling: token-id prompts in, completions out, by vLLM in a process of its own or by transformers in this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from star.recipe import SamplingSettings
from star.sampling.backends import choose_backend
from star.sampling.base import Completion, Decoding, Sampler, SamplerError
from star.sampling.model_files import check_model_dir
from star.sampling.transformers_sampler import TransformersSampler
from star.sampling.vllm_sampler import VllmSampler

__all__ = ["Completion", "Decoding", "Sampler", "SamplerError", "choose_backend", "open_sampler"]


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
    check_model_dir(model_dir)
    name, _ = choose_backend(settings, model_dir)
    shared: dict[str, Any] = {"dtype": dtype, "trust_remote_code": trust_remote_code, "max_context": max_context}
    if name == "vllm":
        return VllmSampler(model_dir, gpu_memory=settings.gpu_memory, gpus=settings.gpus_per_worker, **shared)
    return TransformersSampler(model_dir, batch_size=settings.batch_size, **shared)
