"""Every task: prompts, few-shot examples, splits, and the real data."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from analysis.checks.reading import read
from star.grading import grade
from star.problem import Problem, Task, Verdict, problem_id
from star.settings import TaskName
from star.tasks import load_task
from tests.task_rows import load, options, settings, sums, write

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("number", "choice", "text", "math")


def all_tasks() -> list[Task]:
    tasks = [load_task(settings(name), 0) for name in get_args(TaskName) if name != "records"]
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
                assert grade(found.strict, problem, task.answer_type) == Verdict.correct, problem.question
                assert found.strict == found.lenient
                assert found.rationale == rationale
            if example.rationale and task.check is None:
                assert not task.mentions_hint(example.rationale)
                assert not task.mentions_hint(task.completion(example.rationale, problem.gold))

    def test_equations_of_examples_hold(self, task: Task) -> None:
        if task.name == "addition" or "LaTeX" in task.instructions:
            return  # scratchpads and algebra have a syntax of their own
        for example in task.examples:
            for step in read("", example.rationale.splitlines()).steps:
                assert all(equation.left.value == equation.right.value for equation in step.equations), step.text

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
            assert grade(task.extract(text, first.problem).strict, first.problem, task.answer_type) == Verdict.correct
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
            assert grade(task.extract(text, problem).strict, problem, task.answer_type) == Verdict.no_answer
        assert grade(None, problem, task.answer_type) == Verdict.no_answer


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


@pytest.mark.parametrize(
    ("text", "trained"),
    [
        ("5+5=10\n#### **10", "5+5=10\n#### 10"),
        ("5+5=10\n#### **10**", "5+5=10\n#### 10"),
        ("5+5=10\n#### **10.**", "5+5=10\n#### 10."),
        ("5+5=10\n**#### 10**", "5+5=10\n#### 10"),
        ("5+5=10\n#### 10**", "5+5=10\n#### 10"),
        ("5+5=10\n#### `10`", "5+5=10\n#### 10"),
        ("5+5=10\n#### **10** pens", "5+5=10\n#### **10** pens"),
        ("5+5=10\n#### 10**6", "5+5=10\n#### 10**6"),
    ],
)
def test_no_half_an_emphasis_is_trained_on(text: str, trained: str) -> None:
    gsm8k = load_task(settings("gsm8k"), 0)
    found = gsm8k.extract(text, Problem("i", "How many?", "10"))
    assert found.strict is not None and gsm8k.completion(found.rationale, found.strict) == trained


@pytest.mark.parametrize(
    "text",
    [
        "Birds fly. **Therefore, the answer is (B).**",
        "Birds fly. *Therefore, the answer is (B).*",
        "**Birds fly. Therefore, the answer is (B).**",
        "Birds fly. Therefore, the answer is **(B)**.",
        "Birds fly. Therefore, the answer is **(B).**",
        "Birds fly. **Therefore, the answer is (B)**.",
    ],
)
def test_a_bold_statement_is_trained_on_plain(text: str) -> None:
    commonsense = load_task(settings("commonsense_qa"), 0)
    problem = Problem("i", "Where?", "B", {"A": "sea", "B": "air"})
    found = commonsense.extract(text, problem)
    assert found.strict is not None and grade(found.strict, problem, commonsense.answer_type) == Verdict.correct
    assert commonsense.completion(found.rationale, found.strict) == "Birds fly. Therefore, the answer is (B)."


def test_emphasis_inside_a_rationale_stays() -> None:
    found = load_task(settings("commonsense_qa"), 0).extract(
        "**Birds** fly, and 2**3 is 2 ** 3. **Therefore, the answer is (B).**",
        Problem("i", "Where?", "B", {"A": "sea", "B": "air"}),
    )
    assert found.rationale == "**Birds** fly, and 2**3 is 2 ** 3."


# ---------------------------------------------------------------------- ids


def test_the_ids_of_ordinary_questions_do_not_change() -> None:
    """Runs on disk name their problems by these."""
    assert problem_id("A train has 9 cars with 64 seats each. How many seats?") == "0cddbc8f0a9cd289"
    assert problem_id("Which is a mammal?", {"A": "trout", "B": "bat"}) == "e22653bf0da08108"
    assert problem_id("He sells a T-shirt and six t-shirts.") == "c2ac4470878a0ee0"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Compute 3² + 1.", "Compute 32 + 1.", False),
        ("Compute x₁ + x.", "Compute x1 + x.", False),
        ("Is A+a = 2a?", "Is a+a = 2a?", False),
        ("IS A + a = 2a?", "Is A + a  = 2a?", True),
        ("A pen costs $5.", "a PEN costs $5. ", True),
        ("１２ pens", "12 Pens", True),
        ("A box of 1800cm³", "a box of 1800CM3", True),
        ("A T-shirt or a t-shirt?", "a t-shirt or a T-SHIRT?", True),
        ("Her 401K, her 401k", "her 401k, her 401K", True),
    ],
)
def test_ids_tell_apart_what_is_another_problem(one: str, other: str, same: bool) -> None:
    assert (problem_id(one) == problem_id(other)) == same
    assert (problem_id("Which?", {"A": one, "B": "x"}) == problem_id("Which?", {"A": other, "B": "x"})) == same


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


def test_the_share_without_a_test_file_is_the_same_for_every_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", sums(50))
    splits = [load(load_task(settings("gsm8k", path=path, test_share=0.2), seed)) for seed in (0, 0, 1)]
    assert [len(s.test) for s in splits] == [10, 10, 10]
    assert splits[0] == splits[1] and splits[0].test == splits[2].test
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
