"""What a run cost and reached: seconds by stage, samples, tokens, FLOPs; metrics.jsonl and result.json."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from star import run as runs
from star.attempts import sampled_figures, summarise
from star.files import StoredRows
from star.problem import Attempt, Problem
from star.schemas import Amount, Cost, Counts, Ranking, Result, RoundFacts, RoundLine, Training, UnfinishedRound
from star.shards import parts_of

T = TypeVar("T")
Row = TypeVar("Row", bound=Mapping[str, Any])


class Ledger:
    """Book-keeping of one run directory. Seconds survive an interruption in `round_NN/seconds.json` and `test/seconds.json`."""

    def __init__(self, run_dir: Path, parameters: int) -> None:
        self.run_dir, self.parameters = run_dir, parameters
        self.run = runs.Run(run_dir)
        self._seconds: dict[str, float] = {}
        self._file: Path | None = None
        self._unfinished: UnfinishedRound | None = None

    @property
    def rounds(self) -> list[RoundLine]:
        """Finished rounds, in order; one whose line is damaged is made again."""
        return self.run.rounds

    def open(self, where: runs.Where) -> None:
        """Start the clock of a round, or of what follows the last one, with the seconds that an interrupted run had spent there."""
        self._file = self.run.folder(where) / "seconds.json"
        self._seconds = dict(runs.whole_json(self._file, dict[str, Amount]) or {})

    def timed(self, stage: str, work: Callable[[], T]) -> T:
        """Do `work`, count its wall-clock seconds under `stage`. Time of a stage inside a stage counts for the inner one."""
        outside, started = sum(self._seconds.values()), time.monotonic()
        try:
            return work()
        finally:  # the parts of a stage that was stopped are kept, and so are their seconds
            inner = sum(self._seconds.values()) - outside
            self._seconds[stage] = self._seconds.get(stage, 0.0) + time.monotonic() - started - inner
            if self._file is not None:
                runs.write_json(self._file, {name: round(seconds, 3) for name, seconds in self._seconds.items()})

    def stored(self, path: Path, schema: pa.Schema, compute: Callable[[], Iterable[Row]]) -> StoredRows[Row]:
        """Rows of `path` if it is there and whole, else computed and written whole; its parts are removed then."""
        rows: StoredRows[Row] = StoredRows([path], schema)
        try:
            rows.check()
        except runs.RunError:
            if path.is_file():
                self.note(f"{path.name} of {path.parent.name} was torn and is computed again")
            runs.write_parquet(path, compute(), schema)
        shutil.rmtree(parts_of(path), ignore_errors=True)
        return rows

    def note(self, message: str) -> None:
        """A warning for the person at the terminal, kept in notes.txt too."""
        print(f"note: {message}", file=sys.stderr)
        with (self.run_dir / "notes.txt").open("a", encoding="utf-8") as handle:
            handle.write(message + "\n")

    def close_round(self, number: int, selection: Counts, facts: RoundFacts) -> RoundLine:
        """Append the round's line to metrics.jsonl, whole."""
        folder = self.run.folder(number)
        line: RoundLine = {
            "round": number,
            "selection": selection,
            **facts,
            "seconds": self._rounded(),
            **self._cost([folder / f"{name}.parquet" for name in ("probe", "attempts", "evaluation")], facts.get("training")),
        }
        lines = [*(entry for entry in self.rounds if entry["round"] != number), line]
        text = "".join(json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n" for entry in lines)
        runs.write_text(self.run_dir / "metrics.jsonl", text)
        return line

    def leave_round(self, number: int, facts: RoundFacts) -> None:
        """A round that ends without a model has no line in metrics.jsonl: its facts and seconds go into result.json."""
        self._unfinished = {"round": number, **facts, "seconds": self._rounded()}

    def _rounded(self) -> dict[str, float | None]:
        return {name: round(seconds, 2) for name, seconds in self._seconds.items()}

    def _cost(self, files: Sequence[Path], training: Training | None, ranked: int = 0) -> Cost:
        """Samples, tokens and FLOPs: 2N per sampled or read token, 6N per trained one (Kaplan et al. 2020, section 2.1). Read are
        prompts, the `ranked` tokens of what a verifier ranks, and while training the pairs by a reference model.
        """
        columns = ["tokens", "prompt_tokens"]
        rows: StoredRows[Any] = StoredRows([file for file in files if file.is_file()], runs.ATTEMPTS, columns)
        sampled, prompts = sum(row["tokens"] or 0 for row in rows), sum(row["prompt_tokens"] or 0 for row in rows)
        trained, reference = (training["tokens"], training.get("reference_tokens", 0)) if training else (0, 0)
        return {
            "samples": len(rows),
            "sampled_tokens": sampled,
            "prompt_tokens": prompts,
            "flops": {
                "sampling": 2 * self.parameters * (sampled + prompts + ranked),
                "training": self.parameters * (6 * trained + 2 * reference),
            },
        }

    def finish(
        self, chosen: int, select_on: str, rows: StoredRows[Attempt], problems: Mapping[str, Problem], ranked: Ranking | None
    ) -> Result:
        """Write result.json: the chosen round, its test accuracy, pass@k and maj@k where samples were drawn, and what a verifier
        makes of those. The open clock is the test's.
        """
        rounds, unfinished = self.rounds, self._unfinished
        lines: list[RoundFacts] = [*rounds, *([unfinished] if unfinished else [])]
        files = [self.run_dir / "test" / "evaluation.parquet"]
        if unfinished:
            files += [self.run.folder(unfinished["round"]) / f"{name}.parquet" for name in ("probe", "attempts")]
        sampled = rows.only("attempt_id", "problem_id", "sample", "answer", "verdict")
        spent: list[Mapping[str, float | None]] = [*(line.get("seconds") or {} for line in lines), self._seconds]
        result: Result = {
            "chosen_round": chosen,
            "rounds": max((line["round"] for line in rounds), default=0),
            "select_on": select_on,
            "test": {**summarise(rows), **sampled_figures(sampled, problems, ranked and ranked["scores"])},
            "gate": next((line["gate"] for line in lines if line.get("gate")), None),
            "round_without_model": unfinished,
            "parameters": self.parameters,
            "seconds_total": round(sum(seconds or 0 for each in spent for seconds in each.values()), 1),
            "cost": self._cost(files, ranked and ranked["training"], ranked["tokens"] if ranked else 0),
        }
        if ranked:
            result["verifier"] = ranked["training"]
        runs.write_json(self.run_dir / "result.json", result)
        return result
