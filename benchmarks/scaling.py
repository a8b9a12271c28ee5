"""Does the cost grow in proportion? A round against its problems, `analysis.score` against records; and what workers add.

    python benchmarks/scaling.py [--quick]

A round of 5-digit sums is answered by script, so that what is measured is the driver: preparing the run, shards, grading, curation
and the training rows. Once it is stopped in the middle and begun anew on its run directory, which is how long it takes to go on.
Fine-tuning is left out: a recipe fixes its steps. `analysis.score` reads a .jsonl of made-up rationales, half word problems and
half addition scratchpads. Workers sample 3-digit sums from the embedded model: none, one and two of them on this machine.

Every point is a process of its own, so that its peak memory is its own. Points and unfinished rounds are kept under
benchmarks/cache/scaling by commit: an interrupted call goes on where it stopped. Those of a checkout with changes are made anew.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from benchmarks.common import CommonArguments, cache_of, commit, in_new_process, parse, peak_mb, write_result
from star.command_line import run_command
from star.errors import InputError, UsageError
from star.progress import bar
from star.run import whole_json, write_json
from star.statistics import slope

PROBLEMS = (10_000, 100_000, 1_000_000)
RECORDS = (1_000, 10_000, 100_000, 300_000)
WORKERS = (0, 1, 2)
SAMPLED = 2_000
"""Problems that workers sample."""


@dataclass(frozen=True)
class Arguments(CommonArguments):
    point: str = ""
    """Measure one point in this process and print it as JSON: round:PROBLEMS, score:RECORDS or workers:N:PROBLEMS."""


def plan(quick: bool) -> dict[str, list[tuple[int, str]]]:
    """Axis -> (amount, point)."""
    problems, records, workers, sampled = ((20, 40), (50, 200), (0,), 8) if quick else (PROBLEMS, RECORDS, WORKERS, SAMPLED)
    return {
        "problems": [(count, f"round:{count}") for count in problems],
        "records": [(count, f"score:{count}") for count in records],
        "workers": [(count, f"workers:{count}:{sampled}") for count in workers],
    }


# ---------------------------------------------------------------------- one point, in a process of its own


class StoppedError(Exception):
    """The round is stopped in the middle."""


class Scripted:
    """A sampler that gives seven of ten sums right, all with the hint. `called` is called before every shard."""

    name = "scripted"

    def __init__(self, tokenizer: Any, model_dir: Path, called: Callable[[], None]) -> None:
        self.tokenizer, self.called = tokenizer, called
        self.model_dir: Path | None = model_dir

    def load(self, model_dir: Path) -> None:
        self.model_dir = model_dir

    def sample(self, prompts: Any, decoding: Any, *, progress: str | None = None) -> Any:
        from star.sampling.base import Completion
        from star.tasks.addition import completion, operands, scratchpad

        self.called()
        answered = []
        for prompt in self.tokenizer.batch_decode(prompts):
            lines = prompt.strip().splitlines()
            a, b = operands(lines[1])
            wrong = len(lines) == 3 and crc32(lines[1].encode()) % 10 < 3
            text = completion("\n".join(scratchpad(a, b)), str(a + b + wrong))
            answered.append([Completion(text, (0,) * 96, "stop", (-0.1,) * 96)] * decoding.samples)
        return answered

    def sleep(self) -> None:
        """Nothing to give back."""

    close = sleep


def recipe_of(problems: int, folder: Path, task: dict[str, Any], sampling: dict[str, Any]) -> Any:
    """One round of the addition recipe on all of its problems."""
    from benchmarks.arms import arm_recipe

    changes = {
        "task": {"pool": problems + 2, "test_size": 2, **task},
        "loop": {"rounds": 1, "problems": None},
        "curation": {"require": "sound"},
        "evaluation": {"selection_size": 2},
        "sampling": {"backend": "transformers", "max_new_tokens": 96, **sampling},
    }
    return arm_recipe("addition.yaml", 0, changes).model_copy(update={"runs_dir": str(folder)})


def measure_round(problems: int, folder: Path) -> dict[str, Any]:
    """A round in two pieces at least, of which each goes on with what those before it have left in `folder`."""
    pieces: list[dict[str, float]] = []
    while not pieces or "kept" not in pieces[-1]:
        pieces = measure_piece(problems, folder)
    return {
        "seconds": sum(piece["seconds"] for piece in pieces),
        "resume_seconds": pieces[-1]["until_sampling"],
        "peak_mb": max(piece["peak_mb"] for piece in pieces),
        "attempts": int(pieces[-1]["attempts"]),
        "kept": int(pieces[-1]["kept"]),
    }


def measure_piece(problems: int, folder: Path) -> list[dict[str, float]]:
    """All pieces so far: the first stops in the middle, the last has what was made. Starting Python is not counted."""
    from star.curation import count_data
    from star.loop import Loop
    from star.pool import Here
    from star.prompting import PromptBuilder
    from star.sampling.model_files import load_tokenizer
    from star.setup import prepare, resolve_model

    recipe = recipe_of(problems, folder, {"digits": [5]}, {"shard": min(4_096, problems // 4)})
    load_tokenizer(resolve_model(recipe.model))  # imports what it needs
    file, piece = folder / "pieces.json", {"calls": 0.0}
    pieces = [*(whole_json(file, list[dict[str, float]]) or []), piece]
    started = time.monotonic()

    def called() -> None:
        piece.setdefault("until_sampling", time.monotonic() - started)
        piece.update(seconds=time.monotonic() - started, peak_mb=peak_mb(), calls=piece["calls"] + 1)
        write_json(file, pieces)
        if len(pieces) == 1 and piece["calls"] * recipe.sampling.shard > problems / 2:
            raise StoppedError

    setup = prepare(recipe, ["benchmark"])
    pool = Here(Scripted(setup.tokenizer, setup.base_dir, called), PromptBuilder(setup.task, setup.tokenizer, recipe.prompting))
    loop = Loop(recipe, setup, pool, lambda line: None)
    loop.ledger.open(1)
    try:
        attempts = loop.attempts(1)
    except StoppedError:
        return pieces
    loop.gate(attempts)
    rows = loop.training(1, attempts)
    count_data(attempts, rows, pool=problems)
    piece.update(seconds=time.monotonic() - started, peak_mb=peak_mb(), attempts=len(attempts), kept=len(rows))
    write_json(file, pieces)
    return pieces


def measure_workers(workers: int, problems: int, folder: Path) -> dict[str, Any]:
    """Seconds until all workers have the model (0: this process has it), and seconds of a round's attempts then."""
    from star.loop import Loop
    from star.pool import open_pool
    from star.setup import prepare

    recipe = recipe_of(problems, folder, {"digits": [3]}, {"shard": max(1, problems // 8), "workers": workers})
    setup = prepare(recipe, ["benchmark"])
    started = time.monotonic()
    pool = open_pool(recipe, setup)
    try:
        pool.load(setup.base_dir)
        ready = time.monotonic()
        attempts = Loop(recipe, setup, pool, lambda line: None).attempts(1)
        ended = time.monotonic()
    finally:
        pool.close()
    kept = sum(bool(row["kept"]) for row in attempts)
    return {"start": ready - started, "seconds": ended - ready, "peak_mb": peak_mb(), "attempts": len(attempts), "kept": kept}


def measure_score(records: int, folder: Path) -> dict[str, Any]:
    """Seconds and peak memory of `python -m analysis.score FILE -o SCORES`, once everything is imported and loaded."""
    from analysis import score
    from analysis.rationales.records import write_records

    arguments = score.Arguments(folder / "rationales.jsonl", folder / "scores.jsonl")
    write_records(arguments.input, made_up(10))
    score.score_file(arguments, folder / "scores.jsonl", ())  # imports everything, loads the detector
    write_records(arguments.input, made_up(records))
    started = time.monotonic()
    broken = score.score_file(arguments, folder / "scores.jsonl", ())
    seconds = time.monotonic() - started
    if broken:
        raise InputError(f"a made-up record could not be read: {broken[0]}")
    return {"seconds": seconds, "peak_mb": peak_mb(), "scored_per_second": records / seconds}


def made_up(count: int) -> Iterator[Any]:
    """`count` records, half word problems and half scratchpads; a third of them with a number changed. Seeded by number."""
    from analysis.rationales.records import Record
    from benchmarks.scripted_models import scripted_subjects
    from star.tasks.addition import question_of, scratchpad

    for number in range(count):
        rng = random.Random(f"scaling-{number}")
        a, b = (rng.randrange(10**5) for _ in range(2))
        question, steps, answer = question_of(a, b), scratchpad(a, b), str(a + b)
        if number % 2:
            (subject,) = scripted_subjects(1, seed=number)
            question, steps, answer = subject.problem.question, subject.rationale.splitlines(), subject.problem.gold
        if rng.random() < 1 / 3:
            place = rng.randrange(1, len(steps))
            steps[place] = "".join(str(rng.randrange(10)) if sign.isdigit() else sign for sign in steps[place])
        yield Record(id=f"made-up-{number}", question=question, steps=tuple(steps), answer=answer)


def measure(point: str, folder: Path) -> dict[str, Any]:
    """One point in this process. Raises UsageError for a point that is none."""
    kind, *amounts = point.split(":")
    kinds: dict[str, Callable[..., dict[str, Any]]] = {"round": measure_round, "score": measure_score, "workers": measure_workers}
    if kind not in kinds or len(amounts) != 1 + (kind == "workers") or not all(map(str.isdecimal, amounts)):
        raise UsageError(f"--point {point!r}: expected round:PROBLEMS, score:RECORDS or workers:N:PROBLEMS, as in round:1000")
    folder.mkdir(parents=True, exist_ok=True)
    with redirect_stdout(sys.stderr):
        return kinds[kind](*map(int, amounts), folder)


# ---------------------------------------------------------------------- all points


def measured(point: str, checkout: str, device: str, *, quick: bool) -> dict[str, Any]:
    """A point from the cache, else measured in a new process. Raises InputError when that process fails."""
    folder = cache_of(device) / "scaling" / checkout / point.replace(":", "-")
    if checkout == "unknown" or checkout.endswith("-dirty") or quick:
        shutil.rmtree(folder, ignore_errors=True)
    if (point_figures := whole_json(folder / "point.json")) is None:
        # Importing torch takes longer than quick points, so their peaks of memory are shared.
        point_figures = measure(point, folder) if quick else in_new_process(__file__, "--point", point, "--device", device)
        shutil.rmtree(folder)
        write_json(folder / "point.json", point_figures)
    return dict(point_figures)


def exponent(amounts: Sequence[float], costs: Sequence[float]) -> dict[str, Any]:
    """Exponent of cost = c * amount^exponent: the slope of the logarithms."""
    import numpy as np

    return slope(list(np.log(amounts)), list(np.log(costs)))[0].as_dict()


def main() -> None:
    """All points, small ones first; or the one that `--point` names."""
    arguments = parse(Arguments, __doc__, gpu=True)
    checkout, axes = commit(), plan(arguments.quick)
    if arguments.point:
        folder = cache_of(arguments.device) / "scaling" / checkout / arguments.point.replace(":", "-")
        print(json.dumps(measure(arguments.point, folder)))
        return
    done: dict[str, dict[str, Any]] = {}
    wanted = dict.fromkeys(point for axis in axes.values() for _, point in axis)
    for point in bar("scaling", unit="point", over=wanted):
        done[point] = measured(point, checkout, arguments.device, quick=arguments.quick)
    figures: dict[str, Any] = {}
    for axis, each in axes.items():
        points = [{"amount": amount, **done[point]} for amount, point in each]
        figures[axis] = {"points": points}
        if axis != "workers":
            figures[axis]["slope_seconds"] = exponent([row["amount"] for row in points], [row["seconds"] for row in points])
    write_result("scaling", figures, quick=arguments.quick, seeds=[0], device=arguments.device)


if __name__ == "__main__":
    sys.exit(run_command(main))
