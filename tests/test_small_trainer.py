"""The trainer of small models against TRL's own: loss, curves, weights, and what is packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from star.training.finetuning import finetune
from tests.jobs import END, make_job, weights
from tests.tiny_models import tiny_model

UNLIKE = tuple(((5 + i, 6)[: 1 + i % 2], (*range(20, 20 + i), END)) for i in range(8))
"""Rows of 2 to 10 tokens."""
CURVES = ("loss", "grad_norm", "entropy", "mean_token_accuracy", "num_tokens")


@pytest.fixture(scope="module")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base") / "model")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss_on": "all"},
        {"micro_batch_size": 2},
        {"micro_batch_size": 3},
        {"packing": True, "loss_on": "all"},
        {"method": "lora"},
    ],
    ids=str,
)
def test_kept_logits_train_as_trl_does(
    settings: dict[str, Any], base_model: Path, tmp_path: Path, no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer of small models against SFTTrainer itself: all its curves and the weights that come out."""
    import torch
    import transformers

    from star.training import small_trainer

    logged: dict[str, list[dict[str, float]]] = {}
    log = transformers.Trainer.log

    def record(self: Any, logs: dict[str, float], *rest: Any) -> None:
        logged.setdefault(type(self).__name__, []).append({name: logs[name] for name in CURVES if name in logs})
        log(self, logs, *rest)

    monkeypatch.setattr(transformers.Trainer, "log", record)
    finetune(make_job(base_model, tmp_path / "kept", rows=UNLIKE, **settings))
    monkeypatch.setattr(small_trainer, "MAX_LOGITS", 0)
    finetune(make_job(base_model, tmp_path / "trl", rows=UNLIKE, **settings))
    kept, trl = logged["SmallTrainer"], logged["SFTTrainer"]
    assert [*kept[0]] == [*trl[0]] == list(CURVES) and len(kept) == len(trl) == 5
    for ours, theirs in zip(kept, trl, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-3)
    start, ours, theirs = (weights(folder) for folder in (base_model, tmp_path / "kept", tmp_path / "trl"))
    norm = torch.linalg.vector_norm
    for name, tensor in theirs.items():
        assert norm(ours[name] - tensor) <= 0.05 * norm(tensor - start[name]), name


def test_a_model_that_ignores_positions_is_not_packed(
    base_model: Path, tmp_path: Path, no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows behind each other would see each other: the first batch tells, and the loss stays TRL's."""
    import transformers

    from star.training import small_trainer

    forward = transformers.LlamaForCausalLM.forward
    packed_passes = []

    def deaf(self: Any, *args: Any, position_ids: Any = None, **kwargs: Any) -> Any:
        if position_ids is not None and kwargs.get("use_cache") is False:  # not of generation
            packed_passes.append(position_ids.shape)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(transformers.LlamaForCausalLM, "forward", deaf)
    deaf_curve = finetune(make_job(base_model, tmp_path / "deaf", rows=UNLIKE))["loss_curve"]
    assert [rows < len(UNLIKE) for rows, _ in packed_passes] == [True], "the trial alone"
    monkeypatch.setattr(small_trainer, "MAX_LOGITS", 0)
    trl_curve = finetune(make_job(base_model, tmp_path / "trl", rows=UNLIKE))["loss_curve"]
    assert deaf_curve == pytest.approx(trl_curve, rel=2e-3)


@pytest.mark.parametrize("lengths", [[3], [5, 5, 5], [1, 2, 3, 4, 5, 6, 7], [9, 1, 8, 2, 7, 3]], ids=str)
def test_rows_are_packed_whole_and_without_each_other(lengths: list[int]) -> None:
    import torch

    from star.training.small_trainer import IGNORED, bins, packed

    groups = bins(lengths, max(lengths))
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in group) <= max(lengths) for group in groups)
    mask = torch.tensor([[int(at < length) for at in range(max(lengths))] for length in lengths])
    ids = mask * (torch.arange(len(lengths))[:, None] + 1)
    found = packed({"input_ids": ids, "labels": torch.where(mask > 0, ids, IGNORED), "attention_mask": mask})
    assert found["input_ids"].shape == (len(groups), max(lengths))
    assert sorted(found["input_ids"][found["input_ids"] > 0].tolist()) == sorted(ids[ids > 0].tolist())
    inside = found["position_ids"] > 0
    assert (found["labels"][~inside] == IGNORED).all(), "what comes first is not predicted from the row in front of it"
    targets = found["labels"] != IGNORED
    assert (found["labels"][targets] == found["input_ids"][targets]).all()
    assert int(targets.sum()) == sum(lengths) - len(lengths)
