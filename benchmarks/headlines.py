"""What benchmarks/README.md shows of each result before the full figures: which rows, which columns, under which words.

A column is `path` or `path @ format` below a row, as the marks of README.md are written (see `render`). What a result
does not hold is left out: a row without any of its columns, a table without rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Headline:
    """One table: the entries of the mapping or list at `rows` (the figures themselves when empty), some columns of each."""

    caption: str
    rows: str
    columns: Mapping[str, str]
    key: str | None = None
    """Head of the first column, which holds the names of a mapping's entries; None for a list."""
    only: tuple[str, ...] = ()
    """Of a mapping, these entries alone, in this order."""


DIGITS = {f"{n} digit{'s' if n > 1 else ''}": f"by_slice.{n} digit{'s' if n > 1 else ''} @ .0%" for n in range(1, 6)}
LONGER = {f"{n} digits": f"longer.by_slice.{n} digits @ .1%" for n in range(6, 11)}
GRADERS = {
    "texts": "n",
    "agreement": "agreement @ .4f",
    "wrong ones accepted": "wrong_accepted",
    "right ones refused": "right_refused",
    "CPU s per 10,000": "cpu_seconds_per_10000 @ .1f",
}
PAIR = {
    "scratchpads carry nothing": "ignorer @ .3f",
    "answer only from the scratchpad": "reader @ .3f",
    "apart": "apart",
}
SECONDS = {"median s": "median_s @ .2f", "slowest s": "max_s @ .2f", "n": "n"}
COST = {"amount": "amount @ ,d", "seconds": "seconds @ .1f", "peak MB": "peak_mb @ ,.0f"}

HEADLINES: dict[str, tuple[Headline, ...]] = {
    "addition": (
        Headline(
            "Held-out problems of 1 to 5 digits, all seeds",
            "arms",
            {
                "answers right": "accuracy @ .1%",
                "seed by seed": "by_seed @ .1%",
                "sound, of right answers": "sound_of_right @ .1%",
                "right but unsound": "right_but_unsound @ .1%",
                "rounds": "cost.rounds @ .1f",
                **DIGITS,
            },
            "arm",
        ),
        Headline("Lengths never trained on", "arms", {"6 to 10 digits": "longer.accuracy @ .1%", **LONGER}, "arm"),
        Headline(
            "The same problems and seeds: first these trained models on other problems, then other seeds",
            "comparisons",
            {
                "difference (problems as units)": "difference @ +.3f",
                "difference (seeds as units)": "over_seeds @ +.3f",
                "seed by seed": "by_seed @ +.3f",
                "McNemar p, seed by seed": "mcnemar_p_by_seed @ .2g",
            },
            "pair",
        ),
    ),
    "model_sizes": (
        Headline(
            "Addition, 1 to 5 digits",
            "ladder",
            {
                "parameters": "parameters @ ,d",
                "arm": "arm",
                "seeds": "seeds",
                "answers right (problems as units)": "accuracy @ .1%",
                "answers right (seeds as units)": "accuracy_over_seeds @ .1%",
                "sound, of right answers": "sound_of_right @ .1%",
                "right but unsound": "right_but_unsound @ .1%",
                "early answering (AOC, normalised)": "faithfulness.aoc_normalised @ .2f",
                "answer changed by an added mistake": "faithfulness.forced_mistake_flip @ .2f",
                "filler gap (nats)": "faithfulness.filler_gap @ .2f",
            },
        ),
        Headline(
            "Seeds in which the arm ends above few-shot, one interval clear of the other",
            "bootstraps.by_size",
            {
                "parameters": "parameters @ ,d",
                "arm": "arm",
                "bootstrapped": "bootstrapped",
                "of seeds": "seeds",
                "few-shot, by seed": "few_shot_by_seed @ .1%",
                "after, by seed": "by_seed @ .1%",
            },
        ),
        Headline(
            "Faithfulness of right answers alone",
            "ladder",
            {
                "parameters": "parameters @ ,d",
                "arm": "arm",
                "early answering (AOC, normalised)": "faithfulness_right.aoc_normalised @ .2f",
                "answer changed by an added mistake": "faithfulness_right.forced_mistake_flip @ .2f",
                "filler gap (nats)": "faithfulness_right.filler_gap @ .2f",
            },
        ),
        Headline(
            "Change with ten times the parameters; runs are the units",
            "trends",
            {
                "arm": "arm",
                "measure": "measure",
                "rationales of": "of",
                "slope": "per_tenfold_parameters @ .3f",
                "p, all of these corrected together": "holm_p @ .2g",
            },
        ),
    ),
    "human_labels": (
        Headline(
            "First wrong step, exact place (BIG-Bench-Mistake)",
            "exact",
            {
                "accuracy": "accuracy @ .3f",
                "fifth kept out of sight": "hidden.value @ .3f",
                "aim": "to_reach @ .2f",
                "best published": "best_published @ .3f",
            },
            "task",
        ),
        Headline(
            "Is the rationale unsound, where nothing is proven? AUROC of the score without a model, left out of its fit: of school "
            "word problems the writer and the question, elsewhere the whole domain",
            "score",
            {
                "score": "score @ .3f",
                "position and length": "position_and_length @ .3f",
                "gain": "gain @ +.3f",
                "rationales": "rationales @ ,d",
                "unsound": "unsound @ .1%",
            },
            "domain",
        ),
        Headline(
            "School word problems as they are judged, proofs included: AUROC, writer and question left out",
            "school.by_writer",
            {"judgement": "auroc @ .3f", "position and length": "position_and_length @ .3f"},
            "writer",
        ),
        Headline(
            "Steps that people labelled right, and how many are said to be proven false",
            "proofs",
            {
                "right steps": "right_steps @ ,d",
                "said to be false": "said_false @ .2%",
                "first errors proven": "first_errors_proven",
            },
            "data",
        ),
        Headline(
            "What is said of error-free rationales, at the shipped threshold",
            "grades",
            {
                "proven": "error_free.proven @ .1%",
                "checked": "error_free.checked @ .1%",
                "scored": "error_free.scored @ .1%",
                "not judged": "error_free.not_judged @ .1%",
                "flagged or proven": "error_free.flagged @ .1%",
                "of unsound ones": "unsound.flagged @ .1%",
            },
            "domain",
        ),
        Headline(
            "Is a recovery from an injected error faithful? AUROC, questions held out",
            "recovery",
            {
                "all": "all @ .3f",
                "GPT-4": "gpt-4-0314 @ .3f",
                "Claude 3 Opus": "claude-3-opus-20240229 @ .3f",
                "Brier": "brier @ .3f",
            },
            "",
            ("questions_held_out",),
        ),
        Headline(
            "The same, a data set held out",
            "recovery",
            {"MultiArith": "MultiArith @ .3f", "SVAMP": "SVAMP @ .3f"},
            "",
            ("data_set_held_out",),
        ),
        Headline(
            "The same, a generator held out",
            "recovery.generator_held_out",
            {"all": "all @ .3f", "without the noisiest label": "without_sentence_correct_value @ .3f"},
            "generator",
        ),
    ),
    "probe_validity": (
        Headline("Two trained models whose faithfulness is known", "pair", PAIR, "measure"),
        Headline(
            "Mixtures of scripted models: seeds whose interval holds the true share, worst measure",
            "mixtures",
            {"share of readers": "share", "held": "fewest_within", "seeds": "seeds", "questions": "questions"},
        ),
    ),
    "probe_cost": (
        Headline(
            "One packed pass, times faster",
            "rows",
            {
                "architecture": "architecture",
                "steps": "steps",
                "than one call per truncation": "times_faster_than_one_call_each @ .1f",
                "than padded batches": "times_faster_than_batched @ .1f",
                "a plain pass over as many tokens (times its time)": "times_a_plain_pass @ .2f",
                "largest difference in log-probability": "largest_difference_in_logprob @ .1e",
            },
        ),
        Headline(
            "Truncations that are continued: the first pass with common beginnings run once, times faster than each whole",
            "first_pass_of_continued_truncations",
            {
                "steps": "steps",
                "prompts": "prompts",
                "times faster": "times_faster @ .1f",
                "largest difference in log-probability": "largest_difference_in_logprob @ .1e",
            },
        ),
    ),
    "sampling": (
        Headline(
            "Tokens per second over those of the bare call beneath (batch 0: as vLLM likes)",
            "ratio_to_bare_call",
            {
                "sampler": "way",
                "over": "over",
                "model": "size",
                "batch": "batch",
                "shared prefix": "shared",
                "prompts": "prompts",
                "ratio": "ratio @ .2f",
            },
        ),
    ),
    "loop": (
        Headline(
            "One round, several ways",
            "ways",
            {
                "seconds (median)": "seconds @ .1f",
                "fastest": "fastest @ .1f",
                "slowest": "slowest @ .1f",
                "accuracy (mean)": "accuracy @ .3f",
                "last loss (mean)": "loss @ .4f",
                "rows kept": "kept",
            },
            "way",
        ),
    ),
    "grading": (
        Headline("GSM8K answers, rewritten in 18 ways", "rewritten_gsm8k", GRADERS, "grader"),
        Headline("Solutions of the 6B and 175B models", "model_solutions", GRADERS, "grader"),
        Headline("Cases written by hand", "hand_written", GRADERS, "grader"),
    ),
    "scaling": (
        Headline("Problems of a round", "problems.points", COST),
        Headline("Samples per problem", "samples.points", COST),
        Headline("Records scored", "records.points", COST),
    ),
    "app_speed": (
        Headline("Opening the page", "", SECONDS, "", ("open_later_session",)),
        Headline("A change of the view", "changes", SECONDS, "change"),
    ),
}
