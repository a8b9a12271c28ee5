"""What scorers that run a language model on this machine share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from analysis.soundness.scorer import StepScores

RowT = TypeVar("RowT")
ScoreT = TypeVar("ScoreT")


def named_model(specification: str) -> tuple[str, Path]:
    """(name for files and columns, directory) of HUB_ID_OR_DIR[@revision], fetched where it is not here. Raises RecipeError."""
    from star.recipe import ModelSettings
    from star.setup import resolve_model

    path, _, revision = (specification, "", "") if Path(specification).exists() else specification.partition("@")
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(path).name)
    return name, resolve_model(ModelSettings(path=path, revision=revision or None))


def each_scored(score: Callable[[Sequence[RowT]], Sequence[ScoreT]], rows: Sequence[RowT]) -> list[ScoreT | StepScores]:
    """`score(rows)`; where that fails, every row alone, and a row that fails then has the status "error"."""
    try:
        return list(score(rows))
    except RuntimeError as error:  # out of memory, mostly
        if len(rows) == 1:
            return [StepScores("error", why=(str(error).splitlines() or [type(error).__name__])[0][:200])]
    return [found for row in rows for found in each_scored(score, [row])]
