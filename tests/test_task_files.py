"""Records of one's own: columns, kinds of answers, and what happens with bad data."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from star.recipe import RecipeError
from star.tasks import load_task
from star.tasks.loading import MAX_QUESTION, UnusableRowError
from star.tasks.records import _label
from star.tasks.rows import TaskError
from tests.task_rows import load, records, settings, sums, write

ROOT = Path(__file__).resolve().parent.parent


def test_records_with_joined_and_nested_columns(tmp_path: Path) -> None:
    content = [
        {"Body": f"There are {n} pens", "Question": "How many?", "meta": {"Answer": float(n)}} for n in range(10)
    ]
    loaded = records(write(tmp_path / "r.jsonl", content), question="Body+Question", answer="meta.Answer")
    everything = sorted((*loaded.train, *loaded.test), key=lambda p: int(p.gold))
    assert [p.gold for p in everything] == [str(n) for n in range(10)]
    assert everything[4].question == "There are 4 pens. How many?"
    assert len(loaded.test) == 1


def test_records_from_parquet(tmp_path: Path) -> None:
    table = pa.table({"q": [f"{n}?" for n in range(10)], "a": [n / 4 for n in range(10)]})
    pq.write_table(table, tmp_path / "r.parquet")
    loaded = records(str(tmp_path / "r.parquet"), question="q", answer="a")
    assert {p.gold for p in (*loaded.train, *loaded.test)} >= {"0.25", "0.5", "2"}


@pytest.mark.parametrize(
    ("choices", "answer", "gold"),
    [
        ({"A": "sea", "B": "air"}, "B", "B"),
        ({"A": "sea", "B": "air"}, "Air.", "B"),
        (["sea", "air"], 1, "B"),
        (["sea", "air"], "B", "B"),
        (["sea", "air"], "sea", "A"),
        ([{"label": "x", "text": "sea"}, {"label": "y", "text": "air"}], "y", "y"),
        ({"label": ["1", "2"], "text": ["sea", "air"]}, 2, "2"),
        ({"label": ["1", "2"], "text": ["sea", "air"]}, "2", "2"),
    ],
)
def test_records_read_choices_in_any_usual_form(tmp_path: Path, choices: object, answer: object, gold: str) -> None:
    content = [{"q": f"Where is {n}?", "o": choices, "a": answer} for n in range(4)]
    loaded = records(write(tmp_path / "r.jsonl", content), question="q", answer="a", choices="o", answer_type="choice")
    assert {p.gold for p in loaded.train} == {gold}
    assert list((loaded.train[0].choices or {}).values()) == ["sea", "air"]


def test_records_of_text_and_math(tmp_path: Path) -> None:
    content = [{"question": f"Spell {n}", "answer": f"x_{n}"} for n in range(6)]
    path = write(tmp_path / "r.jsonl", content)
    for kind in ("text", "math"):
        loaded = records(path, answer_type=kind)
        assert sorted(p.gold for p in (*loaded.train, *loaded.test)) == [f"x_{n}" for n in range(6)]


def test_an_interval_in_a_table_is_text_and_a_list_of_texts_is_none(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text('question,answer\na?,"[0, 1]"\nb?,"[0, 1)"\nc?,"[""x"", ""y""]"\n')
    loaded = records(str(tmp_path / "r.csv"), answer_type="math")
    assert {p.gold for p in (*loaded.train, *loaded.test)} == {"[0, 1]", "[0, 1)"} and list(loaded.skipped.values()) == [1]


def test_records_settings_that_do_not_fit() -> None:
    with pytest.raises(TaskError, match=r"task\.path .* task\.dataset"):
        load_task(settings("records"), 0)
    with pytest.raises(TaskError, match=r"needs task\.choices"):
        load_task(settings("records", path="x.jsonl", answer_type="choice"), 0)


# ---------------------------------------------------------------------- bad data


def broken(tmp_path: Path, content: bytes, name: str = "bad.jsonl") -> str:
    (tmp_path / name).write_bytes(content)
    return str(tmp_path / name)


GOOD = b'{"question": "1 + 1?", "answer": "2"}\n{"question": "1 + 2?", "answer": "3"}\n'


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "bad.jsonl", r"bad\.jsonl is empty"),
        (b"\n\n  \n", "bad.jsonl", r"bad\.jsonl is empty"),
        (
            GOOD + b'{"question": "caf\xe9?", "answer": "4"}\n',
            "bad.jsonl",
            r"bad\.jsonl, row 3: byte 0xe9 at column 18 is not UTF-8",
        ),
        (GOOD + b'{"question": "half', "bad.jsonl", r"bad\.jsonl, row 3: not JSON"),
        (GOOD + b"[" * 100_000, "bad.jsonl", r"bad\.jsonl, row 3: not JSON"),
        (GOOD + b"[1, 2]\n", "bad.jsonl", r"bad\.jsonl, row 3: found a JSON list, expected an object"),
        (
            b'{"q": "1?", "answer": "2"}\n',
            "bad.jsonl",
            r"bad\.jsonl, row 1: no column 'question'; the row has answer, q",
        ),
        (b'{"question": "1?", "a": "2"}\n', "bad.jsonl", r"bad\.jsonl, row 1: no column 'answer'"),
        (gzip.compress(GOOD * 50, mtime=0)[:-20], "bad.jsonl.gz", r"bad\.jsonl\.gz, row \d+: not a whole gzip file"),
        (GOOD, "bad.jsonl.gz", r"bad\.jsonl\.gz, row \d+: not a whole gzip file"),
        (GOOD, "bad.parquet", r"bad\.parquet cannot be read as parquet"),
        (GOOD, "bad.xlsx", r"bad\.xlsx has an unknown ending; rows are read from \.jsonl"),
        (
            b'{"question": "1?", "answer": "many"}\n' * 2,
            "bad.jsonl",
            r"no usable training row \(2 x answer is not a number\); task.answer_type may be number, choice, text or math",
        ),
        (b'{"question": "1?", "answer": "1"}\n', "bad.jsonl", r"no usable test row"),
    ],
)
def test_bad_files_are_errors_that_name_the_place(tmp_path: Path, content: bytes, name: str, message: str) -> None:
    path = broken(tmp_path, content, name)
    for task in ("gsm8k", "records"):
        with pytest.raises(TaskError, match=message) as caught:
            load_task(settings(task, path=path), 0).load()
        assert "\n" not in str(caught.value) and isinstance(caught.value, RecipeError)


def test_missing_files(tmp_path: Path) -> None:
    good = broken(tmp_path, GOOD, "good.jsonl")
    for changes in ({"path": str(tmp_path / "none.jsonl")}, {"path": good, "test_path": str(tmp_path / "none.jsonl")}):
        with pytest.raises(TaskError, match=r"none\.jsonl is not a file"):
            load_task(settings("gsm8k", **changes), 0).load()
    with pytest.raises(TaskError, match=r"task\.test_path is set but task\.path is not"):
        load_task(settings("gsm8k", test_path=good), 0).load()


def test_bad_rows_are_counted_with_their_places(tmp_path: Path) -> None:
    content = [
        *sums(10),
        {"question": "x" * 100_000, "answer": "1"},
        {"question": "No answer?", "answer": None},
        {"question": "Blank answer?", "answer": " "},
        {"question": "Without one?"},
        {"answer": "7"},
        {"question": "  ", "answer": "7"},
        {"question": 7, "answer": "7"},
        {"question": "A word?", "answer": "many"},
        {"question": "Digits?", "answer": "9" * 10_000},
        {"question": "Not a number?", "answer": float("nan")},
        '{"question": "\\ud800?", "answer": "1"}\n',
    ]
    loaded = records(write(tmp_path / "bad.jsonl", content))
    assert loaded.skipped == {
        f"question longer than {MAX_QUESTION:,} characters": 1,
        "no answer": 4,
        "no question": 3,
        "answer is not a number": 2,
        "question holds half a surrogate pair (not UTF-8)": 1,
    }
    assert len(loaded.train) + len(loaded.test) + sum(loaded.skipped.values()) == len(content)
    assert loaded.left_out[0][0].endswith("bad.jsonl, row 11")


@pytest.mark.parametrize("kind", ["text", "math"])
def test_nan_is_no_answer(tmp_path: Path, kind: str) -> None:
    content = [{"question": f"{n}?", "answer": str(n)} for n in range(4)]
    content += [{"question": "5?", "answer": float("nan")}, {"question": "6?", "answer": "nan"}]
    loaded = records(write(tmp_path / "r.jsonl", content), answer_type=kind)
    assert loaded.skipped == {"no answer": 1}
    assert "nan" in {p.gold for p in (*loaded.train, *loaded.test)}  # as a text it may be a bread


def test_empty_parts_of_a_joined_question_are_left_out(tmp_path: Path) -> None:
    bodies = ["", "  ", None, float("nan"), "Ann has 2 pens"]
    content = [{"Body": body, "Question": f"How many are {n}?", "Answer": n} for n, body in enumerate(bodies)]
    content += [{"Question": "Of what?", "Answer": 7}, {"Body": "", "Question": float("nan"), "Answer": 8}]
    loaded = records(write(tmp_path / "r.jsonl", content), question="Body+Question", answer="Answer")
    asked = {p.gold: p.question for p in (*loaded.train, *loaded.test)}
    assert asked == {str(n): f"How many are {n}?" for n in range(4)} | {"4": "Ann has 2 pens. How many are 4?"}
    assert loaded.skipped == {"no question": 2}


HALF = "\\ud800"  # as JSON writes it


@pytest.mark.parametrize(
    ("kind", "row", "what"),
    [
        ("text", f'{{"question": "Q?", "answer": "a{HALF}"}}', "answer"),
        ("math", f'{{"question": "Q?", "answer": "a{HALF}"}}', "answer"),
        ("choice", f'{{"question": "Q?", "answer": "A", "o": {{"A": "x{HALF}", "B": "y"}}}}', "choice"),
        ("choice", f'{{"question": "Q{HALF}?", "answer": "A", "o": {{"A": "x", "B": "y"}}}}', "question"),
    ],
)
def test_half_a_surrogate_pair_anywhere_is_a_counted_row(tmp_path: Path, kind: str, row: str, what: str) -> None:
    good = [{"question": f"{n}?", "answer": "A", "o": {"A": "x", "B": "y"}} for n in range(4)]
    loaded = records(write(tmp_path / "r.jsonl", [*good, row + "\n"]), answer_type=kind, choices="o")
    assert loaded.skipped == {f"{what} holds half a surrogate pair (not UTF-8)": 1}


def test_labels_that_other_rows_have_are_no_choices_of_a_row(tmp_path: Path) -> None:
    four = {"A": "v", "B": "w", "C": "x", "D": "y"}
    table = pa.table({"q": [f"Which is {n}?" for n in range(4)], "a": list("ABCE"), "o": [four] * 3 + [four | {"E": "z"}]})
    pq.write_table(table, tmp_path / "r.parquet")
    loaded = records(str(tmp_path / "r.parquet"), question="q", answer="a", choices="o", answer_type="choice")
    assert not loaded.skipped
    assert sorted(len(p.choices or {}) for p in (*loaded.train, *loaded.test)) == [4, 4, 4, 5]


def test_a_parquet_column_that_python_cannot_read_matters_only_where_it_is_used(tmp_path: Path) -> None:
    far = pa.array([253_402_300_800_000] * 4, pa.timestamp("ms"))  # 10000-01-01
    table = pa.table({"q": [f"{n}?" for n in range(4)], "a": [1, 2, 3, 4], "when": far, "m": [{"when": 1}] * 4})
    path = tmp_path / "r.parquet"
    pq.write_table(table, path)
    assert len(records(str(path), question="q", answer="a").train) == 3
    assert len(records(str(path), question="q", answer="m.when").train) == 3
    with pytest.raises(TaskError, match=r"r\.parquet cannot be read as parquet \(.+\)") as caught:
        records(str(path), question="q", answer="when")
    assert "\n" not in str(caught.value)


def test_places_from_0_among_labels_from_1_are_refused(tmp_path: Path) -> None:
    numbered = {"label": ["1", "2", "3", "4"], "text": ["v", "w", "x", "y"]}
    content = [{"q": f"Which is {n}?", "a": n, "o": numbered} for n in (3, 2, 1, 0)]
    path = write(tmp_path / "r.jsonl", content)
    with pytest.raises(TaskError, match=r"r\.jsonl, row 4: the answer is 0, but its choices are labelled 1, 2, 3, 4"):
        records(path, question="q", answer="a", choices="o", answer_type="choice")
    loaded = records(write(tmp_path / "s.jsonl", content[:3]), question="q", answer="a", choices="o", answer_type="choice")
    assert sorted(p.gold for p in (*loaded.train, *loaded.test)) == ["1", "2", "3"]


def test_bad_choices_are_counted(tmp_path: Path) -> None:
    def row(n: int, answer: object, choices: object) -> dict[str, Any]:
        return {"answerKey": answer, "question": {"stem": f"Where {n}?", "choices": choices}}

    good = [{"label": "A", "text": "sea"}, {"label": "B", "text": "air"}]
    content = [
        *(row(n, "A", good) for n in range(10)),
        row(20, "C", good),
        row(21, "", good),
        row(22, "A", good[:1]),
        row(23, "A", [good[0], good[0]]),
        row(24, "A", [good[0], {"label": "B", "text": None}]),
        row(25, "A", [good[0], {"label": "B", "text": " "}]),
        row(26, "A", None),
        row(27, "A", [{"label": "A", "text": "x" * 60_000}, good[1]]),
    ]
    loaded = load(load_task(settings("commonsense_qa", path=write(tmp_path / "c.jsonl", content)), 0))
    assert loaded.skipped == {
        "answer is not one of the choices": 1,
        "no answer": 1,
        "fewer than two choices": 2,
        "choices without a text or with the same label": 2,
        "choices with an empty text or a label that is not a letter or at most two digits": 1,
        f"question longer than {MAX_QUESTION:,} characters": 1,
    }
    assert len(loaded.train) + len(loaded.test) + sum(loaded.skipped.values()) == len(content)


def test_byte_order_mark_and_windows_line_ends_are_no_problem(tmp_path: Path) -> None:
    path = broken(tmp_path, b"\xef\xbb\xbf" + (GOOD * 1).replace(b"\n", b"\r\n"))
    assert len(records(path).train) == 1


@pytest.mark.parametrize(
    ("answer", "choices", "label"),
    [
        ("b", {"A": "river", "B": "bank"}, "B"),
        ("(B)", {"A": "river", "B": "bank"}, "B"),
        (1, {"A": "river", "B": "bank"}, "B"),
        (1.0, {"A": "river", "B": "bank"}, "B"),
        ("1", {"A": "river", "B": "bank"}, "B"),
        ("the bank", {"A": "river", "B": "bank"}, "B"),
        (1, {"A": "3", "B": "1", "C": "2"}, "B"),  # place and text agree
        ("1", {"A": "1", "B": "2", "C": "0"}, "A"),  # a text is a text first
        (2, {"1": "x", "2": "y"}, "2"),  # a label before a place
        (1.0, {"1": "x", "2": "y"}, "1"),  # the same as the float of a column with gaps
        (0, {"0": "x", "1": "y"}, "0"),
        ("0", {"1": "5", "2": "0"}, "2"),
    ],
)
def test_a_choice_is_named_by_label_place_or_text(answer: object, choices: dict[str, str], label: str) -> None:
    assert _label(answer, choices) == label


@pytest.mark.parametrize(
    ("answer", "choices", "message"),
    [
        (1, {"A": "1", "B": "2", "C": "0"}, "the place of one choice and the text of another"),
        (7, {"A": "x", "B": "y"}, "not one of the choices"),
        (0.5, {"A": "x", "B": "y"}, "not one of the choices"),
        (True, {"A": "x", "B": "y"}, "not one of the choices"),
    ],
)
def test_a_choice_that_cannot_be_named_is_a_counted_row(answer: object, choices: dict[str, str], message: str) -> None:
    with pytest.raises(UnusableRowError, match=message):
        _label(answer, choices)
