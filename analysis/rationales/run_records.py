"""A run directory -> rationale records. A run that is still going, or was cut off, reads as far as it got."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from analysis.rationales.records import BrokenLine, Record, RecordError
from analysis.rationales.steps import split_steps
from star.run import Run, RunError
from star.tables import ProblemRow

TASKS = {"addition": "addition", "gsm8k": "math_word", "commonsense_qa": "multiple_choice"}
CORRECT = {"correct": True, "incorrect": False, "no_answer": False, "truncated": False}
META = ("problem_id", "round", "mode", "split", "slice", "sample", "verdict", "finish_reason", "tokens", "kept", "drop_reason")
SHORT = ("attempt_id", "answer", "gold", "sound", *META)
"""The columns of an attempt that are no long text."""


def read_run(path: Path, broken: list[BrokenLine]) -> Iterator[Record]:
    """Stream a run's attempts as records: `id` is the attempt_id, `sound` the task's own check (label_source "auto").

    Files that are missing are left out; a file that cannot be read is reported in `broken`.
    Raises RecordError for a directory that is no run.
    """
    run = Run(path)
    files = run.attempt_files()
    if not files and not run.exists:
        raise RecordError(f"{path} is not a run directory: it has neither recipe.yaml nor round_NN/attempts.parquet.")
    task, problems = _task_name(run), _problems(run, broken)
    for name in files:
        try:
            table = run.table(name, (*SHORT, "rationale"))
        except RunError as error:
            broken.append(_broken(run, name, error))
            continue
        for batch in table.to_batches(max_chunksize=2_000):
            for row in batch.to_pylist():
                yield _record(row, problems.get(row["problem_id"], {}), task, run.name)


def _broken(run: Run, name: str, error: RunError) -> BrokenLine:
    return BrokenLine(run.path / name, 1, str(error).removeprefix(f"{run.path / name} "))


def _task_name(run: Run) -> str:
    """The record's task from the recipe; "other" where the recipe is missing or unreadable."""
    task = run.overview().recipe.get("task") or {}
    name = task.get("name", "")
    if name == "records":
        kinds = {"number": "math_word", "math": "math_word", "choice": "multiple_choice"}
        return kinds.get(task.get("answer_type") or "", "other")
    return TASKS.get(name, "other")


def _problems(run: Run, broken: list[BrokenLine]) -> dict[str, ProblemRow]:
    damage: list[str] = []
    try:
        rows = run.problems(["problem_id", "question", "choices"], damage)
    except RunError as error:
        broken.append(_broken(run, "problems.parquet", error))
        return {}
    broken += [BrokenLine(run.path / "problems.parquet", 1, what) for what in damage]
    return {row["problem_id"]: row for row in rows}


def _record(row: Mapping[str, Any], problem: Mapping[str, Any], task: str, generator: str) -> Record:
    sound = row["sound"]
    return Record(
        id=row["attempt_id"],
        source=generator,
        task=task,
        question=problem.get("question") or "",
        choices=problem.get("choices"),
        steps=tuple(split_steps(row["rationale"] or "")),
        answer=row["answer"],
        gold=row["gold"],
        answer_correct=CORRECT.get(row["verdict"]),
        sound=sound,
        label_source=None if sound is None else "auto",
        generator=generator,
        meta={name: row[name] for name in META},
    )
