"""Multistep arithmetic: "((-1 * 9 + 1) - (8 + -2 * 7)) =", split into named parts, each part worked out, then combined.

What is checked is arithmetic alone: in "A = e1 = e2 = v" neighbours have the same value; a part is worked out from
the text it was given; a letter stands for the value that was found for it (carrying a wrong value on is not a new
mistake); the final combination of the parts is worth what the question is worth.

A plan("this can be written as A - B, where ...") is a way of writing and not yet a calculation: when it does not fit
the question, that is flagged softly there and counts as an error at the step that calculates with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from analysis.consistency.base import MAX_STEP_CHARS, Finding, Flag, abstain, conclude, within_limits
from analysis.consistency.expressions import Token, chains, evaluate, plain, spelled, tokenize
from analysis.consistency.signs import in_signs

KIND = "multistep_arithmetic"
_ANSWER = re.compile(r"\b(?:final )?answer\b\s*(?:is|:|=)\s*:?\s*(?P<value>.{1,80})", re.I)
_SIGN = re.compile(r"[0-9+\-*/()=−–‒×·⋅∙÷\[\]]")
_LETTER = re.compile(r"[A-Za-z_]")
_EQUAL_TO = re.compile(r"\s*\b(?:is\s+)?equals?(?:\s+to)?\s*\?\s*\Z|\?\s*\Z", re.I)
"""How a question in words ends: "What is (2 + 3) * 4 equal to?"."""
_PLAN = re.compile(r"\bwritten as\b|\brewrit|\bwhere\b|\blet\b(?!['’]?s\b)|\bdefine\b", re.I)


@dataclass
class _State:
    """What the rationale has said so far."""

    true_value: Fraction
    names: dict[str, Fraction] = field(default_factory=dict)
    """Letter -> the value the rationale found for it."""
    definitions: dict[str, Fraction] = field(default_factory=dict)
    """Letter -> the true value of the text it stands for."""
    plan_is_right: bool = True
    last: Fraction | None = None
    """The last value derived."""
    answered: bool = False
    """A step stated the answer."""
    flags: list[Flag] = field(default_factory=list)

    def flag(self, step: int, check: str, message: str, severity: float = 1.0) -> None:
        self.flags.append(Flag(step, check, message, severity))


def question_value(question: str) -> Fraction | None:
    """Value of the expression a question consists of; None when it is anything else than one expression."""
    question = question[:-60] + _EQUAL_TO.sub("", question[-60:])
    sign = _SIGN.search(question)
    if sign is None or ("\\" not in question and _LETTER.search(question, sign.end())):
        return None  # words behind the first number or sign: told apart without tokenizing every word problem
    tokens = tokenize(question[:MAX_STEP_CHARS])
    while tokens and tokens[-1].text in ("=", "?", "."):
        tokens.pop()
    if tokens and tokens[0].kind == "name":
        start = next((i for i, token in enumerate(tokens) if token.kind in ("number", "sign")), len(tokens))
        if start > 6:
            return None
        tokens = tokens[start:]
    if not any(token.text in "+-*/" for token in tokens) or any(token.kind in ("name", "other") for token in tokens):
        return None
    return evaluate(tokens)


def check(question: str, steps: Sequence[str], answer: str | None, choices: Mapping[str, str] | None = None) -> Finding:
    """First step with false arithmetic. Abstains when the question is no expression or no step holds an equation."""
    value = question_value(question) if within_limits(question, steps) else None
    if value is None:
        return abstain(KIND)
    state = _State(value)
    letters = _letters(steps)
    equations = 0
    for index, text in enumerate(in_signs(step[:MAX_STEP_CHARS]) for step in steps):
        if not any(character.isdigit() for character in text):
            continue
        found = chains(text, letters)
        equations += sum(len(chain) > 1 for chain in found)
        if _PLAN.search(text) and not re.search(r"\bcalculate\b|\bfinal equation\b", text, re.I):
            _read_plan(index, text, found, state)
        else:
            for chain in found:
                _check_chain(index, text, chain, state)
        _check_answer(index, text, state)
    if answer and equations and not state.answered:
        _check_answer(len(steps) - 1, f"answer: {answer[:80]}", state)
    return conclude(KIND, state.flags) if equations else abstain(KIND)


def _letters(steps: Sequence[str]) -> set[str]:
    """Single capitals that are given a meaning somewhere ("A = ...")."""
    return {match.group(1) for step in steps for match in re.finditer(r"\b([A-Z])\s*=", step[:MAX_STEP_CHARS])} | set(
        "ABCD"
    )


def _name_of(segment: Sequence[Token]) -> str | None:
    bare = [token for token in segment if token.text not in "()"]
    return bare[0].text if len(bare) == 1 and bare[0].kind == "name" else None


def _read_plan(index: int, text: str, found: Sequence[list[list[Token]]], state: _State) -> None:
    """Take in "A = (2 + 3)" and judge, softly, whether the whole is worth what the question is worth."""
    for chain in found:
        name = _name_of(chain[0])
        if name is not None and len(chain) > 1:
            value = evaluate(chain[1], state.definitions)
            if value is not None:
                state.definitions[name] = value
            _check_equal(index, text, chain[1:], state)
    whole = next(
        (chain[0] for chain in found if any(token.kind == "name" for token in chain[0]) and len(chain[0]) > 1), None
    )
    value = evaluate(whole, state.definitions) if whole else None
    if whole and value != state.true_value:
        state.plan_is_right = False
        worth = "uses a letter that is not defined" if value is None else f"is worth {plain(value)}"
        message = f"the plan {spelled(whole, text)} {worth}, the question is worth {plain(state.true_value)}"
        state.flag(index, "plan_differs", message, 0.5)


def _check_chain(index: int, text: str, chain: list[list[Token]], state: _State) -> None:
    name = _name_of(chain[0])
    if name is not None and len(chain) > 1:
        chain = chain[1:]
        value = evaluate(chain[0], state.names)
        expected = state.definitions.get(name)
        if value is not None and expected is not None and value != expected and len(chain[0]) > 1:
            worked = f"{spelled(chain[0], text)} = {plain(value)}"
            message = f"{name} stands for {plain(expected)}, but is worked out from {worked}"
            state.flag(index, "copied_wrong", message)
    last = _check_equal(index, text, chain, state)
    if last is None:
        return
    if name is not None:
        state.names[name] = last
    if len(chain) > 1 or name is not None:
        state.last = last


def _check_equal(index: int, text: str, chain: Sequence[list[Token]], state: _State) -> Fraction | None:
    """Flag neighbours of different value; returns the value of the last segment."""
    values = [evaluate(segment, state.names) for segment in chain]
    for (left, before), (right, after) in pairwise(zip(chain, values, strict=True)):
        if before is None or after is None or before == after:
            continue
        message = f"{spelled(left, text)} = {plain(before)}, not {spelled(right, text)}"
        if len(right) > 2:
            message += f" (which is {plain(after)})"
        state.flag(index, "equation_false", message)
    return values[-1]


def _check_answer(index: int, text: str, state: _State) -> None:
    stated = _ANSWER.search(text)
    if stated is None:
        return
    run = chains(stated.group("value"))
    value = evaluate(run[0][-1]) if run else None
    if value is None:
        return
    state.answered = True
    if state.last is not None and value != state.last:
        state.flag(
            index,
            "answer_differs",
            f"the last value found is {plain(state.last)}, but the answer is given as {plain(value)}",
        )
    elif value != state.true_value and not any(flag.severity >= 1 for flag in state.flags):
        message = (
            f"the question is worth {plain(state.true_value)}, not {plain(value)}: its parts were combined wrongly"
        )
        state.flag(index, "answer_wrong", message)
