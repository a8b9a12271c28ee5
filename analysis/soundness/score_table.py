"""The table at the end of `analysis.score`: right or wrong answers, what people's labels in the file say, and what is proven,
flagged or not judged, by generator, with intervals."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from analysis.rationales.records import Record, is_label
from analysis.soundness.grades import THRESHOLD, flagged
from analysis.soundness.judging import Judgement

MAX_ROWS = 30
FITTED_ON = frozenset(("GSM8K example model solutions", "MR-GSM8K", "CoTErrorRecovery"))
"""Sources of the records that the shipped scores were fitted on."""
ANSWERS = {True: "right", False: "wrong", None: "unknown"}


@dataclass
class Tally:
    """Counts by generator and answer (right, wrong, unknown) of labels and judgements."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(generator, answer, what is counted): records, label: unsound, proven, checked, flagged, ..."""
    statuses: Counter[str] = field(default_factory=Counter)
    """Of records that are not judged."""
    fitted_on: int = 0
    """Records of the sources that the shipped scores were fitted on."""

    @property
    def records(self) -> int:
        return sum(count for (_, _, what), count in self.counts.items() if what == "records")

    def add(self, records: Sequence[Record], judgements: Sequence[Judgement]) -> None:
        """Count a chunk. Labels and `answer_correct` are read here, for the table only."""
        for record, judgement in zip(records, judgements, strict=True):
            row = (record.generator or "-", ANSWERS[record.answer_correct])
            counted = ["records", judgement.grade]
            if judgement.grade == "scored" and flagged(judgement.p_unsound):
                counted.append("flagged")
            if record.sound is not None and is_label(record):
                counted += ["labelled", *(() if record.sound else ("labelled unsound",))]
            self.counts.update((*row, what) for what in counted)
            self.fitted_on += record.source in FITTED_ON
            if judgement.grade == "not_judged":
                self.statuses[judgement.status] += 1

    def show(self, *, used_gold: bool) -> None:
        """Print the table; shares with 95 % Wilson intervals."""
        from rich.console import Console
        from rich.table import Table

        note = "; the gold answers were used for scores" if used_gold else ""
        table = Table(title=f"Is it sound? (flagged: a score of {THRESHOLD:g} or more{note})")
        labelled = any(what == "labelled" for _, _, what in self.counts)
        label = ["labelled unsound %"] if labelled else []
        for column in (
            "generator",
            "answer",
            "records",
            *label,
            "proven unsound",
            "checked",
            "flagged / scored",
            "not judged",
        ):
            table.add_column(column, justify="left" if column in ("generator", "answer") else "right")
        groups = sorted({(generator, answer) for generator, answer, _ in self.counts})
        for generator, answer in groups[:MAX_ROWS]:
            table.add_row(generator, answer, *self._cells([(generator, answer)], labelled=labelled))
        if len({generator for generator, _ in groups}) != 1 or len(groups) > MAX_ROWS:
            table.add_section()
            for answer in ANSWERS.values():
                keys = [group for group in groups if group[1] == answer]
                if keys:
                    table.add_row("all", answer, *self._cells(keys, labelled=labelled))
        table.caption = self._caption()
        Console(width=None if sys.stdout.isatty() else 160).print(table)

    def _cells(self, groups: Sequence[tuple[str, str]], *, labelled: bool) -> list[str]:
        from star.statistics import wilson

        count: Counter[str] = Counter()
        for (generator, answer, what), number in self.counts.items():
            count[what] += number * ((generator, answer) in groups)
        cells = [f"{count['records']:,}"]
        if labelled:
            cells.append(wilson(count["labelled unsound"], count["labelled"]).percent() if count["labelled"] else "-")
        cells += [f"{count['proven']:,}", f"{count['checked']:,}", f"{count['flagged']:,} / {count['scored']:,}"]
        return [*cells, f"{count['not_judged']:,}"]

    def _caption(self) -> str | None:
        from analysis.soundness.scorer import STATUSES

        said = [f"Not judged: {count:,} {STATUSES[status]}." for status, count in self.statuses.most_common()]  # type: ignore[index]
        if self.fitted_on:
            said.append(
                f"{self.fitted_on:,} of these records are of sources that the scores were fitted on, so this table flatters them: "
                "benchmarks/README.md has figures for what was left out."
            )
        return " ".join(said) or None
