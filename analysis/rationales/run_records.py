"""A run directory -> rationale records. A run that is still going, or was cut off, reads as far as it got."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from analysis.rationales.records import BrokenLine, Record, RecordError
from analysis.rationales.steps import split_steps

TASKS = {"addition": "addition", "gsm8k": "math_word", "commonsense_qa": "multiple_choice"}
CORRECT = {"correct": True, "incorrect": False, "no_answer": False, "truncated": False}
META = (
    "problem_id",
    "round",
    "mode",
    "split",
    "slice",
    "sample",
    "verdict",
    "finish_reason",
    "tokens",
    "kept",
    "drop_reason",
)


def attempt_files(run: Path) -> list[Path]:
    """The parquet files of a run that hold attempts, in the order they were written."""
    rounds = sorted(run.glob("round_[0-9]*"), key=lambda folder: (len(folder.name), folder.name))
    files = [folder / name for folder in rounds for name in ("attempts.parquet", "evaluation.parquet")]
    return [file for file in [*files, run / "test" / "evaluation.parquet"] if file.is_file()]


def read_run(run: Path, broken: list[BrokenLine]) -> Iterator[Record]:
    """Stream a run's attempts as records: `id` is the attempt_id, `sound` the task's own check (label_source "auto").

    Files that are missing are left out; a file that cannot be read is reported in `broken`.
    Raises RecordError for a directory that is no run.
    """
    files = attempt_files(run)
    if not files and not (run / "recipe.yaml").is_file():
        raise RecordError(f"{run} is not a run directory: it has neither recipe.yaml nor round_NN/attempts.parquet.")
    task, generator = _task_name(run), run.name
    problems = _problems(run, broken)
    for file in files:
        number = 0
        try:
            with pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(batch_size=2_000):
                    for row in batch.to_pylist():
                        number += 1
                        yield _record(row, problems.get(row.get("problem_id") or "", {}), task, generator)
        except (pa.ArrowInvalid, OSError, KeyError) as error:
            broken.append(BrokenLine(file, number + 1, f"not a readable file of attempts ({error})"))


def _task_name(run: Path) -> str:
    """The record's task from the recipe; "other" where the recipe is missing or unreadable."""
    try:
        recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
        task = recipe["task"]
        name, answer_type = task["name"], task.get("answer_type")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return "other"
    if name == "records":
        return {"number": "math_word", "math": "math_word", "choice": "multiple_choice"}.get(answer_type, "other")
    return TASKS.get(name, "other")


def _problems(run: Path, broken: list[BrokenLine]) -> dict[str, dict[str, Any]]:
    file = run / "problems.parquet"
    if not file.is_file():
        return {}
    try:
        rows = pq.read_table(file, columns=["problem_id", "question", "choices"]).to_pylist()
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        broken.append(BrokenLine(file, 1, f"not a readable file of problems ({error})"))
        return {}
    return {row["problem_id"]: row for row in rows}


def _record(row: Mapping[str, Any], problem: Mapping[str, Any], task: str, generator: str) -> Record:
    sound = row.get("sound")
    choices = problem.get("choices")
    return Record(
        id=row["attempt_id"],
        source=generator,
        task=task,
        question=problem.get("question") or "",
        choices=json.loads(choices) if choices else None,
        steps=tuple(split_steps(row.get("rationale") or "")),
        answer=row.get("answer"),
        gold=row.get("gold"),
        answer_correct=CORRECT.get(row.get("verdict") or ""),
        sound=sound,
        label_source=None if sound is None else "auto",
        generator=generator,
        meta={name: row.get(name) for name in META},
    )
