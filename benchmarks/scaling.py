"""Does the cost grow in proportion? A round's stages against problems and samples, and `analysis.score` against records.

    python benchmarks/scaling.py [--quick]

A round is measured on the embedded model with 3-digit sums: preparing the run, sampling (generated, then rationalized with
the hint), grading with curation and the attempts file, and building the training rows. Fine-tuning is left out: a recipe
fixes its steps, so its time does not depend on the number of problems. `analysis.score` reads a .jsonl of made-up
rationales, half word problems and half addition scratchpads, and writes a .jsonl of scores.

Every point is a process of its own, so that its peak memory is its own. Points are kept under benchmarks/cache/scaling
by commit: an interrupted call goes on where it stopped. Points of a checkout with changes are measured anew.
"""

from __future__ import annotations

import contextlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, CommonArguments, cache_of, commit, parse, result_path, write_result
from star.command_line import run_command
from star.errors import InputError, UsageError
from star.progress import bar
from star.run import whole_json, write_json
from star.statistics import slope

PROBLEMS = (1_000, 3_000, 10_000, 30_000)
SAMPLES = (1, 2, 4, 8, 16)
RECORDS = (1_000, 10_000, 100_000, 300_000)
NEAR_LINEAR = 1.1
"""A slope up to this is nearly in proportion: 30 times the amount then costs at most 1.4 times the proportional price."""
AXES = {
    "problems": ("problems", "Does a round cost in proportion to its problems?"),
    "samples": ("samples per problem", "Does a round cost in proportion to its samples?"),
    "records": ("records", "Does scoring cost in proportion to its records?"),
}


@dataclass(frozen=True)
class Arguments(CommonArguments):
    """Arguments of this benchmark."""

    point: str = ""
    """Measure one point in this process and print it as JSON: round:PROBLEMS:SAMPLES or score:RECORDS."""


def plan(quick: bool) -> dict[str, list[tuple[int, str]]]:
    """Axis -> (amount, point)."""
    problems, samples, records = ((20, 40), (1, 2), (50, 200)) if quick else (PROBLEMS, SAMPLES, RECORDS)
    return {
        "problems": [(count, f"round:{count}:1") for count in problems],
        "samples": [(count, f"round:{problems[0]}:{count}") for count in samples],
        "records": [(count, f"score:{count}") for count in records],
    }


# ---------------------------------------------------------------------- one point, in a process of its own


def peak_mb() -> float:
    """Largest resident memory of this process so far, in MB."""
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux ru_maxrss begins at what the parent process had used, this does not
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


class Timed:
    """A sampler that counts the seconds spent in it and what it made."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.name, self.seconds, self.tokens = inner, inner.name, 0.0, 0
        self.model_dir: Path | None = inner.model_dir

    def load(self, model_dir: Path) -> None:
        self.inner.load(model_dir)

    def sample(self, prompts: Any, decoding: Any, *, progress: str | None = None) -> Any:
        started = time.monotonic()
        sampled = self.inner.sample(prompts, decoding, progress=progress)
        self.seconds += time.monotonic() - started
        self.tokens += sum(len(completion.token_ids) for each in sampled for completion in each)
        return sampled

    def sleep(self) -> None:
        self.inner.sleep()

    def close(self) -> None:
        self.inner.close()


def measure_round(problems: int, samples: int, folder: Path) -> dict[str, Any]:
    """Seconds of a round's stages, peak memory, and what it made. Starting Python and the sampler is not counted."""
    from benchmarks.arms import arm_recipe
    from star.loop import Loop
    from star.pool import Here
    from star.prompting import PromptBuilder
    from star.sampling import open_sampler
    from star.setup import prepare, resolve_model

    changes = {
        "task": {"digits": [3], "pool": problems + 2, "test_size": 2},
        "loop": {"rounds": 1, "problems": None},
        "curation": {"require": "sound"},
        "evaluation": {"selection_size": 2},
        "sampling": {
            "backend": "transformers",
            "samples": samples,
            "temperature": 0.7,
            "top_p": 1.0,
            "max_new_tokens": 96,
        },
    }
    recipe = arm_recipe("addition.yaml", 0, changes).model_copy(update={"runs_dir": str(folder)})
    sampler = Timed(open_sampler(recipe.sampling, resolve_model(recipe.model)))
    before = peak_mb()
    started = time.monotonic()
    setup = prepare(recipe, ["benchmark"])
    prepared = time.monotonic()
    pool = Here(sampler, PromptBuilder(setup.task, setup.tokenizer, recipe.prompting))
    loop = Loop(recipe, setup, pool, lambda line: None)
    loop.ledger.open(1)
    attempts = loop.attempts(1)
    attempted = time.monotonic()
    rows = loop.training(1, attempts)
    ended = time.monotonic()
    sampler.close()
    return {
        "seconds": ended - started,
        "preparing": prepared - started,
        "sampling": sampler.seconds,
        "grading_and_curation": attempted - prepared - sampler.seconds,
        "training_rows": ended - attempted,
        "peak_mb": peak_mb(),
        "peak_mb_before": before,
        "attempts": len(attempts),
        "kept": len(rows),
        "sampled_tokens": sampler.tokens,
    }


def measure_score(records: int, folder: Path) -> dict[str, Any]:
    """Seconds and peak memory of `python -m analysis.score FILE -o SCORES`, once everything is imported and loaded."""
    from analysis import score
    from analysis.rationales.records import write_records

    arguments = score.Arguments(folder / "rationales.jsonl", folder / "scores.jsonl")
    write_records(arguments.input, made_up(10))
    score.score_file(arguments, folder / "scores.jsonl", ())  # imports everything, loads the detector
    write_records(arguments.input, made_up(records))
    before = peak_mb()
    started = time.monotonic()
    broken = score.score_file(arguments, folder / "scores.jsonl", ())
    seconds = time.monotonic() - started
    if broken:
        raise InputError(f"a made-up record could not be read: {broken[0]}")
    return {"seconds": seconds, "peak_mb": peak_mb(), "peak_mb_before": before, "scored_per_second": records / seconds}


def made_up(count: int) -> Iterator[Any]:
    """`count` records, half word problems and half scratchpads; a third of them with a number changed. Seeded by number."""
    from analysis.rationales.records import Record

    for number in range(count):
        rng = random.Random(f"scaling-{number}")
        question, steps, answer = (_word_problem if number % 2 else _scratchpad)(rng)
        if rng.random() < 1 / 3:
            place = rng.randrange(1, len(steps) - 1)
            steps[place] = "".join(str(rng.randrange(10)) if sign.isdigit() else sign for sign in steps[place])
        yield Record(id=f"made-up-{number}", question=question, steps=tuple(steps), answer=answer)


def _word_problem(rng: random.Random) -> tuple[str, list[str], str]:
    name, thing = rng.choice(("Ada", "Ben", "Chloe", "Dev", "Eva")), rng.choice(("pens", "plums", "shells", "tickets"))
    boxes, each, given, price = (rng.randint(3, 40) for _ in range(4))
    given = min(given, boxes * each - 1)
    left = boxes * each - given
    question = (
        f"{name} has {boxes} boxes with {each} {thing} in each. {name} gives {given} {thing} away and sells the rest for "
        f"${price} each. How many dollars does {name} get?"
    )
    steps = [
        f"{name} starts with {boxes} boxes of {each} {thing}.",
        f"That is {boxes} * {each} = {boxes * each} {thing}.",
        f"After giving {given} away, {boxes * each} - {given} = {left} {thing} are left.",
        f"They sell for {left} * {price} = ${left * price}.",
        f"The answer is {left * price}.",
    ]
    return question, steps, str(left * price)


def _scratchpad(rng: random.Random) -> tuple[str, list[str], str]:
    from star.tasks.addition import question_of, scratchpad

    digits = rng.randint(2, 6)
    a, b = (rng.randrange(10 ** (digits - 1), 10**digits) for _ in range(2))
    return question_of(a, b), scratchpad(a, b), str(a + b)


def measure(point: str) -> dict[str, Any]:
    """One point in this process. Raises UsageError for a point that is none."""
    kind, *amounts = point.split(":")
    with tempfile.TemporaryDirectory(prefix="star-scaling-") as name, contextlib.redirect_stdout(sys.stderr):
        if kind == "round" and len(amounts) == 2:
            return measure_round(int(amounts[0]), int(amounts[1]), Path(name))
        if kind == "score" and len(amounts) == 1:
            return measure_score(int(amounts[0]), Path(name))
    raise UsageError(f"--point {point!r}: expected round:PROBLEMS:SAMPLES or score:RECORDS, for example round:1000:1")


# ---------------------------------------------------------------------- all points


def measured(point: str, checkout: str, device: str, *, quick: bool) -> dict[str, Any]:
    """A point from the cache, else measured in a new process. Raises InputError when that process fails."""
    if quick and point.startswith("round"):
        return measure(point)  # importing torch takes longer than these points; so their peaks of memory are shared
    file = cache_of(device) / "scaling" / checkout / f"{point.replace(':', '-')}.json"
    clean = checkout != "unknown" and not checkout.endswith("-dirty")
    if clean and (found := whole_json(file)) is not None:
        return found
    command = [sys.executable, str(Path(__file__).resolve()), "--point", point, "--device", device]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise InputError(f"point {point} ended with status {done.returncode}; what it said is above.")
    found = json.loads(done.stdout.splitlines()[-1])
    if clean:
        write_json(file, found)
    return dict(found)


def exponent(amounts: Sequence[float], costs: Sequence[float]) -> dict[str, Any]:
    """Exponent of cost = c * amount^exponent: the slope of the logarithms."""
    import numpy as np

    return slope(list(np.log(amounts)), list(np.log(costs))).as_dict()


def growth(power: dict[str, Any]) -> str:
    """A slope with its interval in words."""
    if power["low"] is None or power["low"] <= 1:
        return "as far as these points tell, no faster than in proportion"
    return ("a little " if power["value"] <= NEAR_LINEAR else "") + "faster than in proportion"


def sentence(axis: str, rows: Sequence[dict[str, Any]], power: dict[str, Any]) -> str:
    """What the points say, in words."""
    first, last = rows[0], rows[-1]
    times = last["amount"] / first["amount"]
    subject = "Scoring" if axis == "records" else "A round, fine-tuning and evaluation aside,"
    longer, memory = last["seconds"] / first["seconds"], last["peak_mb"] / first["peak_mb"]
    return (
        f"{subject} with {times:,.0f} times as many {AXES[axis][0]} takes {longer:,.1f} times as long (slope "
        f"{power['value']:.2f}: {growth(power)}) and {memory:.2f} times the peak memory ({first['peak_mb']:,.0f} to "
        f"{last['peak_mb']:,.0f} MB)."
    )


def figures_of(points: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The result file's figures from the rows of each axis."""
    found: dict[str, Any] = {}
    for axis, rows in points.items():
        amounts = [row["amount"] for row in rows]
        fit = exponent(amounts, [row["seconds"] for row in rows])
        memory = (rows[-1]["peak_mb"] - rows[0]["peak_mb"]) * 2**20 / (amounts[-1] - amounts[0])
        found[axis] = {
            "slope_seconds": fit,
            "extra_bytes_per_unit": max(0.0, memory),
            "sentence": sentence(axis, rows, fit),
            "points": rows,
        }
    found["training"] = "Not measured here: its steps are fixed by the recipe, whatever the number of problems."
    return found


def charts_of(points: dict[str, list[dict[str, Any]]], arguments: Arguments) -> None:
    """Charts of seconds and of peak memory per axis, beside the result file."""
    import pandas as pd

    from analysis import charts

    path = result_path("scaling", quick=arguments.quick, device=arguments.device)
    for axis, rows in points.items():
        title, question = AXES[axis]
        for measure, name, unit in (("seconds", axis, "seconds"), ("peak_mb", f"{axis}_memory", "peak memory (MB)")):
            frame = pd.DataFrame([{"amount": row["amount"], measure: row[measure], "label": axis} for row in rows])
            asked = question if measure == "seconds" else question.replace("cost", "take memory")
            drawn = charts.cost_scaling(frame, asked, x="amount", y=measure, x_title=title, y_title=unit)
            charts.save(drawn, path.with_name(path.name.replace("scaling", f"scaling_{name}", 1)).with_suffix(".png"))


def main() -> None:
    """All points, small ones first; or the one that `--point` names."""
    arguments = parse(Arguments, __doc__, gpu=True)
    if arguments.point:
        print(json.dumps(measure(arguments.point)))
        return
    checkout, axes = commit(), plan(arguments.quick)
    done: dict[str, dict[str, Any]] = {}
    wanted = dict.fromkeys(point for axis in axes.values() for _, point in axis)
    for point in bar("scaling", unit="point", over=wanted):
        done[point] = measured(point, checkout, arguments.device, quick=arguments.quick)
    points = {axis: [{"amount": amount, **done[point]} for amount, point in each] for axis, each in axes.items()}
    write_result("scaling", figures_of(points), quick=arguments.quick, seeds=[0], device=arguments.device)
    charts_of(points, arguments)


if __name__ == "__main__":
    sys.exit(run_command(main))
