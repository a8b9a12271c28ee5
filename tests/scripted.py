"""A sampler that answers by script, so that the loop's own behaviour can be tested without a model that learns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from star.sampling.base import Completion, Decoding
from star.tasks import addition


def share(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big") / 2**32


class ScriptedSampler:
    """Adds like a student: right and sound, right and unsound, wrong, without an answer or cut off, by the hash of the question.

    Hinted prompts are mostly answered right. `skill` is the share of unhinted problems answered right. `before` stands in
    front of each answer and breaks its form. Results depend on the prompt, the seed and the model directory's name, as a
    real model's would.
    """

    name = "scripted"

    def __init__(self, tokenizer: Any, model_dir: Path, *, skill: float = 0.5, before: str = "") -> None:
        self.tokenizer, self.model_dir, self.skill, self.before = tokenizer, model_dir, skill, before
        self.loads: list[Path] = []
        self.calls: list[tuple[str, int]] = []

    def load(self, model_dir: Path) -> None:
        self.model_dir = model_dir
        self.loads.append(model_dir)

    def sample(
        self, prompts: Sequence[Sequence[int]], decoding: Decoding, *, progress: str | None = None
    ) -> list[list[Completion]]:
        self.calls.append((progress or "", len(prompts)))
        return [
            [self._completion(self.tokenizer.decode(ids), decoding, index) for index in range(decoding.samples)]
            for ids in prompts
        ]

    def _completion(self, prompt: str, decoding: Decoding, index: int) -> Completion:
        block = prompt[prompt.rindex("Input:") :].splitlines()
        a, b = addition.operands(block[1])
        hinted = len(block) > 3
        luck = share(block[1], decoding.seed, index, self.model_dir.parent.name if self.model_dir else "")
        lines = addition.scratchpad(a, b, (len(block[1].split(" + ")[0]) + 1) // 2)
        answer = " ".join(str(a + b))
        skill = 0.9 if hinted else self.skill
        reason = "stop"
        if luck > skill:
            kind = int(luck * 1000) % 3
            answer = {0: " ".join(str(a + b + 1)), 1: "no idea", 2: answer}[kind]
            reason = "length" if kind == 2 else "stop"
        elif luck < 0.3 * skill:
            lines[1] = lines[1].replace("C: 0", "C: 1")
        text = "\n".join(lines) + "\n" + self.before + answer
        tokens = tuple(self.tokenizer(text)["input_ids"])
        return Completion(text, tokens, reason, (-0.5,) * len(tokens))  # type: ignore[arg-type]

    def sleep(self) -> None:
        """Nothing to give back."""

    def close(self) -> None:
        """Nothing to free."""
