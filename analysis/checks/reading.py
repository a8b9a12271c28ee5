"""One pass over question and steps: numbers, equations and statements, with what each step could know when it was written.

All generic checks and all features of the detector work on this reading, so a text is tokenized once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from analysis.checks.equations import MARK, Equation, read_mark, read_statements
from analysis.checks.numbers import FRACTIONS, SCALES, Token, padded, tokenize, words
from analysis.checks.plain_text import plain
from analysis.checks.statements import FalseStatement
from star.grading.numbers import written_value

MAX_STEPS = 2_000
"""Later steps are not read: no real rationale is that long."""
MAX_TOTAL = 150_000
"""Characters of a rationale that are read; later steps count as empty."""

_ANSWER = re.compile(
    r"(?:^\s*A\s*:|####|\banswer\s*(?:is|:|=|would be|will be)|\\boxed)\s*\(?\$?\s*"
    r"(?P<value>-?\s?\$?\d[\d,]*(?:\.\d+)?(?:\s?/\s?\d+)?)?",
    re.I,
)

_CHECKING = re.compile(r"\W{0,8}(?:let(?:'s| us) |we (?:can )?|to )?(?:(?:double[- ])?check|verif)", re.I)
"""How a step begins that checks what was found."""
_UNKNOWN = re.compile(r"(?<![A-Za-z])[A-Za-z]\s?[-+*/=]|[-+*/=]\s?\d{0,9}[A-Za-z](?![A-Za-z])")
"""A letter that stands for a number."""
_NOT_NOUNS = words("more fewer less extra additional other of the new different total")
"""Between a number and its noun."""


class Mention(NamedTuple):
    """A number in a text."""

    value: float
    text: str
    noun: str
    """The word behind it, lower case and without plural s; "" where there is none."""
    percent: bool
    word: bool
    """Written as a word."""
    start: int


@dataclass(slots=True)
class Step:
    """What one step says."""

    text: str
    """Plain text without calculator marks."""
    mentions: list[Mention] = field(default_factory=list)
    equations: list[Equation] = field(default_factory=list)
    statements: list[FalseStatement] = field(default_factory=list)
    """What else it says that is certainly false."""
    is_answer: bool = False
    """Only states the answer ("A: 96", "#### 96", "So the answer is 96.")."""
    words: list[str] = field(default_factory=list)
    """Lower-case words."""


@dataclass(slots=True)
class Reading:
    """A question and its rationale, read."""

    question: Step
    steps: list[Step]
    answer: float | None
    """The final answer as a number: `answer` where given, else what the last steps state."""
    choices: list[Mention] = field(default_factory=list)

    @property
    def last_equation(self) -> Equation | None:
        """None where the rationale has no equation. One that only checks the result does not count."""
        worked = [step for step in self.steps if step.equations]
        return next((step.equations[-1] for step in reversed(worked) if not _CHECKING.match(step.text)), None)


def read(question: str, steps: Sequence[str], answer: str | None = None, choices: Mapping[str, str] | None = None) -> Reading:
    """Read a question and its steps. Total and linear: text beyond the limits above counts as absent."""
    left = MAX_TOTAL
    read_steps: list[Step] = []
    before = ""
    for text in steps[:MAX_STEPS]:
        whole = continued(before, text) if left > 0 else ""
        read_steps.append((_read_step if len(whole) < 400 else _read_step.__wrapped__)(whole))  # long ones seldom come again
        left -= len(text)
        before = text
    reading = Reading(_read_step(question), read_steps, written_value(answer) if answer else None)
    if reading.answer is None and answer is None:
        reading.answer = stated_answer(reading.steps)
    if choices:
        reading.choices = [m for text in list(choices.values())[:26] for m in _mentions(padded(tokenize(plain(text[:500]))))]
    return reading


def calculations(rationale: str) -> tuple[tuple[tuple[float, ...], str, float], ...]:
    """Numbers, operators with brackets, and result of each equation, in order: "6 pens * $2 = $12" -> ((6, 2), "*", 12). Empty
    where an equation holds an unknown, of which the numbers alone do not tell.

    Two rationales with the same ones are duplicates in the sense of RFT (2308.01825).
    """
    text = re.sub(r"(?<=\w) x (?=[$(]?\d)", " * ", rationale)  # "6 boxes x 2 eggs"
    if _UNKNOWN.search(text):
        return ()
    equations = (equation for step in read("", text.splitlines()).steps for equation in step.equations)
    return tuple((tuple(o.value for o in each.left.operands), _signs(each), each.result) for each in equations)


def _signs(equation: Equation) -> str:
    """Its operators, with the brackets around what they join."""
    if "(" not in equation.left.text:
        return equation.left.operators
    return re.sub(r"[^-+*/^()]", "", equation.left.text)


def continued(before: str, text: str) -> str:
    """A step that begins with an equals sign, with what it equals: the end of the step before it."""
    if text.lstrip()[:1] != "=":
        return text
    return before[-400:].rstrip().rpartition("\n")[2].rpartition("=")[2] + " " + text.lstrip()


def stated_answer(steps: Sequence[Step]) -> float | None:
    """The number that the last answer statement names; None where no step states one."""
    for step in reversed(steps[-3:]):
        stated = [match for match in _ANSWER.finditer(step.text) if match["value"]]
        if stated:
            return written_value(stated[-1]["value"])
    return None


@lru_cache(maxsize=2048)
def _read_step(raw: str) -> Step:
    """A question comes once with each of its rationales, which share many steps; nothing changes a Step after it was read."""
    marks: list[Equation] = []
    text = plain(raw)
    if "<<" in text:
        for match in MARK.finditer(text):
            marks += read_mark(match[1])
        text = MARK.sub("", text)
    tokens = padded(tokenize(text))
    step = Step(text, _mentions(tokens))
    step.words = [token.text.lower() for token in tokens if token.kind == "word"]
    written, step.statements = read_statements(text, tokens)
    step.equations = _merge(marks, written) if marks else written
    stated = None if step.equations else _ANSWER.search(text)
    step.is_answer = stated is not None and stated.start() < 25
    return step


def _merge(marks: list[Equation], written: list[Equation]) -> list[Equation]:
    """The calculator's equations, and of the written ones those that no mark repeats, in the order of writing."""
    keys = {(tuple(sorted(o.value for o in equation.left.operands)), equation.left.operators) for equation in marks}
    extra = [e for e in written if (tuple(sorted(o.value for o in e.left.operands)), e.left.operators) not in keys]
    results = {equation.result for equation in marks}
    return marks + [equation for equation in extra if equation.checkable and equation.result not in results]


def _mentions(tokens: list[Token]) -> list[Mention]:
    """The numbers among padded tokens."""
    mentions: list[Mention] = []
    for index, token in enumerate(tokens):
        if token.value is None:
            continue
        value = token.value
        before, following, third = tokens[index - 1], tokens[index + 1], tokens[index + 2]
        is_word, next_word = token.kind == "word", following.text.lower() if following.kind == "word" else ""
        stop = index + 1
        if is_word and following.text == "-" and value >= 20 and (third.value or 99.0) < 10:
            value, stop = value + (third.value or 0.0), index + 3  # "twenty-five": both parts are one number
        elif next_word in SCALES:
            value, stop = value * SCALES[next_word], index + 2
        elif is_word and next_word in FRACTIONS and value >= 1:
            value, stop = value * FRACTIONS[next_word], index + 2
        if stop > index + 1:
            mentions.append(_mention(tokens, index, stop, value))
            continue
        if following.text == "/" and third.kind == "number" and third.value and value < 1000:
            mentions.append(_mention(tokens, index, index + 3, value / third.value))
        percent = following.kind == "percent" or next_word == "percent"
        mentions.append(_mention(tokens, index, stop + percent, value / 100 if percent else value, percent=percent))
        if before.kind == "op" and before.text == "-" and before.end == token.start and index < 2:
            mentions.append(_mention(tokens, index, stop, -value))
    return mentions


def _mention(tokens: Sequence[Token], start: int, stop: int, value: float, *, percent: bool = False) -> Mention:
    token = tokens[start]
    noun = ""
    for following in tokens[stop : stop + 2]:
        if following.kind != "word":
            break
        noun = following.text.lower()
        if noun not in _NOT_NOUNS:
            break
    noun = noun[:-1] if len(noun) > 3 and noun.endswith("s") and not noun.endswith("ss") else noun
    return Mention(value, token.text, noun, percent, token.kind == "word", token.start)
