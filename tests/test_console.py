"""The table of a run: widths, half-widths, and what is said of a small selection split and of a run that made things worse."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from star.console import RoundTable, command, with_half_width
from star.recipe import parse_recipe

SLICES = [f"{n} digit{'s' if n > 1 else ''}" for n in range(1, 6)]


def make_table(run_dir: Path) -> RoundTable:
    selection = [SimpleNamespace(slice=name) for name in SLICES * 19]
    setup: Any = SimpleNamespace(
        run_dir=run_dir,
        task=SimpleNamespace(name="addition", accept="strict"),
        parameters=200_000,
        train=selection,
        selection=selection,
        test=selection,
        skipped={},
    )
    return RoundTable(parse_recipe({"evaluation": {"selection_size": 200}}, "test"), setup, "scripted")


def line(number: int, accuracy: float) -> dict[str, Any]:
    slices = {name: {"n": 1000, "correct": int(1000 * accuracy), "sound": 0} for name in SLICES}
    data = {"generated": 10_000, "rationalized": 10_000, "dropped": {"verdict": 10_000}, "kept_sound": 1.0}
    seconds = {"sampling": 1000.0, "training": 1000.0, "evaluation": 100.0}
    selection: dict[str, Any] = {"n": 5000, "correct": int(5000 * accuracy), "accuracy": accuracy}
    selection |= {"low": accuracy, "high": accuracy, "slices": slices, "strict": 2500, "lenient": 5000}
    return {"round": number, "selection": selection, "data": data, "seconds": seconds}


def test_a_share_with_half_of_its_interval() -> None:
    assert [with_half_width(97, 100), with_half_width(5_000, 5_000), with_half_width(0, 3)] == ["97±4", "100±0", "0±28"]


def test_rows_have_an_interval_by_digit_length_and_fit_120_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = make_table(tmp_path)
    shown = capsys.readouterr().out
    assert "has 95 problems instead of evaluation.selection_size 200" in " ".join(shown.split())
    table.row(line(1, 1.0))
    *_, head, row = capsys.readouterr().out.splitlines()
    assert len(head) == len(row) <= 120 and row.count("100±0") == 5 and "5d" in head
    assert head.split()[:3] == ["round", "accuracy", "lenient"] and row.split()[2] == "100.0"


@pytest.mark.parametrize("worse", [False, True])
def test_a_run_that_made_the_model_worse_says_so(
    worse: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line(0, 0.5), line(1, 0.25 if worse else 0.75)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    test = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 10, "sound_of_correct": None}
    make_table(tmp_path).finish({"chosen_round": 1, "select_on": "selection", "test": test}, [])
    words = "worse than the base model on the selection split: 25.0 % against 50.0 %"
    assert (words in " ".join(capsys.readouterr().out.split())) is worse


def test_a_command_is_shown_as_one_types_it_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command("star-report") == "star-report"
    monkeypatch.chdir(tmp_path)
    assert command("star-report") == ".venv/bin/star-report"
    (tmp_path / "star-report").touch(mode=0o755)
    assert command("star-report") == "star-report"
