"""How often is a step called proven false that people labelled right? Wanted: at most 1 in 1,000, in any domain.

    python benchmarks/proven.py [--quick] [--list]

A step is labelled right when it stands before the first wrong step of its rationale, or anywhere in one without a wrong step;
the steps of worked solutions (GSM8K) are right. Steps behind the first wrong one carry no label. `recall` is the share
of first wrong steps that are proven false: most mistakes are none of arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from analysis.rationales.records import Record
from analysis.soundness import labelled
from analysis.soundness.judging import judge
from benchmarks.common import CommonArguments, parse, write_result
from star.statistics import wilson

LABELLED = ("bigbench_mistake_dev", "mr_ben", "mr_gsm8k_dev", "mr_gsm8k_590", "processbench_math_dev")
ALLOWED = 1e-3


@dataclass(frozen=True)
class Arguments(CommonArguments):
    list: bool = False
    """Print every step that is labelled right and called proven false."""


def main() -> None:
    arguments = parse(Arguments, __doc__)
    figures: dict[str, Any] = {"allowed": ALLOWED, "data": {}}
    for name, records in _data(200 if arguments.quick else None):
        figures["data"][name] = measure(records, show=arguments.list)
        print(f"{name:22} {figures['data'][name]}")
    counts = [figures["data"][name] for name in figures["data"]]
    figures["all"] = wilson(sum(c["false_alarms"] for c in counts), sum(c["right_steps"] for c in counts))
    write_result("proven", figures, quick=arguments.quick, device=arguments.device)


def _data(limit: int | None) -> Iterator[tuple[str, list[Record]]]:
    for name in LABELLED:
        yield name, labelled.load(name, limit)
    for name in ("gsm8k_train", "gsm8k_test"):
        yield f"{name}_worked", labelled.worked(name)[:limit]


def measure(records: list[Record], *, show: bool = False) -> dict[str, Any]:
    """Counts over the labelled steps; worked solutions, which have no label, count as right throughout."""
    right = wrong = alarms = proven = 0
    started = time.process_time()
    for record, judged in zip(records, judge(records), strict=True):
        first = -1 if record.label_source is None else record.first_error_step
        if first is None:
            continue
        before = first if first >= 0 else len(record.steps)
        right += before
        wrong += first >= 0
        proofs = [flag for flag in judged.flags if flag.severity >= 1]
        proven += any(flag.step == first for flag in proofs)
        for step in sorted({flag.step for flag in proofs if flag.step < before}):
            alarms += 1
            if show:
                message = next(flag for flag in proofs if flag.step == step)
                print(f"\n{record.id} step {step}: {message.check}: {message.message}\n  | {record.steps[step][:600]!r}")
    return {
        "right_steps": right,
        "false_alarms": alarms,
        "false_alarm_share": wilson(alarms, right),
        "wrong_steps": wrong,
        "recall": wilson(proven, wrong),
        "seconds": time.process_time() - started,
    }


if __name__ == "__main__":
    main()
