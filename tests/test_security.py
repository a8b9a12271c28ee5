"""Nothing runs from data: code beside a received model, formulas in tables, other names for the app's server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis import probe
from analysis.app import command_line
from analysis.faithfulness.sources import from_run
from benchmarks.app_browser import Server
from star import train
from star.recipe import TRUST, RecipeError, load_recipe
from star.sampling.model_files import SamplerError, load_tokenizer
from star.setup import prepare
from tests.run_factory import make_run
from tests.tiny_models import tiny_model

CODE = """
from pathlib import Path
Path({mark!r}).write_text("code from the model directory ran")
from transformers import PreTrainedTokenizerFast
class Own(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that the code of the model directory would write."""
    return tmp_path / "executed"


@pytest.fixture
def coded_model(tmp_path: Path, mark: Path) -> Path:
    """A model whose tokenizer is a Python file beside it."""
    model = tiny_model(tmp_path / "coded")
    config = json.loads((model / "tokenizer_config.json").read_text())
    config |= {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    (model / "own.py").write_text(CODE.format(mark=str(mark)))
    return model


@pytest.fixture
def received(tmp_path: Path, coded_model: Path) -> Path:
    """A run directory whose recipe asks to trust its model."""
    run = make_run(tmp_path, rounds=1, problems=5, samples=2)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["model"] = {**(recipe.get("model") or {}), "path": str(coded_model), "trust_remote_code": True}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return run


def test_the_code_would_run_where_it_is_trusted(coded_model: Path, mark: Path) -> None:
    with pytest.raises(SamplerError, match="cannot be loaded"):
        load_tokenizer(coded_model)
    assert not mark.exists()
    load_tokenizer(coded_model, trust_remote_code=True)
    assert mark.exists()


@pytest.mark.parametrize("more", [[], ["--round", "0"], ["--model", "CODED"]])
def test_a_received_run_is_probed_without_its_code(
    more: list[str], received: Path, coded_model: Path, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(coded_model) if each == "CODED" else each for each in more]
    assert probe.main([str(received), *arguments, "--n", "2", "--device", "cpu"]) == 1
    assert TRUST in capsys.readouterr().err
    recipe = yaml.safe_load((received / "recipe.yaml").read_text())
    del recipe["model"]["trust_remote_code"]
    (received / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert probe.main([str(received), "--model", str(coded_model), "--n", "2", "--device", "cpu"]) == 1
    assert not mark.exists()


def test_a_received_run_is_trusted_by_the_call_alone(received: Path) -> None:
    assert from_run(received, 0, 2, 0, trusted=True).model.trust_remote_code
    with pytest.raises(RecipeError, match=TRUST):
        from_run(received, 0, 2, 0)


def test_a_recipe_that_asks_for_trust_is_refused_in_one_line(
    tmp_path: Path, coded_model: Path, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asks, plain = (
        {"runs_dir": str(tmp_path / "runs"), "model": {"path": str(coded_model), **more}, "prompting": {"shots": 0}}
        for more in ({"trust_remote_code": True}, {})
    )
    (tmp_path / "asks.yaml").write_text(yaml.safe_dump(asks))
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump(plain))
    for more in ([], ["--dry-run"]):
        assert train.main([str(tmp_path / "asks.yaml"), *more]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and TRUST in said
    assert train.parse([str(tmp_path / "asks.yaml"), TRUST])[0].model.trust_remote_code
    trusting, _, _ = train.parse([str(tmp_path / "plain.yaml"), TRUST])
    assert (
        trusting.model.trust_remote_code and not train.parse([str(tmp_path / "plain.yaml")])[0].model.trust_remote_code
    )
    assert not mark.exists()
    setup = prepare(trusting, [])
    assert mark.exists()
    with pytest.raises(RecipeError, match=TRUST):
        load_recipe(setup.run_dir / "recipe.yaml")
    prepare(trusting, [])  # the same command goes on


# ---------------------------------------------------------------------- the app's server


def test_hosts_reach_streamlit_as_flags() -> None:
    flags = command_line([])
    assert [flag for flag in flags if "allowedHosts" in flag] == [
        f"--server.allowedHosts={name}" for name in ("localhost", "127.0.0.1", "::1")
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    started = Server("--root", str(tmp_path_factory.mktemp("runs")))
    yield started
    started.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [("127.0.0.1", "127.0.0.1", 101), ("localhost", "localhost", 101), ("evil.example", "127.0.0.1", 403),
     ("evil.example", "evil.example", 403), ("127.0.0.1", "evil.example", 403)],
)  # fmt: skip
def test_other_names_for_this_machine_are_refused(host: str, origin: str, status: int, server: Any) -> None:
    request = (
        f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}:{server.port}\r\nOrigin: http://{origin}:{server.port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request.encode())
        assert int(connection.recv(200).split()[1]) == status
