"""Rationale records: reading, writing, broken lines, run directories."""

from __future__ import annotations

import gzip
import json
import math
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.rationales.formats import format_of
from analysis.rationales.reading import read_records
from analysis.rationales.records import BrokenLine, Record, RecordError, record_from, records_from, write_records
from star.row_files import Row

FULL = Record(
    id="a1",
    source="mine",
    task="math_word",
    question="Ann has 3 boxes of 4 pens. How many pens?",
    choices={"A": "12", "B": "7"},
    steps=("3 * 4 = 12", "So 12 pens."),
    answer="12",
    gold="12",
    answer_correct=True,
    first_error_step=-1,
    sound=True,
    label_source="human",
    generator="me",
    generator_params_b=0.5,
    meta={"round": 2, "note": "é"},
)
BARE = Record(id="b", steps=("x",))


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_what_is_written_is_read_back(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"records{ending}"
    write_records(path, [FULL, BARE])
    assert list(read_records(path)) == [FULL, BARE]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_parquet_file_is_read_like_lines(tmp_path: Path) -> None:
    write_records(tmp_path / "r.jsonl", [FULL, BARE])
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    texts = [row | {"choices": json.dumps(row["choices"]), "meta": json.dumps(row["meta"])} for row in rows]
    for name, content in (("texts", texts), ("nested", rows[:1])):
        pq.write_table(pa.Table.from_pylist(content), tmp_path / f"{name}.parquet")
        assert list(read_records(tmp_path / f"{name}.parquet")) == [FULL, BARE][: len(content)]


def test_a_rationale_in_one_text_is_split(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"rationale": "48 / 2 = 24\\n48 + 24 = 72", "question": "?"}\n')
    (record,) = read_records(path)
    assert record.steps == ("48 / 2 = 24", "48 + 24 = 72")
    assert record.id == "r.jsonl:1"


BROKEN = {
    "not JSON": "{torn",
    "a list": "[1, 2]",
    "no rationale": '{"id": "x"}',
    "steps of numbers": '{"id": "x", "steps": [1]}',
    "a text as flag": '{"id": "x", "steps": ["a"], "sound": "perhaps"}',
    "a list as question": '{"id": "x", "steps": ["a"], "question": []}',
    "half a step": '{"id": "x", "steps": ["a"], "first_error_step": 1.5}',
    "a step that is not there": '{"id": "x", "steps": ["a"], "first_error_step": 1}',
    "choices": '{"id": "x", "steps": ["a"], "choices": "A) 1"}',
    "deep": '{"a":' * 100_000,
    "many digits": '{"id": "x", "steps": ["a"], "answer": ' + "9" * 10_000 + "}",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_line_is_named_and_the_rest_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "r.jsonl"
    good = '{"id": "%s", "steps": ["a"]}'
    path.write_text("\n".join([good % 1, BROKEN[name], "", good % 2]) + "\n")
    broken: list[BrokenLine] = []
    assert [record.id for record in read_records(path, broken=broken)] == ["1", "2"]
    assert [(line.path, line.line) for line in broken] == [(path, 2)]
    with pytest.raises(RecordError, match=r"r\.jsonl, line 2: "):
        list(read_records(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"steps": ["a"]}\n{"steps": ["b"', "line 2"), ("null\n", "line 1: .*found null")],
)
def test_reading_stops_at_a_broken_line_and_says_what_it_found(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    with pytest.raises(RecordError, match=message):
        list(read_records(path))


def test_choices_as_two_lists(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"steps": ["a"], "choices": {"text": ["ice", "fire"], "label": ["A", "B"]}}\n')
    (record,) = read_records(path)
    assert record.choices == {"A": "ice", "B": "fire"}


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"steps": ["\xff"]}\n{"steps": ["\\ud83d"]}\n')
    broken: list[BrokenLine] = []
    (record,) = read_records(path, broken=broken)
    assert record.steps == ("?",)
    assert "UTF-8" in broken[0].reason


def test_a_torn_gzip_file_reads_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    lines = "".join(json.dumps({"id": str(n), "steps": [f"{n * 7919} {n * 104729}"]}) + "\n" for n in range(5_000))
    whole = gzip.compress(lines.encode())
    path.write_bytes(whole[: len(whole) // 2])
    broken: list[BrokenLine] = []
    read = list(read_records(path, broken=broken))
    assert 0 < len(read) < 5_000
    assert len(broken) == 1


@pytest.mark.parametrize("name", ["nothing.jsonl", "table.xlsx"])
def test_unusable_input_says_what_to_do(tmp_path: Path, name: str) -> None:
    if name.endswith(".xlsx"):
        (tmp_path / name).write_text("a,b\n")
    with pytest.raises(RecordError, match=r"\.jsonl"):
        list(read_records(tmp_path / name))


def test_a_run_directory(tmp_path: Path) -> None:
    from tests.run_factory import make_run

    run = make_run(tmp_path, rounds=1)
    records = list(read_records(run))
    assert records
    assert {record.task for record in records} == {"addition"}
    assert all(record.question and record.steps for record in records)
    assert {record.meta["mode"] for record in records} >= {"generated", "evaluated"}
    assert all(record.label_source == (None if record.sound is None else "auto") for record in records)


def test_a_half_finished_run_reads_as_far_as_it_got(tmp_path: Path) -> None:
    from tests.run_factory import make_run

    run = make_run(tmp_path, rounds=2)
    everything = list(read_records(run))
    (run / "round_02" / "attempts.parquet").write_bytes(b"torn")
    (run / "test" / "evaluation.parquet").unlink(missing_ok=True)
    (run / "problems.parquet").unlink()
    (run / "result.json").unlink(missing_ok=True)
    broken: list[BrokenLine] = []
    rest = list(read_records(run, broken=broken))
    assert 0 < len(rest) < len(everything)
    assert [line.path.name for line in broken] == ["attempts.parquet"]


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="not a run directory"):
        list(read_records(tmp_path))


TOWNS = {"A": "Paris", "B": "London"}
ROWS_OF_OTHERS: list[tuple[Row, dict[str, Any]]] = [
    (
        {"prompt": "Q?", "response": "The answer is London.", "choices": TOWNS, "gold": "B"},
        {"choices": TOWNS, "answer_correct": True},
    ),
    ({"question": "Q?", "response": "5", "sound": False, "answer_correct": False}, {"sound": False, "answer_correct": False}),
    (
        {"problem": "Q?", "solution": "3*4=13, so $\\boxed{12}$.", "answer": "12"},
        {"answer": "12", "steps": ("3*4=13, so $\\boxed{12}$.",)},
    ),
    ({"question": "Q?", "answer": "3*4=12 pens.\n#### 12"}, {"answer": "12", "steps": ("3*4=12 pens.", "#### 12")}),
    (
        {"question": "Q?", "response": "The answer is 5.", "gold": "She has five.\n#### 5"},
        {"gold": "5", "answer_correct": True},
    ),
    ({"steps": ["a"], "answer": "#### 72", "gold": "72"}, {"answer_correct": True}),
    (
        {"steps": ["a"], "sound": "Yes ", "answer_correct": "incorrect", "first_error_step": "None"},
        {"sound": True, "answer_correct": False},
    ),
    ({"steps": ["a"], "sound": True, "label_source": "AUTO "}, {"label_source": "auto"}),
    ({"problem": "Q?", "steps": ["a", "b"], "label": 1.0}, {"first_error_step": 1}),
    ({"steps": "['3*4=12', 'So 12']"}, {"steps": ("3*4=12", "So 12")}),
    ({"steps": '["3*4=12", "So 12"]'}, {"steps": ("3*4=12", "So 12")}),
    ({"rationale": ["3*4=12", "So 12"]}, {"steps": ("3*4=12", "So 12")}),
    ({"steps": math.nan, "rationale": "The answer is 12.", "gold": "12"}, {"answer": "12"}),
    ({"steps": ["a"], "gold": Decimal("12.5"), "answer": date(2020, 1, 2)}, {"gold": "12.5", "answer": "2020-01-02"}),
    ({"steps": ["a"], "gold": [1, 2], "answer": "[1, 2]"}, {"gold": "[1, 2]", "answer_correct": True}),
    ({"steps": ["a"], "choices": math.nan}, {"choices": None}),
    ({"steps": ["a"], "choices": "['x', 'y']"}, {"choices": {"A": "x", "B": "y"}}),
    ({"steps": ["a"], "choices": [("A", "x"), ("B", "y")]}, {"choices": {"A": "x", "B": "y"}}),
    ({"steps": ["a"], "choices": ["x", "y", "z"], "gold": 2, "answer": "C"}, {"gold": "C", "answer_correct": True}),
    ({"steps": ["a"], "choices": ["1", "2", "3"], "gold": 2, "answer": "B"}, {"gold": "2", "answer_correct": True}),
    ({"steps": ["a"], "choices": [{"label": "A", "text": "x"}]}, {"choices": {"A": "x"}}),
    ({"steps": ["a"], "choices": [{"label": ["A"], "text": "x"}]}, {"choices": {"['A']": "x"}}),
    ({"prompt": "Q?", "response": "The answer is 5.", "gold": "5", "choices": [{"index": 0}]}, {"answer_correct": True}),
    ({"steps": ["a"], "choices": ["w", "x", "y"], "gold": 2, "answer": 2}, {"gold": "2", "answer_correct": True}),
    ({"steps": ["a"], "choices": '["w", "x", "y"]', "gold": 2, "answer": "C"}, {"gold": "C", "answer_correct": True}),
    (
        {"problem": "Q?", "solution": "so $\\boxed{12}$.", "rationale": "mine is 13", "answer": "13"},
        {"steps": ("mine is 13",)},
    ),
    (
        {"question": "Q?", "answer": "a\n#### 24", "prompt": "Q?", "completion": "so 30\n#### 30"},
        {"steps": ("so 30", "#### 30")},
    ),
    ({"rationale": 5}, {"steps": ("5",)}),
    ({"steps": ["a"], "meta": date(2020, 1, 2)}, {"meta": {"meta": "2020-01-02"}}),
    ({"steps": "['a' 'b']"}, {"steps": ("['a' 'b']",)}),
]


@pytest.mark.parametrize(("row", "fields"), ROWS_OF_OTHERS, ids=lambda each: repr(each)[:50])
def test_rows_as_other_people_write_them(row: Row, fields: dict[str, Any]) -> None:
    (record,) = records_from(row, format_of(row), default_id="x")
    assert {name: getattr(record, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("size", "read"),
    [
        ("350M", 0.35),
        (7_000_000_000, 7.0),
        (-1, None),
        (7, 7.0),
        ("7B", 7.0),
        ("0.5", 0.5),
        ("large", None),
        ([7], None),
        (None, None),
    ],
)
def test_no_rationale_is_lost_over_what_judges_nothing(size: object, read: float | None) -> None:
    record = record_from({"steps": ["a"], "meta": "from the web", "generator_params_b": size}, default_id="x")
    assert record.meta == {"meta": "from the web"} and record.generator_params_b == pytest.approx(read)
