"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
SLOW = ("slow", "vllm", "ray")
NO_DATA = "no labelled data: set STAR_DATA to a folder that holds gsm8k_train.jsonl.gz and its neighbours"


def find_data_dir() -> Path | None:
    """The folder of labelled data: STAR_DATA, or ../shared/data beside the checkout."""
    for candidate in (os.environ.get("STAR_DATA"), ROOT.parent / "shared" / "data"):
        if candidate and (Path(candidate) / "gsm8k_train.jsonl.gz").is_file():
            return Path(candidate)
    return None


def absent(what: str) -> NoReturn:
    """Skip a test whose data or browser is not on this machine; with STAR_REQUIRE_DATA=1, as `.ci/run` sets it, fail it."""
    if os.environ.get("STAR_REQUIRE_DATA") == "1":
        pytest.fail(what)
    pytest.skip(what)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave `torture` out unless it is asked for; what is asked for takes longer than the limit of other tests."""
    long = [item for item in items if item.get_closest_marker("torture")]
    if "torture" not in config.option.markexpr:
        items[:] = [item for item in items if item not in long]
    for item in long:
        item.add_marker(pytest.mark.timeout(7_200))
    slow = Counter(item.path for item in items if any(item.get_closest_marker(name) for name in SLOW))
    items.sort(key=lambda item: -slow[item.path])  # a file that takes minutes is not begun when the other worker is done


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real data that the project does not commit; absent on most machines."""
    return find_data_dir() or absent(NO_DATA)


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Indexes of record files are not left in the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of a few thousand parameters."""
    from tests.tiny_models import tiny_model

    return tiny_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's training is scripted."""
    from star import loop
    from tests.scripted_loop import scripted_finetune

    monkeypatch.setattr(loop, "finetune", scripted_finetune)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training on the CPU, one thread a process."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def quick_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge with a key, which waits for hardly any time before it asks a server again."""
    from analysis.soundness import openai_server

    monkeypatch.setattr(openai_server, "BACK_OFF", 0.01)
    monkeypatch.setattr(openai_server, "RETRIES", 3)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with everything in it."""
    from tests.run_factory import make_run

    return make_run(tmp_path_factory.mktemp("whole"), rounds=2, problems=45)


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open a page of the app on a folder or a record file, at a link."""
    from tests.app_factory import open_page

    def opened(page: str, *arguments: str, **link: str) -> Any:
        monkeypatch.setattr("sys.argv", ["app.py", *arguments])
        return open_page(page, **link)

    return opened
