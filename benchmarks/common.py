"""What every benchmark script shares: its arguments, and one way to write a result that says where it came from.

    @dataclass(frozen=True)
    class Arguments(CommonArguments):
        problems: int = 1_000

    def main() -> None:
        arguments = parse(Arguments, __doc__)
        ...
        write_result("grading", figures, quick=arguments.quick, seeds=[0], device=arguments.device)

    if __name__ == "__main__":
        sys.exit(run_command(main))

`figures` is plain JSON: numbers, texts, lists and objects. A figure with an interval is an object
{"value": .., "low": .., "high": .., "n": ..}, as `star.statistics.Interval.as_dict()` gives it.
"""

from __future__ import annotations

import datetime
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from star import command_line as commands
from star import provenance
from star.errors import InputError, UsageError
from star.files import plain
from star.run import whole_json, write_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
CACHE = Path(os.environ.get("STAR_BENCHMARK_CACHE") or ROOT / "benchmarks" / "cache")
"""Intermediate files of a benchmark, so that it can be interrupted; not committed. Tests name an empty folder instead."""
RESULT_SCHEMA = 1
tidy = partial(plain, digits=6)
PACKAGES = ("scikit-learn", "numpy", "pandas", "math-verify")
"""Packages that results depend on beside those that a run notes."""

Device = Literal["cpu", "cuda"]
ArgumentsT = TypeVar("ArgumentsT", bound="CommonArguments")


@dataclass(frozen=True)
class CommonArguments:
    """Arguments of every benchmark script."""

    quick: bool = False
    """Under two minutes: proves that the script works, with sizes and seeds of its own whatever other flags say; its
    figures go to benchmarks/results/quick and mean nothing."""
    device: Device = "cpu"
    """Where models run; results of cuda are stored beside those of cpu, never mixed."""


COUNTS = ("problems", "long_problems", "rows", "rationales", "repeats", "probed")
"""Arguments of the scripts that count something."""


def parse(
    kind: type[ArgumentsT], doc: str | None = None, argv: Sequence[str] | None = None, *, gpu: bool = False
) -> ArgumentsT:
    """Arguments from the command line; `doc` is the script's module docstring. A measurement of the CPU sees no GPU.

    `gpu`: the script can measure a GPU. Raises UsageError when it cannot, or when there is none, and for a count below 1.
    """
    arguments = commands.parse(kind, doc, argv)
    for name in COUNTS:
        if getattr(arguments, name, 1) < 1:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(arguments, name)}: expected 1 or more")
    if arguments.device == "cuda" and not gpu:
        raise UsageError("--device cuda: this benchmark runs nothing on a GPU; leave the flag out.")
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # samplers and trainers take a GPU wherever they see one
    else:
        import torch

        if not torch.cuda.is_available():
            raise UsageError(f"--device cuda: torch {torch.__version__} finds no GPU here; leave the flag out.")
    return arguments


def cache_of(device: str) -> Path:
    """Where runs and models that were made on `device` are kept."""
    return CACHE if device == "cpu" else CACHE / device


def result_path(name: str, *, quick: bool, device: str = "cpu") -> Path:
    """benchmarks/results/<name>.json, <name>.cuda.json, or the same under results/quick."""
    file = f"{name}.json" if device == "cpu" else f"{name}.{device}.json"
    return (RESULTS / "quick" if quick else RESULTS) / file


def part_path(name: str, part: str, *, quick: bool, device: str = "cpu") -> Path:
    """Where a result that is made in parts keeps one of them: benchmarks/results/<name>/<part>.json and so on."""
    file = part.replace(": ", "-").replace(", ", "-").replace(" ", "-")
    return result_path(name, quick=quick, device=device).with_suffix("") / f"{file}.json"


def made_once(
    name: str,
    path: Path,
    make: Callable[[], Mapping[str, Any]] | None,
    settings: Mapping[str, Any] | None = None,
    **about: Any,
) -> dict[str, Any] | None:
    """The content of a result file; figures that are not there, or that other settings made, are made and written first.

    `settings`: kept with the figures; None: any will do. `make`: None gives None in place of making any. `about`: see `envelope`.
    """
    content: dict[str, Any] = whole_json(path) or {}
    figures = content.get("figures")
    if figures is None or (settings is not None and figures.get("settings") != tidy(settings)):
        if make is None:
            return None
        content = envelope(name, {**make(), **({} if settings is None else {"settings": settings})}, **about)
        write_json(path, content)
    return content


def write_result(
    name: str, figures: Mapping[str, Any], *, quick: bool, seeds: Sequence[int] | None = None, device: str = "cpu"
) -> Path:
    """Write a benchmark's figures with commit, date, hardware, versions and command line; returns the file.

    Numbers are rounded to six significant digits; NaN and infinity become null.
    """
    path = result_path(name, quick=quick, device=device)
    write_json(path, envelope(name, figures, quick=quick, seeds=seeds, device=device))
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    print(f"wrote {shown}; python benchmarks/render.py puts it into the pages", file=sys.stderr)
    return path


def envelope(name: str, figures: Mapping[str, Any], *, quick: bool, seeds: Sequence[int] | None, device: str) -> dict[str, Any]:
    """The whole content of a result file."""
    return {
        "schema_version": RESULT_SCHEMA,
        "name": name,
        "quick": quick,
        "device": device,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "command": command_line(),
        "seeds": list(seeds) if seeds is not None else None,
        "hardware": hardware(device),
        "versions": provenance.versions((*provenance.PACKAGES, *PACKAGES)),
        "figures": tidy(figures),
    }


def commit() -> str:
    """Short hash of the checked-out commit, "unknown" outside git; with "-dirty" when code, models or seeds differ from it."""
    head = provenance.git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "unknown"
    counted = ("*.py", "*.yaml", "analysis/*.json", "seeds")
    return f"{head}-dirty" if provenance.git("status", "--porcelain", "--untracked-files=no", "--", *counted) else head


def command_line() -> str:
    """The command as one would type it in the repository root, without the interpreter's path."""
    script = Path(sys.argv[0]).resolve()
    shown = str(script.relative_to(ROOT)) if script.is_relative_to(ROOT) else script.name
    return shlex.join(["python", shown, *(_short(argument) for argument in sys.argv[1:])])


def _short(argument: str) -> str:
    """Absolute paths say something about a machine and nothing about the result."""
    path = Path(argument)
    if not path.is_absolute():
        return argument
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def hardware(device: str = "cpu") -> dict[str, Any]:
    """The machine and, for cuda, its accelerator."""
    machine = provenance.hardware()
    gpus = machine.pop("gpus")
    return machine | ({"gpu": gpus[0]} if device == "cuda" else {})


def peak_mb(process: int | str = "self") -> float:
    """Largest resident memory of a process so far, in MB. Of Linux, where ru_maxrss would begin at what the parent had used."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 2**10


def in_new_process(script: str, *flags: str) -> dict[str, Any]:
    """The JSON object that `script` prints last, run with these flags in a process of its own, so that peak memory is its own.

    Raises InputError with the last line of its errors when it fails.
    """
    done = subprocess.run([sys.executable, script, *flags], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise InputError(f"{Path(script).name} {shlex.join(flags)} ended with status {done.returncode}: {said}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def read_result(path: Path) -> dict[str, Any]:
    """A result file's content. Raises ValueError naming the file when it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); run its script again") from error
    if not isinstance(content, dict) or "figures" not in content:
        raise ValueError(f"{path} has no `figures`; it was not written by benchmarks.common.write_result")
    return content
