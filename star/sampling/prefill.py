"""The first pass over a batch of prompts: what one prompt shares with another is computed once.

A few-shot part is shared by all prompts; rationales that are cut at every step are prefixes of each other. Some prompts
(trunks) are run whole, all take over the keys and values of what they have in common with one of these, and only their rests
are run. Trunks that share a prefix among themselves are treated the same way first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from star.sampling.cache import new_cache
from star.sampling.packed import shared_prefix

Prompt = tuple[int, ...]
LEAST_SHARE = 0.5
"""A prompt takes over at least this share of itself, or is run whole: the longest rest is what all rests are padded to."""
NEAR = 8
"""A trunk will do when another prompt shares at most this many tokens more."""
WORTH_IT = 0.8
"""Share of the tokens of a plain pass (padding included) that the passes over trunks and rests may have at most."""


@dataclass
class Prefilled:
    """A batch after its prompts: one row per prompt."""

    logits: Any
    """[rows, vocabulary], of the last token."""
    cache: Any
    mask: Any
    """[rows, places in the cache]: 1 where a token of the row's own prompt stands, in order."""
    positions: Any
    """[rows, 1]: position of the last token."""

    def take(self, rows: Any) -> None:
        """Keep these rows, in this order; a row may be taken more than once."""
        self.cache.batch_select_indices(rows)
        self.logits, self.mask, self.positions = self.logits[rows], self.mask[rows], self.positions[rows]


def forward(model: Any, ids: Any, mask: Any, positions: Any, cache: Any) -> Any:
    """Logits [rows, vocabulary] after the last of `ids` [rows, tokens]; their keys and values join the cache."""
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return output.logits[:, -1]


def prefill(model: Any, prompts: Sequence[Prompt]) -> Prefilled:
    """Run different prompts, left padded, each distinct prefix once where that is worth it."""
    import torch

    cache, plain = new_cache(model.config)
    shared = shared_prefixes(prompts) if plain else []
    if not shared:
        return _run_rests(model, prompts, torch.zeros((len(prompts), 0), dtype=torch.long, device=model.device), cache)
    trunks = sorted({trunk for trunk, _ in shared})
    place = {trunk: i for i, trunk in enumerate(trunks)}
    before = prefill(model, [prompts[trunk] for trunk in trunks])
    width = max(length for _, length in shared)
    slots = [row.nonzero()[:, 0].tolist() for row in before.mask]
    taken = [[0] * (width - length) + slots[place[trunk]][:length] for trunk, length in shared]
    mask = [[0] * (width - length) + [1] * length for _, length in shared]
    rows = torch.tensor([place[trunk] for trunk, _ in shared], device=model.device)
    for layer in before.cache.layers:
        layer.take(rows, torch.tensor(taken, device=model.device))
    rests = [prompt[length:] for prompt, (_, length) in zip(prompts, shared, strict=True)]
    return _run_rests(model, rests, torch.tensor(mask, device=model.device), before.cache)


def _run_rests(model: Any, rests: Sequence[Prompt], before: Any, cache: Any) -> Prefilled:
    """Run what follows the tokens that are in the cache; `before` is their mask."""
    import torch

    width = max(map(len, rests))
    # The padding token's value never matters: it is masked and has position 0.
    ids = torch.tensor([[0] * (width - len(rest)) + list(rest) for rest in rests], device=model.device)
    own = torch.tensor([[0] * (width - len(rest)) + [1] * len(rest) for rest in rests], device=model.device)
    mask = torch.cat([before, own], dim=1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -width:]
    return Prefilled(forward(model, ids, mask, positions, cache), cache, mask, positions[:, -1:])


def shared_prefixes(prompts: Sequence[Prompt]) -> list[tuple[int, int]]:
    """For each of the different prompts, the number of its trunk and the tokens it takes over from it, at most all but one.

    Empty where running trunks and rests would hardly be less than running all prompts. A trunk is a prompt that shares
    (nearly) as much with another as any other does, the longest of these first.
    """
    import numpy as np

    count = len(prompts)
    order = sorted(range(count), key=prompts.__getitem__)
    place = {number: at for at, number in enumerate(order)}
    # Two prompts have in common what all neighbours between them in sorted order have in common.
    common = np.array([shared_prefix(prompts[a], prompts[b]) for a, b in pairwise(order)], dtype=int)
    lengths = np.array([len(prompts[number]) for number in order])
    most = np.maximum(np.append(common, 0), np.append(0, common))
    enough = np.maximum(most - NEAR, LEAST_SHARE * lengths)
    trunk, length = np.full(count, -1), np.zeros(count, dtype=int)
    for at in np.argsort(-lengths, kind="stable"):
        if trunk[at] >= 0:
            continue
        left, right = common[:at][::-1], common[at:]
        shared = np.concatenate([np.minimum.accumulate(left)[::-1], lengths[at : at + 1], np.minimum.accumulate(right)])
        joining = (trunk < 0) & (shared >= enough)
        joining[at] = True
        trunk[joining], length[joining] = order[at], np.minimum(shared, lengths - 1)[joining]
    rests, trunks = lengths - length, np.unique(trunk)
    passes = len(trunks) * max(len(prompts[number]) for number in trunks) + count * rests.max()
    if passes > WORTH_IT * count * lengths.max():
        return []
    return [(int(trunk[place[i]]), int(length[place[i]])) for i in range(count)]
