"""Problems -> graded attempts: prompt, sample, extract, grade, check. Used alike for generation, rationalization and evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import mean
from typing import Any, cast

from star.errors import counted
from star.files import StoredRows
from star.grading import grade, votes
from star.problem import Attempt, Graded, Problem, Task, Verdict
from star.prompting import PromptBuilder, prompt_hash
from star.sampling.base import Completion, Sampler
from star.schemas import Counts, Gate, SampledFigures, SliceCounts
from star.shards import Shard
from star.statistics import best_of_k, binomial_above, maj_at_k, pass_at_k, powers_up_to, wilson

MOST_TRUNCATED = 0.1
"""Share of truncated attempts above which the length limit is in the way."""
GATE_LEVEL = 0.05
"""p-value below which the first pass counts as better than chance."""


def sample_attempts(sampler: Sampler, builder: PromptBuilder, shard: Shard, *, progress: str | None = None) -> list[Attempt]:
    """Rows of `star.run.ATTEMPTS`, `shard.decoding.samples` for each problem, in order; not yet curated."""
    hinted = shard.mode == "rationalized"
    prompts = [builder.ids(problem, shots=shard.shots, hinted=hinted) for problem in shard.problems]
    sampled = sampler.sample(prompts, shard.decoding, progress=progress)
    rows: list[Attempt] = []
    for problem, prompt, completions in zip(shard.problems, prompts, sampled, strict=True):
        hashed = prompt_hash(prompt)
        for index, completion in enumerate(completions, start=shard.first_sample):
            rows.append(
                {
                    "attempt_id": f"{shard.round_number:02d}-{shard.mode[0]}-{problem.id}-{index}",
                    "problem_id": problem.id,
                    "round": shard.round_number,
                    "mode": shard.mode,
                    "split": shard.split,
                    "slice": problem.slice,
                    "sample": index,
                    "prompt_hash": hashed,
                    "prompt_tokens": len(prompt),
                    "seed": shard.decoding.seed,
                    "kept": None,
                    "drop_reason": None,
                    **judge(builder.task, problem, completion),
                }
            )
    return rows


def judge(task: Task, problem: Problem, completion: Completion) -> Graded:
    """Spans, verdicts and soundness of a completion; `answer` and `verdict` are those of the reading that counts."""
    extraction = task.extract(completion.text, problem)
    strict, lenient = (
        # One that hit the length limit is truncated, whatever it says: its answer may not be its last word.
        Verdict.truncated if completion.finish_reason == "length" else grade(span, problem, task.answer_type)
        for span in (extraction.strict, extraction.lenient)
    )
    if lenient == Verdict.correct != strict:  # to be trained on in the asked form, it has to read as right in it
        asked = task.extract(task.completion(extraction.rationale, problem.gold), problem).strict
        lenient = lenient if grade(asked, problem, task.answer_type) == Verdict.correct else Verdict.ungradable
    return {
        "completion": completion.text,
        "rationale": extraction.rationale,
        "answer": extraction.lenient if task.accept == "lenient" else extraction.strict,
        "lenient_answer": extraction.lenient,
        "gold": problem.gold,
        "verdict": str(lenient if task.accept == "lenient" else strict),
        "strict_verdict": str(strict),
        "lenient_verdict": str(lenient),
        "sound": None if task.check is None else task.check(problem, extraction.rationale),
        "finish_reason": completion.finish_reason,
        "tokens": len(completion.token_ids),
        "logprob": float(sum(completion.logprobs)),
    }


def summarise(rows: Iterable[Attempt]) -> Counts:
    """Counts and shares of evaluated attempts (sample 0 of each problem), overall and by slice."""
    greedy = [row for row in rows if row["sample"] == 0]
    correct = [row for row in greedy if row["verdict"] == Verdict.correct]
    interval = wilson(len(correct), len(greedy))
    checked = any(row["sound"] is not None for row in greedy)
    slices: dict[str, SliceCounts] = {}
    for row in greedy:
        counts = slices.setdefault(row["slice"], {"n": 0, "correct": 0, "sound": 0})
        right = row["verdict"] == Verdict.correct
        counts["n"] += 1
        counts["correct"] += right
        counts["sound"] += bool(right and row["sound"])
    return {
        "n": len(greedy),
        "correct": len(correct),
        "accuracy": interval.value,
        "low": interval.low,
        "high": interval.high,
        "no_answer": sum(row["verdict"] == Verdict.no_answer for row in greedy),
        "truncated": sum(row["verdict"] == Verdict.truncated for row in greedy),
        "ungradable": sum(row["verdict"] == Verdict.ungradable for row in greedy),
        "strict": sum(right_in_form(row) for row in greedy),
        "lenient": sum(row["lenient_verdict"] == Verdict.correct for row in greedy),
        "sound_of_correct": sum(bool(row["sound"]) for row in correct) / len(correct) if checked and correct else None,
        "slices": dict(sorted(slices.items())),
    }


def sampled_outcomes(
    rows: Iterable[Mapping[str, Any]], problems: Mapping[str, Problem], scores: Mapping[str, float] | None = None
) -> dict[str, dict[int, list[float]]]:
    """pass_at_k (unbiased, Chen et al. 2021) and maj_at_k -> k -> the value of each problem, over its samples beside the greedy
    answer; with `scores` by attempt_id, log-likelihoods, also best_of_k and the vote weighted by likelihood. Empty without samples.
    """
    sampled: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if (row["sample"] or 0) > 0:
            sampled.setdefault(row["problem_id"], []).append(row)
    if not sampled:
        return {}
    names = ("pass_at_k", "maj_at_k") + (("best_of_k", "weighted_at_k") if scores else ())
    counts = powers_up_to(min(map(len, sampled.values())))
    outcomes: dict[str, dict[int, list[float]]] = {name: {k: [] for k in counts} for name in names}
    for problem_id, own in sampled.items():
        right = [row["verdict"] == Verdict.correct for row in own]
        voted = votes([(row["answer"], row["verdict"]) for row in own], problems.get(problem_id, Problem("", "", "")))
        ranked = [scores[row["attempt_id"]] for row in own] if scores else []
        for k in counts:
            values = [pass_at_k(len(right), sum(right), k), maj_at_k(voted, right, k)]
            values += [best_of_k(ranked, right, k), maj_at_k(voted, right, k, ranked)] if scores else []
            for name, value in zip(names, values, strict=True):
                outcomes[name][k].append(value)
    return outcomes


def sampled_figures(
    rows: Iterable[Attempt], problems: Mapping[str, Problem], scores: Mapping[str, float] | None
) -> SampledFigures:
    """Means of `sampled_outcomes`."""
    outcomes = sampled_outcomes(rows, problems, scores)
    means = {name: {str(k): mean(values) for k, values in by_k.items()} for name, by_k in outcomes.items()}
    return cast(SampledFigures, {"samples_per_problem": max(outcomes["pass_at_k"]), **means} if means else {})


def right_in_form(row: Attempt) -> bool:
    """Whether the answer is right in the form that was asked for."""
    return (row.get("strict_verdict") or row["verdict"]) == Verdict.correct


def in_form(attempt: Attempt, task: Task) -> str:
    """What a right attempt is trained on: the same, in the form that was asked for where it gave its answer in another."""
    answer = attempt["answer"] if right_in_form(attempt) else attempt["gold"]
    return task.completion(attempt["rationale"], answer or "")


def truncation_note(rows: StoredRows[Attempt]) -> str | None:
    """What to do about attempts of one call that hit the length limit, where more than a tenth of them do."""
    first = next(iter(rows), None)
    cut = sum(row["verdict"] == Verdict.truncated for row in rows.only("verdict"))
    if first is None or cut <= MOST_TRUNCATED * len(rows):
        return None
    return (
        f"{cut:,} of {counted(len(rows), 'attempt')} of round {first['round']} ({first['mode']}) were cut off at "
        "sampling.max_new_tokens, and count as truncated. Raise it, or show shorter examples, unless the model only repeats itself."
    )


def first_pass_against_chance(attempts: StoredRows[Attempt], problems: Mapping[str, Problem], task: Task) -> Gate | None:
    """Whether a round's first generated answers beat blind guesses, by a one-sided binomial test; None when there are none.

    STaR has nothing to build on unless they do (the paper's remark on GPT-2).
    """
    counts, guessed = Counter[str](), 0.0
    for row in attempts.only("problem_id", "mode", "sample", "verdict", "lenient_verdict"):
        if row["mode"] == "generated" and row["sample"] == 0:
            counts["n"] += 1
            counts["correct"] += row["verdict"] == Verdict.correct
            counts["lenient"] += row["lenient_verdict"] == Verdict.correct
            guessed += task.chance(problems[row["problem_id"]])
    if not counts["n"]:
        return None
    n, correct, chance = counts["n"], counts["correct"], guessed / counts["n"]
    p_value = binomial_above(correct, n, chance)
    passed = p_value < GATE_LEVEL
    return {"correct": correct, "lenient": counts["lenient"], "n": n, "chance": chance, "p_value": p_value, "passed": passed}


def gate_message(gate: Gate) -> str | None:
    """What stands in the way of a first pass and what to change: the form of the answers, where it hides most of what is right, or
    the ability, where answers are not above chance. None where nothing does.
    """
    correct, lenient, n = gate["correct"], gate["lenient"], gate["n"]
    hidden = lenient > (2 * correct if gate["passed"] else correct)
    if hidden and binomial_above(lenient, n, gate["chance"]) < GATE_LEVEL:
        start = "" if gate["passed"] else "this run will not bootstrap: "
        return (
            f"{start}the first pass got {correct} of {counted(n, 'problem')} right in the asked form, "
            f"{lenient - correct} ({(lenient - correct) / n:.1%}) in another. The form is missing, not the ability: set "
            "curation.accept to lenient (star.regrade does it without new samples), which keeps such rows and trains on them in "
            "the asked form, or show the form by prompting.shots."
        )
    if gate["passed"]:
        return None
    return (
        f"this run will not bootstrap: the first pass got {correct} of {counted(n, 'problem')} right "
        f"({correct / n:.1%}), not above chance ({gate['chance']:.1%}; p = {gate['p_value']:.2f}). What is "
        "kept would be luck, not reasoning. Use a stronger model, more prompting.shots, or easier problems."
    )
