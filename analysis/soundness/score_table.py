"""The table at the end of `analysis.score`: right or wrong answers, what people's labels in the file say, and what is proven,
flagged or not judged, by generator, with intervals."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from analysis.rationales.records import Record, is_label
from analysis.soundness.grades import THRESHOLD, flagged
from analysis.soundness.judging import Judgement
from analysis.soundness.scorer import STATUSES, Status

MAX_ROWS = 30
FITTED_ON = frozenset(("GSM8K example model solutions", "MR-GSM8K", "CoTErrorRecovery"))
"""Sources of the records that the shipped scores were fitted on."""
ANSWERS = {True: "right", False: "wrong", None: "unknown"}


@dataclass
class Tally:
    """Counts by generator and answer (right, wrong, unknown) of labels and judgements."""

    records: int = 0
    counts: defaultdict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """(generator, answer) -> records, labelled, labelled unsound, proven, checked, flagged, ..."""
    statuses: Counter[Status] = field(default_factory=Counter)
    """Of records that are not judged."""
    fitted_on: int = 0
    """Records of the sources that the shipped scores were fitted on."""

    def add(self, records: Sequence[Record], judgements: Sequence[Judgement]) -> None:
        """Count a chunk. Labels and `answer_correct` are read here, for the table only."""
        self.records += len(records)
        for record, judgement in zip(records, judgements, strict=True):
            counted = ["records", judgement.grade]
            if judgement.grade == "scored" and flagged(judgement.p_unsound):
                counted.append("flagged")
            if record.sound is not None and is_label(record):
                counted += ["labelled", *(() if record.sound else ("labelled unsound",))]
            self.counts[record.generator or "-", ANSWERS[record.answer_correct]].update(counted)
            self.fitted_on += record.source in FITTED_ON
            if judgement.grade == "not_judged":
                self.statuses[judgement.status] += 1

    def show(self, *, used_gold: bool) -> None:
        """Print the table; shares with 95 % Wilson intervals."""
        from star.report import print_table

        note = "; the gold answers were used for scores" if used_gold else ""
        groups = sorted(self.counts)
        rows = [self._row(generator, answer, [(generator, answer)]) for generator, answer in groups[:MAX_ROWS]]
        if len({generator for generator, _ in groups}) != 1 or len(groups) > MAX_ROWS:
            of_answer = {answer: [group for group in groups if group[1] == answer] for answer in ANSWERS.values()}
            rows += [self._row("all", answer, found) for answer, found in of_answer.items() if found]
        if rows:
            print_table(rows, f"Is it sound? (flagged: a score of {THRESHOLD:g} or more{note})")
        for status, count in self.statuses.most_common():
            print(f"Not judged: {count:,} {STATUSES[status]}.")
        if self.fitted_on:
            print(
                f"{self.fitted_on:,} of these records are of sources that the scores were fitted on, so this table flatters them: "
                "benchmarks/README.md has figures for what was left out."
            )

    def _row(self, generator: str, answer: str, groups: Sequence[tuple[str, str]]) -> dict[str, str]:
        from star.statistics import wilson

        count = sum((self.counts[group] for group in groups), Counter[str]())
        row = {"generator": generator, "answer": answer, "records": f"{count['records']:,}"}
        if any(counts["labelled"] for counts in self.counts.values()):
            row["labelled unsound %"] = wilson(count["labelled unsound"], count["labelled"]).percent()
        row |= {"proven unsound": f"{count['proven']:,}", "checked": f"{count['checked']:,}"}
        return row | {"flagged / scored": f"{count['flagged']:,} / {count['scored']:,}", "not judged": f"{count['not_judged']:,}"}
