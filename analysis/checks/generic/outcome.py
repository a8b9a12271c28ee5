"""Checks of what a rationale ends in and of what it counts."""

from __future__ import annotations

from analysis.checks.base import Flag, generic_check
from analysis.checks.numbers import same, show, words
from analysis.checks.reading import Reading

_PEOPLE_AND_THINGS = words(
    """
    people person student child children kid boy girl man men woman women friend guest teacher worker player
    passenger customer patient soldier dog cat bird chicken cow horse rabbit sheep lion monkey elephant car bus
    bike boat plane
    """
)


@generic_check
def answer_differs(reading: Reading) -> list[Flag]:
    """The final answer is not the value that the last equation comes to; flagged on the last step."""
    equation, answer = reading.last_equation, reading.answer
    if equation is None or not equation.checkable or answer is None or reading.choices:
        return []
    last = equation.result
    known = any(same(mention.value, last) for mention in reading.question.mentions)
    if known and any(same(operand.value, answer) for operand in equation.left.operands):
        return []  # it checks the answer: 120 / 60 gives the 2 hours of the question
    readings = (last, last * 100, last / 100, round(last), round(last, 1), round(last, 2), int(last), int(last) + 1)
    if any(same(answer, value, 0.01) for value in readings):
        return []
    earlier = any(same(equation.result, answer, 1e-3) for step in reading.steps for equation in step.equations)
    message = f"the last value worked out is {show(last)}, the answer given is {show(answer)}"
    return [Flag(len(reading.steps) - 1, "answer_differs", message, 0.3 if earlier else 0.7)]


@generic_check
def count_not_whole(reading: Reading) -> list[Flag]:
    """A fraction of something that comes whole ("2.5 people")."""
    flags: list[Flag] = []
    for index, step in enumerate(reading.steps):
        averaged = not {"average", "mean", "per", "each"}.isdisjoint(step.words)
        for mention in step.mentions:
            counted = mention.noun in _PEOPLE_AND_THINGS and not (mention.word or mention.percent or averaged)
            fraction = "/" in step.text[mention.start : mention.start + 12]
            if counted and not fraction and mention.value != int(mention.value):
                message = f"{mention.text} {mention.noun}: a count should be a whole number"
                flags.append(Flag(index, "count_not_whole", message, 0.4))
    return flags[:200]
