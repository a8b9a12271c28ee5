"""Tasks by name. Each builder lives in its own file and is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

from star.recipe import TaskSettings
from star.tasks.base import Task


def load_task(settings: TaskSettings, seed: int) -> Task:
    """The task that `settings` describe. Its problems are read by `Task.load`, not here."""
    task: Task = import_module(f"star.tasks.{settings.name}").build(settings, seed)
    return task
