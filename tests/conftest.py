"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def find_data_dir() -> Path | None:
    """The folder of labelled data: STAR_DATA, or ../shared/data beside the checkout."""
    for candidate in (os.environ.get("STAR_DATA"), ROOT.parent / "shared" / "data"):
        if candidate and (Path(candidate) / "gsm8k_train.jsonl.gz").is_file():
            return Path(candidate)
    return None


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real data that the project does not commit; absent on most machines, required in CI."""
    found = find_data_dir()
    if found is None:
        message = "no labelled data: set STAR_DATA to a folder that holds gsm8k_train.jsonl.gz and its neighbours"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training on the CPU, one thread a process."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
