"""model_sizes.py: what it keeps of finished runs, and how it counts seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.faithfulness.measures import all_measures
from benchmarks import arms, model_sizes
from benchmarks.outcomes import Outcome, keep, kept
from star import run as runs
from star.errors import InputError
from tests.run_factory import make_run

SETTINGS = {"size": "0.03m", "arm": "STaR", "seed": 1}


def made_up(right: int, n: int = 400, parameters: int = 1_000) -> Outcome:
    rows = [
        {
            "problem_id": str(i),
            "slice": "1 digit",
            "sample": 0,
            "verdict": "correct" if i < right else "wrong",
            "sound": i < right,
        }
        for i in range(n)
    ]
    cost = {"rounds": 3.0, "seconds": float(right)}
    about = {
        "date": "2026-01-01",
        "commit": "abc",
        "figures": {"parameters": parameters, "cost": cost, "settings": SETTINGS},
    }
    return Outcome(about, rows, [])


def test_what_is_kept_of_a_run_gives_the_figures_of_the_run(tmp_path: Path) -> None:
    probed_run = make_run(tmp_path, rounds=2, problems=60)
    keep(tmp_path / "run", probed_run, SETTINGS, quick=True, device="cpu")
    found = kept(tmp_path / "run", SETTINGS)
    assert found is not None and arms.quality(found.test) == arms.quality(arms.test_rows(probed_run))
    whole = runs.read_rows(probed_run / "analysis" / "probes.parquet")
    assert all_measures(found.probes) == all_measures(whole)
    assert found.parameters == runs.read_json(probed_run / "result.json")["parameters"]
    about = runs.read_json(probed_run / "run.json")  # not this checkout, which only found the run
    assert found.made_by == (about["started"][:10], about["commit"][:12])
    assert any(row["right"] for row in found.probes) and not all(row["right"] for row in found.probes)


def test_a_run_of_other_settings_or_half_a_run_is_not_taken(tmp_path: Path) -> None:
    assert kept(tmp_path, SETTINGS) is None
    (tmp_path / "run.json").write_text('{"figures": {"sett')
    assert kept(tmp_path, SETTINGS) is None
    runs.write_json(tmp_path / "run.json", {"figures": {"settings": SETTINGS}})
    assert kept(tmp_path, SETTINGS | {"rounds": 9}) is None


def test_seeds_are_counted_one_by_one() -> None:
    ladder: model_sizes.Ladder = {
        ("0.2m", "few-shot"): [made_up(20), made_up(20)],
        ("0.2m", "STaR"): [made_up(20), made_up(25)],
        ("4m", "few-shot"): [made_up(20), made_up(40)],
        ("4m", "STaR"): [made_up(200), made_up(41)],
    }
    found = model_sizes.bootstraps(ladder)
    assert found["smallest"] == "4m"
    assert [(row["size"], row["bootstrapped"], row["seeds"]) for row in found["by_size"]] == [
        ("0.2m", 0, [1, 1]),
        ("4m", 1, [1, 1]),
    ]
    assert found["by_size"][1]["by_seed"] == [0.5, 0.1025]


def test_costs_are_means_and_runs_are_counted_by_day_and_commit() -> None:
    pair = [made_up(10), made_up(30)]
    assert arms.mean([each.cost for each in pair]) == {"rounds": 3.0, "seconds": 20.0}
    assert arms.made([each.made_by for each in pair]) == [{"date": "2026-01-01", "commit": "abc", "runs": 2}]


def test_collecting_runs_nothing_and_leaves_half_finished_seeds_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrote: list[Any] = []
    there = {("1m", arm, 0) for arm in model_sizes.ARMS} | {("1m", "STaR", 1), ("4m", "few-shot", 0)}
    monkeypatch.setattr(model_sizes, "result_path", lambda name, **_: tmp_path / f"{name}.json")
    monkeypatch.setattr(model_sizes, "run_arm", lambda *_: pytest.fail("a run was started"))
    monkeypatch.setattr(
        model_sizes, "kept", lambda _, s: made_up(5) if (s["size"], s["arm"], s["seed"]) in there else None
    )
    monkeypatch.setattr(
        model_sizes, "write", lambda ladder, _: wrote.append({key: len(each) for key, each in ladder.items()})
    )
    monkeypatch.setattr("sys.argv", ["model_sizes.py", "--collect"])
    model_sizes.main()
    assert wrote == [{("1m", arm): 1 for arm in model_sizes.ARMS}]
    there.clear()
    with pytest.raises(InputError, match="no finished run"):
        model_sizes.main()
