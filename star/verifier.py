"""V-STaR's verifier (arXiv 2402.06457): a model trained on pairs of all rounds, whose likelihood ranks sampled answers.

It is not made to generate: its own accuracy falls while it learns to rank. The score of a completion is log V(y | x), the sum over
its tokens, not the ratio to the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from star.progress import bar
from star.sampling.packed import PackedScorer, tree
from star.training.plan import Encoded

CHUNK = 256
"""Completions between two steps of the bar; those of similar length share a forward pass."""


def completion_scores(model_dir: Path, rows: Sequence[Encoded], *, trust_remote_code: bool = False) -> list[float]:
    """`completion_logprobs` of the model in a directory."""
    return completion_logprobs(PackedScorer.load(model_dir, mode="plain", trust_remote_code=trust_remote_code), rows)


def completion_logprobs(scorer: PackedScorer, rows: Sequence[Encoded]) -> list[float]:
    """Summed natural log-probability of each completion after its prompt, in order."""
    scores: list[float] = []
    with bar("ranking answers", len(rows), "answer") as shown:
        for start in range(0, len(rows), CHUNK):
            trees = [tree(prompt, [([*prompt, *written], len(written))]) for prompt, written in rows[start : start + CHUNK]]
            scores += [scored.logprob for (scored,) in scorer.score(trees)]
            shown.update(len(trees))
    return scores
