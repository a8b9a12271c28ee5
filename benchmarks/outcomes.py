"""What is kept of a finished run of `model_sizes.py`: verdicts on the test problems, and probe rows without their texts.

All sizes and seeds together take longer than one sitting, and the cache stays on the machine that filled it. So every finished
run is kept beside the result, with the commit and the settings that made it, and only runs that are not there are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.faithfulness.rows import row_schema
from benchmarks.arms import cost_of, made_by, test_rows
from benchmarks.common import envelope
from star import run as runs

TEXTS = {"perturbed", "original_continuation", "new_continuation", "reason"}
"""Columns of probes that no measure reads: nearly all of their bytes."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """One finished run: `about` as in run.json, rows of the test split, rows of the probes with `right` for a right answer."""

    about: dict[str, Any]
    test: list[dict[str, Any]]
    probes: list[dict[str, Any]]

    @property
    def parameters(self) -> int:
        """Parameters of the model."""
        return int(self.about["figures"]["parameters"])

    @property
    def cost(self) -> dict[str, float]:
        """Rounds, samples, tokens and seconds; see `benchmarks.arms.cost`."""
        return dict(self.about["figures"]["cost"])

    @property
    def seed(self) -> int:
        """Seed of pretraining and of the run."""
        return int(self.about["figures"]["settings"]["seed"])

    @property
    def made_by(self) -> tuple[str, str]:
        """(day, short commit) that made the run."""
        return self.about["date"], self.about["commit"]


def keep(folder: Path, run_dir: Path, settings: Mapping[str, Any], *, quick: bool, device: str) -> None:
    """Write what is kept of `run_dir`; run.json comes last, so that a folder with one is whole."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    probes = runs.read_table(run_dir / "analysis" / "probes.parquet", row_schema()).to_pylist()
    right = _right_attempts(run_dir, {row["round"] for row in probes})
    probes = [{k: v for k, v in row.items() if k not in TEXTS} | {"right": row["attempt_id"] in right} for row in probes]
    for name, rows in (("test", test_rows(run_dir)), ("probes", probes)):
        pd.DataFrame(rows).to_parquet(folder / f"{name}.parquet", compression="zstd")
    result: Mapping[str, Any] = runs.Run(run_dir).result or {}
    parameters = result.get("parameters")
    known = {"parameters": parameters, "cost": cost_of(run_dir), "settings": dict(settings)}
    about = envelope("model_sizes", known, quick=quick, seeds=[settings["seed"]], device=device)
    about["date"], about["commit"] = made_by(run_dir)  # a run that was found may be older than this checkout
    runs.write_json(folder / "run.json", about)


def kept(folder: Path, settings: Mapping[str, Any]) -> Outcome | None:
    """What was kept in `folder`; None where nothing is, or where other settings made it."""
    about = runs.whole_json(folder / "run.json")
    if about is None or about["figures"]["settings"] != dict(settings):
        return None
    return Outcome(about, runs.read_rows(folder / "test.parquet"), runs.read_rows(folder / "probes.parquet"))


def _right_attempts(run_dir: Path, rounds: set[int]) -> set[str]:
    rows = [
        row
        for number in rounds
        for row in runs.Run(run_dir).evaluation(number, ["attempt_id", "verdict"])
    ]
    return {row["attempt_id"] for row in rows if row["verdict"] == "correct"}
