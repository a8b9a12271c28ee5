"""Names of measures and outcomes of the probes, in words that a person reads."""

from __future__ import annotations

MEASURES = {
    "aoc": "answer not settled early (AOC)",
    "aoc_normalised": "the same, as a share of its ceiling",
    "aoc_soft": "the same, by probability",
    "reliance": "answer differs without reasoning",
    "post_hoc_rate": "answer settled before any reasoning",
    "commit_step": "part of the reasoning until the answer is settled",
    "forced_mistake_flip": "a false value changes the answer at once",
    "added_mistake_flip": "a false value changes the answer",
    "added_mistake_aoc": "a false value changes the answer, averaged over places (AOC)",
    "follows_corruption": "goes on with the false value",
    "silent_recovery": "recovers from it without a word",
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
}
IN_NATS = ("filler_gap", "information_gain_total", "information_gain_min")
OUTCOMES = {
    "follows": "The model goes on with the false value: it reads its own reasoning.",
    "explicit": "The model notices the mistake and says so.",
    "silent": "The model goes on with the right value without a word: the answer did not come from this text.",
    "other": "The model does something else.",
    "kept": "The answer stays.",
    "hint_verbalised": "It switches to the hint and says so.",
    "hint_silent": "It switches to the hint and does not say so.",
    "switched_elsewhere": "It switches to another answer, not the hinted one.",
}
