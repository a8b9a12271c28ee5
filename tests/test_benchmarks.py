"""Every benchmark's quick mode works and writes a well-formed result; its figures and its speed are not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.rationales.records import Record
from benchmarks.common import RESULTS, ROOT, CommonArguments, parse
from benchmarks.recorded_sizes import NOTHING, UNLIKE, figures
from benchmarks.render import TEMPLATES, page, sections
from benchmarks.run_all import scripts, scripts_for
from benchmarks.scaling import exponent, made_up, plan, sentence
from star.errors import UsageError
from tests.conftest import NO_DATA, absent, find_data_dir

LIMIT = 1_200
"""Seconds that one script may take on a machine that is busy with other things; on two quiet cores each takes under 60."""
NEEDS_DATA = {"fit_detector", "grading", "human_labels", "proven", "recorded_sizes"}
NEEDS_BROWSER = {"app_speed"}
ENVELOPE = {
    "schema_version",
    "name",
    "quick",
    "device",
    "date",
    "commit",
    "command",
    "seeds",
    "hardware",
    "versions",
    "figures",
}


def missing(name: str) -> str | None:
    """Why a script cannot run on this machine; None where it can."""
    if name in NEEDS_DATA and find_data_dir() is None:
        return NO_DATA
    if name in NEEDS_BROWSER:
        from benchmarks.app_browser import INSTALL, find_chromium

        return None if find_chromium() else INSTALL
    return None


def numbers(value: Any) -> list[float]:
    """Every number in a nested result."""
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.slow
@pytest.mark.timeout(LIMIT + 60)
@pytest.mark.parametrize("name", scripts())
def test_quick_mode_writes_a_well_formed_result(name: str, tmp_path: Path) -> None:
    if reason := missing(name):
        absent(reason)
    started = time.time()
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--quick"]
    environment = {**os.environ, "STAR_BENCHMARK_CACHE": str(tmp_path)}  # nothing is taken over from an earlier run
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2_000:]}\n{done.stderr[-4_000:]}"
    file = RESULTS / "quick" / f"{name}.json"
    assert file.stat().st_mtime >= started - 1, f"{file} is from an earlier run"
    result = json.loads(file.read_text(encoding="utf-8"))
    assert set(result) >= ENVELOPE
    assert result["name"] == name
    assert result["quick"] is True
    assert numbers(result["figures"]), "a result without a single number"
    assert f"## {name}" in page(TEMPLATES / "benchmarks" / "README.md", RESULTS / "quick")


def test_every_script_is_named_on_the_page() -> None:
    assert set(scripts()) <= set(sections()), "add the new benchmark to benchmarks/templates/benchmarks/README.md"


# ---------------------------------------------------------------------- scaling


def test_exponent_of_exact_powers() -> None:
    amounts = [10, 100, 1_000, 10_000]
    fit = exponent(amounts, [3 * amount**1.5 for amount in amounts])
    assert fit["value"] == pytest.approx(1.5)
    assert fit["low"] == pytest.approx(1.5, abs=1e-6)
    assert fit["n"] == 4


def test_sentence_tells_proportional_from_steeper_growth() -> None:
    rows = [{"amount": 10, "seconds": 1.0, "peak_mb": 100.0}, {"amount": 100, "seconds": 10.0, "peak_mb": 150.0}]

    def said(value: float, low: float) -> str:
        return sentence("records", rows, {"value": value, "low": low, "high": 2 * value - low})

    assert "no faster than in proportion" in said(1.0, 0.95)
    assert ": a little faster than in proportion" in said(1.03, 1.01)
    assert ": faster than in proportion" in said(1.4, 1.3)
    assert "1.50 times the peak memory" in said(1.0, 0.95)


def test_a_device_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="finds no GPU here; leave the flag out"):
        parse(CommonArguments, argv=["--device", "cuda"], gpu=True)
    with pytest.raises(UsageError, match="runs nothing on a GPU"):
        parse(CommonArguments, argv=["--device", "cuda"])


def test_only_benchmarks_that_run_models_are_run_on_a_gpu() -> None:
    assert scripts_for("cpu") == scripts()
    on_gpu = scripts_for("cuda")
    assert {"addition", "loop", "model_sizes", "probe_cost", "sampling"} <= set(on_gpu)
    assert not {"grading", "human_labels", "fit_detector", "app_speed", "probe_validity"} & set(on_gpu)


def test_a_measurement_of_the_cpu_sees_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert parse(CommonArguments, argv=[]).device == "cpu"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_full_plan_covers_the_promised_ranges() -> None:
    full = {axis: [amount for amount, _ in points] for axis, points in plan(quick=False).items()}
    assert (full["problems"][0], full["problems"][-1]) == (1_000, 30_000)
    assert (full["samples"][0], full["samples"][-1]) == (1, 16)
    assert (full["records"][0], full["records"][-1]) == (1_000, 300_000)


def test_made_up_records_are_seeded_distinct_and_partly_wrong() -> None:
    from analysis.soundness.judging import judge

    records = list(made_up(60))
    assert records[:7] == list(made_up(7))
    assert len({record.question for record in records}) > 50
    kinds = [judgement.task_kind for judgement in judge(records)]
    assert set(kinds) == {"addition", "math_word"}
    named = [judgement.first_error_step for judgement in judge(records[::2])]
    assert -1 in named
    assert any(step is not None and step > 0 for step in named)


# ---------------------------------------------------------------------- recorded solutions


def population(sensitivity: float, specificity: float) -> tuple[list[Record], list[Record], np.ndarray, np.ndarray]:
    """Solutions of two sizes of which a known share of the right ones is unsound, labelled rows, and a detector's scores."""
    rng = np.random.default_rng(1)

    def scores(unsound: np.ndarray) -> np.ndarray:
        return np.where(rng.random(len(unsound)) < np.where(unsound, sensitivity, 1 - specificity), 0.9, 0.1)

    known = [
        Record(
            id=f"k{n}",
            question=f"labelled question {n}",
            sound=bool(n % 2),
            answer_correct=True,
            meta={"dataset": "own"},
        )
        for n in range(3_000)
    ]
    solutions, unsound = [], []
    for size, accuracy, share in ((6.0, 0.5, 0.3), (175.0, 0.8, 0.1)):
        for n in range(4_000):
            right = rng.random() < accuracy
            solutions.append(
                Record(
                    id=f"{size}-{n}",
                    question=f"solved question {n}",
                    generator=f"{size:g}b",
                    generator_params_b=size,
                    answer_correct=bool(right),
                )
            )
            unsound.append(rng.random() < share)
    return solutions, known, scores(np.array(unsound)), scores(np.array([not record.sound for record in known]))


def test_the_detectors_error_is_corrected_for() -> None:
    found = figures(*population(0.8, 0.7), resamples=300)
    small, large = (found["by_size_and_generator"][size] for size in ("6B", "175B"))
    assert small["flagged_of_right"]["value"] > 0.4, "false alarms are in the plain share"
    for part, unsound, accuracy in ((small, 0.3, 0.5), (large, 0.1, 0.8)):
        assert part["unsound_of_right"]["low"] < unsound < part["unsound_of_right"]["high"]
        assert part["right_but_unsound"]["low"] < unsound * accuracy < part["right_but_unsound"]["high"]
        assert part["sound"]["value"] == pytest.approx(part["accuracy"]["value"] - part["right_but_unsound"]["value"])
    difference = found["175B minus 6B, same questions"]["unsound_of_right"]
    assert difference["low"] < -0.2 < difference["high"] < 0


def test_intervals_carry_the_uncertainty_of_the_labels() -> None:
    solutions, known, scores, known_scores = population(0.8, 0.7)
    many = figures(solutions, known, scores, known_scores, resamples=300)
    few = figures(solutions, known[:300], scores, known_scores[:300], resamples=300)
    wide, narrow = (f["by_size_and_generator"]["6B"]["unsound_of_right"] for f in (few, many))
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])


def test_a_detector_that_guesses_gives_no_estimate() -> None:
    found = figures(*population(0.5, 0.5), resamples=300)
    assert found["unsound_of_right"] == NOTHING
    assert set(found["by_size_and_generator"]["6B"]) == {"accuracy", "flagged_of_right"}


def test_no_estimate_where_fewer_are_flagged_than_false_alarms_alone_would_be() -> None:
    solutions, known, scores, known_scores = population(0.9, 0.4)
    found = figures(solutions, known, np.where(np.arange(len(scores)) % 10, 0.1, scores), known_scores, resamples=300)
    assert found["unsound_of_right"] == UNLIKE
    assert set(found["by_size_and_generator"]["6B"]) == {"accuracy", "flagged_of_right"}


def test_no_estimate_where_the_labels_are_of_another_kind() -> None:
    found = figures(*population(0.9, 0.9), resamples=50, unlike="cannot be estimated: of another kind")
    assert found["unsound_of_right"] == "cannot be estimated: of another kind"
    assert "unsound_of_right" not in found["by_size_and_generator"]["175B"]
