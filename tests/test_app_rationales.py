"""The page Rationales: cells, filters, keys, the table and what stands beside a rationale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.labels import Label, append, label_folder
from analysis.pages.widgets.words import NO_REASON
from analysis.rationales.records import Record, write_records
from analysis.sources import source_of
from tests.app_factory import button, healthy, link, sums, words
from tests.run_factory import make_run


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
