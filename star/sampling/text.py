"""Sampled tokens -> text: special tokens left out but for the tags of thoughts, stop strings found and cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from star.sampling.base import Completion, FinishReason

THOUGHTS = (("[THINK]", "[/THINK]"), ("◁think▷", "◁/think▷"), ("<|channel|>", "<|message|>", "<|start|>", "<|end|>"))
"""Tokens that say what is thought and what is answer, of models that have all of a row: `star.grading` reads them."""


class StopStrings:
    """Finds stop strings in growing completions without decoding each of them after each token.

    A stop string can only be completed by a token whose text holds its last character, so only rows that just got
    such a token are decoded, and of them only the last few tokens.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self.tokenizer = tokenizer
        self.stop = tuple(text for text in stop if text)
        # A character is at most four byte-level tokens; the margin lets the tail start in the middle of one.
        self.tail = 4 * max((len(text) for text in self.stop), default=0) + 8

    def closing_tokens(self, size: int) -> list[bool]:
        """For each token id below `size`: could this token complete a stop string?"""
        closing = [False] * size
        if not self.stop:
            return closing
        last = {text[-1] for text in self.stop}
        known = min(size, len(self.tokenizer))
        pieces = self.tokenizer.convert_ids_to_tokens(list(range(known)))
        texts = self.tokenizer.batch_decode([[i] for i in range(known)])
        for i, (piece, text) in enumerate(zip(pieces, texts, strict=True)):
            # Part of a multi-byte character, or a sentence-piece space that decoding alone drops: ask the full text.
            unclear = "\ufffd" in text or not text or (piece is not None and "▁" in piece)
            closing[i] = unclear or any(character in text for character in last)
        return closing

    def found_in(self, rows: Sequence[Sequence[int]]) -> list[bool]:
        """For each row of sampled tokens: does a stop string occur in its end?"""
        tails = [list(row[-self.tail :]) for row in rows]
        texts = self.tokenizer.batch_decode(tails, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [any(stop in text for stop in self.stop) for text in texts]

    def cut(self, text: str) -> str:
        """`text` before the first stop string in it."""
        return text[: min((at for at in map(text.find, self.stop) if at >= 0), default=len(text))]


def finished_completions(
    tokenizer: Any,
    stop: StopStrings,
    end_tokens: Sequence[int],
    sampled: Sequence[tuple[Sequence[int], Sequence[float], FinishReason]],
) -> list[Completion]:
    """Completions of (token ids, log-probabilities, finish reason) triples: one decoding for both samplers."""
    ends = set(end_tokens)
    bodies = [ids[:-1] if ids and ids[-1] in ends else ids for ids, _, _ in sampled]
    texts = _decoded(tokenizer, bodies)
    return [
        Completion(stop.cut(text), tuple(ids), reason, tuple(logprobs))
        for text, (ids, logprobs, reason) in zip(texts, sampled, strict=True)
    ]


def _decoded(tokenizer: Any, rows: Sequence[Sequence[int]]) -> list[str]:
    """Texts of token ids without special tokens, but for those of THOUGHTS."""
    shown: dict[int, str] = {}
    for tags in THOUGHTS:
        ids = tokenizer.convert_tokens_to_ids(list(tags))
        if not {None, tokenizer.unk_token_id} & {*ids}:
            shown |= dict(zip(ids, tags, strict=True))
    parts = [[(tag, list(ids)) for tag, ids in groupby(row, shown.get)] for row in rows]
    plain = [ids for row in parts for tag, ids in row if tag is None]
    texts = iter(tokenizer.batch_decode(plain, skip_special_tokens=True, clean_up_tokenization_spaces=False))
    return ["".join(next(texts) if tag is None else tag * len(ids) for tag, ids in row) for row in parts]
