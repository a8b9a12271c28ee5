"""Attempts -> pairs of a right and a wrong completion of the same problem, for preference training."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import lcm

from star.problem import Attempt, Problem, Verdict
from star.prompting import PromptBuilder
from star.tables import PairRow

READ = (
    "attempt_id", "problem_id", "round", "completion", "rationale", "answer", "gold", "verdict", "strict_verdict", "kept"
)  # fmt: skip
"""Columns of the attempts that pairs are made of, which are in memory at once."""
Text = Callable[[Attempt], str]
Choose = Callable[[Sequence[Attempt], Sequence[Attempt], int], list[tuple[Attempt, Attempt]]]


def walked(right: Sequence[Attempt], wrong: Sequence[Attempt], count: int) -> list[tuple[Attempt, Attempt]]:
    """Both lists walked at once, each starting over at its end (arXiv 2404.19733, section 2); no pair comes twice."""
    different = min(count, lcm(len(right), len(wrong)))
    return [(right[k % len(right)], wrong[k % len(wrong)]) for k in range(different)]


def drawn(seed: int) -> Choose:
    """A seeded sample of all pairs of the two lists (V-STaR, arXiv 2402.06457, section 3, takes all of them)."""

    def choose(right: Sequence[Attempt], wrong: Sequence[Attempt], count: int) -> list[tuple[Attempt, Attempt]]:
        rng = random.Random(f"pairs-{seed}-{right[0]['problem_id']}")
        total = len(right) * len(wrong)
        numbers = sorted(rng.sample(range(total), min(count, total)))
        return [(right[number // len(wrong)], wrong[number % len(wrong)]) for number in numbers]

    return choose


def pair_rows(
    attempts: Iterable[Attempt],
    problems: Mapping[str, Problem],
    builder: PromptBuilder,
    choose: Choose,
    count: int,
    text: Text,
    *,
    shots: bool,
) -> Iterator[PairRow]:
    """At most `count` pairs a problem. Winners are the attempts that were kept, losers other attempts with a wrong answer or none;
    of completions that say the same the first is taken. Losers are as they were sampled, winners as `text` has them, the prompts
    without a hint.
    """
    sides: dict[str, tuple[list[Attempt], list[Attempt]]] = {}
    seen: set[tuple[str, str]] = set()
    for attempt in attempts:
        is_wrong = attempt["verdict"] in (Verdict.incorrect, Verdict.no_answer, Verdict.truncated)
        key = attempt["problem_id"], attempt["completion"].strip()
        if (attempt["kept"] or is_wrong) and key not in seen:
            seen.add(key)
            sides.setdefault(attempt["problem_id"], ([], []))[is_wrong].append(attempt)
    for problem_id, (right, wrong) in sides.items():
        if not (right and wrong):
            continue
        prompt = builder.text(problems[problem_id], shots=shots)
        for won, lost in choose(right, wrong, count):
            yield {
                "problem_id": problem_id,
                "from_round": won["round"],
                "chosen_id": won["attempt_id"],
                "rejected_id": lost["attempt_id"],
                "prompt": prompt,
                "chosen": text(won),
                "rejected": lost["completion"],
                "rejected_ended": lost["verdict"] != Verdict.truncated,
            }
