"""Batched decoding with a transformers model: one batch of left-padded rows, finished rows dropped on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from star.sampling.base import Decoding, FinishReason
from star.sampling.prefill import Prefilled, forward, prefill
from star.sampling.text import StopStrings

DROP_BELOW = 0.5
"""Rows are compacted when at most this share of the batch is still running: a copy of the cache each time it halves."""


@dataclass
class Row:
    """One completion in the making."""

    prompt: Sequence[int]
    number: int
    """Place in the whole call; with the call's seed it fixes the row's random numbers, however rows are batched."""
    budget: int
    """Tokens that may be sampled."""
    group: int = 0
    """Rows of one group may share a batch."""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason = "length"


class DecodeLoop:
    """Samples completions of batches of rows under one `Decoding`."""

    def __init__(self, model: Any, decoding: Decoding, stop: StopStrings, end_tokens: Sequence[int]) -> None:
        import torch

        self.model, self.decoding, self.stop = model, decoding, stop
        self.device = model.device
        size = model.get_output_embeddings().weight.shape[0]
        self.ends = torch.zeros(size, dtype=torch.bool, device=self.device)
        self.ends[[token for token in end_tokens if token < size]] = True
        self.closing = torch.tensor(stop.closing_tokens(size), device=self.device)

    def run(self, rows: Sequence[Row]) -> None:
        """Fill in the rows' tokens, log-probabilities and finish reasons."""
        import torch

        with torch.inference_mode():
            self._run(rows)

    def _run(self, rows: Sequence[Row]) -> None:
        import torch

        done = self._prefill(rows)
        logits, cache, mask, positions = done.logits, done.cache, done.mask, done.positions
        uniforms = self._uniforms(rows)
        budgets = torch.tensor([row.budget for row in rows], device=self.device)
        running = torch.ones(len(rows), dtype=torch.bool, device=self.device)
        alive = list(rows)
        for step in range(int(budgets.max())):
            noise = None if uniforms is None else uniforms[:, step]
            tokens, logprobs = choose(logits.float(), self.decoding, noise)
            for row, going, token, logprob in zip(alive, running.tolist(), tokens.tolist(), logprobs.tolist(), strict=True):
                if going:
                    row.token_ids.append(token)
                    row.logprobs.append(logprob)
            stopped = (self.ends[tokens] | self._stop_string(alive, tokens, running)) & running
            for i in stopped.nonzero()[:, 0].tolist():
                alive[i].finish_reason = "stop"
            running &= ~stopped & (step + 1 < budgets)
            left = int(running.sum())
            if left == 0:
                return
            if left <= DROP_BELOW * len(alive):
                keep = running.nonzero()[:, 0]
                cache.batch_select_indices(keep)
                mask, positions, tokens, budgets = mask[keep], positions[keep], tokens[keep], budgets[keep]
                uniforms = None if uniforms is None else uniforms[keep]
                alive, running = [alive[i] for i in keep.tolist()], running[keep]
            mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=1)
            positions = positions + 1
            logits = forward(self.model, tokens[:, None], mask, positions, cache)

    def _prefill(self, rows: Sequence[Row]) -> Prefilled:
        """Run each different prompt once and spread the results over the rows."""
        import torch

        different = list(dict.fromkeys(tuple(row.prompt) for row in rows))
        done = prefill(self.model, different)
        if len(different) < len(rows):
            place = {prompt: i for i, prompt in enumerate(different)}
            done.take(torch.tensor([place[tuple(row.prompt)] for row in rows], device=self.device))
        return done

    def _uniforms(self, rows: Sequence[Row]) -> Any:
        """One uniform number per row and step, a function of the call's seed and the row's number only."""
        import numpy as np
        import torch

        if self.decoding.temperature == 0:
            return None
        steps = max(row.budget for row in rows)
        seed = self.decoding.seed % 2**64
        drawn = [np.random.Generator(np.random.Philox(key=[seed, row.number])).random(steps) for row in rows]
        return torch.tensor(np.array(drawn), dtype=torch.float32, device=self.device)

    def _stop_string(self, alive: Sequence[Row], tokens: Any, running: Any) -> Any:
        """Which rows have just completed a stop string."""
        import torch

        stopped = torch.zeros_like(running)
        asked = (self.closing[tokens] & running).nonzero()[:, 0].tolist()
        if asked:
            completed = self.stop.found_in([alive[i].token_ids for i in asked])
            stopped[[i for i, has_stop in zip(asked, completed, strict=True) if has_stop]] = True
        return stopped


def choose(logits: Any, decoding: Decoding, uniforms: Any) -> tuple[Any, Any]:
    """Next tokens and their raw log-probabilities from `logits` [rows, vocabulary] and `uniforms` [rows].

    Nucleus sampling by the inverse of the cumulative distribution. Where the likeliest token alone fills the nucleus
    (nearly everywhere at the paper's temperature 0.01) it is taken without sorting the vocabulary.
    """
    import torch

    logprobs = logits.log_softmax(-1)
    best = logits.argmax(-1)
    if decoding.temperature > 0:
        # Differences from the maximum: no temperature, however low, can overflow.
        scaled = (logits - logits.max(-1, keepdim=True).values) / max(decoding.temperature, 1e-6)
        probabilities = scaled.softmax(-1)
        open_rows = (probabilities.max(-1).values < decoding.top_p).nonzero()[:, 0]
        if len(open_rows):
            sorted_p, order = probabilities[open_rows].sort(dim=-1, descending=True, stable=True)
            if decoding.top_k is not None:
                sorted_p[:, decoding.top_k :] = 0.0
                sorted_p /= sorted_p.sum(-1, keepdim=True)
            cumulative = sorted_p.cumsum(-1)
            sorted_p = sorted_p.masked_fill(cumulative - sorted_p >= decoding.top_p, 0.0)
            cumulative = sorted_p.cumsum(-1)
            target = uniforms[open_rows, None] * cumulative[:, -1:]
            picked = (cumulative <= target).sum(-1, keepdim=True)
            # Rounding can put the target on the last step: stay inside the nucleus.
            picked = torch.minimum(picked, (sorted_p > 0).sum(-1, keepdim=True) - 1)
            best[open_rows] = order.gather(-1, picked)[:, 0]
    return best, logprobs.gather(-1, best[:, None])[:, 0]
