"""Worked solutions with one mistake put in: what the detector learns from besides labels.

GSM8K's solutions mark every calculation (`<<48/2=24>>`). A mistake changes one of them (operator, operand, a step left out)
and everything that follows from it is worked out again, so only the reasoning is wrong and never the arithmetic.
Sound solutions pass through the same rewriting, so that the rewriting itself gives nothing away.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.checks.equations import MARK, read_equations
from analysis.checks.numbers import same, show
from analysis.checks.plain_text import plain

KINDS = ("operator", "flip", "operand", "omit", "leave out", "stop early", "swap")
_MARKED = re.compile(r"[\d.$,%+\-*/x() ]*=?\s*\$?<<([^=<>]+)=([^<>]+)>>\s*\$?[\d.,]*\d")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_FLIP = {"+": "-", "-": "+", "*": "/", "/": "*"}


class _CannotApplyError(Exception):
    """This mistake does not fit this solution."""


@dataclass(frozen=True)
class Rewritten:
    """A solution after rewriting."""

    steps: tuple[str, ...]
    answer: str
    first_error_step: int
    """-1 for a sound one; the place where the mistake shows first."""


def rewrite(lines: Sequence[str], numbers: Sequence[float], kind: str | None, rng: random.Random) -> Rewritten | None:
    """Write a solution again with one mistake of a kind (None: without). None where the mistake does not fit."""
    marks = [(index, match) for index, line in enumerate(lines) for match in _MARKED.finditer(line)]
    if not marks:
        return None
    target, error_line = -1, -1
    if kind == "stop early":
        last = marks[-1][0]
        if last == 0 or marks[0][0] == last:
            return None
        lines, error_line = lines[:last], last - 1
    elif kind is not None:
        usable = len(marks) - 1 if kind == "leave out" else len(marks)
        if usable < 1:
            return None
        target = rng.randrange(usable)
        error_line = marks[target][0]
    writer = _Writer(numbers, kind, target, rng)
    steps: list[str] = []
    try:
        for line in lines:
            written = _MARKED.sub(writer.write, line)
            if not (writer.left_out and "<<" not in written):
                steps.append(written)
            writer.left_out = False
    except _CannotApplyError:
        return None
    if writer.last is None or not steps:
        return None
    return Rewritten(tuple(steps), show(round(writer.last, 6)), min(error_line, len(steps) - 1))


class _Writer:
    """Rewrites marked calculations in order, carrying changed values along."""

    def __init__(self, numbers: Sequence[float], kind: str | None, target: int, rng: random.Random):
        self.numbers, self.kind, self.target, self.rng = numbers, kind, target, rng
        self.count = 0
        self.changed: dict[float, float] = {}
        self.results: list[float] = []
        self.last: float | None = None
        self.left_out = False

    def write(self, match: re.Match[str]) -> str:
        expression = _NUMBER.sub(self._current, match[1].strip())
        try:
            old = float(re.sub(r"[,$%\s]", "", match[2]))
        except ValueError as error:
            raise _CannotApplyError from error
        if self.count == self.target:
            if self.kind == "leave out":
                self.count += 1
                operands = [float(found[0]) for found in _NUMBER.finditer(expression)][:2]
                if not operands:
                    raise _CannotApplyError
                self.changed[old] = self.rng.choice(operands)
                self.left_out = True
                return ""
            expression = self._mistaken(expression)
        self.count += 1
        new = _value(expression)
        if new is None or abs(new) > 1e7:
            raise _CannotApplyError
        self.changed.pop(old, None)
        if not same(old, new, 0.02):
            self.changed[old] = new
        self.results.append(new)
        self.last = new
        return f" {expression}=<<{expression}={show(round(new, 6))}>>{show(round(new, 6))}"

    def _current(self, match: re.Match[str]) -> str:
        value = float(match[0])
        for old, new in reversed(list(self.changed.items())):
            if same(old, value, 1e-4):
                return show(round(new, 6))
        return match[0]

    def _mistaken(self, expression: str) -> str:
        signs = [place for place, sign in enumerate(expression) if sign in "+-*/" and place > 0]
        if self.kind in ("operator", "flip"):
            if not signs:
                raise _CannotApplyError
            place = self.rng.choice(signs)
            sign = expression[place]
            new = _FLIP[sign] if self.kind == "flip" else self.rng.choice([s for s in "+-*/" if s != sign])
            return expression[:place] + new + expression[place + 1 :]
        if self.kind == "operand":
            found = self.rng.choice(list(_NUMBER.finditer(expression)) or [None])
            pool = [v for v in [*self.numbers, *self.results] if found and not same(v, float(found[0]))]
            if found is None or not pool:
                raise _CannotApplyError
            return expression[: found.start()] + show(round(self.rng.choice(pool), 6)) + expression[found.end() :]
        if self.kind == "omit":
            parts = re.fullmatch(r"\s*(.+\S)\s*[-+*/]\s*[\d.]+\s*", expression)
            if len(signs) < 2 or parts is None:
                raise _CannotApplyError
            return parts[1]
        parts = re.fullmatch(r"\s*([\d.]+)\s*([-/])\s*([\d.]+)\s*", expression)
        if parts is None:
            raise _CannotApplyError
        return f"{parts[3]}{parts[2]}{parts[1]}"


CLOSINGS = ("The answer is {}.", "A: {}", "#### {}", "So the answer is {}.")
_SIGN = re.compile(r"(?<=[\d.)])[-+*/]")


def without_words(solution: Rewritten, rng: random.Random) -> tuple[str, ...]:
    """The calculations alone and a closing line: "48 / 2 = 24", "The answer is 24."."""
    marks = [match[1].split("=") for step in solution.steps for match in MARK.finditer(step)]
    lines = [" = ".join((_SIGN.sub(r" \g<0> ", expression), value)) for expression, value in marks]
    return (*lines, rng.choice(CLOSINGS).format(solution.answer))


def _value(expression: str) -> float | None:
    text = plain(expression).strip()
    found = read_equations(text + " = 1")
    return found[0].value if found and found[0].text == text else None
