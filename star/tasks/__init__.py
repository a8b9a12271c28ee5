"""Tasks by name: one file for each beside this one."""

from __future__ import annotations

from star.recipe import TaskSettings
from star.tasks import addition, commonsense_qa, gsm8k, records
from star.tasks.base import Task

BUILDERS = {
    "addition": addition.build,
    "gsm8k": gsm8k.build,
    "commonsense_qa": commonsense_qa.build,
    "records": records.build,
}


def load_task(settings: TaskSettings, seed: int) -> Task:
    """The task that `settings` describe. Its problems are read by `Task.load`, not here."""
    return BUILDERS[settings.name](settings, seed)
