"""Every benchmark, one after the other; goes on where it stopped.

    python -m benchmarks.run_all                    # make bench
    python -m benchmarks.run_all --quick            # proves that every script works

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
from benchmarks.render import render, sections
from star.command_line import parse, run_command
from star.run import whole_json, write_json

FOLDER = ROOT / "benchmarks"
NOT_ALONE = {"common", "run_all", "render"}
"""Files here that mention `write_result` and are not benchmarks."""
ONLY_GPU = {"gpu"}
"""Benchmarks that say nothing about a CPU."""


@dataclass(frozen=True)
class Arguments:
    quick: bool = False
    """Every script's quick mode."""
    device: Device = "cpu"
    """Where models run."""
    again: bool = False
    """Run finished ones again too."""


def scripts(device: Device = "cpu") -> list[str]:
    """Names of the scripts that write a result, in the order of the page, then by name; for a GPU those that say so to `parse`."""
    wanted = {"write_result("} | ({"gpu=True"} if device == "cuda" else set())
    texts = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py") if path.stem not in NOT_ALONE}
    named = {name for name, text in texts.items() if all(words in text for words in wanted)}
    named -= ONLY_GPU if device == "cpu" else set()
    order = sections()
    return [name for name in order if name in named] + sorted(named - set(order))


def run_all(names: Sequence[str], flags: Sequence[str], state_file: Path, *, again: bool, folder: Path = FOLDER) -> int:
    """Run what is not done yet, its output to the terminal; returns the number of scripts that failed."""
    checkout = commit()
    key = " ".join([checkout, *flags])
    fresh = again or checkout.endswith("-dirty")  # further changes of a changed checkout do not show in its name
    stored: dict[str, Any] = {} if fresh else whole_json(state_file) or {}
    state: dict[str, Any] = {"key": key, "done": dict(stored["done"]) if stored.get("key") == key else {}}
    failed = []
    for number, name in enumerate(names, start=1):
        head = f"[{number}/{len(names)}] {name}"
        if name in state["done"]:
            print(f"{head}: done before, {state['done'][name]:.0f} s", flush=True)
            continue
        print(f"{head} ...", flush=True)
        started = time.monotonic()
        status = subprocess.run([sys.executable, str(folder / f"{name}.py"), *flags], cwd=ROOT, check=False).returncode
        seconds = time.monotonic() - started
        print(f"{head}: {'finished' if status == 0 else f'FAILED, status {status},'} in {seconds:.0f} s", flush=True)
        if status:
            failed.append(name)
            continue
        state["done"][name] = round(seconds, 1)
        write_json(state_file, state)
    if failed:
        print(f"failed: {', '.join(failed)}; run the same command again for these alone", file=sys.stderr)
    return len(failed)


def main() -> int:
    """All scripts for a device, then the pages; 1 where one failed."""
    arguments = parse(Arguments, __doc__)
    flags = [*(["--quick"] if arguments.quick else []), *(["--device", "cuda"] if arguments.device == "cuda" else [])]
    state = CACHE / f"run_all.{'quick' if arguments.quick else 'full'}.{arguments.device}.json"
    failed = run_all(scripts(arguments.device), flags, state, again=arguments.again)
    return 1 if failed or (not arguments.quick and render(check=False)) else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
