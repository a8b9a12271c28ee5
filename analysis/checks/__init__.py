"""Step checks of a rationale: one file per kind of rationale, plus the generic checks.

`detect_kind` guesses the kind of task from the text, `check_exact` applies the rules of a kind that has a grammar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

from analysis.checks.base import EXACT, MAX_STEPS, MAX_TOTAL_CHARS, SOUND, Finding, Flag, bare_question, bare_step, read_options
from analysis.checks.generic import generic_flags
from analysis.checks.kinds import detect_kind
from analysis.checks.reading import read

__all__ = ["EXACT", "SOUND", "Finding", "Flag", "check_exact", "detect_kind", "generic_flags", "read"]


def check_exact(
    kind: str, question: str, steps: Sequence[str], answer: str | None = None, choices: Mapping[str, str] | None = None
) -> Finding | None:
    """What the exact checker of `kind` finds; None when there is none, when the text cannot be read as that kind or is too long."""
    length = len(question) + sum(map(len, steps))
    if kind not in EXACT or not 0 < len(steps) <= MAX_STEPS or length > MAX_TOTAL_CHARS:
        return None
    steps = [bare_step(index, step) for index, step in enumerate(steps)]
    question = bare_question(question)
    checker = import_module(f"analysis.checks.grammars.{kind}")
    finding: Finding | None = checker.check(question, steps, answer, choices or read_options(question))
    return finding
