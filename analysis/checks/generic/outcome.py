"""Checks of what a rationale ends in, and of what it says twice."""

from __future__ import annotations

import re
from functools import lru_cache

from analysis.checks.base import Flag, generic_check, shorten
from analysis.checks.numbers import same, show, words
from analysis.checks.reading import Reading, Step

_PEOPLE_AND_THINGS = words(
    """
    people person student child children kid boy girl man men woman women friend guest teacher worker player
    passenger customer patient soldier dog cat bird chicken cow horse rabbit sheep lion monkey elephant car bus
    bike boat plane
    """
)
_TIMES = ("second", "minute", "hour", "day", "week", "month", "year")
_ASKED = re.compile(r"\bhow many (?:more |fewer |total |full |whole )?([a-z]+)", re.I)
_SIGNED = re.compile(
    r"temperature|degree|negative|below|debt|owe|loss|lose|lost|elevation|coordinate|slope|deficit|profit|[xyz]\b|equation|charge",
    re.I,
)


@generic_check
def step_repeated(reading: Reading) -> list[Flag]:
    """A step whose text, apart from case, spacing and numbering, is that of an earlier one."""
    flags: list[Flag] = []
    seen: set[str] = set()
    for index, step in enumerate(reading.steps):
        text = re.sub(r"^\s*(?:step\s*\d+\s*[:.)]|#?\d+[.)])\s*", "", step.text.lower())
        text = " ".join(text.split())
        if len(text) >= 12 and text in seen:
            flags.append(Flag(index, "step_repeated", f"says again: “{shorten(step.text, 70)}”", 0.4))
        seen.add(text)
    return flags


@generic_check
def answer_differs(reading: Reading) -> list[Flag]:
    """The final answer is not the value that the last equation comes to; flagged on the last step."""
    equation, answer = reading.last_equation, reading.answer
    if equation is None or not equation.checkable or answer is None or reading.choices:
        return []
    last = equation.result
    known = any(same(mention.value, last) for mention in reading.question.mentions)
    if known and any(same(operand.value, answer) for operand in equation.operands):
        return []  # it checks the answer: 120 / 60 gives the 2 hours of the question
    readings = (last, last * 100, last / 100, round(last), round(last, 1), round(last, 2), int(last), int(last) + 1)
    if any(same(answer, value, 0.01) for value in readings):
        return []
    earlier = any(same(equation.result, answer, 1e-3) for step in reading.steps for equation in step.equations)
    message = f"the last value worked out is {show(last)}, the answer given is {show(answer)}"
    return [Flag(len(reading.steps) - 1, "answer_differs", message, 0.3 if earlier else 0.7)]


@generic_check
def count_not_whole(reading: Reading) -> list[Flag]:
    """A fraction of something that comes whole ("2.5 people"), or less than nothing of something that cannot be owed."""
    flags: list[Flag] = []
    signed = _may_be_negative(reading.question.text)
    for index, step in enumerate(reading.steps):
        averaged = "average" in step.words or "mean" in step.words or "per" in step.words or "each" in step.words
        for mention in step.mentions:
            counted = mention.noun in _PEOPLE_AND_THINGS and not (mention.word or mention.percent or averaged)
            fraction = "/" in step.text[mention.start : mention.start + 12]
            if counted and not fraction and mention.value != int(mention.value):
                message = f"{mention.text} {mention.noun}: a count should be a whole number"
                flags.append(Flag(index, "count_not_whole", message, 0.4))
        if not signed and not reading.choices and all(mention.value >= 0 for mention in reading.question.mentions):
            flags += _negative(index, step)
    return flags[:200]


@lru_cache(maxsize=1024)
def _may_be_negative(question: str) -> bool:
    return bool(_SIGNED.search(question))


@lru_cache(maxsize=1024)
def _asked_unit(question: str) -> str:
    asked = _ASKED.findall(question)
    return asked[-1].lower().rstrip("s") if asked else ""


def _negative(index: int, step: Step) -> list[Flag]:
    below = [
        e
        for e in step.equations
        if e.checkable and e.result < 0 and e.value is not None and e.value < 0 and not e.text.startswith(("-", "("))
    ]
    return [
        Flag(index, "count_negative", f"{shorten(e.text, 60)} = {show(e.result)} is below zero", 0.5) for e in below[:1]
    ]


@generic_check
def unit_differs(reading: Reading) -> list[Flag]:
    """The question asks for one unit of time and the last step that works something out ends in another."""
    wanted = _asked_unit(reading.question.text)
    if wanted not in _TIMES:
        return []
    for index in range(len(reading.steps) - 1, -1, -1):
        step = reading.steps[index]
        if not step.equations:
            continue
        result = step.equations[-1].result
        units = {m.noun for m in step.mentions if same(m.value, result, 1e-3) and m.noun in _TIMES}
        if units and wanted not in units and wanted not in {word.rstrip("s") for word in step.words}:
            message = f"the question asks for {wanted}s, this ends in {show(result)} {sorted(units)[0]}s"
            return [Flag(index, "unit_differs", message, 0.5)]
        return []
    return []
