"""The Hub: what is asked of it, and what is said when it does not answer."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from star import hub
from star.recipe import ModelSettings, RecipeError
from star.setup import resolve_model
from star.tasks import load_task, rows
from star.tasks.rows import TaskError
from tests.task_rows import load, options, settings, sums

ROOT = Path(__file__).resolve().parent.parent


def test_no_network_is_one_sentence_within_30_seconds(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {
        "HF_ENDPOINT": "http://127.0.0.1:9",  # nothing listens there
        "HF_HOME": str(tmp_path / "hub"),
    }
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "star.validate", "gsm8k"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert time.monotonic() - started < 30
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "HF_HUB_OFFLINE" in done.stderr and "task.path" in done.stderr and done.stderr.count("\n") == 1


def test_a_hub_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # accepts, never answers
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        assert not hub.hub_answers(timeout=1)
        assert time.monotonic() - started < 10


def test_offline_without_a_cached_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def not_cached(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'openai/gsm8k' on the Hub (OfflineModeIsEnabled)\nmore")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets, "load_dataset", not_cached)
    with pytest.raises(TaskError, match=r"Couldn't reach .*task\.path.*HF_HUB_OFFLINE"):
        load_task(settings("gsm8k"), 0).load()


@pytest.mark.parametrize(
    ("task", "changes", "calls"),
    [
        ("gsm8k", {}, [("openai/gsm8k", "main", "train"), ("openai/gsm8k", "main", "test")]),
        ("gsm8k", {"dataset": "my/sums"}, [("my/sums", None, "train"), ("my/sums", None, "test")]),
        ("commonsense_qa", {}, [("tau/commonsense_qa", None, "train"), ("tau/commonsense_qa", None, "validation")]),
        (
            "records",
            {"dataset": "my/rows", "dataset_config": "c", "train_split": "a"},
            [("my/rows", "c", "a"), ("my/rows", "c", "test")],
        ),
        ("records", {"dataset": "my/rows", "test_split": "train"}, [("my/rows", None, "train")]),
    ],
)
def test_what_is_asked_of_the_hub(monkeypatch: pytest.MonkeyPatch, task: str, changes: dict, calls: list) -> None:
    import datasets

    asked = []

    def answer(dataset: str, config: str | None, split: str) -> list[dict[str, Any]]:
        asked.append((dataset, config, split))
        start = 0 if split in ("train", "a") else 100
        return options(start + 10)[start:] if task == "commonsense_qa" else sums(10, start)

    monkeypatch.setattr(rows, "hub_answers", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", answer)
    loaded = load(load_task(settings(task, **changes), 0))
    assert asked == calls
    assert len(loaded.train) + len(loaded.test) == 10 * len(calls) and not loaded.skipped


def test_a_hub_data_set_without_a_test_split_gives_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def answer(dataset: str, config: str | None, split: str) -> list[dict[str, Any]]:
        if split != "train":
            raise ValueError(f"Unknown split \"{split}\". Should be one of ['train'].")
        return sums(20)

    monkeypatch.setattr(rows, "hub_answers", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", answer)
    loaded = load(load_task(settings("records", dataset="my/rows"), 0))
    assert (len(loaded.train), len(loaded.test)) == (18, 2)
    with pytest.raises(TaskError, match="cannot be loaded: Unknown split"):
        load_task(settings("records", dataset="my/rows", test_split="dev"), 0).load()


def test_a_local_directory_in_the_hubs_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "rows").mkdir()
    for name, start in (("train", 0), ("test", 100)):
        table = pa.Table.from_pylist(sums(8, start))
        pq.write_table(table, tmp_path / "rows" / f"{name}.parquet")
    loaded = load(load_task(settings("gsm8k", dataset=str(tmp_path / "rows")), 0))
    assert (len(loaded.train), len(loaded.test)) == (8, 8)


# ---------------------------------------------------------------------- models and data sets that are not for everyone


def refusal(error_type: Any, status: int) -> Exception:
    """The Hub's answer as its client raises it."""
    import httpx2
    from huggingface_hub import errors

    response = httpx2.Response(status, request=httpx2.Request("GET", "https://huggingface.co/api/models/their/model"))
    error: Exception = getattr(errors, error_type)(f"{status} Client Error.\n\nmore", response=response)
    return error


@pytest.mark.parametrize(
    ("error_type", "words"),
    [
        (
            "GatedRepoError",
            "model their/model is gated: ask for access at https://huggingface.co/their/model, and set HF_TOKEN",
        ),
        ("RepositoryNotFoundError", "model their/model does not exist on the Hub, or is private: check its name"),
        ("RevisionNotFoundError", "model their/model has no such revision"),
    ],
)
def test_a_refused_model_is_one_sentence(monkeypatch: pytest.MonkeyPatch, error_type: str, words: str) -> None:
    import huggingface_hub

    asked = {}

    def refuse(hub_id: str, **options: Any) -> str:
        asked.update(options)
        raise refusal(error_type, 401)

    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.setattr(hub, "hub_answers", lambda: True)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(RecipeError) as raised:
        resolve_model(ModelSettings(path="their/model", revision="v1"))
    assert words in str(raised.value) and "\n" not in str(raised.value) and asked["revision"] == "v1"


def test_python_code_is_fetched_with_a_trusted_model_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    asked = []

    def fetch(hub_id: str, *, allow_patterns: list[str], **_: object) -> str:
        asked.append("*.py" in allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(hub, "hub_answers", lambda: True)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    for trusted in (False, True):
        hub.download_model(ModelSettings(path="their/model", trust_remote_code=trusted))
    assert asked == [False, True]


def test_a_revision_of_a_local_model_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.revision is for models on the Hub"):
        resolve_model(ModelSettings(revision="v1"))


@pytest.mark.parametrize("error_type", ["GatedRepoError", "RepositoryNotFoundError"])
def test_a_refused_data_set_is_one_sentence(monkeypatch: pytest.MonkeyPatch, error_type: str) -> None:
    import datasets

    def refuse(*_: object, **__: object) -> None:
        raise datasets.exceptions.DatasetNotFoundError("wrapped") from refusal(error_type, 403)

    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.setattr(rows, "hub_answers", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(
        TaskError, match=r"data set my/rows (is gated|does not exist on the Hub, or is private).*HF_TOKEN"
    ):
        load_task(settings("records", dataset="my/rows"), 0).load()


@pytest.mark.parametrize(("environment", "threads"), [({}, 1), ({"DO_NOT_TRACK": "0"}, 2)])
def test_no_library_reports_home_unless_the_user_lets_it(environment: dict[str, str], threads: int) -> None:
    code = (
        "import star, threading; from huggingface_hub.utils import send_telemetry\n"
        "send_telemetry('trl', library_name='trl'); print(threading.active_count())"
    )
    inherited = {
        k: v
        for k, v in os.environ.items()
        if k not in ("HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK")
    }
    told = {"HF_ENDPOINT": "http://127.0.0.1:9", **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], env=inherited | told, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(threads)
