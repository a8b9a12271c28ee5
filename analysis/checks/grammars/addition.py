"""Addition scratchpads of the STaR paper, line by line: the digits added, the digit written, the carry, the digits
copied.

The one right scratchpad comes from the task itself (`star.tasks.addition.scratchpad`). After a wrong line the
rationale's own digits and carry are followed, so that each flag is a new mistake.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.checks.base import Finding, Run, cut_middle

MAX_DIGITS = 100

_SUM = re.compile(
    r"^[ \t]*(?:(?:what is|calculate|compute|add)[ \t]+)?(\d[ \d]{0,400})\+([ \d]{0,400}\d)[ \t]*=?[ \t]*\??[ \t]*$",
    re.M | re.ASCII | re.I,
)
_LINE = re.compile(r"^(?:(?P<top>\d)\+(?P<bottom>\d))?,(?P<digits>\d+)C:(?P<carry>\d)$", re.ASCII)
_STATE = re.compile(r"(?:\d+\+\d+)?,(?P<digits>\d*)C:(?P<carry>\d)|(?P<sum>\d+)", re.ASCII)
_INDEXED = re.compile(r"^ ?[a-t] \d(?: [a-t] \d){0,20} \+ [A-T] \d", re.M | re.ASCII)
_COMMENT = re.compile(r"#[^\n]*")
_TAG = re.compile(r"</?scratch>")
_DIGITS = re.compile(r"^\d(?: ?\d){0,400}$", re.ASCII)


@dataclass
class _Pad(Run):
    """The right scratchpad, and where the rationale is in it."""

    top: str
    bottom: str
    expected: list[str]
    place: int = 0
    """Index of the next expected line."""
    digits: str = ""
    """Answer digits so far, as the rationale has them."""
    carry: int = 0

    def due(self) -> str:
        """The next line, given the rationale's own digits and carry."""
        column = self.place - 2
        if 0 <= column < len(self.top):
            total = self.total(column)
            pair = f"{self.top[-column - 2]} + {self.bottom[-column - 2]} " if column + 1 < len(self.top) else ""
            return f"{pair}, {' '.join(str(total % 10) + self.digits)} C: {total // 10}"
        if column == len(self.top):
            return f"{self.carry} {' '.join(self.digits)}".rstrip()
        return self.expected[self.place]

    def skip_tag(self, text: str) -> None:
        """A tag that is missing is no mistake of arithmetic."""
        if self.place < len(self.expected) and _TAG.fullmatch(self.expected[self.place]) and text != self.due():
            self.flag("missing_tag", f"{self.due()} is missing", 0.3)
            self.place += 1

    def wrong(self) -> bool:
        """A mistake was found."""
        return any(flag.severity >= 1 for flag in self.flags)

    def total(self, column: int) -> int:
        """Sum of a column (0 = the last digits) with the rationale's own carry."""
        return int(self.top[-column - 1]) + int(self.bottom[-column - 1]) + self.carry


def parse_question(question: str) -> tuple[str, str] | None:
    """Digits of both operands, equally many; the last sum of a prompt counts. None for any other text."""
    sums = _SUM.findall(question[-2_000:])
    if not sums:
        return None
    top, bottom = ("".join(part.split()) for part in sums[-1])
    width = max(len(top), len(bottom))
    return (top.zfill(width), bottom.zfill(width)) if width <= MAX_DIGITS else None


def read_state(line: str) -> tuple[str, int | None] | None:
    """The digits found and the carry after a line of a scratchpad, no carry after the sum; None for another text."""
    state = _STATE.fullmatch(_tight(line.strip())[: 2 * MAX_DIGITS])
    return None if state is None else (state["sum"] or state["digits"], None if state["sum"] else int(state["carry"]))


def looks_like_scratchpad(steps: Sequence[str]) -> bool:
    """True when one of the first steps holds the scratchpad's tag or a line that ends in a carry."""
    from star.tasks.addition import OPEN  # the task's settings are pydantic models: not imported for other rationales

    return any(OPEN in step[:500] or re.search(r", ?(?:\d ?){0,200}C: ?\d[ \t]*(?:#|$)", step[:500], re.M) for step in steps[:5])


def check(question: str, steps: Sequence[str], answer: str | None, choices: Mapping[str, str]) -> Finding | None:
    """First wrong line. Abstains when the question is not a sum or the steps are not a scratchpad."""
    parsed = parse_question(question)
    if parsed is None or not looks_like_scratchpad(steps):
        return None
    from star.tasks.addition import scratchpad
    from star.tasks.index_hints import LETTERS

    a, b, width = int(parsed[0]), int(parsed[1]), len(parsed[0])
    if width <= len(LETTERS) and any(_INDEXED.search(step[:500]) for step in steps[:5]):
        return _check_indexed(scratchpad(a, b, width, indexed=True), str(a + b), steps, answer)
    pad = _Pad(*parsed, scratchpad(a, b, width), readable=1)
    for index, step in enumerate(steps):
        for line in _TAG.sub(r"\n\g<0>\n", _COMMENT.sub("", step)).splitlines():
            text = " ".join(line.split())
            if text:
                pad.step = index
                _check_line(text, pad)
    pad.skip_tag("")
    if pad.place < len(pad.expected):
        due = f'the line "{cut_middle(pad.due())}"' if pad.digits else "a line for each pair of digits"
        pad.flag("missing_line", f"the scratchpad ends without {due}")
    elif not pad.wrong() and answer is not None:
        _check_answer(_plain_answer(answer), pad)
    return pad.conclude()


def _check_indexed(expected: list[str], result: str, steps: Sequence[str], answer: str | None) -> Finding | None:
    """First line that differs from the scratchpad with index hints, see `star/tasks/index_hints.py`."""
    from star.tasks.index_hints import read_answer

    due = [line for line in expected if not _TAG.fullmatch(line)]
    run, place = Run(readable=1), 0
    for run.step, step in enumerate(steps):
        for line in filter(None, (" ".join(line.split()) for line in _TAG.sub("\n", step).splitlines())):
            wanted = due[place] if place < len(due) else " ".join(result)
            if (read_answer(line) or line) != wanted:
                run.flag("wrong_line", f'this line should be "{cut_middle(wanted)}"')
                return run.conclude()
            place += 1
    if place < len(due):
        run.flag("missing_line", f'the scratchpad ends without the line "{cut_middle(due[place])}"')
    elif answer is not None and (_tight(_plain_answer(answer)).lstrip("0") or "0") != result:
        run.flag("answer_differs", f"the scratchpad gives {cut_middle(result)}, the answer is given as {cut_middle(answer)}")
    return run.conclude()


def _plain_answer(answer: str) -> str:
    """A recorded answer without a full stop and commas between digits: how it was recorded is no line of the scratchpad."""
    return re.sub(r"(?<=\d),(?=\s?\d)", "", " ".join(answer.split()).removesuffix(".").rstrip())


def _tight(text: str) -> str:
    return text.replace(" ", "")


def _check_line(text: str, pad: _Pad) -> None:
    pad.skip_tag(text)
    if pad.place >= len(pad.expected):
        _check_answer(text, pad)
        return
    due, tight = pad.due(), _tight(text)
    if tight != _tight(due):
        later = [_tight(line) for line in pad.expected[pad.place + 1 :]]
        if tight in later and (tight == later[-1] or not pad.wrong()):
            pad.flag("missing_line", f'the line "{cut_middle(due)}" is missing before this one')
            pad.place += 1 + later.index(tight)
        else:
            pad.flag(*_explain(text, due, pad))
            # What follows a line that cannot be read is judged by what that should say.
            tight = tight if _LINE.match(tight) else _tight(due)
    read = _LINE.match(tight)
    if read:
        pad.digits, pad.carry = read["digits"][:200], int(read["carry"])
    pad.place += 1


def _explain(text: str, due: str, pad: _Pad) -> tuple[str, str]:
    """Name of the check and a sentence about the difference between a line and the one that is due."""
    said, right = _LINE.match(_tight(text)), _LINE.match(_tight(due))
    if pad.place == 1:
        return "wrong_operands", f'the sum is copied as "{cut_middle(text)}", it is "{cut_middle(due)}"'
    if pad.place == len(pad.expected) - 2 and _DIGITS.match(text):
        return "wrong_result", f'the carry and the digits are "{cut_middle(due)}", not "{cut_middle(text)}"'
    if said is None or right is None:
        return "wrong_line", f'this line should be "{cut_middle(due)}"'
    column = pad.place - 2
    # the digit and the carry of a line belong to the pair that the line before it names
    carried = f" + carry {pad.carry}" if pad.carry else ""
    terms = f"the digits of the line before, {pad.top[-column - 1]} + {pad.bottom[-column - 1]}{carried}"
    total = pad.total(column)
    digits, wanted = said["digits"], right["digits"]
    if digits[1:] != wanted[1:]:
        expected, copied = (cut_middle(" ".join(part[1:])) or "none" for part in (wanted, digits))
        return "wrong_copied_digits", f"the digits found before are {expected}, not {copied}"
    if digits[0] != wanted[0]:
        return "wrong_digit", f"{terms} = {total}: the digit is {wanted[0]}, not {digits[0]}"
    if said["carry"] != right["carry"]:
        return "wrong_carry", f"{terms} = {total}: the carry is {right['carry']}, not {said['carry']}"
    pair = f"{right['top']} + {right['bottom']}" if right["top"] else "none, all are added"
    told = f"{said['top']} + {said['bottom']}" if said["top"] else "none"
    return "wrong_pair", f"the next digits to add are {pair}, not {told}"


def _check_answer(text: str, pad: _Pad) -> None:
    """What follows the scratchpad, or the recorded answer, is the sum that it found."""
    total = (str(pad.carry) + pad.digits).lstrip("0") or "0"
    said = text.replace(" ", "")
    if not _DIGITS.match(text):
        pad.flag("extra_line", "the scratchpad is closed, only the answer may follow")
    elif (said.lstrip("0") or "0") != total:
        pad.flag("answer_differs", f"the scratchpad gives {cut_middle(total)}, the answer is given as {cut_middle(said)}")
