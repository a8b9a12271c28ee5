"""One packed forward pass gives what one call per sequence gives, on three architectures with random weights."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import pytest

from star.sampling.packed import Branch, PackedScorer, Scored, Tree, shared_prefix, tree
from tests.tiny_models import tiny_model


def random_trees(seed: int, vocabulary: int, count: int = 6) -> list[Tree]:
    """Rationales of different lengths: truncations, a branch that shares nothing, answers of one to four tokens."""
    rng = random.Random(seed)

    def ids(length: int) -> list[int]:
        return [rng.randrange(vocabulary) for _ in range(length)]

    trees = []
    for _ in range(count):
        trunk = ids(rng.randint(8, 60))
        cuts = sorted(rng.sample(range(1, len(trunk) + 1), rng.randint(1, 7)))
        sequences = [(trunk[:cut] + ids(rng.randint(1, 5)), 1) for cut in cuts]
        sequences += [(trunk[:cut] + ids(6), rng.randint(1, 4)) for cut in cuts]
        sequences.append((ids(12), 2))
        trees.append(tree(trunk, sequences))
    return trees


def one_call_each(model: Any, trees: list[Tree]) -> list[list[Scored]]:
    """The definition, written out: one forward pass per sequence, no mask, no positions."""
    import torch

    results = []
    for one in trees:
        scored = []
        for branch in one.branches:
            ids = one.sequence(branch)
            with torch.inference_mode():
                logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
            places = range(len(ids) - branch.scored, len(ids))
            logprob = sum(float(logprobs[at - 1, ids[at]]) for at in places)
            greedy = all(int(logprobs[at - 1].argmax()) == ids[at] for at in places)
            scored.append(Scored(logprob, greedy, int(logprobs[-1].argmax())))
        results.append(scored)
    return results


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_equals_one_call_per_sequence(tmp_path: Path, architecture: Any, attention: str) -> None:
    scorer = PackedScorer.load(tiny_model(tmp_path, architecture), dtype="float32", device="cpu")
    scorer.model.set_attn_implementation(attention)
    assert scorer.why_plain is None
    trees = random_trees(1, scorer.model.config.vocab_size)
    expected = one_call_each(scorer.model, trees)
    plain = PackedScorer(scorer.model, mode="plain").score(trees)
    small = PackedScorer(scorer.model, mode="packed", batch_tokens=70).score(trees)  # trees are cut and batched
    for found in (scorer.score(trees), plain, small):
        for ours, theirs in zip(found, expected, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                assert a.logprob == pytest.approx(b.logprob, abs=1e-4)
                assert (a.greedy, a.next_token) == (b.greedy, b.next_token)


def test_greedy_says_what_the_model_would_write(tmp_path: Path) -> None:
    import torch

    model = PackedScorer.load(tiny_model(tmp_path), dtype="float32", device="cpu").model
    prompt = [5, 9, 40, 33]
    ids = list(prompt)
    for _ in range(4):
        with torch.inference_mode():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    wrong = [*ids[:5], (ids[5] + 1) % 100, ids[6]]
    (right_answer, other), *_ = PackedScorer(model).score([tree(prompt, [(ids[:7], 3), (wrong, 3)])])
    assert right_answer.greedy
    assert right_answer.next_token == ids[7]
    assert not other.greedy


@pytest.mark.parametrize("refusal", [ValueError("must be 2-D"), NotImplementedError()])  # the second has no text
def test_a_model_that_takes_no_block_mask_is_scored_plainly_and_says_so(
    refusal: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = PackedScorer.load(tiny_model(tmp_path), dtype="float32", device="cpu").model
    forward = model.forward

    def strict(input_ids: Any, attention_mask: Any = None, position_ids: Any = None, **rest: Any) -> Any:
        if attention_mask is not None and attention_mask.ndim == 4:
            raise refusal
        return forward(input_ids=input_ids, attention_mask=attention_mask, **rest)

    model.forward = strict
    with caplog.at_level(logging.WARNING):
        scorer = PackedScorer(model)
    assert scorer.why_plain is not None
    assert (str(refusal) or "NotImplementedError") in scorer.why_plain
    assert "one by one" in caplog.text
    trees = random_trees(2, model.config.vocab_size, 3)
    for ours, theirs in zip(scorer.score(trees), one_call_each(model, trees), strict=True):
        assert [a.logprob for a in ours] == pytest.approx([b.logprob for b in theirs], abs=1e-4)


def test_a_model_that_ignores_the_mask_is_found_out(tmp_path: Path) -> None:
    model = PackedScorer.load(tiny_model(tmp_path), dtype="float32", device="cpu").model
    forward = model.forward

    def careless(input_ids: Any, attention_mask: Any = None, position_ids: Any = None, **rest: Any) -> Any:
        mask = attention_mask if attention_mask is not None and attention_mask.ndim == 2 else None
        return forward(input_ids=input_ids, attention_mask=mask, **rest)

    model.forward = careless
    assert "differ by" in (PackedScorer(model).why_plain or "")


def test_a_sliding_window_is_not_packed(tmp_path: Path) -> None:
    model = PackedScorer.load(tiny_model(tmp_path), dtype="float32", device="cpu").model
    model.config.sliding_window = 16
    assert "sliding window" in (PackedScorer(model).why_plain or "")


def test_tree_shares_token_ids_not_strings() -> None:
    one = tree([1, 2, 3, 4], [([1, 2, 3, 4, 8, 9], 1), ([1, 2, 30, 9], 1), ([1, 2, 3], 2)])
    assert one.branches == (Branch(4, (8, 9), 1), Branch(2, (30, 9), 1), Branch(1, (2, 3), 2))
    assert [one.sequence(branch) for branch in one.branches] == [(1, 2, 3, 4, 8, 9), (1, 2, 30, 9), (1, 2, 3)]
    assert shared_prefix([1, 2], [1, 2, 3]) == 2


@pytest.mark.parametrize("ids, scored", [([1, 2], 2), ([1, 2], 0), ([], 0)])
def test_a_sequence_needs_something_to_score_and_something_before_it(ids: list[int], scored: int) -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        tree([1, 2], [(ids, scored)])


def test_no_trees_and_no_branches(tmp_path: Path) -> None:
    scorer = PackedScorer.load(tiny_model(tmp_path), dtype="float32", device="cpu")
    assert scorer.score([]) == []
    assert scorer.score([Tree((1, 2), ())]) == [[]]
