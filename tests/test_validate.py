"""`python -m star.validate`: every gold answer against its own grader."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from star.problem import Extraction, Problem
from star.recipe import TaskSettings
from star.tasks import load_task
from star.tasks.commonsense_qa import read_choices
from star.validate import failures, main, warnings

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("arguments", "total"),
    [
        (["gsm8k", "--task.path", "gsm8k_train.jsonl.gz"], "8,792"),
        (["commonsense_qa", "--task.path", "commonsense_qa_train.jsonl.gz"], "10,962"),
        (
            ["records", "--task.path", "svamp.jsonl.gz", "--task.question", "Body+Question", "--task.answer", "Answer"],
            "1,000",
        ),
    ],
)
def test_real_data_is_accepted_whole(
    data_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], total: str
) -> None:
    arguments[2] = str(data_dir / arguments[2])
    assert main(arguments) == 0
    assert f"accepted {total} of {total} gold answers (100.00 %)" in capsys.readouterr().out


def test_addition_is_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["addition", "--task.pool", "200", "--task.test-size", "50"]) == 0
    assert "(100.00 %)" in capsys.readouterr().out


def test_rows_left_out_are_listed_with_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"question": f"{n}?", "answer": n} for n in range(5)] + [{"question": "word?", "answer": "many"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert main(["records", "--task.path", str(path)]) == 0
    out = capsys.readouterr().out
    assert "left out: 1 x answer is not a number" in out and "rows.jsonl, row 6" in out


def test_a_gold_answer_that_fails_is_listed_and_fails_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"question": f"Sides of {n}?", "answer": f"{n}x"} for n in range(1, 6)]
    rows += [
        {"question": "Which?", "answer": "#### what #### now"},
        {"question": "Clean?", "answer": "the hint says so"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert main(["records", "--task.path", str(path), "--task.answer-type", "text"]) == 1
    out = capsys.readouterr().out
    assert out.count("FAILS") == 1 and "rows.jsonl, row 7" in out and "the hint audit objects" in out
    assert "accepted 6 of 7" in out


def test_a_gold_number_beyond_grading_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"question": f"{n}?", "answer": n} for n in [1, 2, 1e300, 10**400, 1e-100]]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert main(["records", "--task.path", str(path)]) == 0
    out = capsys.readouterr().out
    assert "left out: 3 x answer is not a number" in out and "accepted 2 of 2" in out


def test_the_full_text_of_a_gold_option_is_proved_too() -> None:
    task = load_task(TaskSettings(name="commonsense_qa"), 0)
    good = Problem("good", "Which?", "A", {"A": "$5.00", "B": "$5"})
    swapped = Problem("swapped", "Which?", "A", {"A": "B", "B": "A"})  # a text like another label is no fair test
    marked = Problem("marked", "Which?", "A", {"A": "sea (CORRECT)", "B": "air"})
    assert [problem.id for problem, _ in failures(task, [good, swapped, marked])] == ["marked"]


@pytest.mark.parametrize(
    ("kind", "golds"), [("math", ["2", "x^2", "(1,2)"]), ("number", ["2", "1/3", "-5"]), ("text", ["2", "no", "a b"])]
)
def test_a_worked_solution_counts_by_its_last_box(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, golds: list[str]
) -> None:
    boxes = ["\\boxed 2"] + [f"\\{box}{{{gold}}}" for box, gold in zip(("fbox", "boxed "), golds[1:], strict=True)]
    rows = [{"question": f"{n}?", "answer": f"First \\boxed{{9}}.\nSo it is\n${box}$."} for n, box in enumerate(boxes)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    arguments = ["--task.path", str(path), "--task.answer-type", kind]
    assert main(["records", *arguments]) == 0
    assert "accepted 3 of 3" in capsys.readouterr().out
    task = load_task(TaskSettings(name="records", path=str(path), answer_type=kind), 0)  # type: ignore[arg-type]
    loaded = task.load()
    assert sorted(problem.gold for problem in (*loaded.train, *loaded.test)) == sorted(golds)


def test_options_lose_labels_of_their_own() -> None:
    assert read_choices(["A)21", "B)22"]) == {"A": "21", "B": "22"}
    assert read_choices(["(A) sea", "(B) air"]) == {"A": "sea", "B": "air"}
    assert read_choices(["A", "B)22"]) == {"A": "A", "B": "B)22"}


@pytest.mark.parametrize(
    ("kind", "golds", "warning"),
    [
        ("text", ["True", "False", "true"], "look like true or false"),
        ("text", ["(A)", "(B)", "(C)"], "look like labels of options"),
        ("text", ["12", "$3", "4.5"], "look like numbers"),
        ("text", ["\\frac12", "\\pi", "x"], "look like LaTeX"),
        ("math", ["2", "x", "1/2"], None),
        ("text", ["Ottawa", "Paris", "Rome"], None),
    ],
)
def test_gold_answers_of_another_type_are_a_warning(kind: str, golds: list[str], warning: str | None) -> None:
    task = load_task(TaskSettings(name="records", path="x.jsonl", answer_type=kind), 0)  # type: ignore[arg-type]
    told = list(warnings(task, [Problem(gold, gold, gold) for gold in golds]))
    assert len(told) == (warning is not None) and (warning or "") in "".join(told)


def test_a_wrong_answer_that_is_accepted_fails() -> None:
    task = load_task(TaskSettings(name="gsm8k"), 0)
    lenient = replace(task, extract=lambda text, problem: Extraction(text, problem.gold, problem.gold))
    (failed,) = failures(lenient, [Problem("id", "1 + 1?", "2")])
    assert failed[1] == "gold '2', wrong answer '3': correct"


def test_failures_of_a_task_that_is_broken() -> None:
    task = load_task(TaskSettings(name="gsm8k"), 0)
    problem = Problem("id", "1 + 1?", "2")
    assert list(failures(task, [problem])) == []
    broken = replace(task, extract=lambda text, problem: Extraction(text, "3", "3"))
    assert [(p.id, what) for p, what in failures(broken, [problem])] == [("id", "gold '2' read back as '3': incorrect")]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nothing"], 2, "Expected one of ('addition', 'gsm8k'"),
        (["gsm8k", "--task.path", "none.jsonl"], 1, "none.jsonl is not a file"),
        (["records"], 1, "set task.path"),
    ],
)
def test_bad_input_is_a_sentence(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == status
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("error: ") and message in error and "Traceback" not in error
