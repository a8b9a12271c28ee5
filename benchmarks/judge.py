"""A small public chat model as judge of rationales that people labelled, beside a guess. Expected: no better than the guess.

    python benchmarks/judge.py [--quick]

It shows that a judge runs from end to end on a real model, and what the smallest ones are worth. One vote for each of 40
rationales of MR-GSM8K, half of them wrong; a reply that cannot be read counts as wrong, as in ProcessBench. `guess` names one of
the steps or "none" with equal chances.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.rationales.records import Record
from analysis.soundness import labelled
from analysis.soundness.judge import TEMPLATE
from analysis.soundness.scorer import Item, StepScores
from analysis.soundness.scorers import Place, ScorerOptions, open_scorers
from benchmarks.common import CommonArguments, cache_of, parse, write_result
from star.command_line import run_command
from star.statistics import wilson

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@dataclass(frozen=True)
class Arguments(CommonArguments):
    model: str = MODEL
    """A chat model, as a directory or Hub id."""
    rows: int = 40
    """Rationales, half of them wrong."""
    max_tokens: int = 512
    """Of a reply."""


def main() -> None:
    arguments = parse(Arguments, __doc__, gpu=True)
    rows, most = (2, 8) if arguments.quick else (arguments.rows, arguments.max_tokens)
    labels = labelled.load("mr_gsm8k_dev")
    wrong = [record for record in labels if record.sound is False and (record.first_error_step or -1) >= 0]
    records = [*wrong[: rows // 2], *[record for record in labels if record.sound][: rows - rows // 2]]
    items = [Item.of(record, place) for place, record in enumerate(records)]
    options = ScorerOptions(max_tokens=most)
    cache_of(arguments.device).mkdir(parents=True, exist_ok=True)
    with open_scorers(
        [f"judge:transformers:{arguments.model}"], options, Place(output=cache_of(arguments.device) / "judge")
    ) as scorers:
        results = scorers[0].score(items)
    figures = {"max_tokens": most, "template": TEMPLATE, "models": {Path(arguments.model).name: measure(records, results)}}
    print(figures)
    write_result("judge", figures, quick=arguments.quick, device=arguments.device)


def measure(records: list[Record], results: list[StepScores]) -> dict[str, Any]:
    """ProcessBench's accuracies and their harmonic mean, of the judge and of a guess."""
    named = [(record, result.verdict == record.first_error_step) for record, result in zip(records, results, strict=True)]
    parts = {name: [hit for record, hit in named if record.sound is sound] for name, sound in (("wrong", False), ("sound", True))}
    guess = [statistics.mean(1 / (len(one.steps) + 1) for one in records if one.sound is sound) for sound in (False, True)]
    return {
        "rationales": len(records),
        "read": wilson(sum(result.status == "ok" for result in results), len(results)),
        "says_none": sum(result.verdict == -1 for result in results),
        **{f"accuracy_{name}": wilson(sum(hits), len(hits)) for name, hits in parts.items()},
        "f1": statistics.harmonic_mean([statistics.mean(hits) for hits in parts.values()]),
        "f1_guess": statistics.harmonic_mean(guess),
        "generated_tokens": sum(result.usage.generated_tokens for result in results),
        "seconds": sum(result.usage.seconds for result in results),
    }


if __name__ == "__main__":
    sys.exit(run_command(main))
