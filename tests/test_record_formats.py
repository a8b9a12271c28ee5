"""Rationales as other projects write them: formats, columns, labels, options, answers."""

from __future__ import annotations

import json
import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis import calibrate, export, score
from analysis.pages.widgets import context
from analysis.rationales import table_reading
from analysis.rationales.formats import Columns
from analysis.rationales.reading import read_records
from analysis.rationales.records import BrokenLine, Record, RecordError, record_from
from analysis.sources import source_of
from star.errors import UsageError
from star.row_files import Row, read_rows
from tests.task_rows import chat, write

STEPS = ["2 + 2 = 4", "4 + 1 = 6", "So 6."]
RATED = [
    {"completions": [{"text": text, "rating": rating}], "human_completion": None, "chosen_completion": 0}
    for text, rating in zip(STEPS, (1, -1, 0), strict=True)
]
RATED[1] |= {"chosen_completion": None}
HARNESS = {
    "doc_id": 7,
    "doc": {"question": "Q?"},
    "target": "2 + 2\n#### 5",
    "arguments": [["Q", {}]],
    "filter": "strict",
    "exact_match": 0.0,
}
SAMPLE = {
    "id": 3,
    "epoch": 1,
    "input": [{"role": "user", "content": "Q?"}],
    "target": "5",
    "scores": {"match": {"value": "I", "answer": "6"}},
    "output": {
        "model": "m",
        "choices": [
            {"message": {"content": [{"type": "reasoning", "reasoning": "2 + 2 = 4"}, {"type": "text", "text": "So 6."}]}}
        ],
    },
}
GRADED = {
    "uuid": "u",
    "question": "Q?",
    "ground_truth_answer": "5",
    "model_output_steps": STEPS,
    "question_type": "original",
    "model_output_answer_correctness": "wrong",
    "model_output_solution_correctness": "wrong",
    "model_output_solution_first_error_step": 2,
}
SHEPHERD = (
    "".join(f"Step {n}: {text} ки\n" for n, text in enumerate(STEPS, 1)),
    "".join(f"Step {n}: {text} {sign}\n" for n, text, sign in zip((1, 2, 3), STEPS, "+--", strict=True)),
)
FOREIGN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ProcessBench": (
        {"id": "gsm8k-0", "generator": "m", "problem": "Q?", "steps": STEPS, "final_answer_correct": False, "label": 1},
        {
            "id": "gsm8k-0",
            "generator": "m",
            "steps": tuple(STEPS),
            "first_error_step": 1,
            "sound": False,
            "answer_correct": False,
            "label_source": "human",
        },
    ),
    "PRM800K": (
        {
            "labeler": "x",
            "question": {"problem": "Q?", "ground_truth_answer": "5"},
            "label": {"steps": RATED, "finish_reason": "found_error"},
        },
        {"steps": tuple(STEPS), "first_error_step": 1, "sound": False, "gold": "5"},
    ),
    "MR-GSM8K": (
        GRADED,
        {"id": "u", "steps": tuple(STEPS), "first_error_step": 1, "sound": False, "answer_correct": False, "gold": "5"},
    ),
    "TRL stepwise supervision": (
        {"prompt": "Q?", "completions": STEPS, "labels": [True, False, False]},
        {"steps": tuple(STEPS), "first_error_step": 1, "sound": False, "label_source": "auto"},
    ),
    "Math-Shepherd": (
        {"input": f"Q? {SHEPHERD[0]}", "label": f"Q? {SHEPHERD[1]}", "task": "GSM8K"},
        {"steps": tuple(f"Step {n}: {text}" for n, text in enumerate(STEPS, 1)), "first_error_step": 1, "sound": False},
    ),
    "lm-eval samples": (
        {**HARNESS, "resps": [["2 + 2 = 4\nSo 6."]], "filtered_resps": ["6"]},
        {"id": "7", "steps": ("2 + 2 = 4", "So 6."), "answer": "6", "gold": "5", "answer_correct": False},
    ),
    "an inspect log": (
        SAMPLE,
        {
            "id": "3",
            "steps": ("2 + 2 = 4", "So 6."),
            "answer": "6",
            "gold": "5",
            "answer_correct": False,
            "generator": "m",
        },
    ),
    "a chat (messages)": ({"messages": chat("Q?", "2 + 2 = 4\nSo 6.")}, {"steps": ("2 + 2 = 4", "So 6.")}),
    "prompt and response": ({"prompt": "Q?", "response": "2 + 2 = 4\nSo 6."}, {"steps": ("2 + 2 = 4", "So 6.")}),
}
STATED: list[tuple[Row, str | None, bool | None]] = [
    ({"question": "Q?", "response": "2 + 3 = 6. The answer is 5.", "gold": "5"}, "5", True),
    ({"question": "Q?", "response": "So \\boxed{6}", "gold": 5}, "6", False),
    ({"question": "Q?", "response": "2 + 3 = 5\n#### 5"}, "5", None),
    ({"question": "Q?", "response": "2 + 3 = 5 apples in all", "gold": "5"}, None, None),  # states none: nothing is guessed
    ({"question": "Q?", "response": "#### 5", "answer": "7", "gold": "5"}, "7", False),
    ({"problem": "Q?", "answer": "2 + 3 = 5\n#### 5", "gold": "5"}, "5", True),
    ({"problem": "Q?", "answer": "It is five.", "gold": "5"}, None, None),
    ({"messages": chat("Q?", "<think>The answer is 4.</think>The answer is **5**."), "gold": "5"}, "5", True),
    ({"doc": {"question": "Q?"}, "target": "#### 5", "resps": [["The answer is 5."] * 2]}, "5", True),
    ({"question": "Q?", "rationale": "2 + 3 = 6. The answer is 5.", "gold": "5"}, "5", True),
    ({"question": "Q?", "steps": ["2 + 3 = 6", "#### 6"], "gold": 5}, "6", False),
    ({"question": "Q?", "rationale": "#### 5", "answer": None, "gold": "5"}, None, None),
    ({"question": "Q?", "rationale": "#### 5"}, None, None),
]


@pytest.mark.parametrize(("row", "answer", "right"), STATED)
def test_the_answer_that_a_response_states_is_read_where_no_column_has_it(
    row: Row, answer: str | None, right: bool | None, tmp_path: Path
) -> None:
    for record in read_records(Path(write(tmp_path / "r.jsonl", [row]))):
        assert (record.answer, record.answer_correct) == (answer, right)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_known_format_is_detected_and_named(name: str, tmp_path: Path) -> None:
    row, expected = FOREIGN[name]
    path = Path(write(tmp_path / "r.jsonl", [row]))
    broken: list[BrokenLine] = []
    notes: list[str] = []
    (record,) = read_records(path, broken=broken, notes=notes)
    assert not broken and notes[0] == f"r.jsonl: 1 row read as {name}."
    assert record.question == "Q?" and {key: getattr(record, key) for key in expected} == expected


def test_labels_as_tables_write_them_and_empty_steps_beside_a_rationale(tmp_path: Path) -> None:
    rows = [
        {"question": "Q?", "steps": [], "rationale": "3 + 4 = 8", "answer_correct": 1, "sound": 0.0},
        {"question": "Q?", "steps": "", "rationale": "3 + 4 = 8", "answer_correct": "1", "sound": "0"},
        {"question": "Q?", "rationale": "3 + 4 = 8", "answer_correct": True, "sound": False, "gold": float("nan")},
        {"question": "Q?", "steps": float("nan"), "rationale": "3 + 4 = 8", "answer": True, "gold": True, "sound": 0},
    ]
    found = list(read_records(Path(write(tmp_path / "r.jsonl", rows))))
    assert [(each.steps, each.answer_correct, each.sound) for each in found] == [(("3 + 4 = 8",), True, False)] * 4
    assert [each.gold for each in found] == [None, None, None, "true"]


def test_what_is_not_read_is_listed(tmp_path: Path) -> None:
    notes: list[str] = []
    path = write(tmp_path / "r.jsonl", [{"question": "Q?", "rationale": "a", "first_mistake": 2}, GRADED])
    assert len(list(read_records(path, notes=notes))) == 2
    assert notes[-1] == "r.jsonl: not read are the columns first_mistake, question_type."


BAD_LABELS = [
    ("ProcessBench", {"label": 3}, "names step 3"),
    ("ProcessBench", {"label": "1"}, "expected the first wrong step"),
    ("TRL stepwise supervision", {"labels": [True]}, "expected true or false for each of 3 steps"),
    ("TRL stepwise supervision", {"labels": [1, 0, 0]}, "expected true or false"),
    ("MR-GSM8K", {"model_output_solution_first_error_step": "two"}, "two"),
    ("MR-GSM8K", {"model_output_solution_correctness": "perhaps"}, "perhaps"),
    ("Math-Shepherd", {"label": "Q? Step 1: x +"}, "each of 3 steps"),
    ("lm-eval samples", {"resps": [[[-1.5, False]]]}, "log-likelihoods"),
    ("PRM800K", {"label": {"steps": [{"completions": []}]}}, "lacks"),
]


@pytest.mark.parametrize(("name", "change", "message"), BAD_LABELS)
def test_a_label_that_is_not_understood_is_listed(name: str, change: dict[str, Any], message: str, tmp_path: Path) -> None:
    row, _ = FOREIGN[name]
    broken: list[BrokenLine] = []
    read = list(read_records(write(tmp_path / "r.jsonl", [{**row, **change}, row]), broken=broken))
    assert len(read) == 1 and [line.line for line in broken] == [1] and message in broken[0].reason


def test_several_samples_of_one_question_are_several_rationales(tmp_path: Path) -> None:
    path = write(tmp_path / "samples_gsm8k.jsonl", [{**HARNESS, "resps": [["one", "two"]], "filtered_resps": ["1"]}])
    assert [(record.steps, record.meta["sample"]) for record in read_records(path)] == [(("one",), 0), (("two",), 1)]


@pytest.mark.parametrize("kind", ["json", "eval"])
def test_an_inspect_log_as_it_is_written(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"log.{kind}"
    if kind == "json":
        path.write_text(
            json.dumps({"version": 2, "status": "success", "eval": {"model": "m"}, "samples": [SAMPLE, SAMPLE]}, indent=2)
        )
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("header.json", "{}")
            for epoch in (1, 2):
                archive.writestr(f"samples/3_epoch_{epoch}.json", json.dumps({**SAMPLE, "epoch": epoch}))
    assert [record.steps for record in read_records(path)] == [("2 + 2 = 4", "So 6.")] * 2
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(RecordError, match=f"log.{kind}"):
        list(read_records(path))


COLUMNS = ["--question", "prompt", "--rationale", "meta.text", "--answer", "final"]


def test_columns_named_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": f"2 + {n}?", "meta": {"text": f"2 + {n} = {n + 2}"}, "final": n + 2, "other": 1} for n in range(3)]
    path = write(tmp_path / "r.jsonl", [*rows, {"prompt": "x"}])
    assert score.main([path, *COLUMNS, "-o", str(tmp_path / "s.jsonl")]) == 1
    said = capsys.readouterr().err
    assert "line 4: no column 'meta.text'; the row has prompt" in said and "not read are the columns other" in said
    named = Columns("prompt", "meta.text", "final")
    expected = [(f"2 + {n}?", (f"2 + {n} = {n + 2}",), str(n + 2)) for n in range(3)]
    assert [(r.question, r.steps, r.answer) for r in read_records(path, broken=[], columns=named)] == expected
    assert analysis.load(path, named)["rationale"].tolist() == [steps[0] for _, steps, _ in expected]
    assert export.main([path, *COLUMNS, "-o", str(tmp_path / "page.html")]) == 0
    assert "3 rationales" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert export.main([path, "-o", str(tmp_path / "page.html")]) == 1
    assert "give --question and --rationale" in capsys.readouterr().err


def test_columns_of_the_app_and_in_what_it_says_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "r.jsonl", [{"q": f"{n}?", "steps": "no", "my text": f"{n}"} for n in range(9)])
    given = context.parse(("--records", path, "--question", "q", "--rationale", "my text"))
    monkeypatch.setattr(context, "arguments", lambda: given)
    (source,) = context.sources()
    monkeypatch.setattr(table_reading, "SMALL_FILE", 5)
    for _ in range(2):  # the second from the index
        table = table_reading.read_file(source)
        assert table.frame["problem"].tolist()[:2] == ["0?", "1?"] and table.rationale(1).steps == ("1",)
        assert f"analysis.score {path} --question q --rationale 'my text' -o" in table.notes[-1]
    assert table_reading.read_file(replace(source, columns=Columns())).rationale(1).steps == ("no",)
    with pytest.raises(UsageError, match="--question names a column"):
        context.parse(("--question", "q"))


def test_what_would_be_read_wrongly_is_said(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text('q,a\n1,"2\n' + "3,4\n" * 9)
    assert "lines 2 to 11 are lost" in str(next(iter(read_rows(tmp_path / "r.csv")))[1])
    with pytest.raises(RecordError, match="labels contradict each other"):
        record_from({"steps": ["a"], "sound": True, "first_error_step": 0}, default_id="x")


def test_scores_that_are_older_than_their_file_are_named(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "r.jsonl", [{"id": "a", "question": "Q?", "rationale": "3*4=13"}]))
    assert score.main([str(path), "-o", str(tmp_path / "r.scores.parquet")]) == 0
    assert not any("older" in note for note in table_reading.read_file(source_of(path)).notes)
    os.utime(path, (time.time() + 9, time.time() + 9))
    assert any("r.scores.parquet is older than r.jsonl" in note for note in table_reading.read_file(source_of(path)).notes)


def test_the_header_of_a_table_as_people_write_it(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("\n question , rationale\nQ?,a\n")
    assert [(r.question, r.steps) for r in read_records(tmp_path / "r.csv")] == [("Q?", ("a",))]


def test_a_table_of_records_with_labels(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text('question,steps,sound,first_error_step\nQ?,"[""a"", ""b""]",False,1\nQ?,"c\nd",TRUE,-1\n')
    first, second = read_records(tmp_path / "r.csv")
    assert (first.steps, first.sound, first.first_error_step) == (("a", "b"), False, 1)
    assert (second.steps, second.sound, second.first_error_step) == (("c", "d"), True, -1)


@pytest.mark.parametrize("content", ["{torn", "[1]\n[2]\n", '{"id": 1}\n'])
def test_an_unreadable_input_leaves_no_output(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.jsonl").write_text(content)
    assert score.main([str(tmp_path / "r.jsonl"), "-o", str(tmp_path / "s.jsonl")]) == 1
    assert "holds no rationale" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["r.jsonl"]


def test_calibrate_says_what_it_could_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row, _ = FOREIGN["ProcessBench"]
    path = write(
        tmp_path / "r.jsonl",
        [{**row, "problem": f"{n}?", "label": n % 3 - 1} for n in range(40)] + [{**row, "label": 9}],
    )
    calibrate.main([path])
    said = capsys.readouterr().err
    assert "40 rows read as ProcessBench" in said and "not read: " in said and "line 41" in said


def test_records_are_unchanged_by_an_own_format(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [{"question": "Q?", "steps": ["a"], "problem": "other"}])
    assert list(read_records(path)) == [Record("r.jsonl:1", question="Q?", steps=("a",))]
