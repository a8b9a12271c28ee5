"""Each round's metrics to an experiment tracker, beside TRL's own curves. The run directory holds everything anyway."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from star import run as runs
from star.recipe import RecipeError, flat

REPORTED = "reported.json"
"""In the run directory: the rounds that the tracker has, so that one whose run was killed before sending is sent later."""


def check_tracker(report_to: str) -> None:
    """Raise RecipeError when the tracker's package is not installed."""
    if report_to != "none" and find_spec(report_to) is None:
        raise RecipeError(f"training.report_to is {report_to}, which is not installed: pip install {report_to}")


@contextmanager
def errors_as_notes(report_to: str) -> Iterator[None]:
    """Trackers fail for reasons of their own, and none of them ends a run: the error is printed as a note."""
    try:
        yield
    except Exception as error:
        print(f"note: {report_to} failed ({type(error).__name__}: {error}); the run goes on without it", file=sys.stderr)


def guard_tracker(trainer: Any, report_to: str, round_dir: Path) -> None:
    """Errors of the trainer's tracker are noted and training goes on; TensorBoard's files stay out of the model directory."""
    from transformers.integrations import get_reporting_integration_callbacks

    for kind in get_reporting_integration_callbacks(report_to):
        callback = next(one for one in trainer.callback_handler.callbacks if isinstance(one, kind))
        for event in ("on_train_begin", "on_log", "on_save", "on_train_end"):
            setattr(callback, event, errors_as_notes(report_to)(getattr(callback, event)))
        if report_to == "tensorboard":
            callback.logging_dir = str(round_dir.parent / "tensorboard" / round_dir.name)


def send(report_to: str, run_dir: Path, line: Mapping[str, Any]) -> None:
    """Log one round's line of metrics.jsonl as numbers, unless that was done before.

    The round is TensorBoard's step. The others count their steps themselves, over TRL's curves too, and drop what comes with
    a lower one: there it is the number `round/round`, wandb's axis of all numbers under round/.
    """
    if report_to == "none":
        return
    done = (runs.whole_json(run_dir / REPORTED, dict[str, list[int]]) or {}).get("rounds", [])
    if line["round"] in done:
        return
    with errors_as_notes(report_to):
        _send(report_to, run_dir, line)
        runs.write_json(run_dir / REPORTED, {"rounds": [*done, line["round"]]})


def _send(report_to: str, run_dir: Path, line: Mapping[str, Any]) -> None:
    """Numbers under names like round/selection/accuracy."""
    numbers = {name: float(value) for name, value in flat({"round": line}, "/").items() if isinstance(value, int | float)}
    if report_to == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(run_dir / "tensorboard")) as writer:
            for name, value in numbers.items():
                writer.add_scalar(name, value, line["round"])
        return
    tracker = import_module(report_to)  # wandb and trackio share these calls
    where = {"id": run_dir.name, "dir": str(run_dir)} if report_to == "wandb" else {}
    if getattr(tracker, "run", None) is None:
        tracker.init(project="star", name=run_dir.name, resume="allow", **where)
    if report_to == "wandb":
        tracker.define_metric("round/*", step_metric="round/round")
    tracker.log(numbers)
