"""Addition whose digits carry a letter for their place, so that a model finds what to add by its letter and not by counting.

Index hints are what lets small models add numbers longer than any they were taught (Zhou et al. 2023, arXiv 2310.16028). Which
letter the last place has is drawn anew for each problem, by its question: so short sums show every letter. Capitals for the second
number. A prompt and a perfect completion:

    Input:                           <scratch>
    f 6 e 2 d 4 + F 2 E 5 D 9        f 6 e 2 d 4 + F 2 E 5 D 9 , C: 0
    Target:                          d 4 D 9 + , 3 C: 1
                                     e 2 E 5 + , 8 C: 0
                                     f 6 F 2 + , 8 C: 0
                                     </scratch>
                                     0 f 8 e 8 d 3

The hint is the answer's line, after `Target:`. All else is as in `star/tasks/addition.py`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

LETTERS = "abcdefghijklmnopqrst"
OPERATORS: dict[str, Callable[[int, int, int], int]] = {
    "+": lambda left, right, carry: left + right + carry,
    "|": lambda left, right, carry: (right if carry else left) + 10 * (left > right),
    "/": lambda left, right, carry: (left if carry else right) + 10 * (left > right),
}
"""What a column gives, the carry as tens: the sum or, in what a base is pretrained on beside sums, one of the two digits, which one
the last carry says; the next says whether the left one is larger."""


@dataclass(frozen=True)
class Marked:
    """Two numbers of equally many digits with their letters. Raises ValueError where there are not enough letters."""

    left: str
    right: str
    operator: str = "+"

    def __post_init__(self) -> None:
        if len(self.left) > len(LETTERS):
            raise ValueError(f"{len(self.left)} digits: index hints have {len(LETTERS)} letters")

    @property
    def letters(self) -> str:
        """Of the places, the last place's first."""
        width = len(self.left)
        first = random.Random(f"{self.left} {self.operator} {self.right}").randint(0, len(LETTERS) - width)
        return LETTERS[first : first + width]

    @property
    def question(self) -> str:
        """ "f 6 e 2 d 4 + F 2 E 5 D 9"."""
        return f"{self._with(self.left)} {self.operator} {self._with(self.right).upper()}"

    def lines(self) -> list[str]:
        """Of the scratchpad: the question and one for each place; then the answer's."""
        lines, digits, carry = [f"{self.question} , C: 0"], "", 0
        for letter, left, right in zip(self.letters, self.left[::-1], self.right[::-1], strict=True):
            column = OPERATORS[self.operator](int(left), int(right), carry)
            digits, carry = str(column % 10) + digits, column // 10
            lines.append(f"{letter} {left} {letter.upper()} {right} {self.operator} , {column % 10} C: {carry}")
        return [*lines, self.answer(f"{carry}{digits}")]

    def answer(self, result: str) -> str:
        """A result with its letters behind the last carry: "0 f 8 e 8 d 3"."""
        width = len(self.left)
        digits = result.zfill(width + 1)
        return f"{digits[:-width]} {self._with(digits[-width:])}"

    def _with(self, digits: str) -> str:
        return " ".join(f"{letter} {digit}" for letter, digit in zip(self.letters[::-1], digits, strict=True))


_ANSWER = re.compile(r"\d(?: [a-t] \d){1,20}")


def read_answer(line: str) -> str | None:
    """ "0 f 8 e 8 d 3" -> "8 8 3"; None for anything else."""
    return " ".join(re.sub(r"\D", "", line).removeprefix("0")) if _ANSWER.fullmatch(line) else None


def write_answer(rationale: str, answer: str) -> str:
    """ "883" behind a rationale -> "0 f 8 e 8 d 3", with the letters of its first line; "8 8 3" where it has none."""
    letters = re.findall(r"\b[a-t](?= \d)", rationale.partition("+")[0])
    if not letters:
        return " ".join(answer.replace(" ", ""))
    digits = answer.replace(" ", "").zfill(len(letters) + 1)
    return " ".join([digits[0], *(f"{letter} {digit}" for letter, digit in zip(letters, digits[1:], strict=False))])
