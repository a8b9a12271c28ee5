"""Recorded step scores and labels through the commands: joined rightly, refused plainly, calibrated and applied."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis import calibrate, score
from analysis.labels import SETTLED, Label, append
from analysis.rationales.formats import Columns
from analysis.rationales.reading import read_whole
from analysis.rationales.records import Record, unique_ids
from analysis.soundness.grades import flagged
from analysis.soundness.scorer import Item, Scorer, StepScores
from analysis.soundness.scorers import SCORERS, RecordedScores
from star.errors import InputError
from star.run import Run
from tests.run_factory import make_run


def items(*ids: str) -> list[Item]:
    return [Item(name, place, "How many?", ("one", "two")) for place, name in enumerate(ids)]


def recorded(folder: Path, *rows: object) -> RecordedScores:
    path = folder / "prm.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return RecordedScores(path)


def test_scores_are_joined_by_id_whatever_their_order(tmp_path: Path) -> None:
    scorer = recorded(tmp_path, {"id": "b", "step_ok": [0.5, 0.5]}, {"id": "a", "step_ok": [1, None]})
    a, b, c = scorer.score(items("a", "b", "c"))
    assert (a.p_unsound, a.step_ok, b.p_unsound) == (0, (1, None), 0.75)
    assert b.first_error == 0 and (c.status, c.p_unsound) == ("outside", None)


def test_scores_are_joined_by_place_where_ids_repeat(tmp_path: Path) -> None:
    scorer = recorded(tmp_path, {"id": "7", "step_ok": [0.9, 0.9]}, {"id": "7", "step_ok": [0.1, 0.9]})
    assert [round(found.p_unsound or 0, 2) for found in scorer.score(items("7", "7"))] == [0.19, 0.91]
    blank = recorded(tmp_path, {"step_ok": [None, None]})
    assert [(found.status, found.p_unsound) for found in blank.score(items("7"))] == [("outside", None)]
    unnamed = recorded(tmp_path, {"step_ok": [0.9, 0.9]}, {"step_ok": None})
    assert [found.status for found in unnamed.score(items("7", "7"))] == ["ok", "outside"]


def test_ids_that_repeat_matter_only_where_the_file_has_them(tmp_path: Path) -> None:
    for rows in ([], [{"id": "a", "step_ok": [0.5, 0.5]}]):
        assert [found.status for found in recorded(tmp_path, *rows).score(items("7", "7"))] == ["outside"] * 2


@pytest.mark.parametrize(
    ("rows", "asked", "message"),
    [
        ([{"id": "a", "step_ok": [0.5]}], ["a"], "1 step scores for rationale a, which has 2"),
        ([{"id": "7", "step_ok": [0.5, 0.5]}], ["7", "7"], "rationales 1 and 2 have the same id"),
        ([{"step_ok": [0.5, 0.5]}], ["a", "b"], "1 lines, and there are more"),
        ([{"id": "a", "step_ok": [1, 1]}] * 2, ["a", "b"], "scores 'a', but rationale 2 is 'b'"),
        ([{"id": "a", "step_ok": [2, 1]}], ["a"], "line 1 is no step score"),
        ([[]], ["a"], "line 1 is no step score"),
        ([{"id": "a"}], ["a"], "line 1 is no step score"),
    ],
)
def test_what_does_not_fit_is_refused(rows: list[object], asked: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        recorded(tmp_path, *rows).score(items(*asked))


@pytest.mark.parametrize("rows", [[], [{"id": "other", "step_ok": [0.5]}]])
def test_scores_of_other_rationales_are_refused(rows: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given, scores = tmp_path / "rows.jsonl", tmp_path / "prm.jsonl"
    given.write_text('{"id": "a", "question": "Q?", "steps": ["one"]}\n')
    scores.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert score.main([str(given), "-o", str(tmp_path / "o.jsonl"), "--scorer", f"file:{scores}"]) == 1
    assert f"none of its {len(rows)} ids is that of a rationale" in capsys.readouterr().err


@pytest.mark.parametrize("second", ['{"torn', None])
def test_by_place_every_rationale_has_a_line(second: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rationale that cannot be read moves all places behind it."""
    rows, scores = tmp_path / "rows.jsonl", tmp_path / "prm.jsonl"
    good = json.dumps({"id": "7", "question": "q", "steps": ["a.", "b."]})
    rows.write_text("\n".join(filter(None, [good, second, good])) + "\n")
    scores.write_text("".join(json.dumps({"id": "7", "step_ok": [ok, ok]}) + "\n" for ok in (0.9, 0.2, 0.7)))
    assert score.main([str(rows), "-o", str(tmp_path / "out.jsonl"), "--scorer", f"file:{scores}"]) == 1
    assert "3 lines for 2 rationales" in capsys.readouterr().err and not (tmp_path / "out.jsonl").exists()


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """120 labelled rationales, and the scores of a simulated reward model beside them."""
    rng = np.random.default_rng(0)
    with (tmp_path / "rows.jsonl").open("w") as rows, (tmp_path / "prm.jsonl").open("w") as scores:
        for number in range(120):
            error = int(rng.integers(3)) if rng.random() < 0.5 else -1
            ok = [float(rng.beta(8, 1.2) if step != error else rng.beta(1.5, 4)) for step in range(3)]
            record = {"id": f"r{number}", "question": f"What is colour {number}?", "steps": ["a b c.", "d e f.", "g h i."]}
            rows.write(json.dumps(record | {"first_error_step": error, "sound": error < 0, "label_source": "human"}) + "\n")
            scores.write(json.dumps({"id": f"r{number}", "step_ok": ok}) + "\n")
    return tmp_path


def test_a_calibration_is_printed_written_and_applied(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, scores, model = labelled / "rows.jsonl", f"file:{labelled / 'prm.jsonl'}", labelled / "model.json"
    assert calibrate.main([str(rows), "--scorer", scores, "-o", str(model)]) == 0
    shown = capsys.readouterr().out
    assert "120 labelled rationales" in shown and "place and length" in shown and "auroc" in shown
    out = labelled / "scores.jsonl"
    assert score.main([str(rows), "-o", str(out), "--scorer", scores, "--calibration", str(model)]) == 0
    judged = [json.loads(line) for line in out.read_text().splitlines()]
    truth = [json.loads(line)["first_error_step"] for line in rows.read_text().splitlines()]
    assert {row["grade"] for row in judged} == {"scored"} and judged[0]["scorer"] == "calibrated prm"
    assert np.mean([row["first_error_step"] == error for row, error in zip(judged, truth, strict=True)]) > 0.7
    assert all(len(row["prm_step_ok"]) == 3 for row in judged)


class Whole(Scorer[StepScores]):
    """Says one number of a rationale, as `verifier:RUN` does."""

    name = "whole"

    def __init__(self, *_: object) -> None: ...

    def prepared(self, item: Item) -> StepScores:
        return StepScores(p_unsound=0.9 if int(item.id[1:]) % 2 else 0.2)


def test_a_score_of_the_whole_rationale_is_calibrated_and_applied(
    labelled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SCORERS, "whole", (f"{__name__}:Whole", ""))
    rows, model, out = (labelled / name for name in ("rows.jsonl", "model.json", "scores.jsonl"))
    records = [json.loads(line) for line in rows.read_text().splitlines()]
    for number, record in enumerate(records):
        record |= {"first_error_step": None, "sound": number % 2 == 0}
    rows.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert calibrate.main([str(rows), "--scorer", "whole", "-o", str(model)]) == 0
    assert json.loads(model.read_text())["scorers"] == ["whole:whole"]
    assert score.main([str(rows), "-o", str(out), "--scorer", "whole", "--calibration", str(model)]) == 0
    judged = [json.loads(line)["p_unsound"] for line in out.read_text().splitlines()]
    assert max(judged[::2]) < 0.5 < min(judged[1::2])


def test_a_label_beyond_its_steps_is_left_out_and_counted(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, labels = labelled / "rows.jsonl", labelled / "labels.jsonl"
    records = [json.loads(line) for line in rows.read_text().splitlines()]
    records[0]["first_error_step"] = 3
    rows.write_text("".join(json.dumps(record) + "\n" for record in records))
    labels.write_text(rows.read_text())
    for more in ([], ["--labels", str(labels)]):
        assert calibrate.main([str(rows), *more]) == 0
        shown = capsys.readouterr()
        assert "119 labelled rationales" in shown.out
        assert "line 1: first_error_step: the label names step 3 (from 0) of 3 steps" in shown.err


def test_labels_from_elsewhere_and_wrong_input(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, scores = labelled / "rows.jsonl", f"file:{labelled / 'prm.jsonl'}"
    labels = labelled / "labels.jsonl"
    labels.write_text("".join(json.dumps({"id": f"r{n}", "sound": bool(n % 2)}) + "\n" for n in range(40)))
    assert calibrate.main([str(rows), "--labels", str(labels), "--scorer", scores]) == 0
    assert "40 labelled rationales, 20 unsound" in capsys.readouterr().out
    bench = ({"id": f"r{n}", "problem": "?", "steps": ["a", "b"], "label": n % 2 - 1} for n in range(40))
    labels.write_text("".join(json.dumps(row) + "\n" for row in bench))
    assert calibrate.targets_of(read_whole(rows, Columns()), labels)[:2] == [(False, -1), (True, 0)]
    twice = '{"id": "r1", "sound": true}\n{"id": "r1", "sound": false}'
    for wrong in ('{"id": "r1", "sound": tru', twice, '{"id": "r1", "first_error_step": 9}'):
        labels.write_text(wrong)
        assert calibrate.main([str(rows), "--labels", str(labels)]) == 1
        assert "r1" in (said := capsys.readouterr().err) or "line 1" in said
    (labelled / "empty").mkdir()
    labels.write_text('{"id": "r1", "sound": tru')
    for arguments, status in (
        ([str(rows), "--labels", str(labels)], 1),
        ([str(rows), "--labels", str(labelled / "absent.jsonl")], 1),
        ([str(rows), "--labels", str(labelled / "empty")], 1),
        ([str(rows), "--scorer", scores, "-o", str(labelled / "absent" / "model.json")], 2),
        ([str(rows), "--scorer", "oracle"], 2),
        ([str(rows), "--benchmark", "none"], 2),
        ([], 2),
    ):
        assert calibrate.main(arguments) == status, arguments
        assert capsys.readouterr().err.startswith("error: ")


def test_a_file_of_labels_is_read_alone_and_what_was_settled_counts(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = labelled / "rows.labels"
    for n in range(40):
        append(folder, Label(f"r{n}", "ann", "unsound" if n % 2 else "sound", 1 if n % 2 else None))
        append(folder, Label(f"r{n + 40}", "bob", "sound"))
    append(folder, Label("r1", "bob", "unsound", 2))
    append(folder, Label("r1", SETTLED, "unsound", 0))
    records = read_whole(labelled / "rows.jsonl", Columns())
    alone = calibrate.targets_of(records, folder / "ann.jsonl")
    assert sum(target is not None for target in alone) == 40 and alone[1] == (True, 1)
    together = calibrate.targets_of(records, folder)
    assert sum(target is not None for target in together) == 80 and together[1] == (True, 0)
    rows, scores = str(labelled / "rows.jsonl"), f"file:{labelled / 'prm.jsonl'}"
    assert calibrate.main([rows, "--labels", str(folder / "ann.jsonl"), "--scorer", scores]) == 0
    shown = capsys.readouterr().out
    assert "40 labelled rationales" in shown and "flagged at 0.65" in shown and "analysis.score flags at 0.65" in shown


def test_an_unsound_label_without_a_step_fits_a_rationale_without_steps(tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text('{"id": "r", "sound": false}')
    assert calibrate.targets_of([Record("r", question="q", steps=())], tmp_path / "labels.jsonl") == [(True, None)]


def test_a_step_is_named_where_a_rationale_is_flagged_and_other_tasks_are_warned_of(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, scores, model = labelled / "rows.jsonl", f"file:{labelled / 'prm.jsonl'}", labelled / "model.json"
    assert calibrate.main([str(rows), "--scorer", scores, "-o", str(model)]) == 0
    fitted = json.loads(model.read_text())
    model.write_text(json.dumps(fitted | {"threshold": 0.05, "domains": ["word_sorting"]}))
    out = labelled / "scores.jsonl"
    assert score.main([str(rows), "-o", str(out), "--scorer", scores, "--calibration", str(model)]) == 0
    judged = [json.loads(line) for line in out.read_text().splitlines()]
    assert all((row["first_error_step"] >= 0) == flagged(row["p_unsound"]) for row in judged)
    assert "120 of 120 rationales are of other kinds of task" in capsys.readouterr().err


def test_labels_of_repeated_ids_are_those_of_the_app() -> None:
    ids = unique_ids(["7", "7", "7#2", "8", "7"])
    assert len(set(ids)) == 5 and ids[0] == "7" and ids[3] == "8" and unique_ids(["a", "a", "a"]) == ["a", "a#2", "a#3"]


def test_a_run_gets_a_file_for_each_scorer(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    from analysis.rationales.reading import read_records

    scores = tmp_path / "prm.jsonl"
    lines = [{"id": record.id, "step_ok": [0.9] * len(record.steps)} for record in read_records(run)]
    scores.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (other := tmp_path / "other.jsonl").write_text(scores.read_text())
    for how in ([f"file:{scores}", f"file:{other}"], [f"file:{scores}", "--scorer", f"file:{other}"]):
        assert score.main([str(run), "--scorer", *how]) == 0
        for name in ("prm", "other"):
            table = Run(run).scores(f"scores/{name}")
            assert table is not None and len(table) == len(lines)
            (run / "analysis" / "scores" / f"{name}.parquet").unlink()
    assert Run(run).scores() is not None
