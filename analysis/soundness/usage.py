"""What scorers took, beside what became of the rationales."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from analysis.soundness.scorer import STATUSES, Status, StepScores, Usage


@dataclass
class Totals:
    statuses: Counter[Status] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    why: dict[Status, str] = field(default_factory=dict)
    """What was said of the first rationale with a status."""

    def add(self, results: Sequence[StepScores]) -> None:
        for result in results:
            self.statuses[result.status] += 1
            self.why.setdefault(result.status, result.why)
        self.usage = sum((result.usage for result in results), self.usage)

    def show(self, name: str) -> None:
        left_out = [
            f"{count:,} {STATUSES[status]}{f' (the first: {self.why[status]})' if self.why[status] else ''}"
            for status, count in self.statuses.most_common()
            if status != "ok"
        ]
        print(f"{name}: {self.statuses['ok']:,} of {self.statuses.total():,} scored", *left_out, sep="; ")
        used = self.usage
        if used.calls:
            cost = f", cost {used.cost:.2f}" if used.cost else ""
            print(
                f"  {used.calls:,} calls, {used.prompt_tokens:,} prompt and {used.generated_tokens:,} generated tokens{cost}, "
                "remembered replies included"
            )
        if waiting := self.statuses["not_asked"]:
            print(f"{name}: {waiting:,} rationales wait; the same command goes on with them.", file=sys.stderr)
