"""What a run cost and reached: seconds by stage, samples, tokens, FLOPs; metrics.jsonl and result.json."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar, cast

from star import run as runs
from star.attempts import summarise
from star.grading.verdicts import vote
from star.problem import Problem, Verdict
from star.run import TEST
from star.schemas import Amount, Result, RoundLine
from star.statistics import maj_at_k, pass_at_k

T = TypeVar("T")


class Ledger:
    """Book-keeping of one run directory. Seconds survive an interruption in `round_NN/seconds.json` and `test/seconds.json`."""

    def __init__(self, run_dir: Path, parameters: int) -> None:
        self.run_dir, self.parameters = run_dir, parameters
        self.run = runs.Run(run_dir)
        self._seconds: dict[str, float] = {}
        self._file: Path | None = None
        self._left: dict[str, Any] = {}

    def rounds(self) -> list[RoundLine]:
        """Finished rounds, in order; one whose line is damaged is owed again."""
        return self.run.rounds

    def round(self, number: int) -> RoundLine | None:
        """A finished round's line, or None."""
        return next((line for line in self.rounds() if line["round"] == number), None)

    def open_round(self, number: int) -> None:
        """Start a round's clock, with the seconds that an interrupted run had spent on its finished stages."""
        self._open(self.run.folder(number))

    def open_test(self) -> None:
        """Start the clock of what follows the last round, in the same way."""
        self._open(self.run.folder(TEST))

    def _open(self, folder: Path) -> None:
        self._file = folder / "seconds.json"
        self._seconds = dict(runs.whole_json(self._file, dict[str, Amount]) or {})

    def timed(self, stage: str, work: Callable[[], T]) -> T:
        """Do `work`, count its wall-clock seconds under `stage`. Time of a stage inside a stage counts for the inner one."""
        outside, started = sum(self._seconds.values()), time.monotonic()
        done = work()
        inner = sum(self._seconds.values()) - outside
        self._seconds[stage] = self._seconds.get(stage, 0.0) + time.monotonic() - started - inner
        if self._file is not None:
            runs.write_json(self._file, {name: round(seconds, 3) for name, seconds in self._seconds.items()})
        return done

    def note(self, message: str) -> None:
        """A warning for the person at the terminal, kept in notes.txt too."""
        print(f"note: {message}", file=sys.stderr)
        with (self.run_dir / "notes.txt").open("a", encoding="utf-8") as handle:
            handle.write(message + "\n")

    def close_round(self, number: int, selection: dict[str, Any], facts: dict[str, Any]) -> RoundLine:
        """Append the round's line to metrics.jsonl, whole."""
        folder = self.run.folder(number)
        line: Any = {
            "round": number,
            "selection": selection,
            **facts,
            "seconds": {name: round(seconds, 2) for name, seconds in self._seconds.items()},
            **self._cost([folder / "attempts.parquet", folder / "evaluation.parquet"], facts.get("training")),
        }
        lines = [*(entry for entry in self.rounds() if entry["round"] != number), line]
        text = "".join(json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n" for entry in lines)
        runs.write_text(self.run_dir / "metrics.jsonl", text)
        return cast(RoundLine, line)

    def leave_round(self, number: int, facts: dict[str, Any]) -> None:
        """A round that ends without a model has no line in metrics.jsonl: what it found and cost goes into result.json."""
        seconds = {name: round(seconds, 2) for name, seconds in self._seconds.items()}
        self._left = {"round": number, **facts, "seconds": seconds}

    def _cost(self, files: Sequence[Path], training: dict[str, Any] | None) -> dict[str, Any]:
        """Samples, tokens and FLOPs: 2N per sampled or read token, 6N per trained one (Kaplan et al. 2020, section 2.1)."""
        columns = ["tokens", "prompt_tokens"]
        tables = [runs.read_table(file, runs.ATTEMPTS, columns) for file in files if file.is_file()]
        rows = [row for table in tables for row in table.to_pylist()]
        sampled, prompts = sum(row["tokens"] or 0 for row in rows), sum(row["prompt_tokens"] or 0 for row in rows)
        trained = (training or {}).get("tokens", 0)
        return {
            "samples": len(rows),
            "sampled_tokens": sampled,
            "prompt_tokens": prompts,
            "flops": {"sampling": 2 * self.parameters * (sampled + prompts), "training": 6 * self.parameters * trained},
        }

    def finish(
        self, chosen: int, select_on: str, rows: Sequence[dict[str, Any]], problems: Mapping[str, Problem]
    ) -> Result:
        """Write result.json: the chosen round, its test accuracy, pass@k and maj@k where samples were drawn. The open clock
        is the test's.
        """
        lines: list[Mapping[str, Any]] = [*self.rounds(), *([self._left] if self._left else [])]
        files = [self.run.folder(TEST) / "evaluation.parquet"]
        if self._left:
            files.append(self.run.folder(self._left["round"]) / "attempts.parquet")
        result: Any = {
            "chosen_round": chosen,
            "rounds": max((line["round"] for line in self.rounds()), default=0),
            "select_on": select_on,
            "test": {**summarise(rows), **sampled_figures(rows, problems)},
            "gate": next((line["gate"] for line in lines if line.get("gate")), None),
            "round_without_model": self._left or None,
            "parameters": self.parameters,
            "seconds_total": round(sum(sum(each.values()) for each in (*map(_seconds, lines), self._seconds)), 1),
            "cost": self._cost(files, None),
        }
        runs.write_json(self.run_dir / "result.json", result)
        return cast(Result, result)


def _seconds(line: Mapping[str, Any]) -> dict[str, float]:
    return {name: seconds for name, seconds in (line.get("seconds") or {}).items() if seconds is not None}


def sampled_figures(rows: Sequence[dict[str, Any]], problems: Mapping[str, Problem]) -> dict[str, Any]:
    """pass@k (unbiased, Chen et al. 2021) and maj@k over the samples of each problem; empty without samples."""
    sampled: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["sample"] > 0:
            sampled.setdefault(row["problem_id"], []).append(row)
    if not sampled:
        return {}
    most = min(len(samples) for samples in sampled.values())
    counts = [k for k in (1, 2, 4, 8, 16, 32, 64, 128) if k < most] + [most]
    right = {key: [row["verdict"] == Verdict.correct for row in samples] for key, samples in sampled.items()}
    votes = {
        key: [vote(row["answer"], row["verdict"], problems[key].choices) for row in samples]
        for key, samples in sampled.items()
    }
    return {
        "samples_per_problem": most,
        "pass_at_k": {str(k): mean(pass_at_k(len(r), sum(r), k) for r in right.values()) for k in counts},
        "maj_at_k": {str(k): mean(maj_at_k(votes[key], r, k) for key, r in right.items()) for k in counts},
    }
