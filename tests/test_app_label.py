"""The page Label: labels, skips, ranking, agreement, import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.labels import Label, append, label_folder, read_labels
from analysis.rationales.records import Record, write_records
from analysis.rationales.table_reading import load_table
from analysis.sources import Source
from tests.app_factory import button, healthy, link, sums, words
from tests.run_factory import make_run


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
    assert "100.0 % (91.2 to 100.0), n = 40" in shown and "1.00 (1.00 to 1.00)" not in shown
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
