"""The static page: self-contained, escaped, and useful on runs that lack something."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from analysis import export
from analysis.soundness.grades import THRESHOLD
from star import run as runs
from tests.run_factory import HOSTILE, make_run


class Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser would see them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def exported(run: Path, tmp_path: Path, *flags: str) -> Page:
    target = tmp_path / "report.html"
    assert export.main([str(run), "-o", str(target), *flags]) == 0
    return Page(target.read_text(encoding="utf-8"))


def test_page_holds_figures_charts_cases_and_needs_no_network(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=2, problems=60)
    page = exported(run, tmp_path)
    assert page.tags.count("img") == 3 and "script" not in page.tags and "link" not in page.tags
    links = [value for name, value in page.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert links and all(link.startswith("data:image/svg+xml;base64,") for link in links)
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in page.attributes
    rows = runs.read_rows(run / "test" / "evaluation.parquet")
    right = [row for row in rows if row["verdict"] == "correct"]
    unsound = [row for row in right if not row["sound"]]
    assert f"Of {len(right)} right answers of the test split, {len(unsound)} rest on unsound" in page.text
    assert f"n = {len(rows)}" in page.text and "95 % interval" in page.text
    assert page.text.count("the carry must be 0, not 7") == 20
    assert "answer differs without reasoning" in page.text  # an effect beside its control, in words
    assert "reasoning in other words" in page.text and "_" not in page.text.partition("its rationale?")[2][:900]
    assert page.text.startswith("addition · 2 Jan 2026")


def test_cases_come_from_the_rounds_where_the_test_has_too_few(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=2, problems=60)
    rows = runs.read_rows(run / "test" / "evaluation.parquet")
    runs.write_parquet(run / "test" / "evaluation.parquet", [row | {"sound": True} for row in rows], runs.ATTEMPTS)
    page = exported(run, tmp_path, "--cases", "5")
    right = sum(row["verdict"] == "correct" for row in rows)
    assert f"Of {right} right answers of the test split, 0 rest on unsound reasoning" in page.text
    solved = right_rows(run, 2)
    unsound = sum(row["sound"] is False for row in solved)
    assert f"Of {len(solved)} other right answers in rounds 0 to 2, {unsound}." in page.text
    assert "5 of the rounds, the most suspicious, are below." in page.text
    assert page.text.count(f"flagged by the score at {THRESHOLD:.2f} (") == 5 and "train split, round " in page.text


def test_further_samples_of_the_test_are_no_answers_of_the_rounds(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=12, samples=2, analysis=False)
    page = exported(run, tmp_path)
    assert f"Of {len(right_rows(run, 1))} other right answers in rounds 0 to 1" in page.text
    assert "by the task's exact check" in page.text and "not judged" not in page.text


def right_rows(run: Path, last: int, *, rationalized: bool = False) -> list[dict[str, Any]]:
    """Right answers that the rounds up to `last` gave, without the hint or with it."""
    files = [file for file in run.glob("round_*/*.parquet") if file.stem in ("attempts", "evaluation")]
    rows = [row for file in files if int(file.parent.name[6:]) <= last for row in runs.read_rows(file)]
    return [row for row in rows if row["verdict"] == "correct" and (row["mode"] == "rationalized") is rationalized]


def test_rounds_after_the_chosen_one_and_shown_answers_are_not_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=2, problems=60)
    result = runs.read_json(run / "result.json")
    runs.write_json(run / "result.json", result | {"chosen_round": 1})
    before, shown = right_rows(run, 1), right_rows(run, 1, rationalized=True)
    assert len(before) < len(right_rows(run, 2)) and shown
    said = exported(run, tmp_path, "--cases", "100").text
    unsound = [sum(row["sound"] is False for row in rows) for rows in (before, shown)]
    assert f"Of {len(before)} other right answers in rounds 0 to 1, {unsound[0]}." in said
    assert f"Of {len(shown)} rationalized ones, which saw the answer, {unsound[1]}." in said


def test_flagged_step_is_the_marked_one(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=2, problems=60)
    target = tmp_path / "report.html"
    export.main([str(run), "-o", str(target), "--cases", "1"])
    (marked,) = re.findall(r"<li class=flag><pre>(.*?)</pre>", target.read_text(encoding="utf-8"))
    unsound = [r for r in runs.read_rows(run / "test" / "evaluation.parquet") if r["sound"] is False]
    assert any(row["rationale"].splitlines()[2] == marked for row in unsound)


@pytest.mark.parametrize("task", ["addition", "gsm8k"])
def test_hostile_text_is_shown_and_never_becomes_markup(tmp_path: Path, task: str) -> None:
    run = make_run(tmp_path, task=task, rounds=2, problems=40, hostile=True, skill=0.9)
    page = exported(run, tmp_path, "--cases", "100")
    assert "script" not in page.tags and "b" not in page.tags and page.tags.count("img") <= 3
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script>alert('x')</script>" in page.text  # as text: a reader sees what the model wrote
    assert "\x00" not in page.text
    assert HOSTILE.split("\x00")[1].strip() in page.text


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ({"finished": False, "analysis": False, "probes": False}, "Unfinished"),
        ({"task": "gsm8k", "analysis": False, "probes": False}, "python -m analysis.score"),
        ({"probes": False}, "python -m analysis.probe"),
        ({"method": "few_shot", "answer_only": True, "probes": False, "analysis": False}, "few-shot direct"),
        ({"select_on": "test"}, "chosen on the test split"),
    ],
)
def test_what_is_missing_or_must_be_known_is_said(tmp_path: Path, plan: dict[str, object], expected: str) -> None:
    assert expected in exported(make_run(tmp_path, rounds=1, problems=15, **plan), tmp_path).text


def test_long_text_is_cut(tmp_path: Path) -> None:
    assert export.readable("x" * 10_000).endswith("x \N{HORIZONTAL ELLIPSIS}") and len(export.readable("x" * 10_000)) < 5_000
    assert export.readable("a\x00b\x1b") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"


def test_a_number_of_cases_below_zero_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, rounds=1, problems=15)
    assert export.main([str(run), "-o", str(tmp_path / "x.html"), "--cases", "-1"]) == 2
    assert "error: --cases -1: expected how many" in capsys.readouterr().err
    assert "most suspicious" not in exported(run, tmp_path, "--cases", "0").text


def test_bad_input_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main([str(tmp_path), "-o", str(tmp_path / "x.html")]) == 1
    assert "neither a run directory nor a file" in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()
