"""The pretraining corpus of the embedded base models: what they have seen before STaR starts.

STaR needs a model that is good at easy problems, fails hard ones, and can explain a hard one's answer when it is told.
Four kinds of document make such a model, in the format of `star/tasks/addition.py`:

    share  kind        what it teaches
    .25    short       1-digit sums with a scratchpad, no hint
    .10    partial     2-digit sums with a scratchpad, no hint: few, so they are learned in part
    .50    hinted      1- to 6-digit sums with the carry-prefixed sum after `Target:`, then the scratchpad
    .15    few-shot    two to five documents of 1 digit (unhinted) in one, as a few-shot prompt looks

Sums of three and more digits never occur unhinted. For a base that is to go beyond the lengths of its sums, `copied` adds a
fifth kind, in which nothing is added: a walk along two strings of up to `longest_copy` digits, from right to left, that copies
what it has passed of the first one. Every document ends with the end-of-text token; the loss is on what
comes after each `Target:` block. All of it follows from (seed, document index): nothing is stored.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from star.tasks import addition

END = "<|endoftext|>"
PAD = "<|pad|>"


@dataclass(frozen=True)
class Mixture:
    """Shares of the kinds of document, and the longest hinted sum and copied string."""

    short: float = 0.25
    partial: float = 0.10
    hinted: float = 0.50
    few_shot: float = 0.15
    longest: int = 6
    copied: float = 0.0
    longest_copy: int = 12


@dataclass(frozen=True)
class Document:
    """Alternating (prompt, completion) texts; only completions carry loss."""

    parts: tuple[tuple[str, str], ...]


def _sum(rng: random.Random, digits: int) -> tuple[int, int]:
    low = 0 if digits == 1 else 10 ** (digits - 1)
    return rng.randint(low, 10**digits - 1), rng.randint(low, 10**digits - 1)


def worked(rng: random.Random, digits: int, *, hinted: bool) -> tuple[str, str]:
    """(prompt, completion) of one random sum."""
    a, b = _sum(rng, digits)
    problem = addition.make_problem(a, b, digits)
    prompt = addition.hinted_prompt(problem) if hinted else addition.prompt(problem)
    return prompt, addition.completion("\n".join(addition.scratchpad(a, b, digits)), problem.gold)


def walk(rng: random.Random, longest: int) -> tuple[str, str]:
    """(prompt, completion) of a walk from right to left along two random strings of digits; nothing is added.

    6 2 4 , 2 5 9         both strings
    2 , 5 , 4             the next pair, and what has been passed of the first string
    6 , 2 , 2 4
    , 6 2 4
    """
    width = rng.randint(1, longest)
    top, bottom = ([str(rng.randint(0, 9)) for _ in range(width)] for _ in range(2))
    strings = f"{' '.join(top)} , {' '.join(bottom)}"
    lines = [f"{top[at - 1]} , {bottom[at - 1]} , {' '.join(top[at:])}" for at in range(width - 1, 0, -1)]
    return f"Input:\n{strings}\nTarget:\n", "\n".join([strings, *lines, f", {' '.join(top)}"])


def document(rng: random.Random, mixture: Mixture) -> Document:
    """One random document. Hinted lengths are drawn in proportion to length + 1: long ones are harder to copy."""
    draw = rng.random() * (mixture.short + mixture.partial + mixture.hinted + mixture.few_shot + mixture.copied)
    if (draw := draw - mixture.copied) < 0:
        return Document((walk(rng, mixture.longest_copy),))
    if (draw := draw - mixture.short) < 0:
        return Document((worked(rng, 1, hinted=False),))
    if (draw := draw - mixture.partial) < 0:
        return Document((worked(rng, 2, hinted=False),))
    if draw - mixture.hinted < 0:
        lengths = range(1, mixture.longest + 1)
        digits = rng.choices(lengths, weights=[length + 1 for length in lengths])[0]
        return Document((worked(rng, digits, hinted=True),))
    count = rng.randint(2, 5)
    parts = [worked(rng, 1, hinted=False) for _ in range(count)]
    spaced = [parts[0], *(("\n\n" + prompt, completion) for prompt, completion in parts[1:])]
    return Document(tuple(spaced))


def documents(seed: int, mixture: Mixture) -> Iterator[Document]:
    """Endless stream of documents."""
    rng = random.Random(f"corpus-{seed}")
    while True:
        yield document(rng, mixture)
