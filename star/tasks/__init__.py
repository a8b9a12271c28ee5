"""Tasks by name: one file for each beside this one, imported when it is asked for (the graders import `star.problem`)."""

from __future__ import annotations

from importlib import import_module

from star.problem import Task
from star.recipe import TaskSettings

BUILDERS = {
    "addition": "star.tasks.addition",
    "gsm8k": "star.tasks.gsm8k",
    "commonsense_qa": "star.tasks.commonsense_qa",
    "records": "star.tasks.records",
}


def load_task(settings: TaskSettings, seed: int) -> Task:
    """The task that `settings` describe. Its problems are read by `Task.load`, not here."""
    task: Task = import_module(BUILDERS[settings.name]).build(settings, seed)
    return task
