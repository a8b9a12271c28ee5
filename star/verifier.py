"""V-STaR's verifier (arXiv 2402.06457): a model trained on pairs of all rounds, whose likelihood ranks sampled answers.

It is not made to generate: its own accuracy falls while it learns to rank. The score of a completion is log V(y | x), the sum over
its tokens, not the ratio to the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from star.grading import votes
from star.problem import Attempt, Problem, Verdict
from star.progress import bar
from star.rows import RankedFigures
from star.sampling.model_files import ready_model
from star.statistics import best_of_k, maj_at_k, powers_up_to
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


def ranked_figures(rows: Sequence[Attempt], scores: Sequence[float], problems: Mapping[str, Problem]) -> RankedFigures:
    """Best-of-k and the vote of k weighted by the likelihood, over the samples of each problem, beside pass@k and maj@k."""
    by_problem: dict[str, list[tuple[Attempt, float]]] = {}
    for row, score in zip(rows, scores, strict=True):
        by_problem.setdefault(row["problem_id"], []).append((row, score))
    most = min(map(len, by_problem.values()))
    best: dict[int, list[float]] = {k: [] for k in powers_up_to(most)}
    weighted: dict[int, list[float]] = {k: [] for k in best}
    for problem_id, pairs in by_problem.items():
        right = [row["verdict"] == Verdict.correct for row, _ in pairs]
        ranked = [score for _, score in pairs]
        voted = votes([(row["answer"], row["verdict"]) for row, _ in pairs], problems[problem_id])
        weights = [math.exp(score - max(ranked)) for score in ranked]
        for k in best:
            best[k].append(best_of_k(ranked, right, k))
            weighted[k].append(maj_at_k(voted, right, k, weights))
    return {
        "best_of_k": {str(k): mean(values) for k, values in best.items()},
        "weighted_at_k": {str(k): mean(values) for k, values in weighted.items()},
    }
