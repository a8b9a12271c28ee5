"""Every page in every state: a whole run, a run cut off, one without analysis, an empty folder, a plain file, an odd link."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from analysis.rationales import table_reading
from analysis.rationales.records import Record, write_records
from analysis.rationales.table_reading import load_table
from analysis.sources import Source
from tests.app_factory import PAGES, ROOT, healthy, words
from tests.run_factory import make_run

QUESTIONS = {
    "runs": "Does it learn?",
    "rationales": "Which are right for the wrong reason?",
    "faithfulness": "Does the model use its reasoning?",
    "compare": "What changed, and for whom?",
    "label": "Is the automatic score to be trusted?",
}
ODD_LINKS: dict[str, list[dict[str, str]]] = {
    "runs": [{"run": "../../etc", "slice": "<b>"}],
    "rationales": [
        {"run": "/etc", "cell": "<script>", "id": "no such", "sort": "x", "judge": "x"},
        {"fewest": "99999999999", "most": "-3", "cut": "abc", "words": "(" * 300, "round": "\x00", "check": "'"},
        {"cut": "--5", "fewest": "--5", "most": "-", "problem": "--1"},
    ],
    "faithfulness": [{"id": "no such", "probed": "x", "at": "99", "scope": "x"}],
    "compare": [{"problem": "-9", "arms": "a|b", "change": "x"}, {"problem": "--1"}],
    "label": [{"tab": "rank", "who": "../x", "picked": "9912", "ask": "x"}, {"tab": "x", "blind": "maybe", "id": "x"}],
}


@pytest.mark.parametrize("page", ["rationales", "label"])
def test_an_empty_file_is_called_so(page: str, open_app: Any, tmp_path: Path) -> None:
    (tmp_path / "nothing.jsonl").write_text("")
    said = words(healthy(open_app(page, "--records", str(tmp_path / "nothing.jsonl"))))
    assert "holds no rationale." in said and "first round" not in said


@pytest.mark.parametrize("page", PAGES)
def test_a_whole_run(open_app: Any, whole: Path, page: str) -> None:
    app = healthy(open_app(page, "--root", str(whole.parent)))
    assert app.title[0].value == QUESTIONS[page]
    assert page != "runs" or any('"training rows"' in table.proto.columns for table in app.dataframe)  # 2,000, not 2000
    assert page == "compare" or not [code.value for code in app.code if code.value.startswith("python -m")]
    assert whole.name.rpartition("-")[2] not in "".join(
        line for line in words(app).splitlines() if "python" not in line
    )


@pytest.mark.parametrize("page", PAGES)
def test_a_run_cut_off_and_not_analysed(open_app: Any, tmp_path: Path, page: str) -> None:
    run = make_run(tmp_path, rounds=1, problems=9, finished=False, analysis=False, probes=False)
    app = healthy(open_app(page, "--root", str(tmp_path)))
    commands = [code.value for code in app.code]
    if page == "rationales":
        assert f"python -m analysis.score {run}" in commands
    if page == "faithfulness":
        assert commands == [f"python -m analysis.probe {run}"]
    if page == "runs":
        assert "Still going: round 1 of 1 is done" in words(app)


def test_a_run_that_stopped_says_how_to_go_on(open_app: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=9, finished=False)
    for file in [run, *run.rglob("*")]:
        os.utime(file, (1, 1))
    app = healthy(open_app("runs", "--root", str(tmp_path)))
    assert f"python -m star.train {run}/recipe.yaml" in [code.value for code in app.code]


@pytest.mark.parametrize("page", PAGES)
def test_a_run_that_has_only_begun(open_app: Any, tmp_path: Path, page: str) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "recipe.yaml").write_text("name: begun\n", encoding="utf-8")
    healthy(open_app(page, "--root", str(tmp_path)))


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_folder_names_the_next_command(open_app: Any, tmp_path: Path, page: str) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        app = healthy(open_app(page, "--root", str(folder)))
        assert [code.value for code in app.code] == ["make train", "rationale-app --records FILE"]


@pytest.mark.parametrize("page", PAGES)
def test_a_plain_file(open_app: Any, tmp_path: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_reading, "SMALL_FILE", 0)
    path = tmp_path / "theirs.jsonl"
    records = [
        Record(f"{model}{i}", question=f"{i} + 1?", steps=(f"{i} + 1 = {i + off}", f"{model} says so"), answer=str(i + off),
               gold=str(i + 1), answer_correct=off == 1, sound=off == 1, task="sums", generator=model)
        for i in range(6) for model, off in (("small", i % 2 + 1), ("middle", 1), ("large", 1))
    ]  # fmt: skip
    write_records(path, records)
    app = healthy(open_app(page, "--records", str(path)))
    shown = words(app)
    if page == "runs":
        assert app.title[0].value == "What is in this file?"
    if page == "rationales":
        assert f"python -m analysis.score {path} -o {tmp_path / 'theirs.scores.parquet'}" in shown
        assert "human labels in the file" in shown
    if page == "compare":
        assert "only large right: **3**" in shown and "only small right: **0**" in shown and "broke" not in shown


@pytest.mark.parametrize("page", ["runs", "rationales", "label"])
def test_pages_link_to_each_other_when_the_installed_command_starts_the_app(
    tmp_path: Path, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_records(tmp_path / "theirs.jsonl", [Record("a", question="1 + 1?", steps=("1 + 1 = 2",), answer="2", gold="2")])
    monkeypatch.setattr(sys, "argv", ["main.py", "--records", str(tmp_path / "theirs.jsonl")])
    app = AppTest.from_file(str(ROOT / "analysis" / "pages" / "main.py"), default_timeout=60).run()
    app.switch_page(f"{page}.py").query_params["blind"] = "False"
    assert healthy(app.run()).get("page_link")


@pytest.mark.parametrize("page", PAGES)
def test_a_file_that_is_none_gives_a_sentence(open_app: Any, tmp_path: Path, page: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("nothing at all\n", encoding="utf-8")
    app = healthy(open_app(page, "--records", str(path)))
    assert page == "faithfulness" or "holds no rationale" in app.error[0].value


def test_a_link_to_what_is_not_there_says_so(open_app: Any, whole: Path) -> None:
    for page in ("rationales", "faithfulness", "label"):
        app = healthy(open_app(page, "--root", str(whole.parent), id="gone", run="gone"))
        assert "The rationale that this link names is not here" in words(app)
        assert "The run that this link names is not here" in words(app)
        assert "is not here" not in words(healthy(open_app(page, "--root", str(whole.parent), run=whole.name)))


@pytest.mark.parametrize("page", PAGES)
def test_links_of_any_shape_are_survived(open_app: Any, whole: Path, page: str) -> None:
    for asked in ODD_LINKS[page]:
        healthy(open_app(page, "--root", str(whole.parent), **asked))


@pytest.mark.parametrize("page", PAGES)
def test_hostile_text_stays_text(open_app: Any, tmp_path: Path, page: str) -> None:
    run = make_run(tmp_path, name="hostile", rounds=2, problems=9, hostile=True)
    table = load_table(Source("run", run, run.name))
    rows = [row for row in range(len(table)) if "onerror" in str(table.texts.get("question", row))]
    app = healthy(open_app(page, "--root", str(tmp_path), id=str(table.frame["id"].iat[rows[0]]), problem="1"))
    for element in app.get("html"):
        assert "<script" not in element.proto.body and "<img" not in element.proto.body
        assert not element.proto.unsafe_allow_javascript
    for kind in ("markdown", "caption", "info", "warning", "error", "title", "subheader"):
        for element in app.get(kind):
            assert not getattr(element, "allow_html", False)
            assert "<script" not in str(element.value) and "<b>" not in str(element.value)
