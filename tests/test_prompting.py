"""Prompts: one builder, at most one beginning-of-sequence token, hints only where asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from star.prompting import PromptBuilder, prompt_hash
from star.recipe import PromptingSettings, RecipeError, TaskSettings
from star.tasks import addition
from tests.tiny_models import tiny_tokenizer

TASK = addition.build(TaskSettings(), 0)
PROBLEM = addition.make_problem(624, 259, 3)


def builder(tokenizer: Any = None, **settings: Any) -> PromptBuilder:
    return PromptBuilder(TASK, tokenizer or tiny_tokenizer(), PromptingSettings(**settings))


def test_few_shot_prompts_put_worked_examples_in_front() -> None:
    text = builder(shots=2).text(PROBLEM, shots=True)
    assert text.count("Input:") == 3 and text.count("</scratch>") == 2 and text.endswith("Target:\n")
    assert builder(shots=2).text(PROBLEM, shots=False) == TASK.prompt(PROBLEM)
    assert "scratch" not in builder(shots=2, answer_only=True).text(PROBLEM, shots=True)


def test_a_hinted_prompt_shows_every_answer_and_a_plain_one_none() -> None:
    hinted = builder(shots=2).text(PROBLEM, shots=True, hinted=True)
    assert hinted.endswith("Target:\n0 8 8 3\n")
    assert all(block.splitlines()[3][0].isdigit() for block in hinted.split("Input:")[1:] for block in ["\n" + block.strip("\n")])
    assert "0 8 8 3" not in builder(shots=2).text(PROBLEM, shots=True)


def test_chat_models_get_their_template_once() -> None:
    tokenizer = tiny_tokenizer(chat_template=True)
    made = builder(tokenizer, shots=1)
    text = made.text(PROBLEM, shots=True)
    assert made.chat and text.count(TASK.instructions) == 1 and text.count("assistant") >= 2
    assert tokenizer.decode(made.ids(PROBLEM, shots=True)) == text
    assert not builder(tokenizer, shots=1, mode="few_shot").chat
    assert made.stop == () and builder(tokenizer, shots=1, mode="few_shot").stop == TASK.stop != ()
    direct = builder(tokenizer, shots=1, answer_only=True).text(PROBLEM, shots=True)
    assert TASK.direct_instructions in direct and "scratch" not in direct


def test_examples_of_a_chat_model_can_stand_in_the_instruction() -> None:
    made = builder(tiny_tokenizer(chat_template=True), shots=2, shots_as="instruction")
    assert made.stop == tuple("\n" + stop for stop in TASK.stop), "a model goes on in the shape that it was shown"
    text = made.text(PROBLEM, shots=True)
    system, _, rest = text.partition(TASK.prompt(PROBLEM))
    assert system.count("</scratch>\n") == 2 and system.index(TASK.instructions) < system.index("Input:")
    assert "scratch" not in rest and text.count("user") == 1
    without = made.text(PROBLEM, shots=False)
    assert without == builder(tiny_tokenizer(chat_template=True), shots=0).text(PROBLEM, shots=True)


def test_chat_without_a_template_is_refused() -> None:
    with pytest.raises(RecipeError, match="no chat template"):
        builder(mode="chat")


class Bracketing:
    """A tokenizer that puts a beginning and an end token around every text, as some do."""

    bos_token_id, eos_token_id, chat_template = 1, 2, None

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        ids = [ord(c) for c in text]
        return {"input_ids": [1, *ids, 2] if add_special_tokens else ids}


def test_one_bos_no_eos_in_prompts_and_one_eos_after_completions() -> None:
    made = builder(Bracketing(), shots=1)
    ids = made.ids(PROBLEM, shots=True)
    assert ids[0] == 1 and ids.count(1) == 1 and 2 not in ids
    completion = made.completion_ids("8 8 3")
    assert completion[-1] == 2 and 1 not in completion and completion.count(2) == 1


def test_a_template_that_writes_bos_is_not_doubled(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(chat_template=True)
    tokenizer.bos_token = tokenizer.eos_token
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    ids = builder(tokenizer, shots=0).ids(PROBLEM, shots=False)
    assert ids[0] == tokenizer.bos_token_id and ids[1] != tokenizer.bos_token_id


def test_a_template_without_a_system_role_gets_the_instructions_in_the_first_turn() -> None:
    tokenizer = tiny_tokenizer(chat_template=True)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    )
    text = builder(tokenizer, shots=1).text(PROBLEM, shots=True)
    assert text.startswith("<user>" + TASK.instructions) and text.endswith("<assistant>")


def test_prompt_hashes_tell_prompts_apart() -> None:
    assert prompt_hash([1, 23]) != prompt_hash([12, 3]) and len(prompt_hash([1])) == 16
