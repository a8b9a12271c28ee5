"""The transformers sampler: in this process, any model with a KV cache, no installation beyond torch."""

from __future__ import annotations

import gc
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from star.progress import bar
from star.sampling import model_files
from star.sampling.base import Completion, Decoding, SamplerError
from star.sampling.decode_loop import DecodeLoop, Row
from star.sampling.text import StopStrings, finished_completions

PREFIX = 64
"""Prompts that agree in this many tokens are batched together."""
SMALL_GROUP = 32


class TransformersSampler:
    """Batches sorted by prompt length, left padded; see decode_loop for what happens inside one."""

    name = "transformers"

    def __init__(
        self,
        model_dir: Path,
        *,
        batch_size: int = 512,
        dtype: str = "auto",
        trust_remote_code: bool = False,
        max_context: int | None = None,
        device: str | None = None,
    ) -> None:
        import torch

        dtype, self.device = model_files.numerics(dtype, device or "auto")
        self.dtype = getattr(torch, dtype)
        self.batch_size = batch_size
        self.trust_remote_code = trust_remote_code
        self.max_context = max_context
        self.model_dir: Path | None = None
        self.model: Any = None
        self.load(model_dir)

    def load(self, model_dir: Path) -> None:
        """Load weights and tokenizer of `model_dir`; a missing tensor is an error, so what runs is what was saved."""
        self._forget()
        model = model_files.load_model(model_dir, dtype=self.dtype, trust_remote_code=self.trust_remote_code)
        self.model = model.to(self.device)
        self.tokenizer = model_files.load_tokenizer(model_dir, trust_remote_code=self.trust_remote_code)
        self.ends = model_files.end_tokens(model_dir, self.tokenizer)
        self.context = model_files.context_length(model_dir, self.max_context)
        self.model_dir = model_dir

    def sample(
        self, prompts: Sequence[Sequence[int]], decoding: Decoding, *, progress: str | None = None
    ) -> list[list[Completion]]:
        """See Sampler.sample. Raises SamplerError on an empty prompt or a token id outside the vocabulary."""
        if self.model is None:
            raise SamplerError("This sampler was closed or put to sleep; call load(model_dir) before sample.")
        if not prompts:
            return []
        rows = self._rows(prompts, decoding)
        stop = StopStrings(self.tokenizer, decoding.stop)
        loop = DecodeLoop(self.model, decoding, stop, self.ends)
        waiting = in_order([row for row in rows if row.budget > 0])
        with bar(progress, len(rows), "completion") as shown:
            shown.update(len(rows) - len(waiting))
            while waiting:
                size = next((i for i, row in enumerate(waiting) if row.group != waiting[0].group), len(waiting))
                size = min(size, self.batch_size)
                batch, waiting = waiting[:size], waiting[size:]
                if self._run(loop, batch):
                    shown.update(len(batch))
                else:
                    waiting = batch + waiting
        done = finished_completions(
            self.tokenizer, stop, self.ends, [(row.token_ids, row.logprobs, row.finish_reason) for row in rows]
        )
        return [done[i : i + decoding.samples] for i in range(0, len(done), decoding.samples)]

    def _rows(self, prompts: Sequence[Sequence[int]], decoding: Decoding) -> list[Row]:
        size = self.model.get_input_embeddings().weight.shape[0]
        check_prompts(prompts, size)
        rows = []
        for i, prompt in enumerate(prompts):
            room = decoding.max_new_tokens if self.context is None else self.context - len(prompt)
            budget = max(0, min(decoding.max_new_tokens, room))
            rows += [Row(prompt, i * decoding.samples + k, budget) for k in range(decoding.samples)]
        return rows

    def _run(self, loop: DecodeLoop, batch: Sequence[Row]) -> bool:
        """One batch; False (and a smaller batch size from here on) when it does not fit into memory."""
        import torch

        try:
            loop.run(batch)
            return True
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                raise SamplerError(
                    f"One row of {len(batch[0].prompt)} + {batch[0].budget} tokens does not fit into memory; "
                    "lower max_new_tokens or use a smaller model."
                ) from error
        self.batch_size = max(1, len(batch) // 2)
        warnings.warn(f"Out of memory: sampling goes on with batches of {self.batch_size}.", stacklevel=3)
        for row in batch:
            row.token_ids, row.logprobs, row.finish_reason = [], [], "length"
        gc.collect()
        torch.cuda.empty_cache()
        return False

    def _forget(self) -> None:
        if self.model is None:
            return
        import torch

        self.model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def sleep(self) -> None:
        """Give back accelerator memory until the next `load`; nothing on a CPU."""
        if self.device != "cpu":
            self._forget()

    def close(self) -> None:
        """Free the model. Safe to call twice."""
        self._forget()
        self.model_dir = None


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Rows that begin alike (a few-shot prompt) together, by length inside: a batch shares its prefix and pads little.

    Few rows of one kind join the rest, so that no small batches come of it. Sets each row's `group`.
    """
    prefixes = [tuple(row.prompt[:PREFIX]) if len(row.prompt) > PREFIX else () for row in rows]
    sizes = Counter(prefixes)
    numbers: dict[tuple[int, ...], int] = {(): 0}
    for row, prefix in zip(rows, prefixes, strict=True):
        row.group = numbers.setdefault(prefix, len(numbers)) if sizes[prefix] >= SMALL_GROUP else 0
    return sorted(rows, key=lambda row: (row.group, len(row.prompt), row.number))


def check_prompts(prompts: Sequence[Sequence[int]], vocabulary: int) -> None:
    """Raise SamplerError when a prompt is empty or holds an id the model has no embedding for."""
    for i, prompt in enumerate(prompts):
        if not len(prompt):
            raise SamplerError(f"Prompt {i} has no tokens; expected at least one.")
        if min(prompt) < 0 or max(prompt) >= vocabulary:
            raise SamplerError(
                f"Prompt {i} holds token ids from {min(prompt)} to {max(prompt)}, the model has {vocabulary}; "
                "the tokenizer and the model do not belong together."
            )
