"""Few-shot examples and instructions of one's own: the file format, and what is said about a row that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from star.prompting import PromptBuilder
from star.recipe import PromptingSettings, RecipeError
from star.tasks import load_task
from star.train import main
from tests.task_rows import settings, sums, write
from tests.tiny_models import tiny_tokenizer

EGGS = {
    "Body": "A box holds 12 eggs.",
    "Question": "How many eggs are in 3?",
    "Answer": 36,
    "rationale": "3 * 12 = 36 eggs.",
}
COLUMNS = {"question": "Body+Question", "answer": "Answer"}


def task_with(tmp_path: Path, rows: list[Any], **changes: Any) -> Any:
    return load_task(
        settings("records", path="unused.jsonl", examples=write(tmp_path / "own.jsonl", rows), **changes), 0
    )


def test_own_examples_replace_those_of_the_task(tmp_path: Path) -> None:
    task = task_with(tmp_path, [EGGS], **COLUMNS)
    (example,) = task.examples
    assert (example.problem.question, example.problem.gold) == ("A box holds 12 eggs. How many eggs are in 3?", "36")
    assert task.completion(example.rationale, example.problem.gold) == "3 * 12 = 36 eggs.\n#### 36"


@pytest.mark.parametrize("name", ["gsm8k", "commonsense_qa"])
def test_own_examples_of_the_other_tasks(name: str, tmp_path: Path) -> None:
    rows = {
        "gsm8k": {"question": "How many legs have 3 dogs?", "answer": "12", "rationale": "3 * 4 = 12 legs."},
        "commonsense_qa": {
            "question": "Where does a fish live?",
            "choices": {"label": ["A", "B"], "text": ["water", "tree"]},
            "answerKey": "A",
            "rationale": "Fish breathe water.",
        },
    }
    task = load_task(settings(name, examples=write(tmp_path / "own.jsonl", [rows[name]])), 0)
    assert [example.rationale for example in task.examples] == [rows[name]["rationale"]]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**EGGS, "rationale": " "}, "own.jsonl, row 2: no rationale"),
        ({**EGGS, "Answer": None}, "own.jsonl, row 2: no answer"),
        ({**EGGS, "Answer": "many"}, "own.jsonl, row 2: answer is not a number"),
        ("{", "own.jsonl, row 2: not JSON"),
        ({**EGGS, "rationale": "The answer is given as 36."}, "speaks of a hint"),
        ({**EGGS, "rationale": "3 * 12 = 36.\n#### 35\n\nQuestion: more?"}, "does not lead to '36'"),
    ],
)
def test_an_example_that_cannot_be_used_is_named(row: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=words):
        task_with(tmp_path, [EGGS, row], **COLUMNS)


def test_a_dry_run_reads_the_examples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = write(tmp_path / "own.jsonl", sums(2))
    assert main(["gsm8k-qwen2.5-0.5b", "--task.examples", own, "--dry-run"]) == 1
    assert "no column 'rationale'" in capsys.readouterr().err
    assert main(["--task.examples", own, "--dry-run"]) == 1
    assert "addition makes its own examples" in capsys.readouterr().err


def test_own_instructions_are_what_a_chat_model_is_told() -> None:
    task = load_task(settings("gsm8k", instructions="Think like a grocer. End with `#### N`."), 0)
    tokenizer = tiny_tokenizer(chat_template=True)
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    text = PromptBuilder(task, tokenizer, PromptingSettings()).text(task.examples[0].problem, shots=False)
    assert text.startswith("[system]Think like a grocer. End with `#### N`.[user]")
