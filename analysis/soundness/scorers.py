"""Which scorer a specification on the command line names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.soundness.recorded import RecordedScores
from analysis.soundness.scorer import Scorer
from star.errors import UsageError

SCORERS: dict[str, Callable[[str], Scorer]] = {"file": lambda rest: RecordedScores(Path(rest))}
"""Kind -> what makes a scorer of the rest of its specification."""


def open_scorers(specifications: Sequence[str]) -> list[Scorer]:
    """Scorers of specifications such as "file:scores.jsonl". Raises UsageError for one that is none, or two of one name."""
    opened: list[Scorer] = []
    for specification in specifications:
        kind, _, rest = specification.partition(":")
        if kind not in SCORERS or not rest:
            raise UsageError(f"--scorer {specification}: expected {' or '.join(f'{name}:...' for name in SCORERS)}.")
        opened.append(SCORERS[kind](rest))
    names = [scorer.name for scorer in opened]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two scorers are called {twice!r}: rename one of the files.")
    return opened
