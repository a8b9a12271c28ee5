"""The table at the end of `analysis.score`: answer right or wrong x sound or unsound, by generator, with intervals."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from analysis.rationales.records import Record
from analysis.soundness.judging import Judgement

THRESHOLD = 0.5
MAX_ROWS = 30
FITTED_ON = frozenset(("GSM8K example model solutions", "Mr-Ben", "MR-GSM8K", "SVAMP", "CoTErrorRecovery"))
"""Sources of the records that the shipped models were fitted on."""


@dataclass
class Tally:
    """Counts by generator, answer (right, wrong, unknown) and judgement (sound, unsound, abstained)."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    fitted_on: int = 0
    """Records of the sources that the shipped models were fitted on."""

    @property
    def records(self) -> int:
        return sum(self.counts.values())

    def add(self, records: Sequence[Record], judgements: Sequence[Judgement]) -> None:
        """Count a chunk. `answer_correct` is read here, for the table only."""
        for record, judgement in zip(records, judgements, strict=True):
            answer = {True: "right", False: "wrong", None: "unknown"}[record.answer_correct]
            verdict = "unsound" if (judgement.p_unsound or 0.0) > THRESHOLD else "sound"
            verdict = "abstained" if judgement.p_unsound is None else verdict
            self.fitted_on += record.source in FITTED_ON
            self.counts[(record.generator or "-", answer, verdict)] += 1

    def show(self, *, used_gold: bool) -> None:
        """Print the table with 95 % Wilson intervals."""
        from rich.console import Console
        from rich.table import Table

        from star.statistics import wilson

        note = "; the gold answers were used for p_unsound, not where an exact checker judges" if used_gold else ""
        table = Table(title=f"Is it sound? (unsound: p_unsound > {THRESHOLD}{note})")
        for column in ("generator", "answer", "records", "sound", "unsound", "abstained", "unsound % [95 %]"):
            table.add_column(column, justify="left" if column in ("generator", "answer") else "right")
        groups = sorted({(generator, answer) for generator, answer, _ in self.counts})
        everyone = {generator for generator, _ in groups}
        for generator, answer in groups[:MAX_ROWS]:
            self._row(table, generator, answer, [key for key in self.counts if key[:2] == (generator, answer)], wilson)
        if len(everyone) != 1 or len(groups) > MAX_ROWS:
            table.add_section()
            for answer in ("right", "wrong", "unknown"):
                keys = [key for key in self.counts if key[1] == answer]
                if keys:
                    self._row(table, "all", answer, keys, wilson)
        if self.fitted_on:
            table.caption = (
                f"{self.fitted_on:,} of these records are of sources that the detector was fitted on, so this table flatters it: "
                "benchmarks/README.md has figures for held-out questions."
            )
        Console(width=None if sys.stdout.isatty() else 160).print(table)

    def _row(self, table, generator, answer, keys, wilson) -> None:  # type: ignore[no-untyped-def]
        by_verdict: Counter[str] = Counter()
        for key in keys:
            by_verdict[key[2]] += self.counts[key]
        judged = by_verdict["sound"] + by_verdict["unsound"]
        share = wilson(by_verdict["unsound"], judged).percent()
        cells = [by_verdict.total(), by_verdict["sound"], by_verdict["unsound"], by_verdict["abstained"]]
        table.add_row(generator, answer, *(f"{cell:,}" for cell in cells), share)
