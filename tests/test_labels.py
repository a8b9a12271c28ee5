"""Labels: append-only, on the disk at once, two people at a time; and agreement with known answers."""

from __future__ import annotations

import csv
import io
import json
import math
import resource
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from analysis import agreement
from analysis.labels import (
    SETTLED,
    Label,
    LabelError,
    Labels,
    Ranking,
    Verdict,
    append,
    export_rows,
    imported,
    label_file,
    label_folder,
    ranking_rows,
    read_labels,
    to_jsonl,
)
from analysis.sources import Source
from star.row_files import to_csv


def test_the_last_label_counts_and_nothing_is_rewritten(tmp_path: Path) -> None:
    append(tmp_path, Label("x", "ann", "sound"))
    first = label_file(tmp_path, "ann").read_bytes()
    append(tmp_path, Label("x", "ann", "unsound", 2, "the carry", blind=True))
    append(tmp_path, Label("y", "ann", "unsure"))
    assert label_file(tmp_path, "ann").read_bytes().startswith(first)
    labels = read_labels(tmp_path)
    found = labels.latest["ann", "x"]
    assert (found.verdict, found.error_step, found.note, found.blind) == ("unsound", 2, "the carry", True)
    assert found.at and labels.verdicts() == {"x": "unsound", "y": "unsure"}
    append(tmp_path, Label("x", "ann", None))
    assert read_labels(tmp_path).latest["ann", "x"].verdict == "sound"  # the label before it counts again
    append(tmp_path, Label("x", "ann", None))
    append(tmp_path, Label("x", "ann", None))
    assert read_labels(tmp_path).verdicts() == {"y": "unsure"}


def test_a_draft_is_kept_until_there_is_a_label_and_a_skip_for_good(tmp_path: Path) -> None:
    append(tmp_path, Label("x", "ann", "unsure"))
    for ratings in ((1,), (1, 0), (1,)):
        append(tmp_path, Label("x", "ann", None, ratings=ratings, kind="draft"))
    append(tmp_path, Label("y", "ann", None, kind="skip"))
    labels = read_labels(tmp_path)
    assert labels.drafts == {("ann", "x"): (1,)} and labels.skipped == {("ann", "y")}
    assert labels.verdicts() == {"x": "unsure"} and labels.torn == 0
    append(tmp_path, Label("x", "ann", "unsound", 1, ratings=(1, -1)))
    assert read_labels(tmp_path).drafts == {} and read_labels(tmp_path).latest["ann", "x"].ratings == (1, -1)


def test_taking_back_a_label_of_steps_takes_back_its_last_rating_only(tmp_path: Path) -> None:
    append(tmp_path, Label("x", "ann", "unsound", 2, ratings=(1, 0, -1)))
    append(tmp_path, Label("x", "ann", None))
    labels = read_labels(tmp_path)
    assert not labels.latest and labels.drafts == {("ann", "x"): (1, 0)}


def test_a_label_is_taken_back_together_with_its_note(tmp_path: Path) -> None:
    append(tmp_path, Label("x", "ann", "unsound", 1))
    append(tmp_path, Label("x", "ann", "unsound", 1, note="the carry"))
    assert read_labels(tmp_path).latest["ann", "x"].note == "the carry"
    append(tmp_path, Label("x", "ann", None))
    assert not read_labels(tmp_path).latest


def test_lines_of_json_end_at_line_feeds_only(tmp_path: Path) -> None:
    line = '{"id": "x", "sound": true, "note": "a\u2028b"}'
    assert [label.id for label in imported(line, "ann")[0]] == ["x"]
    (tmp_path / "ann.jsonl").write_text(json.dumps(asdict(Label("x", "ann", "sound", note="a\u2028b")), ensure_ascii=False))
    assert read_labels(tmp_path).latest["ann", "x"].note == "a\u2028b"


@pytest.mark.parametrize("more", [{"labeller": None, "note": None}, {"kind": "gsm"}, {"ratings": 5}, {"labeller": "bob"}])
def test_of_a_label_from_elsewhere_only_what_it_says_of_the_rationale_is_read(more: dict[str, object]) -> None:
    assert imported(json.dumps({"id": "x", "first_error_step": 1} | more), "ann") == ([Label("x", "ann", "unsound", 1)], 0)


def test_two_people_keep_files_of_their_own(tmp_path: Path) -> None:
    append(tmp_path, Label("x", "ann", "sound"))
    append(tmp_path, Label("x", "bob", "unsound"))
    append(tmp_path, Label("x", "cy", "unsound"))
    labels = read_labels(tmp_path)
    assert labels.labellers == ["ann", "bob", "cy"] and len(list(tmp_path.iterdir())) == 3
    assert labels.verdicts() == {"x": "unsound"} and labels.verdicts("ann") == {"x": "sound"}
    assert [label.labeller for label in labels.of("x")] == ["ann", "bob", "cy"]


@pytest.mark.parametrize(
    ("votes", "verdict"),
    [
        (("sound", "unsure", "unsure"), "unsure"),
        (("sound", "sound", "unsure"), "sound"),
        (("sound", "unsure"), "unsure"),
        (("sound", "sound", "unsound", "unsure"), "unsure"),
        (("unsound", "unsound", "sound"), "unsound"),
    ],
)
def test_a_majority_is_more_than_half_of_the_votes(votes: tuple[Verdict, ...], verdict: str) -> None:
    people = [Label("x", f"person {k}", vote) for k, vote in enumerate(votes)]
    assert Labels({(label.labeller, "x"): label for label in people}).verdicts() == {"x": verdict}


def test_a_first_wrong_step_is_named_only_where_the_verdict_is_unsound() -> None:
    people = [Label("x", "ann", "sound"), Label("x", "bo", "sound"), Label("x", "cy", "unsound", 1)]
    assert Labels({(label.labeller, "x"): label for label in people}).error_steps() == {}
    assert Labels({(label.labeller, "x"): label for label in people[2:]}).error_steps() == {"x": 1}


def test_a_first_wrong_step_of_everybody_is_not_that_of_the_last_one() -> None:
    people = [Label("x", "ann", "unsound", 1), Label("x", "bo", "unsound", 1), Label("x", "zoe", "sound")]
    labels = Labels({(label.labeller, "x"): label for label in people})
    assert (labels.error_steps(), labels.error_steps("ann"), labels.error_steps("zoe")) == ({"x": 1}, {"x": 1}, {})
    people = [Label("x", SETTLED, "unsound", 1), Label("x", "zoe", "unsound", 4)]
    settled = Labels({(label.labeller, "x"): label for label in people})
    assert (settled.error_steps(), settled.error_steps("zoe")) == ({"x": 1}, {"x": 4})


def test_many_writers_of_one_file_lose_nothing(tmp_path: Path) -> None:
    def write(start: int) -> None:
        for i in range(start, start + 25):
            append(tmp_path, Label(str(i), "ann", "sound", note="n" * 300))

    threads = [threading.Thread(target=write, args=(100 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    labels = read_labels(tmp_path)
    assert len(labels.latest) == 100 and labels.torn == 0


def test_a_torn_line_costs_that_line_only(tmp_path: Path) -> None:
    append(tmp_path, Label("x", "ann", "sound"))
    path = label_file(tmp_path, "ann")
    path.write_bytes(path.read_bytes() + b'{"kind": "label", "id": "y", "labe')
    append(tmp_path, Label("z", "ann", "unsound"))
    labels = read_labels(tmp_path)
    assert labels.verdicts() == {"x": "sound", "z": "unsound"} and labels.torn == 1


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "7",
        "[" * 100_000,
        '{"kind": "label"}',
        '{"kind": "ranking", "problem": "p", "labeller": "a", "order": "x"}',
        "\x00",
        "{",
    ],
)
def test_lines_of_any_shape_never_raise(tmp_path: Path, line: str) -> None:
    (tmp_path / "ann.jsonl").write_text(line + "\n", encoding="utf-8")
    labels = read_labels(tmp_path)
    assert labels.torn == 1 and not labels.latest
    assert imported(line, "ann") == ([], 1)


def test_neither_a_link_nor_a_folder_is_a_file_of_labels(tmp_path: Path) -> None:
    folder, outside = tmp_path / "labels", tmp_path / "outside.jsonl"
    append(tmp_path, Label("x", "outside", "sound"))
    label_file(folder, "bo").mkdir(parents=True)
    label_file(folder, "ann").symlink_to(outside)
    assert read_labels(folder) == Labels()
    with pytest.raises(LabelError, match="was not stored"):
        append(folder, Label("x", "ann", "sound"))
    assert len(outside.read_text().splitlines()) == 1


def test_a_time_that_is_a_number_and_half_a_surrogate_pair_spoil_no_export(tmp_path: Path) -> None:
    label = asdict(Label("x\ud800", "ann", "sound", note="\udfff!", at="2026-01-01")) | {"at": 1700000000}
    foreign = {"id": "y\ud800", "sound": False}
    found, unread = imported(json.dumps(label) + "\n" + json.dumps(foreign), "bo")
    assert [(one.id, one.note, one.at) for one in found] == [("x?", "?!", ""), ("y?", "", "")] and unread == 0
    append(tmp_path, Label("z", "ann", "sound"))
    with label_file(tmp_path, "ann").open("a") as file:
        file.write(json.dumps(label) + "\n")
    labels = read_labels(tmp_path)
    assert [one.id for one in labels.recent("ann", 2)] == ["z", "x?"]
    assert b'"?!"' in to_jsonl(export_rows(labels, {})).encode()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/home/x", "a" * 300, "", "Ann", "ä", ".", "con\x00"])
def test_a_labeller_s_name_never_leaves_the_folder(tmp_path: Path, name: str) -> None:
    path = label_file(tmp_path, name)
    assert path.parent == tmp_path and len(path.name) < 60 and path.name.endswith(".jsonl")
    assert label_file(tmp_path, "Ann") != label_file(tmp_path, "ann") != label_file(tmp_path, "ANN")


def test_where_labels_are_kept(tmp_path: Path) -> None:
    assert label_folder(Source("run", tmp_path / "r", "r")) == tmp_path / "r" / "analysis" / "labels"
    assert label_folder(Source("file", tmp_path / "f.jsonl.gz", "f.jsonl.gz")) == tmp_path / "f.labels"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("a file", encoding="utf-8")
    with pytest.raises(LabelError, match="labels cannot be written"):
        append(tmp_path / "labels", Label("x", "ann", "sound"))


def test_export_round_trips_and_disarms_formulas(tmp_path: Path) -> None:
    append(tmp_path, Label("x", "ann", "unsound", 0, '=cmd|"/C calc"!A0'))
    append(tmp_path, Label("y", "ann", "sound", note="a, b\nc;=1"))
    rows = export_rows(read_labels(tmp_path), {"x": 0.5, "y": math.nan})
    assert [json.loads(line) for line in to_jsonl(rows).splitlines()] == rows
    (tmp_path / "out.jsonl").write_text(to_jsonl(rows), encoding="utf-8")
    assert read_labels(tmp_path / "out.jsonl").latest == read_labels(label_file(tmp_path, "ann")).latest
    back = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert [row["note"] for row in back] == ['\'=cmd|"/C calc"!A0', "a, b\nc;'=1"]
    assert [row["p_unsound"] for row in rows] == [0.5, None] and to_csv([]) == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\r\n=", "\n=", "\t\t@", "\r\r-"])
@pytest.mark.parametrize("before", ["", "x"])
def test_no_line_of_a_table_begins_with_a_formula(before: str, start: str) -> None:
    text = to_csv([{"id": f"{before}{start}cmd|' /C calc'!A0", f"{start}name": ["a", f"{start}1"]}])
    cells = [cell.strip('"') for line in text.splitlines() for part in line.split("\t") for cell in part.split(",")]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and cell]
    assert len(list(csv.reader(io.StringIO(text)))) == 2


def test_a_label_that_does_not_fit_on_the_disk_is_reported(tmp_path: Path) -> None:
    """A limit on the size of files does what a full disk does: a part of the line is written, the rest refused."""
    append(tmp_path, Label("x", "ann", "sound"))
    whole = label_file(tmp_path, "ann").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole + 20, limits[1]))
    try:
        with pytest.raises(LabelError, match="was not stored"):
            append(tmp_path, Label("y", "ann", "sound"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    append(tmp_path, Label("z", "ann", "unsound"))
    assert read_labels(tmp_path).verdicts() == {"x": "sound", "z": "unsound"}


def test_rankings(tmp_path: Path) -> None:
    append(tmp_path, Ranking("p", "ann", ("1", "2", "3"), ("base", "middle", "last")))
    append(tmp_path, Ranking("p", "ann", ("3", "1", "2"), ("last", "base", "middle")))
    append(tmp_path, Ranking("q", "bob", ("3", "2", "1"), ("last", "middle", "base")))
    found = agreement.ranking_results(read_labels(tmp_path).rankings.values())
    assert found == [("last", 2, 2, 1.0), ("base", 2, 0, 2.5), ("middle", 2, 0, 2.5)]
    rows = ranking_rows(read_labels(tmp_path))
    assert [(row["labeller"], row["place"], row["id"], row["origin"]) for row in rows[:2]] == [
        ("ann", 1, "3", "last"),
        ("ann", 2, "1", "base"),
    ]
    assert len(rows) == 6 and len(list(csv.DictReader(io.StringIO(to_csv(rows))))) == 6


def test_agreement_on_a_known_table() -> None:
    # Cohen 1960's kappa by hand: 20 both unsound, 5 and 10 differ, 15 both sound: (0.7 - 0.5) / 0.5 = 0.4.
    groups = (("unsound", 0.9, 20), ("unsound", 0.1, 5), ("sound", 0.9, 10), ("sound", 0.1, 15), ("unsure", 0.9, 3))
    verdicts, scores = {}, {}
    for verdict, p, count in groups:
        for _ in range(count):
            name = str(len(verdicts))
            verdicts[name], scores[name] = verdict, p
    verdicts["unscored"] = "sound"
    found = agreement.agreement(verdicts, scores)
    assert (found.n, found.unsure) == (50, 4)
    assert (found.both_unsound, found.both_sound, found.only_person, found.only_score) == (20, 15, 5, 10)
    kappa, low, high = found.kappa
    assert kappa == pytest.approx(0.4) and low < 0.4 < high
    assert found.precision[0] == (5, 5) and found.precision[-1] == (50, 25)
    assert [(n, unsound) for _, _, n, _, unsound in found.reliability] == [(20, 5), (30, 20)]


def test_kappa_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(1)
    a, b = rng.random(80) < 0.4, rng.random(80) < 0.5
    verdicts = {str(i): "unsound" if value else "sound" for i, value in enumerate(a)}
    found = agreement.agreement(verdicts, {str(i): float(value) for i, value in enumerate(b)})
    assert found.kappa[0] == pytest.approx(cohen_kappa_score(a, b))


def test_agreement_of_one_sided_or_no_labels() -> None:
    same = agreement.agreement({"a": "sound", "b": "sound"}, {"a": 0.1, "b": 0.2})
    assert math.isnan(same.kappa[0]) and same.n == 2
    assert agreement.agreement({}, {}).n == 0


def test_first_error_steps_are_compared_where_both_name_one() -> None:
    verdicts = dict.fromkeys("abc", "unsound")
    steps = {"a": (1, 1), "b": (0, 2), "c": (None, 1)}
    found = agreement.agreement(verdicts, dict.fromkeys("abc", 0.9), steps=steps)
    assert found.steps == (1, 2)


def test_people_against_each_other(tmp_path: Path) -> None:
    for i in range(10):
        append(tmp_path, Label(str(i), "ann", "sound" if i < 5 else "unsound"))
        append(tmp_path, Label(str(i), "bob", "sound" if i < 5 else "unsound" if i < 9 else "unsure"))
    ((first, second, n, same, kappa),) = agreement.between_people(read_labels(tmp_path))
    assert (first, second, n, same) == ("ann", "bob", 9, 9) and kappa[0] == 1
