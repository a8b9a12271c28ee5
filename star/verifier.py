"""V-STaR's verifier (arXiv 2402.06457): a model trained on pairs of all rounds, whose likelihood ranks sampled answers.

It is not made to generate: its own accuracy falls while it learns to rank. The score of a completion is log V(y | x), the sum over
its tokens, not the ratio to the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from star.progress import bar
from star.sampling.model_files import ready_model
from star.training.plan import Encoded

TOKENS = 8_192
"""Tokens in a batch, padding included."""


def completion_scores(model_dir: Path, rows: Sequence[Encoded], *, trust_remote_code: bool = False) -> list[float]:
    """`completion_logprobs` of the model in a directory."""
    return completion_logprobs(ready_model(model_dir, trust_remote_code=trust_remote_code), rows)


def completion_logprobs(model: Any, rows: Sequence[Encoded]) -> list[float]:
    """Summed natural log-probability of each completion after its prompt, in order."""
    import torch

    order = sorted(range(len(rows)), key=lambda k: len(rows[k][0]) + len(rows[k][1]))
    scores = [0.0] * len(rows)
    with bar("ranking answers", len(rows), "answer") as shown, torch.inference_mode():
        while order:
            longest = sum(map(len, rows[order[-1]]))
            batch, order = order[-max(1, TOKENS // longest) :], order[: -max(1, TOKENS // longest)]
            ids = torch.zeros((len(batch), longest), dtype=torch.long, device=model.device)
            counted = torch.zeros((len(batch), longest), dtype=torch.bool, device=model.device)
            for at, k in enumerate(batch):
                prompt, completion = rows[k]
                ids[at, : len(prompt) + len(completion)] = torch.tensor([*prompt, *completion])
                counted[at, len(prompt) : len(prompt) + len(completion)] = True
            # Padding stands on the right: no token that counts sees it.
            logprobs = model(input_ids=ids).logits[:, :-1].float().log_softmax(-1)
            chosen = logprobs.gather(-1, ids[:, 1:, None])[..., 0] * counted[:, 1:]
            for k, score in zip(batch, chosen.sum(-1).tolist(), strict=True):
                scores[k] = score
            shown.update(len(batch))
    return scores

