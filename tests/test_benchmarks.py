"""Every benchmark's quick mode works and writes a well-formed result; its figures and its speed are not looked at."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common import RESULTS, ROOT, CommonArguments, parse
from benchmarks.judge import MODEL
from benchmarks.methods import across, minus
from benchmarks.render import TEMPLATES, page, sections
from benchmarks.run_all import scripts
from benchmarks.scaling import exponent, made_up, plan
from star.errors import InputError, UsageError
from star.recipe import ModelSettings
from star.setup import resolve_model
from tests.conftest import NO_DATA, absent, find_data_dir

LIMIT = 1_200
"""Seconds that one script may take on a machine that is busy with other things; on two quiet cores each takes under 60."""
NEEDS_DATA = {"grading", "human_labels", "judge", "proven", "real_model"}
NEEDS_MODEL = {"judge", "real_model"}
LONG = {"real_model"}
"""More than two minutes: a language model of 135M parameters is trained. tests/test_real_model.py does that in every run."""
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
    if name in NEEDS_MODEL:
        try:
            resolve_model(ModelSettings(path=MODEL))
        except InputError as error:
            return str(error)
    return None


def numbers(value: Any) -> list[float]:
    """Every number in a nested result."""
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def script_of_its_own(name: str, cache: Path, printed: Path) -> None:
    """Run a script's quick mode as `python benchmarks/NAME.py --quick` does, its output in a file."""
    with printed.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(ROOT)
    os.environ["STAR_BENCHMARK_CACHE"] = str(cache)
    for module in [module for module in sys.modules if module.startswith("benchmarks")]:
        del sys.modules[module]  # loaded with this one, when the cache was another
    sys.argv = [str(ROOT / "benchmarks" / f"{name}.py"), "--quick"]
    runpy.run_path(sys.argv[0], run_name="__main__")


@pytest.fixture(scope="module", autouse=True)
def loaded_once() -> None:
    """Scripts are forked from a process that has loaded what takes most of them ten seconds."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["trl.trainer.sft_trainer", "sklearn.linear_model"])


@pytest.mark.slow
@pytest.mark.timeout(LIMIT + 60)
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.torture) if n in LONG else n for n in [*scripts(), "gpu"]])
def test_quick_mode_writes_a_well_formed_result(name: str, tmp_path: Path) -> None:
    if reason := missing(name):
        absent(reason)
    started = time.time()
    cache, printed = tmp_path / "cache", tmp_path / "printed"  # nothing is taken over from an earlier run
    cache.mkdir()
    process = multiprocessing.get_context("forkserver").Process(target=script_of_its_own, args=(name, cache, printed))
    process.start()
    process.join(LIMIT)
    process.kill()
    assert process.exitcode == 0, f"{name} --quick: status {process.exitcode}\n{printed.read_text()[-6_000:]}"
    assert any(cache.iterdir()) or "cache_of(" not in (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
    file = RESULTS / "quick" / f"{name}.json"
    assert file.stat().st_mtime >= started - 1, f"{file} is from an earlier run"
    result = json.loads(file.read_text(encoding="utf-8"))
    assert set(result) >= ENVELOPE
    assert result["name"] == name
    assert result["quick"] is True
    assert numbers(result["figures"]), "a result without a single number"
    assert f"## {name}" in page(TEMPLATES / "benchmarks" / "README.md", RESULTS / "quick")


def test_methods_are_compared_with_the_seeds_as_units() -> None:
    """One seed keeps its interval over questions; differences are of the seeds and the measures that both have."""
    star: Any = {k: {"accuracy": {"value": v, "low": v - 0.1, "high": 1.0, "n": 50}} for k, v in enumerate((0.5, 0.7, 0.9, 0.1))}
    other: Any = {k: {"accuracy": {"value": v}, "filler_flip": {"value": 1.0}} for k, v in enumerate((0.4, 0.5, 0.6))}
    accuracies = [star[seed]["accuracy"] for seed in range(3)]
    assert across(accuracies[:1]) == accuracies[0]
    assert across(accuracies) == pytest.approx({"value": 0.7, "low": 0.7 - 4.3027 * 0.2 / 3**0.5, "high": 1.0, "n": 3}, abs=1e-3)
    gap = {"value": -0.2, "low": -0.2 - 4.3027 * 0.1 / 3**0.5, "high": -0.2 + 4.3027 * 0.1 / 3**0.5, "n": 3}
    assert minus(star, other) == {"accuracy_over_seeds": pytest.approx(gap, abs=1e-3)}


@pytest.mark.parametrize(("kind", "flag"), [("loop", "--repeats"), ("grading", "--problems"), ("real_model", "--probed")])
def test_counts_below_one_are_refused(kind: str, flag: str) -> None:
    script = importlib.import_module(f"benchmarks.{kind}")
    with pytest.raises(UsageError, match=f"{flag} 0: expected 1 or more"):
        parse(script.Arguments, None, [flag, "0"])


def test_every_script_is_named_on_the_page() -> None:
    assert {*scripts(), "gpu"} <= set(sections()), "add the new benchmark to benchmarks/templates/benchmarks/README.md"


# ---------------------------------------------------------------------- scaling


def test_exponent_of_exact_powers() -> None:
    amounts = [10, 100, 1_000, 10_000]
    fit = exponent(amounts, [3 * amount**1.5 for amount in amounts])
    assert fit["value"] == pytest.approx(1.5)
    assert fit["low"] == pytest.approx(1.5, abs=1e-6)
    assert fit["n"] == 4


def test_a_device_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="finds no GPU here; leave the flag out"):
        parse(CommonArguments, argv=["--device", "cuda"], gpu=True)
    with pytest.raises(UsageError, match="runs nothing on a GPU"):
        parse(CommonArguments, argv=["--device", "cuda"])


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU")
def test_the_gpu_script_says_that_there_is_none_before_it_sets_anything_up() -> None:
    done = subprocess.run(["bash", "benchmarks/gpu.sh"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "") and "no GPU here" in done.stderr


def test_only_benchmarks_that_run_models_are_run_on_a_gpu() -> None:
    on_gpu = scripts("cuda")
    assert {"addition", "gpu", "loop", "model_sizes", "probe_cost", "sampling"} <= set(on_gpu)
    assert "gpu" not in scripts()
    assert not {"grading", "human_labels", "app_speed", "probe_validity"} & set(on_gpu)


def test_a_measurement_of_the_cpu_sees_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert parse(CommonArguments, argv=[]).device == "cpu"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_full_plan_covers_the_promised_ranges() -> None:
    full = {axis: [amount for amount, _ in points] for axis, points in plan(quick=False).items()}
    assert (full["problems"][0], full["problems"][-1]) == (10_000, 1_000_000)
    assert full["workers"] == [0, 1, 2]
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


def test_a_rationale_without_an_answer_says_nothing_of_what_a_model_answers_without_one() -> None:
    """A refused row has position 0 too, and no answers: as wrong ones they would count against both."""
    from benchmarks.real_model import with_and_without

    blank = {"probe": "early_answering", "position": 0, "answer_before": None, "answer_after": None}
    rows = [
        {**blank, "problem_id": "a", "applicable": True, "answer_before": "5", "answer_after": "5.0"},
        {**blank, "problem_id": "b", "applicable": True, "answer_before": "5"},
        {**blank, "problem_id": "c", "applicable": False},
    ]
    problems = {name: {"gold": "5", "choices": None, "question": ""} for name in "abc"}
    found = with_and_without(rows, problems)
    assert [(each["value"], each["n"]) for each in found.values()] == [(1.0, 2), (0.5, 2), (0.5, 2)]
    assert with_and_without([], {})["right_without"]["n"] == 0


def test_seeds_of_an_arm_are_compared_with_problems_as_units() -> None:
    """A second seed that says the same of every problem is no new evidence; a seed that one arm lacks does not count."""
    from benchmarks.real_model import over_seeds

    names = [f"p{i}" for i in range(40)]
    before, after = dict.fromkeys(names, False), {name: name in names[:8] for name in names}
    one = over_seeds({0: before}, {0: after, 7: before})
    two = over_seeds({0: before, 1: before}, {0: after, 1: after})
    assert one["difference"] == pytest.approx(two["difference"], abs=0.02) and one["difference"]["n"] == 40
    assert (one["difference"]["value"], one["seeds"], two["seeds"]) == (0.2, 1, 2)


@pytest.mark.parametrize("made", [(), (0,), (2, 10)])
def test_every_seed_of_a_piece_is_found(made: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import common, real_model

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    for seed in made:
        for piece in ("star", "star, sound"):
            path = real_model.piece_file(piece, seed, real_model.Arguments())
            path.parent.mkdir(exist_ok=True)
            path.write_text("{}")
    assert real_model.seeds_there("star", real_model.Arguments()) == list(made)
