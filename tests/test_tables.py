"""The app's reading: what is found, what is read, filters that count right, and files that are torn or hostile."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import export, score, sources
from analysis.rationales import filters as browsing
from analysis.rationales import scorer_columns, table_reading
from analysis.rationales.filters import View
from analysis.rationales.records import Record, RecordError, write_records
from analysis.rationales.table import UNKNOWN, parse_flags
from analysis.rationales.table_reading import load_table
from analysis.sources import Source
from star import run as runs
from star.row_files import read_rows
from star.run import Run
from tests.run_factory import HOSTILE, make_run


def source_of(run: Path) -> Source:
    return Source("run", run, run.name)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs"), rounds=2, problems=60)


def test_runs_are_found_newest_first_and_two_levels_deep(tmp_path: Path) -> None:
    old = make_run(tmp_path, name="old", rounds=1, problems=6)
    new = make_run(tmp_path / "ladder", name="new", rounds=1, problems=6)
    for file in old.rglob("*"):
        os.utime(file, (1, 1))
    (tmp_path / "notes").mkdir()
    assert [one.path for one in sources.list_runs(tmp_path)] == [new, old]
    assert [one.name for one in sources.list_runs(tmp_path)] == [f"ladder/{new.name}", old.name]
    assert [one.path for one in sources.list_runs(new)] == [new]
    assert sources.list_runs(tmp_path / "absent") == []


def test_a_link_that_leads_out_of_the_root_is_no_run(tmp_path: Path) -> None:
    outside = make_run(tmp_path / "private", rounds=1, problems=6)
    root = tmp_path / "runs"
    root.mkdir()
    (root / "inside").symlink_to(outside, target_is_directory=True)
    assert sources.list_runs(root) == []


def test_run_labels_tell_recipe_date_and_progress_and_never_the_digest(tmp_path: Path) -> None:
    make_run(tmp_path, name="first", rounds=2, problems=6)
    make_run(tmp_path, name="second", rounds=1, problems=6, finished=False)
    labels = sources.run_labels(sources.list_runs(tmp_path))
    assert sorted(labels.values()) == [
        "first · 2 Jan 2026, 03:04 · 2 rounds",
        "second · 2 Jan 2026, 03:04 · 1 round, unfinished",
    ]


def test_a_torn_last_line_of_metrics_is_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=2, problems=6)
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as handle:
        handle.write('{"round": 3, "selec')
    assert [line["round"] for line in Run(run).rounds] == [0, 1, 2]


def test_unreadable_small_files_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=6)
    (run / "result.json").write_text("{", encoding="utf-8")
    (run / "recipe.yaml").write_text("a: [", encoding="utf-8")
    overview = Run(run).overview()
    assert not overview.finished
    assert [sentence.split(" ")[0] for sentence in overview.damage] == ["recipe.yaml", "result.json"]


def test_the_table_holds_every_attempt_once_with_its_score(run: Path) -> None:
    table = load_table(source_of(run))
    attempts = [row for file in sorted(run.rglob("*.parquet")) if file.parent.name != "analysis"
                for row in (pq.read_table(file).to_pylist() if "completion" in pq.read_schema(file).names
                            and "verdict" in pq.read_schema(file).names else [])]  # fmt: skip
    assert len(table) == len(attempts)
    assert table.frame["id"].is_unique
    by_id = {row["attempt_id"]: row for row in attempts}
    scores = {row["id"]: row for row in read_scores(run)}
    for row in range(0, len(table), 7):
        one = table.rationale(row)
        attempt, score = by_id[one.id.split("#")[0]], scores[one.id.split("#")[0]]
        assert (one.answer, one.gold) == (attempt["answer"], attempt["gold"])
        assert one.row["right"] == int(attempt["verdict"] == "correct")
        assert (one.p_unsound, one.first_error) == (score["p_unsound"], score["first_error_step"])
        assert (one.hint is not None) == (attempt["mode"] == "rationalized")
        assert table.row_of(one.id) == row


def read_scores(run: Path) -> list[dict[str, object]]:
    table = pq.read_table(run / "analysis" / "soundness.parquet")
    return [{**row, "id": row.get("id", row.get("attempt_id"))} for row in table.to_pylist()]


def test_opening_reads_no_long_column(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = Run.table

    def watched(self: Run, name: str, columns: tuple[str, ...]) -> pa.Table:
        read.extend(columns)
        return original(self, name, columns)

    monkeypatch.setattr(Run, "table", watched)
    table = table_reading.read_run(source_of(run))
    if "n_steps" in pq.read_schema(run / "analysis" / "soundness.parquet").names:
        assert not {"rationale", "completion", "question", "hint"} & set(read)
    assert table.rationale(0).steps
    assert "rationale" in read and "completion" not in read


def test_the_four_way_count_is_that_of_the_rows(run: Path) -> None:
    table = load_table(source_of(run))
    assert browsing.judges(table) == ["exact", "score"]
    for view in (View(judge="exact"), View(judge="score", cut=0.3)):
        counts = browsing.count_cells(table, view, browsing.base_mask(table, view))
        right, sound = table.frame["right"], browsing.soundness(table, view.judge, view.cut)
        assert counts.cells["right-unsound"] == int(((right == 1) & (sound == 0)).sum()) > 0
        assert sum(counts.cells.values()) + counts.unjudged == counts.total == len(table)
        for cell in browsing.CELLS:
            shown = browsing.select(table, View(cell=cell, judge=view.judge, cut=view.cut), np.ones(len(table), bool))
            assert len(shown) == counts.cells[cell]


def test_facets_narrow_and_sorting_orders(run: Path) -> None:
    table = load_table(source_of(run))
    view = View(facets=(("round", "2"), ("mode", "rationalized")), fewest=6, words='"C: 1"')
    rows = browsing.select(table, view, browsing.base_mask(table, view))
    assert 0 < len(rows) < len(table)
    for row in rows:
        one = table.rationale(int(row))
        assert (one.row["round"], one.row["mode"]) == ("2", "rationalized")
        assert len(one.steps) >= 6 and "c: 1" in "\n".join(one.steps).lower()
    p = table.frame["p_unsound"].to_numpy()[rows]
    assert (np.diff(p) <= 0).all()
    check = next(iter(table.checks))
    fired = browsing.base_mask(table, View(check=check))
    assert all(any(flag.check == check for flag in table.rationale(int(r)).flags) for r in np.flatnonzero(fired)[:20])


def test_label_status_filters(run: Path) -> None:
    table = load_table(source_of(run))
    sound = browsing.soundness(table, "exact", 0.5)
    first, second = (str(table.frame["id"].iat[int(np.flatnonzero(sound == value)[0])]) for value in (0, 1))
    labels = {first: "sound", second: "sound", "gone": "unsure"}

    def ids(status: str) -> set[str]:
        view = View(status=status, judge="exact")
        return set(table.frame["id"][browsing.base_mask(table, view, labels)])

    assert ids("sound") == ids("labelled") == {first, second}
    assert ids("disputed") == {first}
    assert ids("unsound") == set()
    assert len(ids("unlabelled")) == len(table) - 2


def test_a_run_without_scores_says_what_to_type(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=9, analysis=False, finished=False)
    table = load_table(source_of(run))
    assert not table.scored and browsing.judges(table) == ["exact"]
    assert table.notes == (f"These rationales are not scored yet. To score them, type: python -m analysis.score {run}",)
    assert (table.frame["first_error"] == UNKNOWN).all()
    assert (table.frame["n_steps"] == [len(table.rationale(row).steps) for row in range(len(table))]).all()


def test_a_run_that_has_only_begun_is_an_empty_table(tmp_path: Path) -> None:
    folder = tmp_path / "begun-000000"
    folder.mkdir()
    (folder / "recipe.yaml").write_text("name: begun\n", encoding="utf-8")
    assert len(load_table(source_of(folder))) == 0
    assert [one.path for one in sources.list_runs(tmp_path)] == [folder]


def test_a_torn_attempts_file_is_left_out_and_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=2, problems=9)
    (run / "round_02" / "attempts.parquet").write_bytes(b"PAR1 torn")
    table = load_table(source_of(run))
    assert len(table) and "round_02/attempts.parquet cannot be read" in table.notes[0]


def test_a_new_round_is_seen_without_a_restart(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=2, problems=9, finished=False)
    late = run / "round_02" / "evaluation.parquet"
    content = late.read_bytes()
    late.unlink()
    before = len(load_table(source_of(run)))
    time.sleep(0.01)
    late.write_bytes(content)
    assert len(load_table(source_of(run))) == before + 9


def test_the_scores_of_the_score_command_are_read_too(tmp_path: Path) -> None:
    """The documented schema: attempt_id, n_steps, checks, and the flags as JSON text."""
    run = make_run(tmp_path, rounds=1, problems=9)
    flag = {"step": 1, "check": "carry", "message": "9 is not 8", "severity": 1.0}
    rows = [
        {"attempt_id": row["attempt_id"], "p_unsound": 0.9, "first_error_step": 1 if i % 2 else None,
         "task_kind": "addition", "n_steps": 5, "checks": ["carry"], "flags": json.dumps([flag])}
        for i, row in enumerate(runs.read_rows(run / "round_01" / "attempts.parquet"))
    ]  # fmt: skip
    schema = pa.schema(
        [("attempt_id", pa.string()), ("p_unsound", pa.float64()), ("first_error_step", pa.int32()),
         ("task_kind", pa.string()), ("n_steps", pa.int32()), ("checks", pa.list_(pa.string())), ("flags", pa.string())]
    )  # fmt: skip
    runs.write_parquet(run / "analysis" / "soundness.parquet", rows, schema)
    table = load_table(source_of(run))
    assert {name: len(found) for name, found in table.checks.items()} == {"carry": len(rows)}
    row = int(np.flatnonzero(table.frame["first_error"] == 1)[0])
    assert [(f.step, f.check, f.message) for f in table.rationale(row).flags] == [(1, "carry", "9 is not 8")]
    assert "newer than the scores" in table.notes[-1]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_record_files(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_reading, "SMALL_FILE", 0)
    path = tmp_path / f"mine.v2{suffix}"
    records = [
        Record("a", question="2 + 2?", steps=("2 + 2 = 5",), answer="4", answer_correct=True, sound=False, task="sums"),
        Record("b", question=HOSTILE, steps=(HOSTILE, "so 3"), choices={"A": "3"}, generator="m1"),
    ]
    write_records(path, records)
    table = load_table(Source("file", path, path.name))
    assert [table.rationale(row).steps for row in (0, 1)] == [record.steps for record in records]
    assert table.frame["right"].tolist() == [1, -1] and table.frame["human"].tolist() == [0, -1]
    assert table.rationale(1).choices == {"A": "3"}
    assert table.search("SO 3").tolist() == [False, True]
    assert f"python -m analysis.score {path} -o {tmp_path / 'mine.v2.scores.parquet'}" in table.notes[-1]


def test_a_page_of_a_file_that_nobody_judged_says_so_and_replaces_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_reading, "SMALL_FILE", 0)
    path = tmp_path / "mine.jsonl"
    write_records(path, [Record("a", question="2 + 2?", steps=("2 + 2 = 5",), answer="4", answer_correct=True)])
    assert export.main([str(path), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "Soundness is not known yet. Not scored yet" in page and "0 right answers" not in page
    before = path.read_bytes()
    assert export.main([str(path), "-o", str(path)]) != 0 and path.read_bytes() == before



def test_labels_of_a_file_are_people_s_and_a_run_s_own_check_is_the_exact_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    step_only, check = Record("a", steps=("one",), first_error_step=0), Record("b", steps=("one",), sound=True, label_source="auto")
    write_records(path, [step_only, check, Record("c", steps=("one",), first_error_step=0, label_source="auto")])
    frame = load_table(Source("file", path, path.name)).frame
    assert frame["human"].tolist() == [0, -1, -1] and frame["human_step"].tolist() == [0, UNKNOWN, UNKNOWN]
    assert frame["program_step"].tolist() == [UNKNOWN, UNKNOWN, 0]
    assert frame["exact"].tolist() == [-1, 1, -1]


def test_a_small_record_file_is_scored_on_the_spot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stub(records: list[Record]) -> pd.DataFrame:
        flags = [[{"step": 0, "check": "x", "message": "why", "severity": 1.0}], []]
        first = pd.array([0, None], dtype="Int32")
        scores = {"id": ["a", "b"], "p_unsound": [0.9, np.nan], "first_error_step": first, "n_steps": [1, 1], "place": [0, 1]}
        return pd.DataFrame(scores | {"status": ["ok", "outside"], "checks": [["x"], []], "flags": flags})

    monkeypatch.setattr("analysis.score.score_records", stub)
    path = tmp_path / "mine.jsonl"
    write_records(path, [Record(name, steps=("one",)) for name in "ab"])
    table = load_table(Source("file", path, path.name))
    assert table.scored and list(table.checks) == ["x"] and table.rationale(0).flags[0].message == "why"
    assert table.frame["first_error"].tolist() == [0, UNKNOWN]


def test_scores_beside_a_record_file_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    write_records(path, [Record(str(i), steps=("one", "two")) for i in range(4)])
    score = {"p_unsound": 0.75, "first_error_step": 1, "flags": [{"step": 1, "check": "x", "message": "why"}]}
    lines = [json.dumps({"id": str(i), **score}) for i in (2, 0)]
    (tmp_path / "mine.scores.jsonl").write_text("\n".join(lines), encoding="utf-8")
    table = load_table(Source("file", path, path.name))
    assert table.frame["p_unsound"].tolist()[0] == 0.75 and np.isnan(table.frame["p_unsound"].tolist()[1])
    assert table.rationale(2).flags[0].message == "why"


def test_scores_of_repeated_ids_are_joined_by_place(tmp_path: Path) -> None:
    """Three samples of problem 7: each shows its own score, from either format, and from an older file in the same order."""
    path, beside = tmp_path / "mine.jsonl", tmp_path / "mine.scores.parquet"
    write_records(path, [Record("6", steps=("one",)), *(Record("7", steps=(f"1 + 1 = {n}",)) for n in (2, 3, 4))])
    assert score.main([str(path), "-o", str(beside)]) == 0
    scores = pq.read_table(beside)
    own = pa.array([0.1, 0.2, 0.3, 0.4])
    scores = scores.set_column(scores.column_names.index("p_unsound"), "p_unsound", own)
    shuffled = scores.take([2, 0, 3, 1])
    for written in (scores, shuffled, scores.drop_columns(["place"])):
        pq.write_table(written, beside)
        table = load_table(Source("file", path, path.name))
        assert table.frame["p_unsound"].tolist() == own.to_pylist()
        assert table.frame["id"].tolist() == ["6", "7", "7#2", "7#3"]
    beside.unlink()
    lines = [json.dumps(row | {"flags": []}) for row in shuffled.to_pylist()]
    (tmp_path / "mine.scores.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert load_table(Source("file", path, path.name)).frame["p_unsound"].tolist() == own.to_pylist()


def test_scores_of_other_rows_are_never_joined_by_a_repeated_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_reading, "SMALL_FILE", 0)
    path, beside = tmp_path / "mine.jsonl", tmp_path / "mine.scores.parquet"
    records = [Record(name, steps=("one",)) for name in ("6", "7", "7")]
    write_records(path, records)
    assert score.main([str(path), "-o", str(beside)]) == 0
    scores = pq.read_table(beside)
    own = pa.array([0.1, 0.2, 0.3])
    pq.write_table(scores.set_column(scores.column_names.index("p_unsound"), "p_unsound", own), beside)
    write_records(path, [Record("new", steps=("one",)), *records])
    table = load_table(Source("file", path, path.name))
    assert [p == 0.1 for p in table.frame["p_unsound"]] == [False, True, False, False]
    assert table.frame["p_unsound"].isna().tolist() == [True, False, True, True]
    assert any("2 rationales with an id that others have too" in note for note in table.notes)


def test_scores_with_ids_of_other_kinds_and_odd_lines_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_reading, "SMALL_FILE", 0)
    path = tmp_path / "mine.jsonl"
    write_records(path, [Record(str(i), question="?", steps=("x",)) for i in range(3)])
    scores = [{"id": i, "p_unsound": 0.1 * i, "first_error_step": -1, "flags": []} for i in range(2)]
    nameless = {"p_unsound": 0.9, "first_error_step": 0}
    beside = tmp_path / "mine.scores.jsonl"
    beside.write_text("\n".join(map(json.dumps, [*scores, [1], None, nameless])), encoding="utf-8")
    table = load_table(Source("file", path, path.name))
    assert table.frame["p_unsound"].tolist()[:2] == [0.0, 0.1] and np.isnan(table.frame["p_unsound"].iat[2])
    beside.unlink()
    pq.write_table(pa.Table.from_pylist([row | {"flags": "[]"} for row in scores]), tmp_path / "mine.scores.parquet")
    assert load_table(Source("file", path, path.name)).frame["p_unsound"].tolist()[:2] == [0.0, 0.1]


def test_scores_whose_ids_are_no_ids_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    write_records(path, [Record("a", question="?", steps=("x",))])
    scores = [{"id": ["a"], "p_unsound": 0.5, "first_error_step": -1, "flags": "[]"}]
    pq.write_table(pa.Table.from_pylist(scores), tmp_path / "mine.scores.parquet")
    assert any("mine.scores.parquet cannot be read" in n for n in load_table(Source("file", path, path.name)).notes)


def test_a_file_that_holds_no_rationale_is_refused_with_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("nothing\n", encoding="utf-8")
    with pytest.raises(RecordError, match=r"bad\.jsonl, line 1 is left out"):
        load_table(Source("file", path, path.name))


def test_flags_of_any_shape_never_raise() -> None:
    for value in (None, "{", "null", "[1]", [{"step": "x"}], 7, [{"step": 2, "message": None}]):
        assert isinstance(parse_flags(value), tuple)


def test_shuffling_depends_on_the_name_alone() -> None:
    rows = np.arange(50)
    assert (browsing.shuffled(rows, "ann") == browsing.shuffled(rows, "ann")).all()
    assert (browsing.shuffled(rows, "ann") != browsing.shuffled(rows, "bob")).any()
    assert sorted(browsing.shuffled(rows, "")) == rows.tolist()


SAID = {
    "a": {"p_unsound": 0.9, "first_error_step": 1, "status": "ok"},
    "b": {"status": "refused"},
    "c": {"p_unsound": 0.2, "status": "error", "why": "HTTP 500"},
}


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_what_each_scorer_said_of_a_file_is_in_columns_of_its_own(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.jsonl"
    write_records(path, [Record(name, steps=("one", "two")) for name in "abc"])
    rows = [
        {"id": name, "p_unsound": 0.1, "status": "ok"}
        | {f"{scorer}_{key}": value for scorer in ("judge", "prm") for key, value in said.items()}
        | {"prm_p_unsound": 0.1, "prm_status": "ok"}
        for name, said in SAID.items()
    ]
    scores = tmp_path / f"mine.scores.{ending}"
    if ending == "jsonl":
        scores.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        pd.DataFrame(rows).to_parquet(scores)
    read: list[Path] = []
    monkeypatch.setattr(scorer_columns, "read_rows", lambda file: read.append(file) or read_rows(file))
    table = load_table(Source("file", path, path.name))
    assert read == ([scores] if ending == "jsonl" else [])  # once for all scorers
    assert table.scorers == ("judge", "prm") and table.frame["judge_status"].tolist() == ["ok", "refused", "error"]
    assert table.rationale(0).row["judge_first_error_step"] == 1 and table.rationale(2).row["judge_why"] == "HTTP 500"
    assert browsing.queue(table, np.arange(3), "disagree", "", 0.65).tolist()[0] == 0  # 0.9 and 0.1 differ most
    if ending == "jsonl":
        scores.write_text("".join(json.dumps(row | {"prm_first_error_step": 10**20}) + "\n" for row in rows), encoding="utf-8")
        table = load_table(Source("file", path, path.name))
        assert table.scorers == ("judge",) and any("What prm said cannot be read" in note for note in table.notes)


def test_what_each_scorer_said_of_a_run_is_joined_and_read_again_when_it_changes(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=9)
    source = Source("run", run, run.name)
    ids = load_table(source).frame["id"].tolist()
    assert load_table(source).scorers == ()
    file = run / "analysis" / "scores" / "prm.parquet"
    file.parent.mkdir()
    pd.DataFrame({"attempt_id": ids[:2], "place": [0, 1], **SAID["a"]}).to_parquet(file)
    table = load_table(source)
    assert table.scorers == ("prm",) and table.frame["prm_p_unsound"].notna().sum() == 2
    file.write_bytes(b"nothing")
    assert load_table(source).scorers == () and any("What prm said" in note for note in load_table(source).notes)
