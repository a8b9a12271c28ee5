"""What every step check returns: flags on steps and, from an exact checker, the first wrong step."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from analysis.checks.reading import Reading

EXACT = ("addition", "multistep_arithmetic", "tracking_shuffled_objects", "word_sorting", "logical_deduction", "dyck_languages")
"""Kinds with an exact checker. The module of `analysis.checks.grammars` with that name has its one function, total, bounded and
blind to labels: check(question, steps, answer, choices) judges the steps by the rules of the task that the question states; None
when they cannot be read as that task. The answer is the one the rationale reached.
"""

SOUND = -1
"""The value of `first_error_step` that says that no step is wrong."""

MAX_STEPS = 20_000
"""An exact checker abstains on a rationale with more steps than this: no real one has them."""

MAX_STEP_CHARS = 20_000
"""Text of one step beyond this is not read by an exact checker, which keeps every record under a second."""

MAX_TOTAL_CHARS = 120_000
"""An exact checker abstains on a question and rationale with more text than this."""


@dataclass(frozen=True)
class Flag:
    """One finding about one step."""

    step: int
    """0-based."""
    check: str
    """Short stable name of the check, for example "equation_false"."""
    message: str
    """A sentence a person can read: "48 / 2 = 24, not 26"."""
    severity: float = 1.0
    """1 = proven wrong; less for soft evidence."""


@dataclass(frozen=True)
class Finding:
    """An exact checker's result for one rationale."""

    first_error_step: int
    """0-based; -1 (`SOUND`) when no step is wrong."""
    flags: tuple[Flag, ...] = ()
    """In the order of the steps. A flag of severity 1 on the first wrong step says what is wrong there."""


@dataclass
class Run:
    """A rationale while an exact checker goes through it; each checker adds what its task keeps track of."""

    step: int = field(default=0, kw_only=True)
    """Index of the step that is read."""
    options: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """Label -> text."""
    flags: list[Flag] = field(default_factory=list, kw_only=True)
    readable: int = field(default=0, kw_only=True)
    """How much of it was understood; the checker abstains where that is nothing."""
    answered: bool = field(default=False, kw_only=True)
    """A step stated the answer."""

    def flag(self, check: str, message: str, severity: float = 1.0) -> None:
        """Add a finding about the step that is read."""
        self.flags.append(Flag(self.step, check, message, severity))

    def stated_option(self, text: str) -> tuple[str, str] | None:
        """Label and text of the option that a step states as the answer; None where it states none, or is flagged already."""
        stated = _STATED.search(text)
        self.answered = self.answered or stated is not None
        label = stated[1].upper() if stated else ""
        flagged = any(flag.step == self.step for flag in self.flags)
        return None if flagged or label not in self.options else (label, self.options[label])

    def conclude(self) -> Finding | None:
        """First wrong step from the flags that prove one (severity 1); others are only reported. None: nothing was understood."""
        ordered = tuple(sorted(self.flags, key=lambda flag: flag.step))
        first = next((flag.step for flag in ordered if flag.severity >= 1.0), SOUND)
        return Finding(first, ordered) if self.readable else None


RunT = TypeVar("RunT", bound=Run)
Reads = Callable[[str, RunT], None]
"""Reads the text of one step and adds to the run."""


def follow(
    run: RunT, steps: Sequence[str], answer: str | None, read_step: Reads[RunT], read_answer: Reads[RunT]
) -> Finding | None:
    """Go through the steps; the recorded answer counts, as part of the last one, where no step states it."""
    for run.step, text in enumerate(steps):
        read_step(text[:MAX_STEP_CHARS], run)
    if answer and run.readable and not run.answered:
        read_answer(f"answer: {answer[:MAX_STEP_CHARS]}", run)
    return run.conclude()


GENERIC: dict[str, Callable[[Reading], list[Flag]]] = {}
"""The checks of `analysis.checks.generic` by name."""


def generic_check(check: Callable[[Reading], list[Flag]]) -> Callable[[Reading], list[Flag]]:
    """Decorator: this function is a generic check, under its own name."""
    GENERIC[check.__name__] = check
    return check


def cut_middle(text: str) -> str:
    """A quotation of at most a hundred characters: its beginning and its end."""
    return text if len(text) <= 100 else text[:60] + " ... " + text[-30:]


def shorten(text: str, limit: int = 90) -> str:
    """One line, at most `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


_STATED = re.compile(
    r"\b(?i:answer)\W{0,4}(?:is|:)\W{0,6}(?:option\s+)?\(?([A-Za-z])(?:\)|(?<=[B-HJ-Z])\b|\b(?!\s+(?!because\b|since\b|as\b)[a-z]))"
)
"""Before another word "a" is an article, and "I" a pronoun."""
_OPTION = re.compile(r"(?:^|\n)[ \t]{0,8}\(([A-Za-z])\)[ \t]{0,8}([^\n]{1,400})")
_INLINE_OPTION = re.compile(r"\(([A-Za-z])\)\s{0,8}((?:(?!\([A-Za-z]\))[^\n]){1,400})")
_LEAD = re.compile(r"\A\s*(?:q|question|problem|input)\s?:\s*(?=\S)", re.I)
_TRAIL = re.compile(
    r"\n[ \t]{0,8}(?:a|answer|output|target|solution)\s?:[ \t]{0,8}(?:let['’]?s think step by step[.:]?)?\s*\Z", re.I
)
_LABEL = re.compile(r"\s{0,8}(?:\((\d{1,5})\)\s{1,8}(?![-+*/=^×÷])|step\s{1,3}(\d{1,5})\s{1,3}[-–—]\s{1,3})", re.I)


def read_options(question: str) -> dict[str, str]:
    """Label -> text of the options "(A) ..." or "(a) ..." that a question lists, in lines of their own or in one line."""
    text = question[:MAX_STEP_CHARS]
    options = {label.upper(): option.strip() for label, option in _OPTION.findall(text)}
    if len(options) < 2:
        listed = [(label.upper(), option.strip(" ,;\t")) for label, option in _INLINE_OPTION.findall(text)]
        if len(listed) > 1 and [label for label, _ in listed] == [chr(65 + place) for place in range(len(listed))]:
            return dict(listed)
    return options


def bare_question(question: str) -> str:
    """A question without the words of a prompt around it: "Q: ... A: Let's think step by step."."""
    head, tail = question[:-200], question[-200:]
    return _LEAD.sub("", head + _TRAIL.sub("", tail))


def bare_step(index: int, step: str) -> str:
    """A step without a number that looks like arithmetic: "(3) ...", "Step 3 - ..."."""
    label = _LABEL.match(step)
    return step[label.end() :] if label and int(label[1] or label[2]) in (index, index + 1) else step
