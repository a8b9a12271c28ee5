"""How a problem becomes token ids: one builder for sampling, training and evaluation.

Base models get plain text with few-shot examples in front; chat models get their own template, the examples as earlier
turns or at the end of the instruction. Prompt and completion are tokenised apart, so the boundary the model is trained at
is the one it is sampled at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from star.problem import Example, Problem, Task
from star.recipe import PromptingSettings, RecipeError


def prompt_hash(ids: Sequence[int]) -> str:
    """16 hex digits of a prompt's token ids."""
    return hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest()[:16]


class PromptBuilder:
    """Prompts of a task for a tokenizer. `ids` is the only way a prompt is made anywhere in the project."""

    def __init__(self, task: Task, tokenizer: Any, settings: PromptingSettings) -> None:
        self.task, self.tokenizer, self.settings = task, tokenizer, settings
        has_template = bool(getattr(tokenizer, "chat_template", None))
        if settings.mode == "chat" and not has_template:
            raise RecipeError(
                "prompting.mode is chat, but this tokenizer has no chat template. Use prompting.mode few_shot, or a chat model."
            )
        self.chat = has_template and settings.mode != "few_shot"
        self.examples: tuple[Example, ...] = tuple(task.examples[: settings.shots])
        self.stop: tuple[str, ...] = task.stop
        if self.chat:  # it ends its turn itself, but goes on with questions of its own where its instruction shows them in a row
            in_a_row = bool(self.examples) and settings.shots_as == "instruction"
            self.stop = tuple("\n" + stop for stop in task.stop) if in_a_row else ()
        self._prefix: dict[tuple[bool, bool], str] = {}

    def answer_text(self, rationale: str, answer: str) -> str:
        """The completion of a worked example: rationale and answer, or the answer alone."""
        return self.task.completion("" if self.settings.answer_only else rationale, answer)

    def text(self, problem: Problem, *, shots: bool, hinted: bool = False) -> str:
        """The prompt as text. With `hinted` every question block, the examples' too, shows its answer."""
        block = self.task.hinted_prompt if hinted else self.task.prompt
        if self.chat:
            return self._render([*self._turns(shots, hinted), {"role": "user", "content": block(problem)}])
        return self._shots_text(shots, hinted) + block(problem)

    def ids(self, problem: Problem, *, shots: bool, hinted: bool = False) -> list[int]:
        """Token ids of the prompt, with the one beginning-of-sequence token that the tokenizer uses, if any."""
        text = self.text(problem, shots=shots, hinted=hinted)
        ids: list[int] = self.tokenizer(text, add_special_tokens=not self.chat)["input_ids"]
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        while not self.chat and ids and eos is not None and ids[-1] == eos and bos != eos:
            ids = ids[:-1]  # some tokenizers close every text; a prompt must stay open
        while len(ids) > 1 and bos is not None and ids[0] == bos and ids[1] == bos:
            ids = ids[1:]
        return ids

    def encoded(
        self, problem: Problem, completion: str, *, shots: bool, hinted: bool = False, ended: bool = True
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(ids of the prompt, ids of a completion after it)."""
        return tuple(self.ids(problem, shots=shots, hinted=hinted)), tuple(self.completion_ids(completion, ended=ended))

    def completion_ids(self, completion: str, *, ended: bool = True) -> list[int]:
        """Token ids of a completion, with the end token after it if it `ended` and the tokenizer has one."""
        ids: list[int] = self.tokenizer(completion, add_special_tokens=False)["input_ids"]
        eos = self.tokenizer.eos_token_id
        return [*ids, eos] if ended and eos is not None else ids

    def _shots_text(self, shots: bool, hinted: bool) -> str:
        if (shots, hinted) not in self._prefix:
            block = self.task.hinted_prompt if hinted else self.task.prompt
            documents = [
                block(example.problem) + self.answer_text(example.rationale, example.problem.gold) + self.task.separator
                for example in (self.examples if shots else ())
            ]
            self._prefix[shots, hinted] = "".join(documents)
        return self._prefix[shots, hinted]

    def _turns(self, shots: bool, hinted: bool) -> list[dict[str, str]]:
        block = self.task.hinted_prompt if hinted else self.task.prompt
        instructions = self.task.direct_instructions if self.settings.answer_only else self.task.instructions
        as_turns = self.settings.shots_as == "turns"
        if not as_turns:
            instructions = f"{instructions}\n\n{self._shots_text(shots, hinted)}".strip()
        turns = [{"role": "system", "content": instructions}] if instructions else []
        for example in self.examples if shots and as_turns else ():
            answer = self.answer_text(example.rationale, example.problem.gold)
            turns += [{"role": "user", "content": block(example.problem)}, {"role": "assistant", "content": answer}]
        return turns

    def _render(self, turns: list[dict[str, str]]) -> str:
        render = self.tokenizer.apply_chat_template
        try:
            return str(render(turns, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # templates raise their own Jinja errors, most often "system role not supported"
            if turns[0]["role"] != "system":
                raise RecipeError(f"the model's chat template fails: {error}. Use prompting.mode few_shot.") from error
            merged = {"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
            return self._render([merged, *turns[2:]])
