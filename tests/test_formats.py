"""Files as other projects write them: endings, encodings, tables, layouts of questions."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from star import train
from star.row_files import BadRowError, Row, RowFileError, read_rows
from star.tasks.rows import TaskError
from tests.task_rows import chat, records, write

ROWS = [{"question": f"What is {n} plus {n}?", "answer": str(2 * n), "note": 'a, b\nc; "d"'} for n in range(1, 13)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
FRAME = pd.DataFrame(ROWS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.jsonl", LINES.encode()),
        ("r.JSONL", LINES.encode("utf-8-sig")),
        ("r.ndjson", LINES.encode("utf-16")),
        ("r.jsonl", LINES.encode("utf-32")),
        ("r.JSON.gz", gzip.compress(json.dumps(ROWS).encode())),
        ("r.json", json.dumps(ROWS, indent=2).encode("utf-16")),
        ("r.json", LINES.encode()),
        ("r.json", json.dumps({"version": 1, "data": ROWS}).encode()),
        ("r.json", FRAME.to_json().encode()),
        ("r.jsonl", json.dumps(ROWS).encode()),
        ("r.jsonl", json.dumps(ROWS, indent=1).encode()),
        ("r.csv", FRAME.to_csv(index=False).encode()),
        ("r.CSV", FRAME.to_csv(index=False).encode("utf-16")),
        ("r.csv.gz", gzip.compress(FRAME.to_csv(index=False).encode("utf-8-sig"))),
        ("r.csv", FRAME.to_csv(index=False, sep=";").encode()),
        ("r.tsv", FRAME.to_csv(index=False, sep="\t").encode()),
    ],
)
def test_the_same_rows_from_any_usual_file(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert [row for _, row in read_rows(tmp_path / name)] == ROWS
    loaded = records(str(tmp_path / name))
    assert sorted(int(problem.gold) for problem in (*loaded.train, *loaded.test)) == [2 * n for n in range(1, 13)]


@pytest.mark.parametrize(
    ("name", "content", "number", "message"),
    [
        ("r.csv", b"q,a\n1,2\n1,2,3\n4,5\n", 3, "more cells than the header"),
        ("r.csv", b'q,a\n1,2\n1,"2\n4,5\n', 3, "quotation marks from line 3 on"),
        ("r.csv", b"q,a\n1,\xff\n3,4\n", 2, "byte 0xff is not UTF-8"),
        ("r.csv", b"q,\xe9\n1,2\n", 1, "byte 0xe9 of the header is not UTF-8"),
        ("r.json", b'[{"q": 1}, [2]]', 2, "found a JSON list"),
        ("r.json", b'[{"q": 1}, {"q"', 1, "not JSON"),
        ("r.json", b'{"a":' * 100_000, 1, "not JSON"),
        ("r.jsonl", b'{"q": 1}\nnull\n', 2, "found null"),
        ("r.jsonl", LINES.encode("utf-16")[:-1], 12, "cannot be read any further"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(name: str, content: bytes, number: int, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    bad = [(place, str(row)) for place, row in read_rows(tmp_path / name) if isinstance(row, BadRowError)]
    assert len(bad) == 1 and bad[0][0] >= min(number, 2) - 1 and message in bad[0][1]
    with pytest.raises(TaskError, match="row"):
        records(str(tmp_path / name))


def test_an_odd_cell_of_a_table_costs_its_row_only(tmp_path: Path) -> None:
    long = "x" * 200_000
    (tmp_path / "r.csv").write_text(f'q,a\n1,"2"x\n3,{long}\n4,5\n')
    (number, bad), *others = read_rows(tmp_path / "r.csv")
    assert number == 2 and isinstance(bad, BadRowError) and "from line 2 on" in str(bad)
    assert others == [(3, {"q": "3", "a": long}), (4, {"q": "4", "a": "5"})]


@pytest.mark.parametrize("name", ["r.xlsx", "r.txt", "r"])
def test_an_unknown_ending_is_refused_with_those_that_are_known(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(RowFileError, match=r"unknown ending; rows are read from \.jsonl, .*\.csv"):
        read_rows(tmp_path / name)


SHAREGPT = [{"from": "human", "value": "What is 3 plus 3?"}, {"from": "gpt", "value": "#### 6"}]
PARTS = [
    {"role": "user", "content": [{"type": "text", "text": "What is 4 plus 4?"}]},
    {"role": "assistant", "content": "#### 8"},
]
LAYOUTS: list[tuple[str, list[dict[str, Any]]]] = [
    ("a chat (messages)", [{"messages": chat("What is 1 plus 1?", "1 + 1 = 2\n#### 2")}, {"messages": PARTS}]),
    ("a chat (conversations)", [{"conversations": SHAREGPT}, {"conversations": chat("Two?", "#### 2")}]),
    ("prompt and response", [{"prompt": f"{n}?", "response": f"So #### {n}"} for n in range(2)]),
    (
        "prompt and completion",
        [{"prompt": chat(f"{n}?", "")[:2], "completion": chat("", f"#### {n}")[2:]} for n in range(2)],
    ),
    ("instruction and output", [{"instruction": "Add.", "input": f"{n} + 1", "output": f"{n + 1}"} for n in range(2)]),
    ("problem and answer", [{"problem": f"{n}?", "solution": "...", "answer": n} for n in range(2)]),
    ("query and response", [{"query": f"{n}?", "response": f"{n}"} for n in range(2)]),
]


@pytest.mark.parametrize(("layout", "rows"), LAYOUTS, ids=[name for name, _ in LAYOUTS])
def test_questions_in_other_layouts(layout: str, rows: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = records(write(tmp_path / "r.jsonl", rows))
    assert len(loaded.train) == len(loaded.test) == 1 and not loaded.skipped
    assert f"read from {layout}" in capsys.readouterr().err
    assert layout != "instruction and output" or loaded.train[0].question.startswith("Add.\n")


def test_chats_of_several_questions_are_counted_not_lost(tmp_path: Path) -> None:
    rows = [{"messages": chat(f"{n}?", f"#### {n}")} for n in range(2)] + [{"messages": chat("5?", "5") + chat("6?", "6")}]
    assert records(write(tmp_path / "r.jsonl", rows)).skipped == {"no question": 1}


def test_choices_in_columns_of_their_own(tmp_path: Path) -> None:
    rows = "question,A,B,C,answer\n" + "".join(f"Which is {n}?,sea,air,fire,{'ABC'[n % 3]}\n" for n in range(6))
    (tmp_path / "r.csv").write_text(rows)
    loaded = records(str(tmp_path / "r.csv"), choices="A+B+C", answer_type="choice")
    assert loaded.train[0].choices == {"A": "sea", "B": "air", "C": "fire"} and len(loaded.train) == 5


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("sep=;\na;b\n1;2\n", [{"a": "1", "b": "2"}]),
        ('"a, b";c;d\n1;2;3\n', [{"a, b": "1", "c": "2", "d": "3"}]),
        ("a\tb\n1,5\t2\n", [{"a": "1,5", "b": "2"}]),
        ("q,a,a\n1,2,3\n", [{"q": "1", "a": "2", "a (2)": "3"}]),
        ("ques|ti|on,b\n1,2\n", [{"ques|ti|on": "1", "b": "2"}]),
        ("a,b,\n1,2,\n,,\n3,4,\n", [{"a": "1", "b": "2", "": None}, {"a": "3", "b": "4", "": None}]),
    ],
)
def test_tables_as_spreadsheets_write_them(content: str, rows: list[Row], tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(content)
    assert [row for _, row in read_rows(tmp_path / "r.csv")] == rows


# ---------------------------------------------------------------------- what a dry run says


def test_a_dry_run_says_the_numbers_that_will_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "r.jsonl", ROWS[:4])
    assert train.main(["--task.name", "records", "--task.path", path, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "2 train, 1 selection, 1 test problem" in said and "2,000" not in said
    assert "each round      2 problems of train" in said and "evaluation      1 problem of selection" in said


def test_another_task_does_not_inherit_the_name_and_the_filter_of_addition(tmp_path: Path) -> None:
    recipe, _, _ = train.parse(["--task.name", "records", "--task.path", "r.jsonl"])
    assert (recipe.name, recipe.curation.require) == ("records", "answer")
    recipe, _, _ = train.parse(["--task.name=gsm8k", "--name", "mine", "--curation.require", "sound"])
    assert (recipe.name, recipe.curation.require) == ("mine", "sound")
    for plain in ([], ["addition"], ["addition", "--task.name", "addition"]):
        assert train.parse(plain)[0].curation.require == "sound"
