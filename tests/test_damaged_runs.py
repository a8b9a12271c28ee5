"""A run directory that somebody sends, damaged in every way of `tests/damage.py`: a sentence, never a traceback.

Each kind of damage is read by two of the readers below, in turn, and by the app's tables; all readers and pages read a sample.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from analysis import charts, compare, export, probe, score
from analysis.faithfulness.sources import SourceError
from analysis.memory import Memory, MemoryFileError
from analysis.rationales.table_reading import load_table
from analysis.sources import list_runs, run_labels
from star import report, statistics, train
from star.run import Run, RunError
from tests.damage import DAMAGE, SMALL, TABLES
from tests.run_factory import make_run

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("runs", "rationales", "faithfulness", "compare", "label")
IDS = [f"{file}: {how}" for file, how, _ in DAMAGE]
SAMPLE = [
    ("run.json", "skipped rows are a list"), ("metrics.jsonl", "a line 5"), ("recipe.yaml", "loop is list"),
    ("result.json", "chosen_round is null"), ("analysis/probes.json", "rounds are no object"),
    ("round_01/evaluation.parquet", "column 0 of nulls"), ("analysis/soundness.parquet", "another schema"),
    ("problems.parquet", "choices are {x"), ("analysis/probes.parquet", "a link out of the run"),
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("whole"), rounds=1, problems=5, samples=2)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("other"), rounds=1, problems=5, samples=2, seed=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures, few resamples, and no model: what is read from the run is read before."""

    def no_model(*_: object) -> None:
        raise SourceError("no model here")

    for resampled in (statistics.bootstrap, statistics.bootstrap_mean):
        monkeypatch.setattr(resampled, "__defaults__", (None, 0, 20))
    monkeypatch.setattr(charts, "save", lambda chart, path, **_: path)
    monkeypatch.setattr(export, "image", lambda chart: "")
    monkeypatch.setattr("star.setup.resolve_model", no_model)


def damaged(whole: Path, folder: Path, file: str, change: Callable[[Path], None]) -> Path:
    run = folder / "runs" / whole.name
    shutil.copytree(whole, run)
    change(run / file)
    return run


def dry_run(run: Path) -> int:
    return train.main([str(run / "recipe.yaml"), "--dry-run"])


def readers(other: Path) -> list[Callable[[Path], Any]]:
    return [
        lambda run: report.main([str(run), "--slices"]),
        lambda run: export.main([str(run), "-o", str(run.parents[1] / "page.html")]),
        lambda run: score.main([str(run)]),
        lambda run: probe.main([str(run)]),
        lambda run: report.main([str(run), str(other), "--compare", "--format", "json"]),
        lambda run: compare.main([str(run), str(other), "-o", str(run.parents[1] / "comparison")]),
        dry_run,
    ]


def tables(run: Path) -> None:
    """What the app reads before it draws."""
    for source in list_runs(run.parent):
        run_labels([source])
        table = load_table(source)
        for row in range(len(table)):
            table.rationale(row)


@pytest.mark.parametrize("place", range(len(DAMAGE)), ids=IDS)
def test_every_damage_ends_in_a_sentence(
    place: int, whole: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, _, change = DAMAGE[place]
    run = damaged(whole, tmp_path, file, change)
    tables(run)
    every = readers(other)
    turn = place % len(every)
    for read in (every[0], every[1 + turn % (len(every) - 1)]):
        status = read(run)
        said = capsys.readouterr()
        assert status in (0, 1) and "Traceback" not in said.err
        assert status == 0 or said.err.strip()


@pytest.mark.parametrize(("file", "how"), SAMPLE, ids=[f"{file}: {how}" for file, how in SAMPLE])
def test_every_command_and_page_reads_a_sample(
    file: str, how: str, whole: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = next(change for name, what, change in DAMAGE if (name, what) == (file, how))
    run = damaged(whole, tmp_path, file, change)
    for read in readers(other):
        assert read(run) in (0, 1)
    monkeypatch.setattr(sys, "argv", ["app.py", "--root", str(run.parent)])
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    for page in PAGES:
        shown = app if page == "runs" else app.switch_page(f"analysis/pages/{page}.py").run()
        assert not shown.exception, f"{page}: {shown.exception[0].message}"


def test_the_list_is_long_and_every_file_is_on_it() -> None:
    assert len(DAMAGE) > 315 and {file for file, _, _ in DAMAGE} == {*SMALL, *TABLES}


def test_damage_is_named_with_its_file_and_what_to_do(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = damaged(whole, tmp_path, "result.json", lambda path: path.write_text('{"chosen_round": null, "test": {}}'))
    assert report.main([str(run)]) == 1
    said = capsys.readouterr().err
    assert f"{run}/result.json cannot be read: chosen_round: it should be a valid integer (found None)" in said
    assert "Delete it and run the run's command again" in said


@pytest.mark.parametrize("line", ["5", r'{"round": 6, "selection": {"n": 1, "correct": 1}, "data": {"dropped": {"\ud800": 1}}}'])
def test_one_damaged_line_costs_one_round(line: str, whole: Path, tmp_path: Path) -> None:
    def change(path: Path) -> None:
        path.write_text(f"{line}\n{path.read_text()}" + '{"round": 7, "sel')

    run = Run(damaged(whole, tmp_path, "metrics.jsonl", change))
    assert [line["round"] for line in run.rounds] == [0, 1]
    assert len(run.damage) == 1 and "metrics.jsonl, line 1 is left out" in run.damage[0]


def test_nothing_behind_a_link_is_read_or_written(whole: Path, tmp_path: Path) -> None:
    run = damaged(whole, tmp_path, "analysis/probes.json", lambda path: None)
    outside = tmp_path / "outside"
    shutil.move(run / "analysis", outside)
    (run / "analysis").symlink_to(outside, target_is_directory=True)
    before = {path: path.stat().st_mtime_ns for path in outside.iterdir()}
    with pytest.raises(RunError, match="leads out of the run directory"):
        Run(run).scores()
    assert score.main([str(run)]) == 1
    assert before == {path: path.stat().st_mtime_ns for path in outside.iterdir()}


def test_nothing_is_written_through_a_link_below_analysis(whole: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    run = damaged(whole, tmp_path, "analysis/comparison", lambda path: path.symlink_to(outside))
    (run / "analysis" / "answers.sqlite").symlink_to(outside / "answers.sqlite")
    assert compare.main([str(run), "--by", "round"]) == 1
    with pytest.raises(MemoryFileError, match="is a link"):
        Memory(run / "analysis" / "answers.sqlite").keep({b"key": 1})
    assert not [*outside.iterdir()]


def test_a_half_finished_run_has_its_last_finished_round(tmp_path: Path) -> None:
    run = Run(make_run(tmp_path, rounds=2, problems=5, finished=False, probes=False, analysis=False))
    os.truncate(run.path / "round_02" / "attempts.parquet", 10)
    assert (run.chosen_round, run.result, run.scores(), run.probed_rounds()) == (2, None, None, {})
    assert run.evaluated_rounds() == [0, 1, 2] and len(run.evaluation(2)) == 5
    with pytest.raises(RunError, match=r"round_02/attempts\.parquet cannot be read"):
        run.attempts(2)
