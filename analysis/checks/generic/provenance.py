"""Checks of where numbers come from and where they go."""

from __future__ import annotations

from collections.abc import Set

from analysis.checks.base import Flag, generic_check, shorten
from analysis.checks.equations import Equation
from analysis.checks.expressions import Operand
from analysis.checks.generic.known import CONSTANTS, all_form_keys, form_keys, key
from analysis.checks.numbers import show
from analysis.checks.reading import Mention, Reading, Step

MAX_FLAGS = 200
"""Of one check on one record."""


@generic_check
def operand_unknown(reading: Reading) -> list[Flag]:
    """An operand that stands neither in the question nor in an earlier step, is no earlier result and no common constant."""
    flags: list[Flag] = []
    known = all_form_keys(mention.value for mention in [*reading.question.mentions, *reading.choices])
    for index, step in enumerate(reading.steps):
        mentions = iter(sorted(step.mentions, key=lambda mention: mention.start))
        pending: Mention | None = next(mentions, None)
        for equation in step.equations:
            while pending is not None and pending.start < equation.start:
                known |= form_keys(pending.value)
                pending = next(mentions, None)
            flags += _unknown_operands(index, equation, known)
            known |= {key(operand.value) for operand in equation.left.operands} | form_keys(equation.result)
        known |= all_form_keys(mention.value for mention in step.mentions)
        if len(flags) >= MAX_FLAGS:
            break
    return flags[:MAX_FLAGS]


def _unknown_operands(index: int, equation: Equation, known: Set[str]) -> list[Flag]:
    unknown: dict[str, Operand] = {}
    for operand in equation.left.operands:
        constant = operand.value in CONSTANTS or (operand.value * 100 in CONSTANTS and operand.percent)
        if not constant and key(operand.value) not in known:
            unknown.setdefault(key(operand.value), operand)
    return [
        Flag(index, "operand_unknown", f"{operand.text}{'%' * operand.percent} appears nowhere before",
             0.25 if operand.value == int(operand.value) and operand.value <= 12 else 0.5)
        for operand in unknown.values()
    ]  # fmt: skip


@generic_check
def question_number_unused(reading: Reading) -> list[Flag]:
    """A number of the question that no step mentions in any form; flagged on the last step."""
    if not any(step.equations for step in reading.steps):
        return []
    used = {key(mention.value) for step in reading.steps for mention in step.mentions}
    used |= {key(operand.value) for step in reading.steps for equation in step.equations for operand in equation.left.operands}
    flags: list[Flag] = []
    seen: set[str] = set()
    for mention in reading.question.mentions:
        name = key(mention.value)
        if mention.word or name in seen or used & form_keys(mention.value):
            continue
        seen.add(name)
        number = mention.text + ("%" if mention.percent else "")
        message = f"the question's {number} is never used (“{_around(reading.question.text, mention)}”)"
        flags.append(Flag(len(reading.steps) - 1, "question_number_unused", message, 0.3))
    return flags[:MAX_FLAGS]


def _around(text: str, mention: Mention) -> str:
    """The words around a number in the question."""
    start = max(0, mention.start - 24)
    around = text[start : mention.start + len(mention.text) + 24]
    words = " ".join(around.split()).split(" ")
    return " ".join(words[1 if start and len(words) > 3 else 0 : -1] if len(words) > 3 else words)


@generic_check
def result_unused(reading: Reading) -> list[Flag]:
    """A value that is worked out before the last one, and then appears nowhere: not in a later step, not as the answer."""
    last = max((index for index, step in enumerate(reading.steps) if step.equations), default=-1)
    flags: list[Flag] = []
    later: set[str] = set(form_keys(reading.answer)) if reading.answer is not None else set()
    for index in range(len(reading.steps) - 1, -1, -1):
        step = reading.steps[index]
        for place in range(len(step.equations) - 1, -1, -1):
            equation = step.equations[place]
            final = index == last and place == len(step.equations) - 1
            if equation.checkable and not final and not later & form_keys(equation.result):
                message = f"{show(equation.result)} ({shorten(equation.left.text, 60)}) is worked out here and never used"
                flags.append(Flag(index, "result_unused", message, 0.3))
            later |= {key(operand.value) for operand in equation.left.operands}
        later |= _said(step)
    return flags[::-1][:MAX_FLAGS]


def _said(step: Step) -> set[str]:
    """Keys of the numbers of a step, apart from the results it works out itself."""
    results = {key(equation.result) for equation in step.equations}
    return {key(mention.value) for mention in step.mentions} - results
