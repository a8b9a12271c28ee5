"""A chat model on this machine as judge, through the samplers of the engine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.soundness.local_model import Engine, find_model
from analysis.soundness.openai_server import Keep, Reply
from analysis.soundness.scorer import Failure, Usage
from analysis.soundness.scorers import Place, ScorerOptions
from star.errors import InputError

if TYPE_CHECKING:
    from star.sampling import Sampler

PROMPTS = {"vllm": 256, "transformers": 8}
"""Prompts whose replies are kept together: few where they come slowly."""
ROWS = 32
"""Replies that transformers continues at a time."""
LONGEST_PROMPT, LEAST_REPLY = 8_192, 16
"""In tokens; room for a reply comes on top of the first."""


class LocalModel:
    """Asks a `Sampler`. `sampling`: temperature and top_p."""

    def __init__(self, model: str, engine: str, options: ScorerOptions, sampling: Mapping[str, Any]) -> None:
        self.name, self.backend, self.sampling, self.max_tokens = model, engine, sampling, options.max_tokens
        self.longest = LONGEST_PROMPT + options.max_tokens
        self.engine: Engine[Sampler] = Engine(model, self._start)

    @cached_property
    def folder(self) -> Path:
        """The model's directory, fetched from the Hub where it is not here."""
        return find_model(self.name, Place())[1]

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
        from star.provenance import model_fingerprint

        return [model_fingerprint(self.folder)]

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
            sample = partial(self._replies, votes)
            for start in range(0, len(prompts), PROMPTS[self.backend]):
                batch = prompts[start : start + PROMPTS[self.backend]]
                said = chain.from_iterable(self.engine.ask(sample, [ids[prompt] for prompt in batch]))
                for prompt, replies in zip(batch, said, strict=True):
                    if isinstance(replies, list):
                        keep(prompt, votes, replies)
                    else:
                        failed[prompt] = replies
        return failed

    def _ids(self, prompt: str) -> list[int]:
        turns = [{"role": "user", "content": prompt}]
        try:
            text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # templates raise errors of Jinja and of their own
            raise InputError(f"the chat template of {self.name} fails: {error}.") from error
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _start(self) -> Sampler:
        from star.recipe import SamplingSettings
        from star.sampling import open_sampler

        settings = SamplingSettings.model_validate({"backend": self.backend, "batch_size": ROWS})
        return open_sampler(settings, self.folder, max_context=self.longest)

    def _replies(self, votes: Sequence[int], sampler: Sampler, prompts: Sequence[Sequence[int]]) -> list[list[Reply]]:
        from star.sampling import Decoding

        # The seed: votes that are added later must not be those of before.
        decoding = Decoding(**self.sampling, samples=len(votes), max_new_tokens=self.max_tokens, seed=votes[0])
        started = time.monotonic()
        sampled = sampler.sample(prompts, decoding)
        seconds = round((time.monotonic() - started) / len(prompts) / len(votes), 4)
        return [
            [
                Reply(
                    choice={"message": {"content": one.text}, "finish_reason": one.finish_reason},
                    usage=asdict(Usage(0 if number else len(ids), len(one.token_ids), int(number == 0), seconds)),
                )
                for number, one in enumerate(completions)
            ]
            for ids, completions in zip(prompts, sampled, strict=True)
        ]

    def close(self) -> None:
        self.engine.close()
