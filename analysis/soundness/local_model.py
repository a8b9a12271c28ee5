"""A chat model on this machine as judge, through the samplers of the engine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from analysis.soundness.replies import Failure, Keep, Reply
from analysis.soundness.scorers import ScorerOptions
from star.errors import InputError

PROMPTS = 64
"""Prompts whose replies are kept together."""
ROWS = 32
"""Replies that transformers continues at a time."""
LONGEST_PROMPT = 8_192
"""In tokens; room for a reply comes on top."""
LEAST_REPLY = 16
"""Tokens that a verdict needs at least."""


class LocalModel:
    """`replies.Model` over a `Sampler`; loaded when something is asked. `sampling`: temperature and top_p."""

    def __init__(
        self, model: str, engine: Literal["vllm", "transformers"], options: ScorerOptions, sampling: Mapping[str, float]
    ) -> None:
        self.name, self.engine, self.options, self.sampling = model, engine, options, sampling
        self.sampler: Any = None

    @cached_property
    def folder(self) -> Path:
        """The model's directory, fetched from the Hub where it is not here."""
        from star.recipe import ModelSettings
        from star.setup import resolve_model

        return resolve_model(ModelSettings(path=self.name))

    @cached_property
    def tokenizer(self) -> Any:
        """Raises InputError where it has no chat template."""
        from star.sampling.model_files import check_model_dir, load_tokenizer

        check_model_dir(self.folder)
        tokenizer = load_tokenizer(self.folder)
        if not tokenizer.chat_template:
            raise InputError(f"{self.name} has no chat template: a judge is told what to do, so name a chat or instruct model.")
        return tokenizer

    @property
    def reserved(self) -> Sequence[str]:
        """Special tokens: as text in a rationale they would end a turn."""
        return [str(token) for token in self.tokenizer.all_special_tokens]

    @cached_property
    def identity(self) -> list[str]:
        """A digest of weights and tokenizer."""
        from analysis.faithfulness.answers import model_digest

        return [model_digest(self.folder)]

    def ask(self, missing: Mapping[str, Sequence[int]], keep: Keep) -> dict[str, Failure]:
        """See `replies.Model`. Raises InputError where the model cannot be loaded or run."""
        from star.sampling.model_files import context_length

        limit = context_length(self.folder, LONGEST_PROMPT + self.options.max_tokens) or LONGEST_PROMPT
        asked, failed = [], dict[str, Failure]()
        for prompt, votes in missing.items():
            ids = self._ids(prompt)
            if len(ids) > min(LONGEST_PROMPT, limit - LEAST_REPLY):
                failed[prompt] = ("too_long", f"{len(ids):,} tokens, more than the judge reads")
            else:
                asked.append((list(votes), len(ids), prompt, ids))
        for votes, group in groupby(sorted(asked), key=lambda one: one[0]):
            alike = list(group)
            for start in range(0, len(alike), PROMPTS):
                batch = alike[start : start + PROMPTS]
                for (_, _, prompt, _), replies in zip(batch, self._sample([one[3] for one in batch], votes), strict=True):
                    keep(prompt, votes, replies)
        return failed

    def _ids(self, prompt: str) -> list[int]:
        turns = [{"role": "user", "content": prompt}]
        try:
            text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # templates raise errors of Jinja and of their own
            raise InputError(f"the chat template of {self.name} fails: {error}.") from error
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _sample(self, prompts: Sequence[Sequence[int]], votes: Sequence[int]) -> list[list[Reply]]:
        from star.recipe import SamplingSettings
        from star.sampling import Decoding, open_sampler

        if self.sampler is None:
            longest = LONGEST_PROMPT + self.options.max_tokens
            self.sampler = open_sampler(
                SamplingSettings(backend=self.engine, batch_size=ROWS), self.folder, max_context=longest
            )
        # Votes that are added later are drawn anew, hence the seed.
        decoding = Decoding(
            **self.sampling, samples=len(votes), max_new_tokens=self.options.max_tokens, seed=votes[0]
        )
        started = time.monotonic()
        sampled = self.sampler.sample(prompts, decoding)
        seconds = (time.monotonic() - started) / len(prompts) / len(votes)
        return [
            [
                Reply(
                    choice={"message": {"content": one.text}, "finish_reason": one.finish_reason},
                    prompt_tokens=0 if number else len(ids),
                    generated_tokens=len(one.token_ids),
                    calls=0 if number else 1,
                    seconds=round(seconds, 4),
                )
                for number, one in enumerate(completions)
            ]
            for ids, completions in zip(prompts, sampled, strict=True)
        ]

    def close(self) -> None:
        """Free the model."""
        if self.sampler is not None:
            self.sampler.close()
        self.sampler = None
