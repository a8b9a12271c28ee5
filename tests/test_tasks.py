"""Loading, prompts, few-shot examples and what happens with bad data."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from star.recipe import RecipeError, TaskSettings
from star.tasks import BUILDERS, load_task, rows
from star.tasks.base import Problem, Task, Verdict
from star.tasks.loading import MAX_QUESTION, LoadedSplits, TaskError

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("number", "choice", "text", "math")


def settings(name: str, **changes: Any) -> TaskSettings:
    return TaskSettings.model_validate({"name": name, **changes})


def write(path: Path, content: Sequence[Any]) -> str:
    text = "".join(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) + "\n" for line in content)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode("utf-8")))
    else:
        path.write_text(text, encoding="utf-8")
    return str(path)


def sums(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"question": f"What is {n} plus one?", "answer": f"{n} + 1 = {n + 1}\n#### {n + 1}"}
        for n in range(start, start + count)
    ]


def options(count: int) -> list[dict[str, Any]]:
    choices = [{"label": label, "text": f"{label.lower()} thing"} for label in "ABCDE"]
    return [
        {
            "answerKey": "ABCDE"[n % 5],
            "id": str(n),
            "question": {"stem": f"Which thing is number {n}?", "choices": choices},
        }
        for n in range(count)
    ]


def load(task: Task) -> LoadedSplits:
    loaded = task.load()
    assert isinstance(loaded, LoadedSplits)
    return loaded


def all_tasks() -> list[Task]:
    tasks = [load_task(settings(name), 0) for name in BUILDERS if name != "records"]
    return tasks + [
        load_task(settings("records", path="x.jsonl", answer_type=kind, choices="options"), 0) for kind in KINDS
    ]


# ---------------------------------------------------------------------- every task


@pytest.mark.parametrize("task", all_tasks(), ids=["addition", "gsm8k", "commonsense_qa", *KINDS])
class TestEveryTask:
    def test_examples_are_right_by_the_tasks_own_grader(self, task: Task) -> None:
        assert 8 <= len(task.examples) <= 10
        assert len({example.problem.id for example in task.examples}) == len(task.examples)
        for example in task.examples:
            problem = example.problem
            for rationale in (example.rationale, ""):
                found = task.extract(task.completion(rationale, problem.gold), problem)
                assert task.grade(found.strict, problem) == Verdict.correct, problem.question
                assert found.strict == found.lenient
                assert found.rationale == rationale
            if example.rationale and task.check is None:
                assert not task.mentions_hint(example.rationale)
                assert not task.mentions_hint(task.completion(example.rationale, problem.gold))

    def test_equations_of_examples_hold(self, task: Task) -> None:
        if task.name == "addition" or "LaTeX" in task.instructions:
            return  # scratchpads and algebra have a syntax of their own
        for example in task.examples:
            for equation in task.equations(example.rationale):
                left, right = equation.split("=")[:2]
                assert abs(arithmetic(left) - arithmetic(right)) < 1e-9, equation

    def test_hint_is_in_the_hinted_prompt_only(self, task: Task) -> None:
        for example in task.examples:
            plain, hinted = task.prompt(example.problem), task.hinted_prompt(example.problem)
            assert plain != hinted and plain.endswith("\n") and hinted.endswith("\n")
            assert "(CORRECT)" not in plain
            if example.problem.choices:
                assert f"({example.problem.gold}) {example.problem.choices[example.problem.gold]} (CORRECT)\n" in hinted
                assert hinted.replace(" (CORRECT)", "") == plain
            elif task.name != "addition":
                assert f"{example.problem.question} ({example.problem.gold})\n" in hinted

    def test_a_run_on_completion_is_cut_at_the_separator(self, task: Task) -> None:
        first, second = (example for example in task.examples[:2])
        text = task.completion(first.rationale, first.problem.gold) + task.separator + task.prompt(second.problem)
        if task.name != "addition":
            assert task.grade(task.extract(text, first.problem).strict, first.problem) == Verdict.correct
        assert any(stop in text for stop in task.stop)
        assert not any(stop in task.completion(first.rationale, first.problem.gold) for stop in task.stop)

    def test_training_text_of_a_clean_rationale_is_clean(self, task: Task) -> None:
        if task.name == "addition":
            return
        for span in ("given", "18", "B", "(B) given", "sea", "stated"):
            assert not task.mentions_hint(task.completion("Two and two make four.", span))

    def test_empty_and_blank_completions(self, task: Task) -> None:
        problem = task.examples[0].problem
        for text in ("", " ", "\n\n"):
            assert task.grade(task.extract(text, problem).strict, problem) == Verdict.no_answer
        assert task.grade(None, problem) == Verdict.no_answer


def arithmetic(expression: str) -> float:
    """Value of + - * / and brackets, by the shunting of operators: nothing is evaluated as code."""
    import ast
    import operator

    operators: dict[type, Any] = {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
    }

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.BinOp):
            return float(operators[type(node.op)](value(node.left), value(node.right)))
        if isinstance(node, ast.UnaryOp):
            return -value(node.operand)
        assert isinstance(node, ast.Constant)
        return float(node.value)

    return value(ast.parse(expression, mode="eval").body)


def test_chance() -> None:
    four = {"A": "a", "B": "b", "C": "c", "D": "d"}
    assert load_task(settings("commonsense_qa"), 0).chance(Problem("i", "q", "A", four)) == 0.25
    assert load_task(settings("gsm8k"), 0).chance(Problem("i", "q", "1")) == 0


def test_prompts_as_documented() -> None:
    gsm8k = load_task(settings("gsm8k"), 0)
    problem = Problem("i", "How many?", "72")
    assert gsm8k.prompt(problem) == "Question: How many?\nAnswer:\n"
    assert gsm8k.hinted_prompt(problem) == "Question: How many? (72)\nAnswer:\n"
    assert gsm8k.completion("48 + 24 = 72", "72") == "48 + 24 = 72\n#### 72"
    assert gsm8k.completion("", "72") == "#### 72"
    commonsense = load_task(settings("commonsense_qa"), 0)
    choice = Problem("i", "Where?", "B", {"A": "sea", "B": "air"})
    assert commonsense.prompt(choice) == "Question: Where?\nAnswer Choices:\n(A) sea\n(B) air\nAnswer:\n"
    assert commonsense.completion("Birds fly.", "B") == "Birds fly. Therefore, the answer is (B)."
    assert commonsense.completion("Birds fly.", "air") == 'Birds fly. Therefore, the answer is "air".'


def test_a_kept_rationale_is_rebuilt_as_it_was() -> None:
    commonsense = load_task(settings("commonsense_qa"), 0)
    problem = Problem("i", "Where?", "B", {"A": "sea", "B": "air"})
    for span in ("(B)", "air (B)", '"air"'):
        text = f"Birds fly.\nSo they need air. Therefore, the answer is {span}."
        found = commonsense.extract(text, problem)
        assert found.strict is not None and commonsense.completion(found.rationale, found.strict) == text


# ---------------------------------------------------------------------- splits


def test_gsm8k_takes_its_neighbour_as_test(tmp_path: Path) -> None:
    path = write(tmp_path / "gsm8k_train.jsonl.gz", sums(20))
    write(tmp_path / "gsm8k_test.jsonl", sums(5, start=100))
    loaded = load(load_task(settings("gsm8k", path=path), 0))
    assert (len(loaded.train), len(loaded.test), loaded.skipped) == (20, 5, {})
    assert [p.gold for p in loaded.train[:3]] == ["1", "2", "3"]
    assert loaded.places[loaded.train[2].id].endswith("gsm8k_train.jsonl.gz, row 3")


def test_commonsense_qa_takes_dev_as_test_and_both_formats(tmp_path: Path) -> None:
    path = write(tmp_path / "commonsense_qa_train.jsonl", options(10))
    hub_rows = [
        {
            "answerKey": "A",
            "question": f"Which is {n} on the Hub?",
            "choices": {"label": list("ABCDE"), "text": ["v", "w", "x", "y", "z"]},
        }
        for n in range(4)
    ]
    write(tmp_path / "commonsense_qa_dev.jsonl", hub_rows)
    loaded = load(load_task(settings("commonsense_qa", path=path), 0))
    assert (len(loaded.train), len(loaded.test), loaded.skipped) == (10, 4, {})
    assert loaded.test[0].choices == {"A": "v", "B": "w", "C": "x", "D": "y", "E": "z"}


def test_seeded_share_without_a_test_file(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", sums(50))
    splits = [load(load_task(settings("gsm8k", path=path, test_share=0.2), seed)) for seed in (0, 0, 1)]
    assert [len(s.test) for s in splits] == [10, 10, 10]
    assert splits[0] == splits[1] and splits[0].test != splits[2].test
    for one in splits:
        assert len({p.id for p in (*one.train, *one.test)}) == 50


def test_limits_are_seeded_and_the_test_limit_is_the_same_for_every_seed(tmp_path: Path) -> None:
    path, test_path = write(tmp_path / "a.jsonl", sums(50)), write(tmp_path / "b.jsonl", sums(50, start=100))
    first, again, other = (
        load(load_task(settings("gsm8k", path=path, test_path=test_path, limit=7, test_limit=6), seed))
        for seed in (0, 0, 1)
    )
    assert first == again and len(first.train) == 7 and len(first.test) == 6
    assert first.train != other.train and first.test == other.test


def test_duplicates_leaks_and_few_shot_examples_are_dropped_and_counted(tmp_path: Path) -> None:
    example = load_task(settings("gsm8k"), 0).examples[0].problem
    shown = {"question": f"  {example.question.upper()} ", "answer": "#### 65"}
    train = [*sums(5), *sums(2), {"question": "What is 3 plus one?", "answer": "#### 9"}, shown, *sums(2, start=100)]
    path, test_path = write(tmp_path / "a.jsonl", train), write(tmp_path / "b.jsonl", [*sums(4, start=100), shown])
    loaded = load(load_task(settings("gsm8k", path=path, test_path=test_path), 0))
    assert len(loaded.train) == 5 and len(loaded.test) == 4
    assert loaded.skipped == {
        "equal to a few-shot example": 2,
        "question is in the test split too": 2,
        "repeated question": 2,
        "repeated question with another answer": 1,
    }
    assert len(loaded.train) + len(loaded.test) + sum(loaded.skipped.values()) == len(train) + 5
    assert [place.rpartition("/")[2] for place, _ in loaded.left_out][:2] == ["b.jsonl, row 5", "a.jsonl, row 6"]


# ---------------------------------------------------------------------- records


def records(path: str, **changes: Any) -> LoadedSplits:
    return load(load_task(settings("records", path=path, **changes), 0))


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
        (gzip.compress(GOOD * 50)[:-20], "bad.jsonl.gz", r"bad\.jsonl\.gz is not a whole gzip file"),
        (GOOD, "bad.jsonl.gz", r"bad\.jsonl\.gz is not a whole gzip file"),
        (GOOD, "bad.parquet", r"bad\.parquet cannot be read as parquet"),
        (GOOD, "bad.csv", r"bad\.csv has an unknown file type; expected \.jsonl"),
        (
            b'{"question": "1?", "answer": "many"}\n' * 2,
            "bad.jsonl",
            r"no usable training row \(2 x answer is not a number\)",
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
        "no answer": 3,
        "no question": 3,
        "answer is not a number": 3,
        "question holds half a surrogate pair (not UTF-8)": 1,
    }
    assert len(loaded.train) + len(loaded.test) + sum(loaded.skipped.values()) == len(content)
    assert loaded.left_out[0][0].endswith("bad.jsonl, row 11")


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


# ---------------------------------------------------------------------- the Hub


def test_no_network_is_one_sentence_within_30_seconds(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {
        "HF_ENDPOINT": "http://127.0.0.1:9",  # nothing listens there
        "HF_HOME": str(tmp_path / "hub"),
    }
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "star.validate", "gsm8k"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert time.monotonic() - started < 30
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "HF_HUB_OFFLINE" in done.stderr and "task.path" in done.stderr and done.stderr.count("\n") == 1


def test_a_hub_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # accepts, never answers
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        assert not rows.hub_answers(timeout=1)
        assert time.monotonic() - started < 10


def test_offline_without_a_cached_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def not_cached(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'openai/gsm8k' on the Hub (OfflineModeIsEnabled)\nmore")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets, "load_dataset", not_cached)
    with pytest.raises(TaskError, match=r"Couldn't reach .*task\.path.*HF_HUB_OFFLINE"):
        load_task(settings("gsm8k"), 0).load()


@pytest.mark.parametrize(
    ("task", "changes", "calls"),
    [
        ("gsm8k", {}, [("openai/gsm8k", "main", "train"), ("openai/gsm8k", "main", "test")]),
        ("gsm8k", {"dataset": "my/sums"}, [("my/sums", None, "train"), ("my/sums", None, "test")]),
        ("commonsense_qa", {}, [("tau/commonsense_qa", None, "train"), ("tau/commonsense_qa", None, "validation")]),
        (
            "records",
            {"dataset": "my/rows", "dataset_config": "c", "train_split": "a"},
            [("my/rows", "c", "a"), ("my/rows", "c", "test")],
        ),
        ("records", {"dataset": "my/rows", "test_split": "train"}, [("my/rows", None, "train")]),
    ],
)
def test_what_is_asked_of_the_hub(monkeypatch: pytest.MonkeyPatch, task: str, changes: dict, calls: list) -> None:
    import datasets

    asked = []

    def answer(dataset: str, config: str | None, split: str) -> list[dict[str, Any]]:
        asked.append((dataset, config, split))
        start = 0 if split in ("train", "a") else 100
        return options(start + 10)[start:] if task == "commonsense_qa" else sums(10, start)

    monkeypatch.setattr(rows, "hub_answers", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", answer)
    loaded = load(load_task(settings(task, **changes), 0))
    assert asked == calls
    assert len(loaded.train) + len(loaded.test) == 10 * len(calls) and not loaded.skipped


def test_a_hub_data_set_without_a_test_split_gives_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def answer(dataset: str, config: str | None, split: str) -> list[dict[str, Any]]:
        if split != "train":
            raise ValueError(f"Unknown split \"{split}\". Should be one of ['train'].")
        return sums(20)

    monkeypatch.setattr(rows, "hub_answers", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", answer)
    loaded = load(load_task(settings("records", dataset="my/rows"), 0))
    assert (len(loaded.train), len(loaded.test)) == (18, 2)
    with pytest.raises(TaskError, match="cannot be loaded: Unknown split"):
        load_task(settings("records", dataset="my/rows", test_split="dev"), 0).load()


def test_a_local_directory_in_the_hubs_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "rows").mkdir()
    for name, start in (("train", 0), ("test", 100)):
        table = pa.Table.from_pylist(sums(8, start))
        pq.write_table(table, tmp_path / "rows" / f"{name}.parquet")
    loaded = load(load_task(settings("gsm8k", dataset=str(tmp_path / "rows")), 0))
    assert (len(loaded.train), len(loaded.test)) == (8, 8)


# ---------------------------------------------------------------------- real data


@pytest.mark.parametrize(
    ("task", "changes", "counts"),
    [
        ("gsm8k", {"path": "gsm8k_train.jsonl.gz"}, (7_473, 1_319)),
        ("commonsense_qa", {"path": "commonsense_qa_train.jsonl.gz"}, (9_741, 1_221)),
        ("records", {"path": "svamp.jsonl.gz", "question": "Body+Question", "answer": "Answer"}, (900, 100)),
    ],
)
def test_real_data_is_read_whole_and_holds_no_few_shot_example(
    data_dir: Path, task: str, changes: dict, counts: tuple
) -> None:
    loaded = load(load_task(settings(task, **{**changes, "path": str(data_dir / changes["path"])}), 0))
    assert (len(loaded.train), len(loaded.test)) == counts and not loaded.skipped
