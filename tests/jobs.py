"""Small fine-tuning jobs, for the tests of both trainers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from star.recipe import TrainingSettings
from star.training.finetuning import Job

END = 1  # the tiny tokenizer's end token
ROWS = tuple(((5 + i, 6, 7), (*range(20 + i, 24 + i), END)) for i in range(8))


def make_job(base: Path, output: Path, steps: int = 4, rows: Any = ROWS, **settings: Any) -> Job:
    values = {"learning_rate": 1e-2, "warmup_steps": 0, "batch_size": 8, "max_length": 64, **settings}
    dumped = TrainingSettings.model_validate(values).model_dump(mode="json")
    return Job(base=str(base), output=str(output), rows=rows, steps=steps, seed=1, settings=dumped)


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")
