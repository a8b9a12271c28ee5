"""Faults made on purpose: the long form of the tests that kill runs and feed the graders and checks what nobody should write.

    python benchmarks/torture.py [--quick]          # make torture

Figures are what the tests marked `torture` note of themselves (`record_property`): how many kills, records or answers, and the
slowest of them. Status 1, and no result, when one of them fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree  # of a file that pytest has just written
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, CommonArguments, parse, write_result
from star.command_line import run_command

QUICK = ["tests/test_grading.py", "-k", "random_answers and not 20000"]


@dataclass(frozen=True)
class Arguments(CommonArguments):
    select: str = ""
    """Only tests whose name has this (pytest's -k)."""


def noted(junit: Path) -> list[dict[str, Any]]:
    """What each test noted of itself, with its name in words and its seconds; those that noted nothing are left out."""
    tests = []
    for case in ElementTree.parse(junit).iter("testcase"):
        properties = {one.attrib["name"]: one.attrib["value"] for one in case.iter("property")}
        if properties:
            name = case.attrib["name"].removeprefix("test_").replace("_", " ")
            tests.append({"test": name, "seconds": float(case.attrib["time"]), **properties})
    return tests


def main() -> int:
    """pytest's status."""
    arguments = parse(Arguments, __doc__)
    chosen = QUICK if arguments.quick else ["-m", "torture", *(["-k", arguments.select] if arguments.select else [])]
    with tempfile.TemporaryDirectory() as folder:
        junit = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-o", "junit_family=xunit1", f"--junitxml={junit}", *chosen]
        status = subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode
        if status == 0:
            write_result("torture", {"tests": noted(junit)}, quick=arguments.quick, device=arguments.device)
    return status


if __name__ == "__main__":
    sys.exit(run_command(main))
