"""The checks that need no grammar: they run on any rationale and say nothing where there is nothing to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from analysis.checks.arithmetic import equation_false, shorten, value_contradicted
from analysis.checks.base import Flag
from analysis.checks.outcome import answer_differs, count_not_whole, step_repeated, unit_differs
from analysis.checks.provenance import operand_unknown, question_number_unused, result_unused
from analysis.checks.reading import Reading, read

CHECKS: tuple[Callable[[Reading], list[Flag]], ...] = (
    equation_false,
    operand_unknown,
    value_contradicted,
    question_number_unused,
    result_unused,
    step_repeated,
    answer_differs,
    count_not_whole,
    unit_differs,
)


def generic_flags(reading: Reading) -> tuple[Flag, ...]:
    """All findings of the generic checks on a reading, in the order of the steps."""
    if not reading.steps:
        return ()
    flags = [_short(flag) for check in CHECKS for flag in check(reading)]
    return tuple(sorted(flags, key=lambda flag: (flag.step, -flag.severity)))


def _short(flag: Flag) -> Flag:
    message = shorten(flag.message, 300)
    return flag if message == flag.message else replace(flag, message=message)


def check_generic(
    question: str, steps: Sequence[str], answer: str | None = None, choices: Mapping[str, str] | None = None
) -> tuple[Flag, ...]:
    """Read a rationale and run the generic checks on it."""
    return generic_flags(read(question, steps, answer, choices))
