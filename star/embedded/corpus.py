"""The pretraining corpus of the embedded base models: what they have seen before STaR starts.

STaR needs a model that is good at easy problems, fails hard ones, and can explain a hard one's answer when it is told.
Four kinds of document make such a model, in the format of `star/tasks/addition.py`:

    share  kind        what it teaches
    .25    short       1-digit sums with a scratchpad, no hint
    .10    partial     2-digit sums with a scratchpad, no hint: few, so they are learned in part
    .50    hinted      1- to 6-digit sums with the carry-prefixed sum after `Target:`, then the scratchpad
    .15    few-shot    two to five documents of 1 digit (unhinted) in one, as a few-shot prompt looks

Sums of three and more digits never occur unhinted. A base that is to go beyond the lengths of its sums (INDEXED) reads and writes
index hints (`star/tasks/index_hints.py`). It has worked sums of up to 5 digits (.55), none with its hint, and two further kinds of
up to 10 digits in which nothing is added:

    share  kind        what it teaches
    .10    line        the first line of a scratchpad, a copy of the question; the document is cut off there
    .35    copied      a whole scratchpad in which each place chooses one of its two digits

Every other document ends with the end-of-text token; the loss is on what comes after each `Target:` block. All of it follows from
(seed, document index): nothing is stored.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from star.tasks import addition
from star.tasks.index_hints import Marked

END = "<|endoftext|>"
PAD = "<|pad|>"


@dataclass(frozen=True)
class Mixture:
    """Shares of the kinds of document, and the longest hinted sum and copied number."""

    short: float = 0.25
    partial: float = 0.10
    hinted: float = 0.50
    few_shot: float = 0.15
    line: float = 0.0
    copied: float = 0.0
    longest_partial: int = 2
    longest: int = 6
    longest_copy: int = 10
    index_hints: bool = False


SUMS = Mixture()
INDEXED = Mixture(0.15, 0.4, 0.0, 0.0, line=0.1, copied=0.35, longest_partial=5, index_hints=True)


@dataclass(frozen=True)
class Document:
    """Alternating (prompt, completion) texts; only completions carry loss."""

    parts: tuple[tuple[str, str], ...]
    ends: bool = True
    """Whether the end-of-text token follows."""


def _sum(rng: random.Random, digits: int) -> tuple[int, int]:
    low = 0 if digits == 1 else 10 ** (digits - 1)
    return rng.randint(low, 10**digits - 1), rng.randint(low, 10**digits - 1)


def worked(rng: random.Random, digits: int, *, hinted: bool, indexed: bool = False) -> tuple[str, str]:
    """(prompt, completion) of one random sum."""
    a, b = _sum(rng, digits)
    problem = addition.make_problem(a, b, digits)
    prompt = (addition.hinted_prompt if hinted else addition.prompt)(problem, indexed=indexed)
    scratchpad = "\n".join(addition.scratchpad(a, b, digits, indexed=indexed))
    return prompt, addition.completion(scratchpad, problem.gold, indexed=indexed)


def copied(rng: random.Random, digits: int, operators: str = "|/") -> tuple[str, str]:
    """(prompt, completion) of a scratchpad with index hints that adds nothing, see `OPERATORS` of `star/tasks/index_hints.py`."""
    left, right = map(str, _sum(rng, digits))
    marked = Marked(left, right, rng.choice(operators))
    *lines, answer = marked.lines()
    return f"Input:\n{marked.question}\nTarget:\n", "\n".join([addition.OPEN, *lines, addition.CLOSE, answer])


def first_line(rng: random.Random, digits: int) -> tuple[str, str]:
    """(prompt, completion) of two random numbers and their copy, the first line of a scratchpad."""
    prompt, completion = copied(rng, digits, "+|/")
    return prompt, "\n".join(completion.split("\n")[:2])


def document(rng: random.Random, mixture: Mixture) -> Document:
    """One random document. Hinted lengths are drawn in proportion to length + 1: long ones are harder to copy."""
    draw = rng.random() * (mixture.short + mixture.partial + mixture.hinted + mixture.few_shot + mixture.line + mixture.copied)
    if (draw := draw - mixture.line) < 0:
        return Document((first_line(rng, rng.randint(1, mixture.longest_copy)),), ends=False)
    if (draw := draw - mixture.copied) < 0:
        return Document((copied(rng, rng.randint(1, mixture.longest_copy)),))
    if (draw := draw - mixture.short) < 0:
        return Document((worked(rng, 1, hinted=False, indexed=mixture.index_hints),))
    if (draw := draw - mixture.partial) < 0:
        longest = mixture.longest_partial
        digits = 2 if longest == 2 else rng.randint(2, longest)
        return Document((worked(rng, digits, hinted=False, indexed=mixture.index_hints),))
    if draw - mixture.hinted < 0:
        lengths = range(1, mixture.longest + 1)
        digits = rng.choices(lengths, weights=[length + 1 for length in lengths])[0]
        return Document((worked(rng, digits, hinted=True, indexed=mixture.index_hints),))
    count = rng.randint(2, 5)
    parts = [worked(rng, 1, hinted=False) for _ in range(count)]
    spaced = [parts[0], *(("\n\n" + prompt, completion) for prompt, completion in parts[1:])]
    return Document(tuple(spaced))


def documents(seed: int, mixture: Mixture) -> Iterator[Document]:
    """Endless stream of documents."""
    rng = random.Random(f"corpus-{seed}")
    while True:
        yield document(rng, mixture)
