"""Prompts that begin alike: what they have in common is run once, and nothing changes by it."""

from __future__ import annotations

import random
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star.sampling import Decoding, prefill
from star.sampling.prefill import shared_prefixes
from star.sampling.transformers_sampler import TransformersSampler
from tests.tiny_models import tiny_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("prefill") / "model", hidden=64, layers=2, context=128)


def test_shared_prefix_changes_nothing(model: Path) -> None:
    """Prompts with a common few-shot part, together and each alone."""
    sampler = TransformersSampler(model, device="cpu")
    draw = random.Random(1)
    shots = [draw.randrange(2, 250) for _ in range(70)]
    prompts = [shots + [draw.randrange(2, 250) for _ in range(draw.randint(1, 9))] for _ in range(12)] + [shots]
    together = sampler.sample(prompts, Decoding(max_new_tokens=8))
    for prompt, (completion,) in zip(prompts, together, strict=True):
        ((alone,),) = sampler.sample([prompt], Decoding(max_new_tokens=8))
        assert completion.token_ids == alone.token_ids
        assert completion.logprobs == pytest.approx(alone.logprobs, abs=1e-4)


def family(draw: random.Random, prefix: list[int]) -> list[list[int]]:
    """A rationale cut at every step, and at some of them with another last step."""
    prompts, whole = [], prefix + [draw.randrange(2, 250) for _ in range(draw.randint(4, 8))]
    for _ in range(draw.randint(2, 4)):
        prompts.append(list(whole))
        step = [draw.randrange(2, 250) for _ in range(draw.randint(3, 8))]
        if draw.random() < 0.5:
            prompts.append([*whole, *step[:-2], draw.randrange(2, 250)])
        whole += step
    return [*prompts, whole]


@pytest.mark.parametrize("seed", range(4))
def test_shared_prefixes_change_nothing(model: Path, seed: int) -> None:
    """Rationales cut at every step behind a few-shot part, some strangers among them, together and each alone."""
    sampler = TransformersSampler(model, device="cpu")
    draw = random.Random(seed)
    shots = [draw.randrange(2, 250) for _ in range(70 if seed % 2 else 30)]
    prompts = [prompt for _ in range(6) for prompt in family(draw, shots)]
    trunks = {trunk for trunk, _ in shared_prefixes(list(map(tuple, prompts)))}
    assert 1 < len(trunks) <= len(prompts) / 2
    if seed % 2:
        assert shared_prefixes([tuple(prompts[i]) for i in sorted(trunks)]), "trunks share the few-shot part in their turn"
    prompts += [[draw.randrange(2, 250) for _ in range(draw.randint(1, 50))] for _ in range(3)] + prompts[:2]
    draw.shuffle(prompts)
    together = sampler.sample(prompts, Decoding(max_new_tokens=6))
    for prompt, (completion,) in zip(prompts, together, strict=True):
        ((alone,),) = sampler.sample([prompt], Decoding(max_new_tokens=6))
        assert completion.token_ids == alone.token_ids
        assert completion.logprobs == pytest.approx(alone.logprobs, abs=1e-4)


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=80).map(tuple), min_size=2, max_size=12, unique=True))
def test_what_is_taken_over_is_there(prompts: list[tuple[int, ...]]) -> None:
    with mock.patch.object(prefill, "WORTH_IT", float("inf")):  # so that there always is an answer
        found = shared_prefixes(prompts)
    assert len(found) == len(prompts)
    for prompt, (trunk, length) in zip(prompts, found, strict=True):
        assert length < len(prompt) and prompt[:length] == prompts[trunk][:length]
        assert found[trunk][0] == trunk


def test_prompts_without_anything_in_common_are_run_whole() -> None:
    draw = random.Random(3)
    assert shared_prefixes([tuple(draw.randrange(250) for _ in range(60)) for _ in range(50)]) == []
    assert shared_prefixes([(1,) * 40]) == shared_prefixes([(1,), (2,)]) == []
