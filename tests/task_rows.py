"""Data sets that tests write, and their loading."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from star.problem import Splits, Task
from star.recipe import TaskSettings
from star.tasks import load_task

ROOT = Path(__file__).resolve().parent.parent


def settings(name: str, **changes: Any) -> TaskSettings:
    return TaskSettings.model_validate({"name": name, **changes})


def write(path: Path, content: Sequence[Any]) -> str:
    text = "".join(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) + "\n" for line in content)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode("utf-8")))
    else:
        path.write_text(text, encoding="utf-8")
    return str(path)


def chat(question: str, answer: str) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": "Add."},
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]


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


def load(task: Task) -> Splits:
    return task.load()


def records(path: str, **changes: Any) -> Splits:
    return load(load_task(settings("records", path=path, **changes), 0))
