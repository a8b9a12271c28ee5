"""Nothing is lost by a kill: a run that was interrupted and resumed equals one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from star import files
from star import loop as star_loop
from star import run as runs
from star.setup import locked, prepare
from tests.scripted import ScriptedSampler
from tests.scripted_loop import Killed, attempts_of, contents, make_recipe, run, scripted_finetune
from tests.tiny_models import tiny_model

pytestmark = pytest.mark.usefixtures("no_training")


@pytest.mark.parametrize("torn", [False, True])
def test_killed_at_any_write_and_resumed_equals_uninterrupted(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bool
) -> None:
    sections: dict[str, Any] = {"loop": {"rounds": 2, "start": "continue", "rationalizer": "base"}}
    expected = contents(run(make_recipe(base_model, tmp_path / "whole", **sections))[0])
    real, state = files._replace, {"writes": 0, "kill_at": 0}

    def replace(temporary: Path, path: Path) -> None:
        state["writes"] += 1
        if state["writes"] == state["kill_at"]:
            if torn:
                path.write_bytes(temporary.read_bytes()[:-7])  # what a disk may hold after a power cut
            raise Killed
        real(temporary, path)

    monkeypatch.setattr(files, "_replace", replace)
    kills = 0
    for kill_at in range(1, 60):
        recipe = make_recipe(base_model, tmp_path / f"killed-{kill_at}", **sections)
        state.update(writes=0, kill_at=kill_at)
        try:
            run(recipe)
            break
        except Killed:
            kills += 1
        state.update(kill_at=0)
        assert contents(run(recipe)[0]) == expected, f"killed at write {kill_at}"
    assert kills >= 15


def test_killed_inside_a_stage_and_resumed_equals_uninterrupted(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(base_model, tmp_path / "whole", loop={"rounds": 2})
    expected = contents(run(recipe)[0])
    broken = recipe.model_copy(update={"runs_dir": str(tmp_path / "killed")})
    real_sample, real_train, calls = ScriptedSampler.sample, scripted_finetune, {"n": 0, "stop_at": 0}

    def interrupted(work: Any) -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            calls["n"] += 1
            if calls["n"] == calls["stop_at"]:
                raise Killed
            return work(*args, **kwargs)

        return wrapper

    monkeypatch.setattr(ScriptedSampler, "sample", interrupted(real_sample))
    monkeypatch.setattr(star_loop, "finetune", interrupted(real_train))
    for stop_at in range(1, 12):
        calls.update(n=0, stop_at=2 if stop_at % 2 else 1)
        try:
            setup, _, _ = run(broken)
            break
        except Killed:
            if stop_at % 2 == 0:
                calls["stop_at"] = 0
                monkeypatch.setattr(ScriptedSampler, "sample", real_sample)
                monkeypatch.setattr(star_loop, "finetune", real_train)
    assert contents(setup) == expected


def test_a_finished_run_is_not_computed_again(base_model: Path, tmp_path: Path) -> None:
    recipe = make_recipe(base_model, tmp_path)
    _, _, first = run(recipe)
    _, sampler, second = run(recipe)
    assert sampler.calls == [] and first == second


def test_another_model_or_other_problems_never_reuse_a_directory(base_model: Path, tmp_path: Path) -> None:
    mine = tiny_model(tmp_path / "model", seed=1)
    recipe = make_recipe(mine, tmp_path)
    prepare(recipe, [])
    tiny_model(tmp_path / "model", seed=2)
    with pytest.raises(runs.RunError, match="other model"):
        prepare(recipe, [])


def test_a_renamed_directory_of_another_recipe_is_never_reused(base_model: Path, tmp_path: Path) -> None:
    first, second = (make_recipe(base_model, tmp_path, loop={"rounds": n}, curation={"cap": n}) for n in (1, 2))
    run(first)
    first.run_dir.rename(second.run_dir)
    for manifest in ("whole", "torn", "gone"):
        if manifest == "torn":
            (second.run_dir / "run.json").write_text('{"schema_')
        elif manifest == "gone":
            (second.run_dir / "run.json").unlink()
        with pytest.raises(runs.RunError, match=r"another recipe: loop\.rounds, curation\.cap differ"):
            prepare(second, [])
    (second.run_dir / "recipe.yaml").unlink()
    with pytest.raises(runs.RunError, match="not its recipe"):
        prepare(second, [])


def test_a_torn_manifest_of_the_same_recipe_is_written_anew(base_model: Path, tmp_path: Path) -> None:
    recipe = make_recipe(base_model, tmp_path)
    setup, _, first = run(recipe)
    (setup.run_dir / "run.json").write_text('{"schema_')
    _, sampler, second = run(recipe)
    assert runs.read_json(setup.run_dir / "run.json")["fingerprints"] and sampler.calls == [] and first == second


def test_two_processes_cannot_work_on_one_run(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(runs.RunError, match="another process"), locked(tmp_path):
        pass


def test_a_real_kill_9_is_survived(base_model: Path, tmp_path: Path) -> None:
    recipe = make_recipe(base_model, tmp_path / "killed", loop={"rounds": 2}, sampling={"shard": 10})
    expected = contents(run(recipe.model_copy(update={"runs_dir": str(tmp_path / "whole")}))[0])
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    code = (
        "import sys, time; from pathlib import Path; from star import loop; from star.recipe import load_recipe;"
        "import tests.scripted_loop as t; loop.finetune = t.scripted_finetune; real = t.ScriptedSampler.sample\n"
        "def slow(self, *a, **k):\n    time.sleep(0.3); return real(self, *a, **k)\n"
        "t.ScriptedSampler.sample = slow; t.run(load_recipe(Path(sys.argv[1])))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "recipe.yaml")], cwd=Path(__file__).parent.parent)
    attempts = recipe.run_dir / "round_01" / "attempts.parquet"
    parts = recipe.run_dir / "round_02" / "attempts.parts"
    deadline = time.monotonic() + 120
    while not (parts / "generated-0-00002.parquet").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert attempts.is_file() and not (recipe.run_dir / "result.json").exists()
    before, sampled = attempts.stat().st_mtime_ns, len(list(parts.glob("*.parquet")))
    setup, sampler, _ = run(recipe)
    assert attempts.stat().st_mtime_ns == before, "a finished stage is not redone"
    again = sum(label.startswith("round 2: ") and "(train)" in label for label, _ in sampler.calls)
    files = {(row["mode"], row["seed"]) for row in attempts_of(setup, 2)}
    assert sampled >= 3 and again == len(files) - sampled, "nor a finished shard"
    assert contents(setup) == expected
