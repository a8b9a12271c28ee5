"""A KV cache that grows in blocks."""

from __future__ import annotations

from typing import Any

GROWTH = 64
"""Tokens of room added at a time. transformers' own cache copies itself whole for each new token."""


def new_cache(config: Any) -> tuple[Any, bool]:
    """A cache for a model with this configuration; True when all its layers attend to everything.

    Only then does a token's place in the cache not matter, so that padding may stand between a shared prefix and the
    rest; sliding windows and recurrent layers count places and keep transformers' own cache.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache = DynamicCache(config=config)
    plain = bool(cache.layers) and all(type(layer) is DynamicLayer for layer in cache.layers)
    if plain:
        growing = _growing_layer()
        cache.layers = [growing() for _ in cache.layers]
    return cache, plain


def _growing_layer() -> Any:
    import torch
    from transformers.cache_utils import DynamicLayer

    class GrowingLayer(DynamicLayer):
        """Keys and values are views of the filled part of two buffers [batch, heads, room, head size]."""

        keys: Any
        values: Any
        room: Any = None

        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            old = self.get_seq_length()
            new = old + key_states.shape[-2]
            if self.room is None or new > self.room[0].shape[-2]:
                self.room = (self._more(self.keys, key_states, old, new), self._more(self.values, value_states, old, new))
            for room, states in zip(self.room, (key_states, value_states), strict=True):
                room[:, :, old:new] = states
            self.keys, self.values = self.room[0][:, :, :new], self.room[1][:, :, :new]
            return self.keys, self.values

        @staticmethod
        def _more(filled: Any, states: Any, old: int, new: int) -> Any:
            batch, heads, _, size = states.shape
            room = torch.empty(batch, heads, new + max(GROWTH, new // 8), size, dtype=states.dtype, device=states.device)
            if old:
                room[:, :, :old] = filled
            return room

        def batch_select_indices(self, indices: Any) -> None:
            super().batch_select_indices(indices)
            self.room = None

        def take(self, rows: Any, places: Any) -> None:
            """Row i becomes the places `places[i]` of row `rows[i]`; `places` is [new rows, new length]."""
            for name in ("keys", "values"):
                states = getattr(self, name)[rows[:, None], :, places]  # [new rows, new length, heads, size]
                setattr(self, name, states.transpose(1, 2))
            self.room = None

    return GrowingLayer
