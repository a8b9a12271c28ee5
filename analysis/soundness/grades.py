"""The grades of a judgement of soundness, and the one threshold from which on a score counts as a flag.

proven       an exact check shows a step false: p_unsound is 1 and first_error_step is that step
checked      a task's checker finds no wrong step among those that it reads, nor do the generic checks: p_unsound is 0
scored       p_unsound is the probability that the named scorer gives; from THRESHOLD on the rationale is flagged
not_judged   nothing is said (p_unsound null): outside of what the scorer was validated on, or nothing to read

"Unsound" in words is for proven and for people's labels. A score is "flagged by the score at THRESHOLD".
"""

from __future__ import annotations

from typing import Any, Literal

Grade = Literal["proven", "checked", "scored", "not_judged"]
GRADES: dict[Grade, str] = {
    "proven": "proven unsound",
    "checked": "checked, none wrong",
    "scored": "scored",
    "not_judged": "not judged",
}
"""Grade -> what a person reads."""
THRESHOLD = 0.65
"""p_unsound from which on a rationale is flagged, everywhere; this value itself is flagged. At most 15 % of the error-free
solutions of any set that it was developed on are (benchmarks/human_labels.py)."""

FLAGGED = f"flagged by the score at {THRESHOLD:.2f}"


def flagged(p_unsound: Any, threshold: float = THRESHOLD) -> Any:
    """Whether a score, or each of an array of scores, counts as a flag. NaN (not judged) does not."""
    return p_unsound >= threshold


def score_words(p_unsound: float | None) -> str:
    """A judgement in words: "proven unsound", "flagged by the score at 0.65 (0.83)", "not judged"."""
    if p_unsound is None or p_unsound != p_unsound:
        return "not judged"
    if p_unsound in (0, 1):
        return "proven unsound" if p_unsound else "checked, none wrong"
    return f"{'' if flagged(p_unsound) else 'not '}{FLAGGED} ({p_unsound:.2f})"
