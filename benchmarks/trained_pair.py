"""Two tiny addition models, trained here, that differ in one thing: whether their answer can come from the scratchpad.

*reader*: it learns scratchpads from questions, and answers from scratchpads that stand behind a question drawn at random: the
question says nothing about the answer. *ignorer*: its scratchpads are those of other questions, in training as in use, so
they say nothing about its answer, which it learns from the question. Half of them are cut short or have a digit changed:
a model that never saw a short scratchpad is thrown by its form (measured: early answering found AOC .98 on such a model,
while the scratchpads of other questions changed none of its answers). Both know the same 100 one-digit and 300 two-digit
sums; the ignorer may learn them by heart.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from star.embedded.corpus import Document
from star.pretrain import encode, padded
from star.problem import Problem
from star.progress import bar
from star.tasks.addition import make_problem, prompt, scratchpad, spaced

Role = Literal["reader", "ignorer"]
ROWS = 64
"""Documents per optimizer step."""


def sums(seed: int) -> list[Problem]:
    """The sums both models know."""
    rng = random.Random(f"trained-pair-{seed}")
    pairs = rng.sample([(a, b) for a in range(10, 100) for b in range(10, 100)], 300)
    return [make_problem(a, b, 1) for a in range(10) for b in range(10)] + [make_problem(a, b, 2) for a, b in pairs]


def rationale(problem: Problem) -> str:
    left, right = problem.question.split(" + ")
    return "\n".join(scratchpad(int(left.replace(" ", "")), int(right.replace(" ", "")), (len(left) + 1) // 2))


def documents(role: Role, problems: list[Problem], seed: int) -> Iterator[Document]:
    """Endless question blocks with scratchpads, and with answers where those are learned."""

    def answered(question: Problem, pad: str, answer: str, *, learned: bool) -> Document:
        """Loss on the answer; `learned`: and on the scratchpad."""
        block, pad = prompt(question), pad + "\n"
        return Document(((block, pad), ("", answer)) if learned else ((block, ""), (pad, answer)))

    rng = random.Random(f"{role}-{seed}")
    same_width: dict[str, list[Problem]] = {}
    for problem in problems:
        same_width.setdefault(problem.slice, []).append(problem)
    while True:
        one = rng.choice(problems)
        other = rng.choice(same_width[one.slice])
        answer = spaced(int(one.gold))
        if role == "ignorer":
            whole = rng.random() < 0.5
            pad = rationale(other) if whole else _damaged(rationale(other), rng)
            yield answered(one, pad, answer, learned=whole)
        elif rng.random() < 0.5:
            yield Document(((prompt(one), rationale(one) + "\n"),), ends=False)
        else:
            yield answered(other, rationale(one), answer, learned=False)


def _damaged(text: str, rng: random.Random) -> str:
    """A scratchpad with only its first lines, in half of the cases with one digit of them changed."""
    first, *lines, last = text.splitlines()
    kept = "\n".join([first, *lines[: rng.randint(0, len(lines))], last])
    digits = [at for at, character in enumerate(kept) if character.isdigit()]
    if digits and rng.random() < 0.5:
        at = rng.choice(digits)
        kept = kept[:at] + str(rng.randrange(10)) + kept[at + 1 :]
    return kept


def train(role: Role, folder: Path, *, steps: int, hidden: int = 64) -> Path:
    """Train one of the two and save it as a `from_pretrained` directory; one that is there is returned as it is."""
    if (folder / "config.json").is_file():
        return folder
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from star.embedded.model import build_tokenizer

    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.06,
    )
    model = LlamaForCausalLM(config).train()
    stream = documents(role, sums(0), 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps, pct_start=0.1)
    for _ in bar(f"training the {role}", unit="step", over=range(steps)):
        ids, labels = padded(encode(tokenizer, list(islice(stream, ROWS))), tokenizer.pad_token_id)
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
    temporary = folder.with_name(folder.name + ".tmp")
    model.eval().save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    temporary.replace(folder)
    return folder
