"""Tasks by name: one file for each beside this one, imported when it is asked for (the graders import `star.problem`)."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from star.grading import grade
from star.problem import Task, Verdict
from star.recipe import RecipeError, TaskSettings


def load_task(settings: TaskSettings, seed: int) -> Task:
    """The task that `settings` describe. Its problems are read by `Task.load`, not here. Raises RecipeError."""
    if settings.name == "addition" and settings.examples is not None:
        raise RecipeError("task.examples is for gsm8k, commonsense_qa and records; addition makes its own examples")
    task: Task = import_module(f"star.tasks.{settings.name}").build(settings, seed)
    if settings.examples is not None:
        _prove(task, settings.examples)
    if settings.instructions is not None:
        task = replace(task, instructions=settings.instructions, direct_instructions=settings.instructions)
    return task


def _prove(task: Task, path: str) -> None:
    """Raises RecipeError for an example whose text is not read back as its answer, or that speaks of a hint."""
    for example in task.examples:
        text = task.completion(example.rationale, example.problem.gold)
        shown = f"{path}: the rationale of the example {example.problem.question[:60]!r}"
        if task.mentions_hint(text):
            raise RecipeError(f"{shown} speaks of a hint or a given answer; write it as if the answer was not known")
        if grade(task.extract(text, example.problem).strict, example.problem, task.answer_type) != Verdict.correct:
            raise RecipeError(
                f"{shown} does not lead to {example.problem.gold!r}; leave the line that states the answer out of it"
            )
