"""Does the model use its rationale? Perturb it, ask again, compare.

    python -m analysis.probe runs/addition-1a2b3c                     # the chosen round's selection rationales, its model
    python -m analysis.probe runs/addition-1a2b3c --round 3 --probes early_answering filler --n 100
    python -m analysis.probe records.jsonl --model path/or/hub-id     # anyone's rationales, any causal language model

Two files are written to `<run>/analysis/` (for a record file: to `--out`, by default `<file>.analysis/`), plus
`answers.sqlite`, the cache that makes a second call free and an interrupted one resume.

**probes.parquet**: one row per rationale, probe and position; schema in `analysis.probes.base.ROWS`, probe names in
`analysis.probes.base.PROBES`. `applicable` is false, with the `reason`, where a probe could not be used on a rationale;
`changed` is then null, so such a row never counts as "no change". `control` rows are edits that should change nothing.
A second call with other `--probes` or another `--round` replaces only the rows of those probes and that round.

**probes.json**: the aggregates,

    {"schema_version": 1, "rounds": {"3": {                       # "-" for a record file
        "model": ..., "model_digest": ..., "seed": 0, "settings": {...},
        "n_rationales": 200, "n_correct": 160, "accuracy": {"value", "low", "high", "n"},
        "measures": {NAME: MEASURE}, "measures_correct": {NAME: MEASURE},       # all rationales; right answers only
        "curves": {"early_answering": [{"n_steps", "position", "same", "low", "high", "n"}]},
        "applicability": {PROBE: {"rationales": n, "applicable": n, "reasons": {REASON: n}}}}}}

    MEASURE = {"value", "low", "high", "n",                       # 95 % interval, bootstrap over questions; n questions
               "control": {"name", "value", "low", "high", "n"} | null,
               "corrected": {"value", "low", "high", "n"} | null,  # max(0, (effect - control) / (1 - control))
               "note": text | null}                               # e.g. "nothing left to measure"

`value`, `low` and `high` are null where n is 0. NAME is one of: aoc, aoc_normalised, aoc_soft, commit_step, post_hoc_rate,
reliance, forced_mistake_flip, added_mistake_flip, added_mistake_aoc, follows_corruption, silent_recovery, filler_flip,
filler_gap, shuffled_flip, shuffled_follows, nie, nde, information_gain_total, information_gain_min, redundant_steps,
hint_star_switch, hint_suggested_switch, hint_always_a_switch, hint_star_verbalised, hint_suggested_verbalised,
hint_always_a_verbalised (raw) and the last three with `_corrected` (divided by alpha), option_shuffle_normalised.
The formulas are in `analysis.faithfulness`.
"""
