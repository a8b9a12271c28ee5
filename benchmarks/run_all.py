"""Every benchmark, one after the other; goes on where it stopped.

    python -m benchmarks.run_all                    # make bench
    python -m benchmarks.run_all --quick            # proves that every script works
    python -m benchmarks.run_all --only grading sampling --again

A script that has finished at the checked-out commit is not run again; a new commit, changed files or `--again` starts over.
Trained runs under benchmarks/cache are gone on with all the same, and a result lists the commits that made them: remove
that folder to train anew. A script that fails does not stop the others; the exit status is then 1. At the end
README.md and benchmarks/README.md are written anew.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import CACHE, ROOT, Device, commit
from benchmarks.render import sections
from star.command_line import parse, run_command
from star.errors import UsageError
from star.run import whole_json, write_json

FOLDER = ROOT / "benchmarks"
NOT_ALONE = {"common", "run_all", "render"}
"""Files here that mention `write_result` and are not benchmarks."""


def scripts(folder: Path = FOLDER) -> list[str]:
    """Names of the scripts that write a result, in the order of the page, then by name."""
    found = {
        path.stem
        for path in folder.glob("*.py")
        if path.stem not in NOT_ALONE and "write_result(" in path.read_text(encoding="utf-8")
    }
    order = sections()
    return [name for name in order if name in found] + sorted(found - set(order))


def scripts_for(device: str, folder: Path = FOLDER) -> list[str]:
    """The scripts that can measure a device: on a GPU those that say so to `parse`."""
    names = scripts(folder)
    if device == "cpu":
        return names
    return [name for name in names if "gpu=True" in (folder / f"{name}.py").read_text(encoding="utf-8")]


def run_script(name: str, flags: Sequence[str], folder: Path = FOLDER) -> tuple[int, float]:
    """Exit status and seconds of one script; its output goes to the terminal."""
    started = time.monotonic()
    done = subprocess.run([sys.executable, str(folder / f"{name}.py"), *flags], cwd=ROOT, check=False)
    return done.returncode, time.monotonic() - started


def run_all(names: Sequence[str], flags: Sequence[str], state_file: Path, *, again: bool, folder: Path = FOLDER) -> int:
    """Run what is not done yet; returns the number of scripts that failed."""
    checkout = commit()
    key = " ".join([checkout, *flags])
    fresh = again or checkout.endswith("-dirty")  # further changes of a changed checkout do not show in its name
    found: dict[str, Any] = {} if fresh else whole_json(state_file) or {}
    state: dict[str, Any] = {"key": key, "done": dict(found["done"]) if found.get("key") == key else {}}
    failed = []
    for number, name in enumerate(names, start=1):
        head = f"[{number}/{len(names)}] {name}"
        if name in state["done"]:
            print(f"{head}: done before, {state['done'][name]:.0f} s", flush=True)
            continue
        print(f"{head} ...", flush=True)
        status, seconds = run_script(name, flags, folder)
        print(f"{head}: {'finished' if status == 0 else f'FAILED, status {status},'} in {seconds:.0f} s", flush=True)
        if status:
            failed.append(name)
            continue
        state["done"][name] = round(seconds, 1)
        write_json(state_file, state)
    if failed:
        print(f"failed: {', '.join(failed)}; run the same command again for these alone", file=sys.stderr)
    return len(failed)


@dataclass(frozen=True)
class Arguments:
    """Command line."""

    quick: bool = False
    """Every script's quick mode."""
    device: Device = "cpu"
    """Where models run."""
    only: tuple[str, ...] = ()
    """These scripts alone."""
    again: bool = False
    """Run finished ones again too."""
    list: bool = False
    """Print the scripts and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_command(lambda: run_named(parse(Arguments, __doc__, argv)))


def run_named(arguments: Arguments) -> int:
    """Run what was asked for; 1 where a script failed. Raises UsageError for a name that is none."""
    names = scripts_for(arguments.device)
    unknown = sorted(set(arguments.only) - set(names))
    if unknown:
        wrong = f"no benchmark for {arguments.device} called {', '.join(unknown)}"
        raise UsageError(f"{wrong}; there are {', '.join(names)}")
    names = [name for name in names if not arguments.only or name in arguments.only]
    if arguments.list:
        print("\n".join(names))
        return 0
    flags = [*(["--quick"] if arguments.quick else []), *(["--device", "cuda"] if arguments.device == "cuda" else [])]
    mode = "quick" if arguments.quick else "full"
    failed = run_all(names, flags, CACHE / f"run_all.{mode}.{arguments.device}.json", again=arguments.again)
    if not arguments.quick:
        from benchmarks.render import main as render

        failed += render([])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
