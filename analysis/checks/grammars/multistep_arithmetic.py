"""Multistep arithmetic: "((-1 * 9 + 1) - (8 + -2 * 7)) =", split into named parts, each part worked out, then combined.

What is checked is arithmetic alone: in "A = e1 = e2 = v" neighbours have the same value; a part is worked out from
the text it was given; a letter stands for the value that was found for it (carrying a wrong value on is not a new
mistake); the final combination of the parts is worth what the question is worth. A value written with a decimal point
may be rounded or cut at its last digit, and what is worked out from it may be off by 1 %.

A plan("this can be written as A - B, where ...") is a way of writing and not yet a calculation: when it does not fit
the question, that is flagged softly there and counts as an error at the step that calculates with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, pairwise

from analysis.checks.base import Finding, Run, cut_middle, follow
from analysis.checks.calculation import evaluate
from analysis.checks.claims import closes, equals, is_claimed, marks_item, opens
from analysis.checks.expressions import Expression, ExpressionReader
from analysis.checks.numbers import padded, show, tokenize
from analysis.checks.plain_text import plain

_ANSWER = re.compile(r"\b(?:final )?answer\b\s*(?:is|:|=)\s*:?\s*(?P<value>.{1,80})", re.I)
_SIGN = re.compile(r"[0-9+\-*/()=−–‒×·⋅∙÷\[\]]")
_PARTS = frozenset(("number", "op", "open", "close"))
_LETTER = re.compile(r"[A-Za-z_]")
_EQUAL_TO = re.compile(r"\s*\b(?:is\s+)?equals?(?:\s+to)?\s*\?\s*\Z|\?\s*\Z", re.I)
"""How a question in words ends: "What is (2 + 3) * 4 equal to?"."""
_PLAN = re.compile(r"\bwritten as\b|\brewrit|\bwhere\b|\blet\b(?!['’]?s\b)|\bdefine\b", re.I)
_CONTINUED = re.compile(r"^(?=[^=\n]*\d)(?=[^=\n]*[-+*/])([^=\n]*[^=\n:])\n(?=\s{0,20}[-+*/]\s)", re.M)
"""A line that holds a calculation without a result, so that a sign on the next line goes on with it."""
_ROUNDED = re.compile(r"≈|~|\bapprox|\bround(?:ed|ing|s)\b|\b(?:about|roughly)\s-?\d", re.I)
TOLERANCE = Fraction(1, 100)
"""Of what is worked out from rounded values, as in the other step checks."""


@dataclass
class _State(Run):
    """What the rationale has said so far."""

    true_value: Fraction
    names: dict[str, Fraction] = field(default_factory=dict)
    """Letter -> the value the rationale found for it."""
    definitions: dict[str, Fraction] = field(default_factory=dict)
    """Letter -> the true value of the text it stands for."""
    last: Fraction | None = None
    """The last value derived."""
    found: set[Fraction] = field(default_factory=set)
    """All values derived."""
    rounded: bool = False
    """A value was rounded, so that what comes after it is not exact."""

    def close(self, one: Fraction, other: Fraction) -> bool:
        """The values are the same but for what was rounded before."""
        return one == other or (self.rounded and abs(one - other) <= TOLERANCE * max(abs(one), abs(other)))


def question_value(question: str) -> Fraction | None:
    """Value of the expression a question consists of; None when it is anything else than one expression."""
    question = question[:-60] + _EQUAL_TO.sub("", question[-60:])
    sign = _SIGN.search(question)
    if sign is None or ("\\" not in question and _LETTER.search(question, sign.end())):
        return None  # words behind the first number or sign: told apart without tokenizing every word problem
    tokens = tokenize(plain(question).strip())
    while tokens and tokens[-1].text in ("=", "?", ".", ","):
        tokens.pop()
    if tokens and tokens[0].kind == "word":
        start = next((i for i, token in enumerate(tokens) if token.kind in _PARTS), len(tokens))
        if start > 6 or any(token.kind not in ("word", "end") for token in tokens[:start]):
            return None
        tokens = tokens[start:]
    foreign = any(token.kind not in _PARTS or token.text in ("^", "**") for token in tokens)
    if not any(token.kind == "op" for token in tokens) or foreign:
        return None
    value: Fraction | None = evaluate(tokens)
    return value


def check(question: str, steps: Sequence[str], answer: str | None, choices: Mapping[str, str]) -> Finding | None:
    """First step with false arithmetic. Abstains when the question is no expression or no step holds an equation."""
    value = question_value(question)
    if value is None:
        return None
    state = _State(value)
    return follow(state, steps, answer, _check_step, _check_answer)


def _check_step(text: str, state: _State) -> None:
    text = plain(text)
    if not any(character.isdigit() for character in text):
        return
    state.rounded = state.rounded or bool(_ROUNDED.search(text))
    is_plan = _PLAN.search(text) and not re.search(r"\bcalculate\b|\bfinal equation\b", text, re.I)
    chains = read_chains(_CONTINUED.sub(r"\1 ", text))
    state.readable += sum(len(chain) > 1 for chain in chains)
    if is_plan:
        _read_plan(chains, state)
    for chain in () if is_plan else chains:
        _check_chain(chain, state)
    _check_answer(text, state)


def read_chains(text: str) -> list[list[Expression]]:
    """All runs of arithmetic in `text`, each cut at its equals signs into sides; a first or last one that is only part of something
    longer ("5 apples - 3 = 2", "2 ^ 3 mod 4") is left out.
    """
    tokens = padded(tokenize(text))
    reader = ExpressionReader(text, tokens)
    chains, index = [], 0
    while index < len(tokens) - 4:
        side = None if marks_item(reader, index) else reader.read(index)
        start, sides = index, []
        index += 1
        while side is not None:
            sides.append(side)
            index = side.stop
            behind = equals(tokens, side)
            side = reader.read(behind) if behind else None
        if sides and is_claimed(tokens, start, index):
            chains.append(sides[not opens(tokens, start, False) : len(sides) - (not closes(tokens, index))])
    return [chain for chain in chains if chain]


def _spelled(side: Expression) -> str:
    """As written, without brackets that enclose it all, shortened for a message."""
    written = " ".join(side.text.split())
    depths = list(accumulate((token.text == "(") - (token.text == ")") for token in side.atoms))
    enclosed = side.atoms[0].text == "(" and 0 not in depths[:-1] and depths[-1] == 0
    return cut_middle(written[1:-1].strip() if enclosed else written)


def _name_of(side: Expression) -> str | None:
    bare = [token for token in side.atoms if token.text not in "()"]
    return bare[0].text if len(bare) == 1 and bare[0].kind == "word" else None


def _read_plan(chains: Sequence[list[Expression]], state: _State) -> None:
    """Take in "A = (2 + 3)" and judge, softly, whether the whole is worth what the question is worth."""
    for chain in chains:
        name = _name_of(chain[0])
        if name is not None and len(chain) > 1:
            value = evaluate(chain[1].atoms, state.definitions)
            if value is not None:
                state.definitions[name] = value
            _check_equal(chain[1:], state)
    whole = next((chain[0] for chain in chains if chain[0].symbols and len(chain[0].atoms) > 1), None)
    value = evaluate(whole.atoms, state.definitions) if whole else None
    if whole and value != state.true_value:
        worth = "uses a letter that is not defined" if value is None else f"is worth {show(value)}"
        message = f"the plan {_spelled(whole)} {worth}, the question is worth {show(state.true_value)}"
        state.flag("plan_differs", message, 0.5)


def _check_chain(chain: list[Expression], state: _State) -> None:
    name = _name_of(chain[0])
    if name is not None and len(chain) > 1:
        chain = chain[1:]
        value = evaluate(chain[0].atoms, state.names)
        expected = state.definitions.get(name)
        if value is not None and expected is not None and not state.close(value, expected) and len(chain[0].atoms) > 1:
            worked = f"{_spelled(chain[0])} = {show(value)}"
            state.flag("copied_wrong", f"{name} stands for {show(expected)}, but is worked out from {worked}")
    last = _check_equal(chain, state)
    if last is None:
        return
    if name is not None:
        state.names[name] = last
    if len(chain) > 1 or name is not None:
        state.last = last
        state.found.add(last)


def _check_equal(chain: Sequence[Expression], state: _State) -> Fraction | None:
    """Flag neighbours of different value; returns the value of the last side."""
    values = [evaluate(side.atoms, state.names) for side in chain]
    for (left, before), (right, after) in pairwise(zip(chain, values, strict=True)):
        if before is None or after is None or before == after:
            continue
        carried_on = (before.denominator > 1 or after.denominator > 1) and state.close(before, after)
        if carried_on or _is_rounding(left, before, after) or _is_rounding(right, after, before):
            state.rounded = True
            continue
        message = f"{_spelled(left)} = {show(before)}, not {_spelled(right)}"
        if len(right.atoms) > 2:
            message += f" (which is {show(after)})"
        state.flag("equation_false", message)
    return values[-1]


def _is_rounding(numeral: Expression, value: Fraction, exact: Fraction) -> bool:
    """A numeral with a decimal point that is the exact value up to its last digit: 2.33 for 7 / 3."""
    numbers = [token.text for token in numeral.atoms if token.text not in "()-+"]
    if len(numbers) != 1 or "." not in numbers[0]:
        return False
    return abs(value - exact) * 10 ** len(numbers[0].partition(".")[2]) < 1


def _check_answer(text: str, state: _State) -> None:
    stated = _ANSWER.search(text)
    if stated is None:
        return
    chains = read_chains(stated.group("value"))
    value = chains[0][-1].value if chains else None
    if value is None:
        return
    state.answered = True
    right = state.close(value, state.true_value) or _is_rounding(chains[0][-1], value, state.true_value)
    if state.last is None or state.close(value, state.last) or _is_rounding(chains[0][-1], value, state.last):
        if right or any(flag.severity >= 1 for flag in state.flags):
            return
        message = f"the question is worth {show(state.true_value)}, not {show(value)}: its parts were combined wrongly"
        state.flag("answer_wrong", message)
    elif not (right and any(state.close(value, found) for found in state.found)):  # a check may follow the result
        message = f"the last value found is {show(state.last)}, but the answer is given as {show(value)}"
        state.flag("answer_differs", message, 0.5 if right else 1.0)  # the last value may stand in words
