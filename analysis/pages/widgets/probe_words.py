"""Names of probes, measures and outcomes, and their numbers, in words that a person reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

DONE = {
    "early_answering": "reasoning cut short, answer asked for",
    "information_gain": "how much each step makes the right answer more likely",
    "forced_mistake": "one value falsified, answer asked for at once",
    "added_mistake": "one value falsified, the rest written again",
    "filler": "filler instead of the reasoning",
    "shuffled_rationale": "another question's reasoning instead",
    "mediation_indirect": "the reasoning of a changed question instead",
    "mediation_direct": "the question changed, the reasoning kept",
    "hint_star": "a wrong answer as the task's own hint, all written again",
    "hint_suggested": "a wrong answer suggested in the question, all written again",
    "hint_always_a": "examples whose answer is always the first option, all written again",
    "paraphrase": "reasoning in other words, answer asked for at once",
    "paraphrase_regenerated": "one step in other words, the rest written again",
    "paraphrase_question": "question in other words, the reasoning kept",
    "information_gain_shuffled": "how much another question's reasoning makes the right answer more likely",
    "option_shuffle": "options in another order",
    "resample": "nothing changed, the rest written again",
    "resample_rationale": "another sample of the reasoning instead",
    "hint_always_a_control": "the same examples in their own order, all written again",
}
"""Probe -> what was done to the rationale, one for each of `analysis.faithfulness.base.PROBES`."""

MEASURES = {
    "aoc": "answer not settled early (AOC)",
    "aoc_normalised": "answer not settled early, as a share of the most possible",
    "aoc_soft": "answer not settled early, by probability",
    "reliance": "answer differs without reasoning",
    "post_hoc_rate": "answer settled before any reasoning",
    "commit_step": "part of the reasoning until the answer is settled",
    "forced_mistake_flip": "a false value changes the answer at once",
    "added_mistake_flip": "a false value changes the answer",
    "added_mistake_aoc": "a false value changes the answer, averaged over places (AOC)",
    "follows_corruption": "goes on with the false value",
    "silent_recovery": "recovers from a false value without a word",
    "filler_flip": "filler instead of the reasoning changes the answer",
    "shuffled_flip": "another question's reasoning changes the answer",
    "shuffled_follows": "gives the other question's answer",
    "nie": "effect through the reasoning (NIE)",
    "nde": "effect past the reasoning (NDE)",
    "redundant_steps": "steps that add nothing",
    "hint_star_switch": "switches to a wrong hint, the task's own form",
    "hint_suggested_switch": "switches to a suggested wrong answer",
    "hint_always_a_switch": "switches to the first option after examples that favour it",
    "hint_star_verbalised": "says that it used the hint, the task's own form",
    "hint_suggested_verbalised": "says that it used the suggestion",
    "hint_always_a_verbalised": "says that it followed the examples",
    "hint_star_verbalised_corrected": "the same, corrected for chance (the task's own form)",
    "hint_suggested_verbalised_corrected": "the same, corrected for chance (suggestion)",
    "hint_always_a_verbalised_corrected": "the same, corrected for chance (examples)",
    "option_shuffle_normalised": "answer moves with the order of the options",
    "filler_gap": "filler instead of the reasoning, in log-probability",
    "information_gain_total": "information in all steps, in log-probability",
    "information_gain_min": "information in the weakest step, in log-probability",
    "control_paraphrase": "control: reasoning in other words changes the answer",
    "control_paraphrase_regenerated": "control: one step in other words changes the answer",
    "control_paraphrase_question": "control: question in other words changes the answer",
    "control_resample": "control: writing the rest again changes the answer",
    "control_resample_rationale": "control: another sample of the reasoning changes the answer",
    "control_option_shuffle": "control: options in another order change the answer",
}
IN_NATS = ("filler_gap", "information_gain_total", "information_gain_min")
NATS = "nats"
"""The unit of those: natural logarithms of probabilities."""
OUTCOMES = {
    "follows": "The model goes on with the false value: it reads its own reasoning.",
    "explicit": "The model notices the mistake and says so.",
    "silent": "The model goes on with the right value without a word: the answer did not come from this text.",
    "other": "The model does something else.",
    "kept": "The answer stays.",
    "hint_verbalised": "It switches to the hint and says so.",
    "hint_silent": "It switches to the hint and does not say so.",
    "switched_elsewhere": "It switches to another answer, not the hinted one.",
    "no_answer": "It gives no answer any more.",
}
OUTCOMES_OF = {
    ("forced_mistake", "follows"): "It gives the answer that the false value leads to.",
    ("forced_mistake", "other"): "It gives another answer, not the one that the false value leads to.",
    ("shuffled_rationale", "follows"): "It gives the other question's answer.",
    ("shuffled_rationale", "other"): "It gives another answer, but not the other question's.",
    ("mediation_indirect", "other"): "It gives another answer.",
}
"""(probe, outcome) -> words, where they differ from those for a falsified value."""


def measure_words(name: str) -> str:
    """A measure of probes.json for a person."""
    return MEASURES.get(name, name.replace("_", " "))


def outcome_words(probe: str, outcome: str | None) -> str:
    """What came of a probe as a sentence; nothing where it has no outcome."""
    return OUTCOMES_OF.get((probe, outcome or "")) or OUTCOMES.get(outcome or "", "")


def interval_words(found: Mapping[str, Any], unit: str = "%") -> str:
    """ "12.3 % (10.1 to 14.8)", or nothing. `unit`: % and points are hundredths, nats are not.

    No bracket where the bounds are missing or the same: a bootstrap of values that all agree knows no interval.
    """
    value, low, high = (found.get(name) for name in ("value", "low", "high"))
    if not isinstance(value, int | float) or math.isnan(value):
        return ""
    scale, digits = (1, 2) if unit == NATS else (100, 1)
    shown = f"{_rounded(scale * value, digits)} {unit}"
    if low is None or high is None or math.isnan(low):
        return shown
    bounds = [_rounded(scale * bound, digits) for bound in (low, high)]
    return shown if bounds[0] == bounds[1] else f"{shown} ({bounds[0]} to {bounds[1]})"


def _rounded(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.0"
