"""Which problems a round draws, and at which temperature it samples them, where attempts of the run so far decide.

Everything follows from the attempts that a run keeps: no state of its own, so an interrupted run goes on as any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from star.problem import Attempt, Problem, Verdict
from star.settings import Draw


def adaptive_order(problems: Sequence[Problem], history: Iterable[Iterable[Attempt]], draw: Draw, seed: int) -> list[Problem]:
    """AdaSTaR's order (arXiv 2505.16322, Algorithm 1): longest ago drawn first, of these the least often solved first.

    `history`: all attempts of each earlier round, problems in the order in which they were drawn. Of the m problems of a round
    the first floor(m a^2) move to "drawn in round t" with the share of their attempts that were right; the others come again. a is
    the share of the m that was solved, with or without the hint (as the authors' code has it; the paper says training accuracy).
    Ties are broken by a hash of the seed and the problem. The other values of `draw` are the paper's ablations (Table 2).
    """
    last, rate = dict.fromkeys((problem.id for problem in problems), 0), dict.fromkeys((p.id for p in problems), 0.0)
    for number, attempts in enumerate(history, start=1):
        outcomes: dict[str, list[bool]] = {}
        for attempt in attempts:
            outcomes.setdefault(attempt["problem_id"], []).append(attempt["verdict"] == Verdict.correct)
        solved, m = sum(map(any, outcomes.values())), len(outcomes)
        moved = m if draw == "adaptive_no_curriculum" else solved**2 // max(1, m)  # in floating point 100 * .7^2 is below 49
        for problem_id in list(outcomes)[:moved]:
            last[problem_id] = number
            rate[problem_id] = sum(outcomes[problem_id]) / len(outcomes[problem_id])

    def priority(problem: Problem) -> tuple[int, float, str]:
        tie = hashlib.sha256(f"{seed}-{problem.id}".encode()).hexdigest()
        return last[problem.id], 0.0 if draw == "adaptive_no_win_rate" else rate[problem.id], tie

    return sorted(problems, key=priority, reverse=draw == "adaptive_reversed")


def balance(attempts: Sequence[Attempt], wanted: int) -> float:
    """B-STaR's balance score (arXiv 2412.17256, section 4), the mean over problems of min(n'/wanted, 1) n'/n.

    n: different rationales with the right answer; n': those of them that the task's exact check calls sound, or all where there is
    no check, which leaves "as many different right ones as are wanted".
    """
    chosen: dict[str, dict[str, bool]] = {attempt["problem_id"]: {} for attempt in attempts}
    for attempt in attempts:
        if attempt["verdict"] == Verdict.correct:
            chosen[attempt["problem_id"]][" ".join(attempt["rationale"].split())] = attempt["sound"] is not False
    scores = [min(sum(own.values()) / wanted, 1.0) * sum(own.values()) / len(own) if own else 0.0 for own in chosen.values()]
    return sum(scores) / max(1, len(scores))


def best_temperature(probe: Iterable[Attempt], temperatures: Sequence[float], samples: int) -> float:
    """The temperature with the highest balance score, the lowest of equals; of each problem the first `samples` samples are of the
    first temperature, and so on.
    """
    tried: list[list[Attempt]] = [[] for _ in temperatures]
    for attempt in probe:
        tried[attempt["sample"] // samples].append(attempt)
    return max(zip(temperatures, tried, strict=True), key=lambda one: (balance(one[1], min(8, samples)), -one[0]))[0]
