"""Every page in every state: a whole run, a run cut off, one without analysis, an empty folder, a plain file."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from streamlit.testing.v1 import AppTest

from analysis import comparing as comparison
from analysis.faithfulness.rows import row_schema
from analysis.labels import Label, append, label_folder, read_labels
from analysis.pages.faithfulness import commit_steps, probed_steps
from analysis.pages.widgets import changes, text
from analysis.pages.widgets.averages import curve_frame
from analysis.pages.widgets.measures import interval_words, outcome_words
from analysis.pages.widgets.words import DROPPED, NO_REASON, VERDICTS
from analysis.rationales import table_reading
from analysis.rationales.records import Record, write_records
from analysis.rationales.table_reading import load_table
from analysis.sources import Source, source_of
from star import run as runs
from star.problem import Verdict
from star.statistics import EMPTY, wilson
from star.tasks import addition
from tests.probe_factory import write_probes
from tests.run_factory import HOSTILE, make_run

ROOT = Path(__file__).resolve().parent.parent
CURATION = (ROOT / "star" / "curation.py").read_text(encoding="utf-8")
PAGES = ("runs", "rationales", "faithfulness", "compare", "label")
QUESTIONS = {
    "runs": "Does it learn?",
    "rationales": "Which are right for the wrong reason?",
    "faithfulness": "Does the model use its reasoning?",
    "compare": "What changed, and for whom?",
    "label": "Is the automatic score to be trusted?",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("whole"), rounds=2, problems=45)


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open a page of the app on a folder or a record file, at a link."""

    def opened(page: str, *arguments: str, **link: str) -> AppTest:
        monkeypatch.setattr(sys, "argv", ["app.py", *arguments])
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
        for name, value in link.items():
            app.query_params[name] = value
        app.run()
        if page != "runs":
            app.switch_page(f"analysis/pages/{page}.py")
            for name, value in link.items():
                app.query_params[name] = value
            app.run()
        return app

    return opened


def healthy(app: AppTest) -> AppTest:
    assert not app.exception, app.exception[0].message
    return app


def words(app: AppTest) -> str:
    """All text of a page."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error", "success", "code")
    found = [str(element.value) for kind in kinds for element in app.get(kind)]
    found += [button.label for button in app.button] + [bar.proto.text for bar in app.get("progress")]
    return "\n".join([*found, *(element.proto.body for element in app.get("html"))])


def button(app: AppTest, name: str) -> Any:
    """A button of the labelling bar, whose key ends in the number of the turn."""
    return next(each for each in app.button if (each.key or "").rpartition("-")[0] == name)


def link(app: AppTest) -> dict[str, str]:
    return {name: value if isinstance(value, str) else value[0] for name, value in app.query_params.items()}


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


def test_labels_of_people_and_of_programs_are_told_apart(open_app: Any, tmp_path: Path) -> None:
    path = tmp_path / "labelled.jsonl"
    own = {"label_source": "human", "first_error_step": -1}
    made = [own, own | {"first_error_step": 0}, {"label_source": "auto", "first_error_step": 0}, {}]
    write_records(path, [Record(str(i), question=f"{i}?", steps=("so", "so"), **more) for i, more in enumerate(made)])
    table = healthy(open_app("runs", "--records", str(path))).dataframe[0]
    (row,) = table.value.to_dict("records")
    assert (row["unsound by people's labels"], row["unsound by a program's labels"]) == ("1 of 2", "1 of 1")
    assert json.loads(table.proto.columns)["rationales"]["type_config"]["format"] == "localized"  # 1,504
    shown = words(healthy(open_app("rationales", "--records", str(path), id="2")))
    assert "unsound from step 1 (label_source: auto" in shown and "by the label in the file" not in shown


@pytest.mark.parametrize("page", PAGES)
def test_a_file_that_is_none_gives_a_sentence(open_app: Any, tmp_path: Path, page: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("nothing at all\n", encoding="utf-8")
    app = healthy(open_app(page, "--records", str(path)))
    assert page == "faithfulness" or "holds no rationale" in app.error[0].value


def test_one_click_leads_to_a_cell_and_a_second_one_back(open_app: Any, whole: Path) -> None:
    app = healthy(open_app("rationales", "--root", str(whole.parent)))
    frame = app.dataframe[0].value  # it opens on them
    assert set(frame["answer right?"]) == {"right"} and {word for words in frame["reasoning"] for word in words} == {"unsound"}
    healthy(app.button(key="cell-right-sound").click().run())
    assert {word for words in app.dataframe[0].value["reasoning"] for word in words} == {"sound"}
    healthy(app.button(key="cell-right-unsound").click().run())
    assert link(app)["cell"] == "right-unsound" and app.dataframe[0].value.equals(frame)
    assert f"of {len(frame)}" in words(app)
    assert "▲ likeliest wrong step" in words(app) and "the carry must be 0, not 7" in words(app)
    healthy(app.button(key="cell-right-unsound").click().run())
    assert link(app)["cell"] == "all" and len(app.dataframe[0].value) > len(frame)


def test_a_step_that_only_the_fitted_score_doubts_says_so(open_app: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=9)
    file = run / "analysis" / "soundness.parquet"
    scores = pq.read_table(file)
    none = pa.array(["[]"] * len(scores))
    pq.write_table(scores.set_column(scores.schema.get_field_index("flags"), "flags", none), file)
    shown = words(healthy(open_app("rationales", "--root", str(tmp_path), cell="right-unsound")))
    assert shown.count("▲ likeliest wrong step") == 1 and NO_REASON in shown


def test_every_move_carries_the_run(open_app: Any, whole: Path, tmp_path: Path) -> None:
    app = healthy(open_app("rationales", "--root", str(whole.parent)))
    healthy(app.button(key="cell-right-unsound").click().run())
    healthy(app.button(key="cell-right-unsound").click().run())
    assert link(app)["run"] == whole.name
    links = [element.proto.query_string for element in app.get("page_link")]
    assert links and all(f"run={whole.name}" in query for query in links)
    reading = [query for query in links if "cell=right-unsound" in query]
    assert len(reading) == 5  # the three pages about rationales in the bar, and two under the rationale


def test_a_link_to_what_is_not_there_says_so(open_app: Any, whole: Path) -> None:
    for page in ("rationales", "faithfulness", "label"):
        app = healthy(open_app(page, "--root", str(whole.parent), id="gone", run="gone"))
        assert "The rationale that this link names is not here" in words(app)
        assert "The run that this link names is not here" in words(app)
        assert "is not here" not in words(healthy(open_app(page, "--root", str(whole.parent), run=whole.name)))


def test_filters_live_in_the_link(open_app: Any, whole: Path) -> None:
    app = healthy(open_app("rationales", "--root", str(whole.parent), cell="all", id="gone"))
    healthy(app.selectbox(key="w-mode").select("rationalized").run())
    healthy(app.text_input(key="w-words-").set_value("C: 1").run())
    assert "id" not in link(app)  # what is found is shown
    assert {"mode": "rationalized", "words": "C: 1"}.items() <= link(app).items()
    again = healthy(open_app("rationales", "--root", str(whole.parent), **link(app)))
    assert again.dataframe[0].value.equals(app.dataframe[0].value)
    assert again.selectbox(key="w-mode").value == "rationalized"
    assert "The hint that the model was shown" in words(again)


def test_the_keys_walk_through_the_filtered_set(open_app: Any, whole: Path) -> None:
    app = healthy(open_app("rationales", "--root", str(whole.parent), cell="right-unsound"))
    assert button(app, "jump-K").disabled
    healthy(button(app, "jump-J").click().run())
    first = link(app)["id"]
    healthy(button(app, "jump-J").click().run())
    assert link(app)["id"] != first and "3 of " in words(app)
    healthy(button(app, "jump-K").click().run())
    assert link(app)["id"] == first
    healthy(button(app, "jump-X").click().run())
    assert link(app)["cell"] == "right-unsound"


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


@pytest.mark.parametrize("page", PAGES)
def test_links_of_any_shape_are_survived(open_app: Any, whole: Path, page: str) -> None:
    for asked in ODD_LINKS[page]:
        healthy(open_app(page, "--root", str(whole.parent), **asked))


def test_labels_are_stored_at_once_and_shown_after_a_restart(open_app: Any, whole: Path) -> None:
    source = Source("run", whole, whole.name)
    identifier = str(load_table(source).frame["id"].iat[3])
    at = {"id": identifier, "who": "ann", "auto": "False"}
    app = healthy(open_app("label", "--root", str(whole.parent), **at))
    assert "suspected" not in words(app) and "likely" not in words(app)
    app.text_input(key=f"note-{identifier}-").set_value("looks odd").run()
    healthy(button(app, "step-1").click().run())
    found = read_labels(label_folder(source)).latest["ann", identifier]
    assert (found.verdict, found.error_step, found.note, found.blind) == ("unsound", 1, "looks odd", True)
    again = healthy(open_app("label", "--root", str(whole.parent), **at))
    assert "ann says: unsound from step 2" in words(again)
    healthy(button(again, "undo").click().run())
    assert ("ann", identifier) not in read_labels(label_folder(source)).latest


def test_labelling_goes_on_by_itself(open_app: Any, whole: Path) -> None:
    app = healthy(open_app("label", "--root", str(whole.parent), who="quick"))
    for key in ("verdict-sound", "verdict-unsure", "verdict-unsound"):
        healthy(button(app, key).click().run())
    labels = read_labels(label_folder(Source("run", whole, whole.name)))
    assert len([name for name, _ in labels.latest if name == "quick"]) == 3
    assert "has labelled 3 of them" in words(app)


def test_what_each_scorer_said_stands_beside_the_rationale_with_its_status(open_app: Any, tmp_path: Path) -> None:
    path = sums(tmp_path / "sums.jsonl", {"one": range(2)})
    said = ((0.25, "ok"), (None, "too_long"))
    rows = [{"id": f"one{i}", "p_unsound": None, "status": "outside", "judge_p_unsound": p, "judge_status": status,
             "prm_p_unsound": 1.0, "prm_status": "ok"} for i, (p, status) in enumerate(said)]  # fmt: skip
    (tmp_path / "sums.scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shown = words(healthy(open_app("rationales", "--records", str(path), cell="all", id="one0")))
    assert "25 % unsound" in shown and "not judged: outside of what the scorer was validated on" in shown
    shown = words(healthy(open_app("rationales", "--records", str(path), cell="all", id="one1")))
    assert "not judged: longer than the scorer reads" in shown and "100 % unsound" in shown


def test_ranking_hides_the_origin_and_stores_the_order(open_app: Any, tmp_path: Path) -> None:
    path = tmp_path / "three.jsonl"
    records = [Record(m, question="1 + 1?", steps=(f"way {i}",), answer="2", answer_correct=True, generator=m)
               for i, m in enumerate(("tiny", "mid", "huge"))]  # fmt: skip
    write_records(path, records)
    (tmp_path / "three.scores.jsonl").write_text(
        '{"id": "tiny", "p_unsound": 0.1, "first_error_step": -1, "flags": []}\n', encoding="utf-8"
    )
    app = healthy(open_app("label", "--records", str(path), tab="rank", who="ann"))
    assert not {"tiny", "mid", "huge"} & set(words(app).split())
    healthy(button(app, "rank-1").click().run())
    healthy(button(app, "rank-0").click().run())
    ranking = read_labels(tmp_path / "three.labels").rankings["ann", "1 + 1?"]
    assert sorted(ranking.order) == ["huge", "mid", "tiny"] and len(set(ranking.origins)) == 3
    assert "ann has ranked every question" in words(app)
    app = healthy(open_app("label", "--records", str(path), tab="agreement", who="ann"))
    assert [button.proto.label for button in app.get("download_button")] == ["All rankings as CSV"]


def test_a_skipped_question_is_ranked_last_and_is_not_called_ranked(open_app: Any, tmp_path: Path) -> None:
    path = tmp_path / "three.jsonl"
    write_records(path, [
        Record(f"{q}{m}", question=q, steps=(f"way {m}",), answer="2", answer_correct=q != "wrong?", generator=m)
        for q in ("one?", "two?", "wrong?") for m in "abc"
    ])  # fmt: skip
    app = healthy(open_app("label", "--records", str(path), tab="rank", who="ann"))

    def question() -> str:
        return next(q for q in ("one?", "two?", "wrong?") if q in words(app))

    seen = []
    for _ in range(6):  # all three are skipped, and come round again
        seen.append(question())
        healthy(button(app, "skip").click().run())
    assert set(seen[:2]) == {"one?", "two?"} and seen[2] == "wrong?" and seen[:3] == seen[3:]
    asked, (number, shown) = link(app)["ask"], app.session_state["turn"]
    app.session_state["turn"] = (number + 1, shown)  # the server has gone on, and the browser shows what was before
    healthy(button(app, "skip").click().run())
    assert link(app)["ask"] == asked and "It was ignored" in words(app)
    for _ in range(3):
        healthy(button(app, "tie").click().run())
    assert "ann has ranked every question that can be ranked: 3." in words(app)


def test_a_skip_pressed_before_the_rationale_was_on_screen_is_ignored(open_app: Any, tmp_path: Path) -> None:
    path = sums(tmp_path / "sums.jsonl", {"one": range(3)})
    app = healthy(open_app("label", "--records", str(path), who="ann", by_step="False"))
    assert "is this step right?" not in words(app)  # by_step=False is what the switch shows: off
    number, shown = app.session_state["turn"]
    app.session_state["turn"] = (number + 1, shown)
    healthy(button(app, "jump-J").click().run())
    assert not read_labels(tmp_path / "sums.labels").skipped
    assert "It was ignored" in words(app)
    healthy(button(app, "jump-J").click().run())
    assert len(read_labels(tmp_path / "sums.labels").skipped) == 1


def test_a_key_that_is_ignored_does_not_lead_back_to_what_is_labelled(open_app: Any, tmp_path: Path) -> None:
    app = healthy(open_app("label", "--records", str(sums(tmp_path / "sums.jsonl", {"one": range(3)})), who="ann"))
    healthy(button(app, "verdict-sound").click().run())
    (_, first), second = next(iter(read_labels(tmp_path / "sums.labels").latest)), link(app)["id"]
    app.query_params["id"] = first  # the browser's link with the next key, which was pressed before the second was on screen
    number, shown = app.session_state["turn"]
    app.session_state["turn"], app.session_state["went"] = (number + 1, shown), (number + 1, {"id": second})
    healthy(button(app, "verdict-sound").click().run())
    assert link(app)["id"] == second != first and "It was ignored" in words(app)
    healthy(button(app, "verdict-sound").click().run())
    assert "It was ignored" in words(app)  # for a turn more: a key may come before it is drawn
    healthy(button(app, "verdict-sound").click().run())
    assert "It was ignored" not in words(app)


def test_ranking_says_when_answers_may_be_wrong(open_app: Any, tmp_path: Path) -> None:
    path = tmp_path / "three.jsonl"
    wrong = [Record(m, question="1 + 1?", steps=(f"way {i}",), answer="3", answer_correct=False, generator=m)
             for i, m in enumerate(("tiny", "mid", "huge"))]  # fmt: skip
    write_records(path, wrong)
    app = healthy(open_app("label", "--records", str(path), tab="rank", who="ann"))
    assert "answers of this one may be wrong" in words(app)


def test_blind_labelling_says_which_filters_are_off(open_app: Any, whole: Path) -> None:
    asked = {"cell": "right-unsound", "status": "disputed"}
    app = healthy(open_app("label", "--root", str(whole.parent), **asked))
    assert "are off while the score is hidden" in words(app)
    assert "label and judge differ" not in app.selectbox(key="w-status").options
    app = healthy(open_app("label", "--root", str(whole.parent), **asked, blind="False"))
    assert "are off while" not in words(app)
    assert "label and judge differ" in app.selectbox(key="w-status").options


def test_agreement_page_counts_the_labels(open_app: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=30)
    source = Source("run", run, run.name)
    table = load_table(source)
    for row in range(40):
        name, p = str(table.frame["id"].iat[row]), float(table.frame["p_unsound"].iat[row])
        append(label_folder(source), Label(name, "ann", "unsound" if p > 0.5 else "sound", blind=True))
        append(label_folder(source), Label(name, "bob", "sound" if row % 5 else "unsure"))
    app = healthy(open_app("label", "--root", str(tmp_path), tab="agreement", of="ann"))
    shown = words(app)
    assert "100.0 % (91.2 to 100.0), n = 40" in shown and "1.00 (1.00 to 1.00), n = 40" in shown
    assert "People against each other" in shown
    assert len(app.get("download_button")) == 4


def test_imported_labels_are_counted_at_once(open_app: Any, tmp_path: Path) -> None:
    path = tmp_path / "theirs.jsonl"
    write_records(path, [Record(f"r{i}", question=f"{i} + 1?", steps=(f"{i} + 1 = {i + 1}",), answer=str(i + 1)) for i in range(4)])
    app = healthy(open_app("label", "--records", str(path), tab="agreement", who="ann"))
    lines = "".join(f'{{"id": "r{i}", "first_error_step": {i - 1}}}\n' for i in range(3))
    app.file_uploader[0].upload("labels.jsonl", lines.encode(), "application/json").run()
    healthy(next(each for each in app.button if each.label == "Store 3 labels").click().run())
    assert "Stored: 3 labels" in words(app) and "27 more labels needed" in words(app)


def test_fixed_and_broken_questions(open_app: Any, whole: Path) -> None:
    app = healthy(open_app("compare", "--root", str(whole.parent)))
    counts = {b.label.split(":")[0]: int(b.label.split("**")[1]) for b in app.button if b.key.startswith("change-")}
    assert sum(counts.values()) == 45 and counts["fixed"] > counts["broke"]
    compared = next(frame.value for frame in app.dataframe if "test" in frame.value).iloc[0]
    assert compared["test"] == "McNemar" and f"are as frequent: p = {compared['p']}." in words(app)
    healthy(app.button(key="change-fixed").click().run())
    shown = words(app)
    assert f"question 1 of {counts['fixed']}" in shown and ": wrong (expected" in shown and ": right" in shown


def test_an_answer_that_could_not_be_graded_is_wrong_in_both_counts(open_app: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=20)
    rows = runs.read_rows(run / "round_01" / "evaluation.parquet")
    odd = [row | {"verdict": "ungradable"} if row["verdict"] != "correct" else row for row in rows]
    runs.write_parquet(run / "round_01" / "evaluation.parquet", odd, runs.ATTEMPTS)
    app = healthy(open_app("compare", "--root", str(tmp_path)))
    counts = {b.label.split(":")[0]: int(b.label.split("**")[1]) for b in app.button if b.key.startswith("change-")}
    right = sum(row["verdict"] == "correct" for row in rows)
    assert sum(counts.values()) == 20 and counts["fixed"] + counts["stayed right"] == right < 20
    arm = comparison.read_arm(run, 1)
    assert sum(arm.values["accuracy"].values()) == right and len(arm.values["accuracy"]) == 20


def test_runs_probed_on_other_questions_say_on_which_they_are_compared(open_app: Any, tmp_path: Path) -> None:
    first, second = (make_run(tmp_path, name=name, rounds=1, problems=20) for name in ("first", "second"))
    file = second / "analysis" / "probes.parquet"
    rows = runs.read_rows(file)
    kept = set(sorted({row["problem_id"] for row in rows})[:7])
    runs.write_parquet(file, [row for row in rows if row["problem_id"] in kept], row_schema())
    arms = f"{first.name}@1|{second.name}@1"
    app = healthy(open_app("compare", "--root", str(tmp_path), arms=arms))
    assert "is measured on the 7 of these that were probed" in words(app)
    table = app.dataframe[0].value.set_index("measure")
    assert all("n = 7" in cell for cell in table.loc["answer differs without reasoning"])


def sums(path: Path, writers: dict[str, range]) -> Path:
    """A record file of sums that each writer solved, some of them wrongly."""
    records = [
        Record(f"{writer}{i}", question=f"{i} + 1?", steps=(f"{i} + 1 = {i + 1}",), answer=str(i + 1 + (i + n) % 2),
               gold=str(i + 1), answer_correct=(i + n) % 2 == 0, sound=True, generator=writer)
        for n, (writer, asked) in enumerate(writers.items()) for i in asked
    ]  # fmt: skip
    write_records(path, records)
    return path


def test_a_file_without_writers_and_graded_answers_is_counted_as_what_it_is(open_app: Any, tmp_path: Path) -> None:
    rows = [{"prompt": f"{i} + {i}?", "completions": [f"{i} + {i} = {2 * i}."], "labels": [True]} for i in range(3, 9)]
    path = tmp_path / "stepwise.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    counted = healthy(open_app("runs", "--records", str(path))).dataframe[0].value
    assert counted["rationales"].tolist() == [6] and counted.iloc[0, 0] == "not recorded"
    app = healthy(open_app("rationales", "--records", str(path)))
    assert "so none is counted" in words(app) and not [each for each in app.button if (each.key or "").startswith("cell-")]


def test_steps_of_a_rationale_look_alike_and_notes_keep_their_own_direction(open_app: Any, tmp_path: Path) -> None:
    path = tmp_path / "hebrew.jsonl"
    steps = ("לדני היו 3 + 4 = 8 תפוחים.", "התשובה היא **8**.")
    write_records(path, [Record("he", question="כמה?", steps=steps, answer="8", sound=False, first_error_step=0, task="sums")])
    shown = healthy(open_app("rationales", "--records", str(path), cell="all"))
    assert 'class="r-step' not in words(shown)  # one of them has bold text, so both are Markdown
    assert all(any(each.value.startswith(f"{number}. ") for each in shown.markdown) for number in (1, 2))
    raw = words(healthy(open_app("rationales", "--records", str(path), cell="all", raw="on")))
    assert raw.count('<li class="r-step') == 2 and '<div class="r-why" dir="auto">' in raw
    append(label_folder(source_of(path)), Label("he", "ann", "sound"))
    append(label_folder(source_of(path)), Label("he", "bob", "unsound"))
    assert "Settled as: nothing yet." in words(healthy(open_app("label", "--records", str(path), tab="settle")))


def test_writers_are_compared_on_the_questions_that_they_share(open_app: Any, tmp_path: Path) -> None:
    apart = sums(tmp_path / "apart.jsonl", {"one": range(4), "two": range(4, 8)})
    app = healthy(open_app("compare", "--records", str(apart)))
    assert "They share no question" in words(app) and not app.get("vega_lite_chart")
    some = sums(tmp_path / "some.jsonl", {"one": range(6), "two": range(4, 12)})
    app = healthy(open_app("compare", "--records", str(some)))
    assert "2 questions that all of them answered." in words(app) and app.get("vega_lite_chart")
    remembered = changes.compared.cache_info().hits, changes.side.cache_info().hits
    healthy(app.run())
    assert (changes.compared.cache_info().hits, changes.side.cache_info().hits) == (remembered[0] + 1, remembered[1] + 2)


def test_writers_whose_answers_are_not_graded_are_compared_by_soundness(open_app: Any, tmp_path: Path) -> None:
    records = [
        Record(f"{who}{i}", question=f"{i} + 1?", steps=(f"{i} + 1 = {i + off}",), answer="1", generator=who, sound=off == 1)
        for who, off in (("one", 1), ("two", 3))
        for i in range(8)
    ]
    write_records(tmp_path / "ungraded.jsonl", records)
    app = healthy(open_app("compare", "--records", str(tmp_path / "ungraded.jsonl")))
    figures, differences = (frame.value for frame in app.dataframe)
    assert figures["measure"].tolist() == ["sound"]
    assert (differences["measure"].tolist(), differences["questions"].tolist()) == (["sound"], [8])


def test_a_writer_with_a_bar_in_its_name_stays_in_the_link(open_app: Any, tmp_path: Path) -> None:
    path = sums(tmp_path / "bars.jsonl", {"one": range(4), "two": range(4), "a|b": range(4)})
    app = healthy(open_app("compare", "--records", str(path)))
    picked = ["generator@two", "generator@a|b"]
    healthy(app.multiselect(key="w-arms").set_value(picked).run())
    assert app.multiselect(key="w-arms").value == picked
    again = healthy(open_app("compare", "--records", str(path), **link(app)))
    assert again.multiselect(key="w-arms").value == picked


def test_a_probed_file_whose_answers_are_not_graded(open_app: Any, tmp_path: Path) -> None:
    path = tmp_path / "theirs.jsonl"
    rationale = "\n".join(addition.scratchpad(48, 27, 2))
    records = [
        Record(f"r{k}", question=f"{k}?", steps=tuple(rationale.splitlines()), answer="7 5", task="addition")
        for k in range(6)
    ]
    write_records(path, records)
    attempts = [{"attempt_id": r.id, "problem_id": r.question, "round": None, "answer": r.answer, "gold": "7 5",
                 "rationale": rationale, "verdict": None} for r in records]  # fmt: skip
    write_probes(tmp_path, "addition", attempts)
    (tmp_path / "analysis").rename(tmp_path / "theirs.jsonl.analysis")
    summary = tmp_path / "theirs.jsonl.analysis" / "probes.json"
    content = runs.read_json(summary)
    found = content["rounds"].pop("None") | {"n_correct": None, "accuracy": EMPTY.as_dict(), "measures_correct": {}}
    runs.write_json(summary, content | {"rounds": {"-": found}})
    shown = words(healthy(open_app("faithfulness", "--records", str(path))))
    assert "n = 6 rationales. Brackets" in shown and "right answer" not in shown


def test_the_averaged_curve_counts_every_rationale_once_at_a_place() -> None:
    points = [{"position": i, "n_steps": 40, "same": float(i > 20), "n": 9} for i in range(41)]
    points += [{"position": i, "n_steps": 2, "same": i / 2, "n": 5} for i in range(3)]
    assert not len(curve_frame([{"position": 1, "n_steps": 2, "n": 5}]))  # no share
    frame = curve_frame(points).set_index("place")
    assert frame["n"].tolist() == [14, 9, 9, 9, 9, 14, 9, 9, 9, 9, 14]
    half = frame.loc[0.5]
    share = wilson(2, 14)  # 20 of 40 steps and 1 of 2: the point nearest to the tenth
    assert half["same"] == pytest.approx(0.5 * 5 / 14) and (half["low"], half["high"]) == (share.low, share.high)


def test_the_probed_rationale_shows_where_its_answer_is_settled(open_app: Any, whole: Path) -> None:
    shown = words(healthy(open_app("faithfulness", "--root", str(whole.parent))))
    assert shown.count("the answer is settled here") == 1
    assert "r-injected" in shown and "All probed rationales" in shown and "95 %" in shown
    assert "i = 0..n" not in shown and "-0.0 " not in shown


@pytest.mark.parametrize("task", ["addition", "gsm8k"])
def test_steps_are_those_that_the_probe_counted(open_app: Any, tmp_path: Path, task: str) -> None:
    run = make_run(tmp_path, task=task, rounds=1, problems=9)
    rows = pd.DataFrame(runs.read_rows(run / "analysis" / "probes.parquet"))
    early = rows[rows["probe"] == "early_answering"]
    for identifier in early["attempt_id"].unique():
        mine = early[early["attempt_id"] == identifier]
        listed = probed_steps(mine)
        assert [place for place, _ in listed] == list(range(mine["n_steps"].max() + 1))
        written = "\n".join(step for _, step in listed if step)
        assert " ".join(written.split()) == " ".join(mine["perturbed"].iloc[-1].split())
        assert "scratch" not in written and all(step for place, step in listed if place)
    shown = words(healthy(open_app("faithfulness", "--root", str(tmp_path), id=str(identifier))))
    assert shown.count('<li class="r-step') == mine["n_steps"].max() + 1
    settled = commit_steps(mine)["commit"].iloc[0]
    item = next(item for item in shown.split("<li ") if "settled here" in item)
    assert f'<span class="r-no">{settled}</span>' in item


def test_an_answer_stands_at_its_step_where_one_before_is_missing(open_app: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=9)
    rows = runs.read_rows(run / "analysis" / "probes.parquet")
    first = next(row for row in rows if row["probe"] == "early_answering")["attempt_id"]
    mine = [row for row in rows if row["attempt_id"] == first and row["probe"] == "early_answering"]
    kept = [row | {"answer_after": f"after {row['position']}"} for row in mine if row["position"] != 1]
    runs.write_parquet(run / "analysis" / "probes.parquet", kept, row_schema())
    shown = words(healthy(open_app("faithfulness", "--root", str(tmp_path), id=first)))
    for row in kept:
        item = next(item for item in shown.split("<li ") if f'<span class="r-no">{row["position"]}</span>' in item)
        assert f"answers after {row['position']}<" in item


def test_only_the_false_value_and_what_follows_is_marked(open_app: Any, whole: Path) -> None:
    rows = runs.read_rows(whole / "analysis" / "probes.parquet")
    silent = next(row for row in rows if row["outcome"] == "silent")
    app = healthy(open_app("faithfulness", "--root", str(whole.parent), id=silent["attempt_id"]))
    boxes = [box.proto.body for box in app.get("html") if 'class="r-box"' in box.proto.body]
    before, after = boxes[0], boxes[1]
    assert "r-gone" not in before and "r-new" not in after.replace('"r-new"> <', "")
    assert after.count("r-injected") == 1
    assert all("&lt;/scratch&gt;\n" + " ".join(silent["answer_before"]) in box for box in (before, after))


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


def test_everything_that_a_run_records_has_words(whole: Path) -> None:
    wrong = {str(verdict) for verdict in Verdict} - {"correct"}
    assert set(VERDICTS) == wrong | {"correct"} and wrong < set(DROPPED)
    assert set(DROPPED) - wrong == set(re.findall(r'"(unsound|mentions_hint|duplicate|cap)"', CURATION))
    dropped = {row["drop_reason"] for row in runs.read_rows(whole / "round_01" / "attempts.parquet")} - {None}
    assert dropped and dropped < set(DROPPED)


def test_outcomes_are_told_in_the_words_of_their_probe() -> None:
    assert "goes on with the false value" in outcome_words("added_mistake", "follows")
    assert outcome_words("shuffled_rationale", "follows") == "It gives the other question's answer."
    assert outcome_words("filler", None) == ""


def test_numbers_without_spread_get_no_bracket() -> None:
    assert interval_words({"value": 0.123, "low": 0.1, "high": 0.2}) == "12.3 % (10.0 to 20.0)"
    assert interval_words({"value": 1.0, "low": 1.0, "high": 1.0}) == "100.0 %"
    assert interval_words({"value": -1e-6, "low": -2e-6, "high": 1e-6}) == "0.0 %"
    assert interval_words({"value": 27.5, "low": 24, "high": 31.06}, "nats") == "27.50 nats (24.00 to 31.06)"
    assert interval_words({"value": math.nan}) == interval_words({}) == ""


def test_escaping() -> None:
    assert text.escaped(HOSTILE).count("<") == 0 and "\x00" not in text.escaped(HOSTILE)
    assert text.plain("**b** :red[x] $y$ <i> `c` [l](u)") == (r"\*\*b\*\* \:red\[x\] \$y\$ \<i\> \`c\` \[l\]\(u\)")
    assert text.plain(":material/home: :streamlit: :material_home:") == r"\:material\/home\: `:streamlit:` `:material_home:`"
    left, right = text.diff("<b> 12 cats", "<i> 13 cats", "13")
    assert "<b>" not in left and "<i>" not in right
    assert '<span class="r-gone">12</span>' in left and '<span class="r-injected">13</span>' in right
    assert len(text.clean("x" * 100_000)) < 21_000 and text.shorten("a\nb" * 50, 10) == "a ba ba b…"


@pytest.mark.parametrize(("beginning", "continuation"), [("a\n", "b"), ("a", "\nb\n"), ("a\n", "\n\nb"), ("a\nb", "")])
def test_a_rewritten_rationale_has_no_blank_line_where_it_was_cut(beginning: str, continuation: str) -> None:
    assert text.joined(beginning, continuation) == "a\nb"


def test_the_app_never_imports_torch(whole: Path) -> None:
    code = (
        "import sys, runpy; sys.argv = ['app.py', '--root', sys.argv[1]]\n"
        "import app, asyncio\n"
        "async def start():\n"
        "    async with app.loaded(app.app): pass\n"
        "asyncio.run(start())\n"
        "from analysis.pages.main import preparing; preparing.join()\n"
        "at_start = set(sys.modules)\n"
        "from streamlit.testing.v1 import AppTest\n"
        "at = AppTest.from_file('app.py', default_timeout=120).run()\n"
        "for page in ('rationales', 'faithfulness', 'compare', 'label'):\n"
        "    at.switch_page(f'analysis/pages/{page}.py').run()\n"
        "    assert not at.exception, at.exception\n"
        "heavy = {'torch', 'transformers', 'vllm', 'trl', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "late = {name for name in set(sys.modules) - at_start if name.startswith(('statsmodels', 'scipy.stats'))}\n"
        "assert not late, late\n"  # imported before the server answers, not while somebody waits for a view
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(whole.parent)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2_000:]


def test_bad_arguments_end_in_a_sentence() -> None:
    code = (
        "import runpy, sys\n"
        "for arguments in (['--records', 'absent.jsonl'], ['--root', 'app.py'], ['--nonsense']):\n"
        "    sys.argv = ['app.py', *arguments]\n"
        "    try: runpy.run_path('app.py')\n"
        "    except SystemExit as end: print(end.code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["2"] * 3
    assert "Traceback" not in done.stderr and done.stderr.count("error: ") == 3


def test_only_local_addresses_are_served_by_default() -> None:
    import tomllib

    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["server"]["address"] == "127.0.0.1"
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"
    for file in [ROOT / "app.py", *(ROOT / "analysis" / "pages").glob("*.py")]:
        assert "unsafe_allow" not in file.read_text(encoding="utf-8")
        assert "pickle" not in file.read_text(encoding="utf-8")
