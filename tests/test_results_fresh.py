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
from star.statistics import wilson

ROOT = Path(__file__).resolve().parent.parent


def test_pages_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert render.main(["--check"]) == 0, capsys.readouterr()


def test_every_result_says_where_it_comes_from() -> None:
    for path in sorted(common.RESULTS.glob("*.json")):
        result = common.read_result(path)
        for field in ("commit", "date", "command", "hardware", "versions", "figures"):
            assert result.get(field), f"{path.name} has no {field}"
        assert result["quick"] is False, f"{path.name} was written by --quick"
        assert result["name"] == path.name.split(".")[0]
        assert path.name.endswith(".cuda.json") == (result["device"] == "cuda")


UNMARKED = {
    *("95", "5", "1", "6", "10", "11", "0.2M"),  # 95 %, 1 to 5, 6 to 10 and 11 digits, the embedded model
    *(".936", ".72-.88"),  # published, with their sources in the text of analysis and in benchmarks/recovery.py
    *("175B", "135M", "0.03M", "4M"),  # sizes of models
    *("100", "200", "16", "100,000"),  # of what, not how much
}
"""Numbers of README.md's section of results that no script measures; every other one has to come from a result file."""


def test_no_measured_figure_of_the_readme_is_typed() -> None:
    text = (render.TEMPLATES / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## What has been measured") : text.index("## Where things are")]
    plain = re.sub(r"`[^`]*`|\]\([^)]*\)|\(https?:[^)]*\)", "", re.sub(r"{{.*?}}|{%.*?%}|^.+: \S+ @ \S+$", "", section, flags=re.M))
    numbers = set(re.findall(r"(?<![A-Za-z0-9])[.\d][\d.,]*(?:-[.\d]+)?[BM]?(?<![.,])", plain)) - {".", ","}
    assert not (numbers - UNMARKED), "write these as {{ figure(...) }}, or say in UNMARKED why no script gives them"


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
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    figures = {
        "accuracy": wilson(80, 100),
        "seconds": 0.123456789,
        "sizes": {"0.2m": {"right": 0.5, "n": 40}, "1m": {"right": 0.75, "n": 40}},
        "rows": [{"way": "a|b", "rate": 12345.6}, {"way": "c", "rate": None}],
        "deep": {"er": {"value": 0.5, "low": None, "high": None, "n": 1}},
    }
    common.write_result("grading", figures, quick=False, seeds=[0, 1])
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


def rendered(text: str, folder: Path) -> str:
    """A template's text, filled in from `folder`."""
    template = folder / "template.md"
    template.write_text(text)
    return render.page(template, folder)


@pytest.mark.parametrize(
    ("quoted", "shown"),
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
def test_quoted_figures_are_filled_in(results: Path, quoted: str, shown: str) -> None:
    assert rendered(f'It is {{{{ figure("{quoted}") }}}} now.\n', results) == f"It is {shown} now.\n"


@pytest.mark.parametrize(
    ("quoted", "message"),
    [
        ("nothing a", "nothing.json holds no such figure"),
        ("grading accuracy.median", "holds no such figure"),
        ("grading sizes", "names no single figure but 0.2m, 1m"),
        ("grading rows", "names no single figure"),
        ("grading rows.9.rate", "holds no such figure"),
        ("grading rows[way=d].rate", "holds no such figure"),
        ("grading seconds @ .1q", "Invalid format specifier|Unknown format code"),
    ],
)
def test_a_figure_that_no_result_holds_is_an_error(results: Path, quoted: str, message: str) -> None:
    with pytest.raises(render.StaleError, match=message):
        rendered(f'{{{{ figure("{quoted}") }}}}', results)


TABLE = (
    '{% for r in results("grading") %}{% call r.table("Sizes", "sizes", key="size", only=["1m", "4m"]) %}\n'
    "answers right: COLUMN\nnothing: absent\n{% endcall %}{{ r.source() }}{% endfor %}"
)


def test_a_table_has_the_rows_columns_and_formats_asked_for(results: Path) -> None:
    text = rendered(TABLE.replace("COLUMN", "right @ .1%"), results)
    assert "**Sizes**\n\n| size | answers right |\n| --- | --- |\n| 1m | 75.0% |\n" in text
    assert "nothing" not in text and "0.2m" not in text and "seeds 0, 1" in text


def test_a_table_that_a_result_does_not_fill_is_an_error(results: Path) -> None:
    with pytest.raises(render.StaleError, match=r"grading\.json holds nothing of the table 'Sizes'"):
        rendered(TABLE.replace("COLUMN", "wrong"), results)
    assert rendered(TABLE.replace("grading", "not_run"), results) == ""


def test_check_notices_a_stale_page(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    (root / "templates").mkdir(parents=True)
    (root / "templates" / "README.md").write_text('{{ figure("grading seconds @ .2f") }}')
    monkeypatch.setattr(render, "ROOT", root)
    monkeypatch.setattr(render, "TEMPLATES", root / "templates")
    monkeypatch.setattr(render.page, "__defaults__", (results,))
    assert render.main(["--check"]) == 1 and not (root / "README.md").exists()
    assert render.main([]) == 0 and render.main(["--check"]) == 0
    assert (root / "README.md").read_text() == "0.12"


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


def test_scripts_start_from_the_command_line() -> None:
    for name in ("render", "run_all"):
        command = [sys.executable, f"benchmarks/{name}.py", "--help"]
        assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
