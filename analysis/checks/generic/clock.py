"""Times of day: "9:30 am + 2 hours = 11:45 am", "from 2:15 to 2:38 is 33 minutes"."""

from __future__ import annotations

import re
from fractions import Fraction

from analysis.checks.base import Flag, generic_check, shorten
from analysis.checks.reading import Reading

_TIME = r"(?<![\d:])(\d{1,2}):(\d{2})(?!\d)(?: ?([ap])\.?m\b\.?)?"
_LENGTH = r"(\d{1,3}(?:\.\d{1,2})?) (hour|minute)s?\b(?!,? and\b|,? \d| ?[-+*/])"
_LATER = re.compile(rf"{_TIME} ?([-+]) ?{_LENGTH} ?= ?{_TIME}", re.I)
_BETWEEN = re.compile(rf"\bfrom {_TIME} (?:to|until) (?P<until>{_TIME}),? (?:is|are|=|makes) {_LENGTH}", re.I)
_DAY, _HALF = 24 * 60, 12 * 60


@generic_check
def clock_false(reading: Reading) -> list[Flag]:
    """A time of day that is not so much later or earlier, a stretch of time of another length. Half a day more or less is
    forgiven where one of the times does not say which half it is in.
    """
    flags: list[Flag] = []
    for index, step in enumerate(reading.steps):
        if ":" not in step.text:
            continue
        for match in _LATER.finditer(step.text):
            sign = 1 if match[4] == "+" else -1
            right = _minutes(match, 1) + _length(match, 5) * sign
            if not (match[3] or match[9]) and _minutes(match, 7) == _minutes(match, 1) + _length(match, 5) * 60 * sign:
                continue  # minutes and seconds: 7:15 + 2 minutes = 9:15
            if _differs(right, _minutes(match, 7), bool(match[3] and match[9])):
                hours, minutes = divmod(int(right) % _DAY, 60)
                shown = f"{(hours - 1) % 12 + 1}:{minutes:02} {'ap'[hours >= 12]}m" if match[3] else f"{hours}:{minutes:02}"
                left, _, said = match[0].partition("=")
                flags.append(Flag(index, "clock_false", f"{shorten(left.strip())} = {shown}, not {said.strip(' .')}"))
        for match in _BETWEEN.finditer(step.text):
            between = _minutes(match, 5) - _minutes(match, 1)
            if _differs(between, _length(match, 8), bool(match[3] and match[7])):
                asked = f"from {match[0][5 : match.end('until') - match.start()]}"
                unit = match[9].lower()
                value = between % _DAY / (60 if unit == "hour" else 1)
                flags.append(Flag(index, "clock_false", f"{asked} are {value:g} {unit}s, not {match[8]} {unit}s"))
    return flags


def _minutes(match: re.Match[str], group: int) -> int:
    """Minutes after midnight."""
    hours, minutes, half = match[group], match[group + 1], match[group + 2]
    return (int(hours) % 12 + 12 * (half.lower() == "p") if half else int(hours)) * 60 + int(minutes)


def _length(match: re.Match[str], group: int) -> Fraction:
    return Fraction(match[group]) * (60 if match[group + 1].lower() == "hour" else 1)


def _differs(one: Fraction | int, other: Fraction | int, halves_are_told: bool) -> bool:
    return (one - other) % (_DAY if halves_are_told else _HALF) != 0
