"""A chat model on this machine as judge, through the samplers of the engine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from analysis.soundness.replies import Failure, Keep, Reply
from analysis.soundness.scorers import ScorerOptions
from star.errors import InputError

PROMPTS = {"vllm": 256, "transformers": 16}
"""Prompts whose replies are kept together: few where they come slowly."""
ROWS = 32
"""Replies that transformers continues at a time."""
LONGEST_PROMPT, LEAST_REPLY = 8_192, 16
"""In tokens; room for a reply comes on top of the first."""


class LocalModel:
    """Asks a `Sampler`, which is opened when something is asked. `sampling`: temperature and top_p."""

    def __init__(self, model: str, engine: str, options: ScorerOptions, sampling: Mapping[str, Any]) -> None:
        self.name, self.engine, self.sampling, self.max_tokens = model, engine, sampling, options.max_tokens
        self.longest = LONGEST_PROMPT + options.max_tokens
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
        from star.sampling.model_files import load_tokenizer

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
        """Ask each prompt for the votes that are missing; returns what failed. Raises InputError where the model cannot run."""
        from star.sampling.model_files import context_length

        room = (context_length(self.folder, self.longest) or self.longest) - LEAST_REPLY
        ids = {prompt: self._ids(prompt) for prompt in missing}
        failed: dict[str, Failure] = {
            prompt: ("too_long", f"{len(found):,} tokens, more than the judge reads")
            for prompt, found in ids.items()
            if len(found) > min(LONGEST_PROMPT, room)
        }
        asked = sorted((list(votes), len(ids[prompt]), prompt) for prompt, votes in missing.items() if prompt not in failed)
        for votes, group in groupby(asked, key=lambda one: one[0]):
            prompts = [prompt for _, _, prompt in group]
            for start in range(0, len(prompts), PROMPTS[self.engine]):
                batch = prompts[start : start + PROMPTS[self.engine]]
                for prompt, replies in zip(batch, self._sample([ids[prompt] for prompt in batch], votes), strict=True):
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
            settings = SamplingSettings.model_validate({"backend": self.engine, "batch_size": ROWS})
            self.sampler = open_sampler(settings, self.folder, max_context=self.longest)
        # The seed: votes that are added later must not be those of before.
        decoding = Decoding(**self.sampling, samples=len(votes), max_new_tokens=self.max_tokens, seed=votes[0])
        started = time.monotonic()
        sampled = self.sampler.sample(prompts, decoding)
        seconds = round((time.monotonic() - started) / len(prompts) / len(votes), 4)
        return [
            [
                Reply(
                    choice={"message": {"content": one.text}, "finish_reason": one.finish_reason},
                    prompt_tokens=0 if number else len(ids),
                    generated_tokens=len(one.token_ids),
                    calls=int(number == 0),
                    seconds=seconds,
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
