"""Results: the pages are rendered from the files, quoted figures exist, and what writes and runs benchmarks is right."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import common, grading, human_labels, render, run_all
from benchmarks.headlines import HEADLINES, Headline
from star.statistics import wilson

ROOT = Path(__file__).resolve().parent.parent


def test_pages_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert render.main(["--check"]) == 0, capsys.readouterr()


def test_every_result_says_where_it_comes_from() -> None:
    for path in render.result_files(common.RESULTS):
        result = common.read_result(path)
        for field in ("commit", "date", "command", "hardware", "versions", "figures"):
            assert result.get(field), f"{path.name} has no {field}"
        assert result["quick"] is False, f"{path.name} was written by --quick"
        assert result["name"] == path.name.split(".")[0]
        assert path.name.endswith(".cuda.json") == (result["device"] == "cuda")


UNMARKED = {
    *("95", "5", "1", "6", "10", "0.2M"),  # 95 %, 1 to 5 and 6 to 10 digits, the embedded model
    *(".936", ".72-.88"),  # published, with their sources in the text of analysis and in benchmarks/recovery.py
    *("28", "4.4", "4", "1.1", "84", "238", "6B", "175B"),  # sizes of models, in thousands or millions
    *("100", "16", "8", "1,000", "256", "30,000", "300,000", "1M"),  # of what, not how much
}
"""Numbers of README.md's section of results that no script measures; every other one has to stand in a mark."""


def test_every_measured_figure_of_the_readme_is_marked() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## What has been measured") : text.index("## On your own data")]
    plain = re.sub(r"`[^`]*`|\]\([^)]*\)|\(https?:[^)]*\)", "", render.MARK.sub("", section))
    numbers = set(re.findall(r"(?<![A-Za-z0-9])[.\d][\d.,]*(?:-[.\d]+)?[BM]?(?<![.,])", plain)) - {".", ","}
    assert not (numbers - UNMARKED), "put these in `<!-- result: ... -->` marks, or say in UNMARKED why no script gives them"


def test_hand_written_cases_are_graded_as_the_committed_figures_say() -> None:
    """A changed grader or a new case makes grading.json old: run python benchmarks/grading.py again."""
    known = common.read_result(common.RESULTS / "grading.json")["figures"]["hand_written"]
    texts = grading.hand_written()
    for name in ("star, strict", "star, lenient", "last number"):
        now = grading.measure(grading.graders()[name], texts)
        old = known[name]
        counts = ("n", "wrong_accepted", "of_wrong", "right_refused", "of_right")
        assert {key: now[key] for key in counts} == {key: old[key] for key in counts}, name


def test_exact_checkers_find_what_the_committed_figures_say(data_dir: Path) -> None:
    """A changed checker makes human_labels.json old: run python benchmarks/human_labels.py again."""
    known = common.read_result(common.RESULTS / "human_labels.json")["figures"]["exact"]
    now = human_labels.exact(None, resamples=20)
    assert {task: each["accuracy"].value for task, each in now.items()} == pytest.approx(
        {task: each["accuracy"]["value"] for task, each in known.items()}, abs=1e-5
    )


@pytest.fixture
def results(tmp_path: Path) -> Path:
    figures = {
        "accuracy": wilson(80, 100),
        "seconds": 0.123456789,
        "sizes": {"0.2m": {"right": 0.5, "n": 40}, "1m": {"right": 0.75, "n": 40}},
        "rows": [{"way": "a|b", "rate": 12345.6}, {"way": "c", "rate": None}],
        "deep": {"er": {"value": 0.5, "low": None, "high": None, "n": 1}},
    }
    common.write_result("grading", figures, quick=False, seeds=[0, 1], folder=tmp_path)
    (tmp_path / "curve.json").write_text("[1, 2]")  # a benchmark's other file: not a result
    return tmp_path


def test_envelope_holds_provenance_and_plain_numbers(results: Path) -> None:
    result = common.read_result(results / "grading.json")
    assert result["figures"]["seconds"] == 0.123457 and result["seeds"] == [0, 1]
    assert result["figures"]["accuracy"]["n"] == 100
    assert result["hardware"]["cores"] >= 1 and result["versions"]["python"]
    assert str(ROOT) not in json.dumps(result)  # nothing about this machine's folders


def test_tidy_makes_json_of_numpy_and_of_what_json_cannot_hold() -> None:
    content = {"a": np.float64(1 / 3), "b": [np.int64(3), math.nan, math.inf], 4: np.array([True]), "c": None}
    assert common.tidy(content) == {"a": 0.333333, "b": [3, None, None], "4": [True], "c": None}


def test_quick_and_gpu_results_are_kept_apart() -> None:
    paths = {common.result_path("x", quick=q, device=d) for q in (False, True) for d in ("cpu", "cuda")}
    assert len(paths) == 4
    ignored = subprocess.run(
        ["git", "check-ignore", "-q", str(common.result_path("x", quick=True))], cwd=ROOT, check=False
    )
    assert ignored.returncode in (0, 128)  # 128: not a git checkout


def test_page_holds_every_figure_as_a_table(results: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("- 2026-01-01. It did not work.\n")
    text = render.page(results, notes)
    assert "0.8 [0.7112, 0.8666] n=100" in text
    assert "|  | right | n |" in text and "| 0.2m | 0.5 | 40 |" in text
    assert "| a\\|b | 12,346 |" in text and "| c | - |" in text
    assert "It did not work." in text and "seeds 0, 1" in text and "curve" not in text


@pytest.mark.parametrize(
    ("mark", "shown"),
    [
        ("grading accuracy", "0.8 [0.7112, 0.8666]"),
        ("grading accuracy @ .1%", "80.0% [71.1%, 86.7%]"),
        ("grading accuracy.value @ .2f", "0.80"),
        ("grading sizes.0.2m.right", "0.5"),
        ("grading rows.0.rate @ ,.0f", "12,346"),
        ("grading rows[way=a|b; rate=12345.6].rate @ ,.0f", "12,346"),
        ("grading deep.er", "0.5"),
    ],
)
def test_quoted_figures_are_filled_in(results: Path, mark: str, shown: str) -> None:
    text = f"It is <!-- result: {mark} -->old<!-- /result --> now."
    filled = render.fill(text, results)
    assert filled == f"It is <!-- result: {mark} -->{shown}<!-- /result --> now."
    assert render.fill(filled, results) == filled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- result: nothing a -->1<!-- /result -->", "there is no benchmarks/results/nothing.json"),
        ("<!-- result: grading accuracy.median -->1<!-- /result -->", "holds no such figure"),
        ("<!-- result: grading sizes -->1<!-- /result -->", "holds no such figure"),
        ("<!-- result: grading rows.9.rate -->1<!-- /result -->", "holds no such figure"),
        ("<!-- result: grading rows[way=d].rate -->1<!-- /result -->", "holds no such figure"),
        ("<!-- result: grading seconds @ .1q -->1<!-- /result -->", "Unknown format code"),
        ("<!-- result: grading seconds -->1", "only 0 are whole"),
    ],
)
def test_a_figure_that_no_result_holds_is_an_error(results: Path, text: str, message: str) -> None:
    with pytest.raises(render.StaleError, match=message):
        render.fill(text, results)


def test_headlines_name_figures_that_results_hold() -> None:
    assert set(HEADLINES) <= set(render.QUESTIONS)
    for path in render.result_files(common.RESULTS):
        result = common.read_result(path)
        for shown in HEADLINES.get(result["name"], ()):
            lines = render.headline(result["figures"], shown)
            assert len(lines) > 4, f"{path.name} holds nothing of the table {shown.caption!r}"


def test_a_headline_picks_rows_columns_and_formats() -> None:
    figures = {"arms": {"one_arm": {"right": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}}, "no figures": {}}}
    shown = Headline("Arms", "arms", {"answers right": "right @ .1%", "nothing": "absent"}, "arm")
    text = "\n".join(render.headline(figures, shown))
    assert "| one arm | 50.0% [40.0%, 60.0%] |" in text and "nothing" not in text and "no figures" not in text
    assert render.headline({}, shown) == []
    with pytest.raises(render.StaleError, match="names no single figure"):
        render.headline({"arms": {"a": {"right": {"value": 0.5, "n": 3}}}}, shown)


def test_check_notices_a_stale_page(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    (root / "benchmarks").mkdir(parents=True)
    (root / "README.md").write_text("<!-- result: grading seconds @ .2f -->9<!-- /result -->")
    monkeypatch.setattr(render, "ROOT", root)
    monkeypatch.setattr(render, "page", lambda: "generated")
    monkeypatch.setattr(render.fill, "__defaults__", (results,))
    assert render.main(["--check"]) == 1 and not (root / "benchmarks" / "README.md").exists()
    assert render.main([]) == 0 and render.main(["--check"]) == 0
    assert "0.12" in (root / "README.md").read_text()


def test_all_scripts_are_found_and_helpers_are_not() -> None:
    found = run_all.scripts()
    assert "human_labels" in found and not {"common", "render", "run_all", "evaluation"} & set(found)


def test_run_all_resumes_and_a_failure_does_not_stop_the_rest(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, status in (("good", 0), ("bad", 3), ("last", 0)):
        code = f"import sys; print('ran {name}', *sys.argv[1:]); sys.exit({status})\n"
        (tmp_path / f"{name}.py").write_text(code)
    state, names = tmp_path / "state.json", ["good", "bad", "last"]
    monkeypatch.setattr(run_all, "commit", lambda: "abc")
    assert run_all.run_all(names, ["--quick"], state, again=False, folder=tmp_path) == 1
    first = capfd.readouterr().out
    assert "ran good --quick" in first and "ran last" in first and "bad: FAILED, status 3" in first
    (tmp_path / "bad.py").write_text("print('ran bad')")
    assert run_all.run_all(names, ["--quick"], state, again=False, folder=tmp_path) == 0
    second = capfd.readouterr().out
    assert "ran bad" in second and "ran good" not in second and "good: done before" in second
    assert run_all.run_all(["good"], ["--quick"], state, again=True, folder=tmp_path) == 0
    assert "ran good" in capfd.readouterr().out
    monkeypatch.setattr(run_all, "commit", lambda: "abc-dirty")
    for _ in range(2):  # what else has changed since does not show
        assert run_all.run_all(["good"], ["--quick"], state, again=False, folder=tmp_path) == 0
        assert "ran good" in capfd.readouterr().out


def test_unknown_benchmark_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_all.main(["--only", "grdaing"]) == 1
    assert "no benchmark for cpu called grdaing" in capsys.readouterr().err


def test_scripts_start_from_the_command_line() -> None:
    for name in ("render", "run_all"):
        command = [sys.executable, f"benchmarks/{name}.py", "--help"]
        assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
