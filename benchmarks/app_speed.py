"""How fast is the app on 100,000 rationales? Measured in a headless Chromium, on a generated run.

    python benchmarks/app_speed.py            100,000 rationales
    python benchmarks/app_speed.py --quick      5,000, one repetition

"Open" is the time from the request for the page Rationales until its table and the selected rationale are drawn, in a
new browser session after the server is up; the first session and later ones are reported apart. A filter change is the
time from the click or key until the new count is drawn. Targets: 2 s and 0.5 s.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.app_browser import ARGUMENTS, INSTALL, PATIENCE, Server, find_chromium
from benchmarks.common import CommonArguments, parse, write_result
from star.command_line import run_command
from star.errors import InputError
from star.recipe import Recipe
from star.run import ATTEMPTS, PROBLEMS, write_json, write_text

ROUNDS = 10
CHECKS = ("equation_false", "carry", "restated", "answer_differs", "unused_number")
SCORES = pa.schema(
    [
        ("attempt_id", pa.string()),
        ("p_unsound", pa.float64()),
        ("first_error_step", pa.int32()),
        ("task_kind", pa.string()),
        ("n_steps", pa.int32()),
        ("checks", pa.list_(pa.string())),
        ("flags", pa.string()),
    ]
)


@dataclass(frozen=True)
class Arguments(CommonArguments):
    """Arguments of this benchmark."""

    rationales: int = 100_000
    """How many rationales the generated run holds."""
    repeats: int = 5
    """Repetitions; the median is reported."""


def generate(root: Path, rationales: int) -> Path:
    """A run directory with random rationales of about 200 characters, scored, without a model."""
    rng = np.random.default_rng(0)
    per_round = rationales // ROUNDS
    recipe = Recipe(name="generated", runs_dir=str(root))
    run = recipe.run_dir
    write_text(run / "recipe.yaml", recipe.to_yaml())
    problems = [f"{index:016x}" for index in range(max(1, per_round // 2))]
    pq.write_table(_problems(problems), run / "problems.parquet")
    scores: list[dict[str, Any]] = []
    for number in range(1, ROUNDS + 1):
        folder = run / f"round_{number:02d}"
        folder.mkdir(parents=True)
        rows = [_attempt(rng, number, index, problems) for index in range(per_round)]
        pq.write_table(pa.Table.from_pylist(rows, schema=ATTEMPTS), folder / "attempts.parquet", compression="zstd")
        scores += [_score(rng, row) for row in rows]
    (run / "analysis").mkdir()
    pq.write_table(
        pa.Table.from_pylist(scores, schema=SCORES), run / "analysis" / "soundness.parquet", compression="zstd"
    )
    lines = [json.dumps(_metrics(number, per_round)) for number in range(ROUNDS + 1)]
    write_text(run / "metrics.jsonl", "\n".join(lines) + "\n")
    write_json(
        run / "result.json",
        {"chosen_round": ROUNDS, "select_on": "selection", "test": _metrics(ROUNDS, 100)["selection"]},
    )
    return run


def _problems(problems: list[str]) -> pa.Table:
    rows = [
        {"problem_id": name, "split": "train", "slice": f"{1 + i % 5} digits", "question": f"{i} + {i * 7} = ?",
         "choices": None, "gold": str(8 * i), "hint": f"({8 * i})"}
        for i, name in enumerate(problems)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=PROBLEMS)


def _attempt(rng: np.random.Generator, number: int, index: int, problems: list[str]) -> dict[str, Any]:
    problem = index % len(problems)
    right = bool(rng.random() < 0.5)
    steps = [f"{a} + {b} = {a + b}" for a, b in rng.integers(0, 10**6, (int(rng.integers(3, 13)), 2))]
    mode = "generated" if index < len(problems) else "rationalized"
    return {
        "attempt_id": f"{number}-{mode[0]}-{problems[problem]}-0", "problem_id": problems[problem], "round": number,
        "mode": mode, "split": "train", "slice": f"{1 + problem % 5} digits", "sample": 0, "prompt_hash": "0" * 16,
        "completion": "\n".join(steps), "rationale": "\n".join(steps), "answer": str(8 * problem + (not right)),
        "lenient_answer": None, "gold": str(8 * problem), "verdict": "correct" if right else "incorrect",
        "lenient_verdict": "correct" if right else "incorrect", "sound": None, "finish_reason": "stop",
        "tokens": 10 * len(steps), "logprob": -1.0, "seed": 0, "kept": right, "drop_reason": None if right else "incorrect",
    }  # fmt: skip


def _score(rng: np.random.Generator, row: dict[str, Any]) -> dict[str, Any]:
    n, p = row["rationale"].count("\n") + 1, float(rng.random())
    step = int(rng.integers(n)) if p > 0.6 else -1
    check = CHECKS[int(rng.integers(len(CHECKS)))]
    flags = [{"step": step, "check": check, "message": "the sum is another one", "severity": 1.0}] if step >= 0 else []
    return {
        "attempt_id": row["attempt_id"], "p_unsound": p, "first_error_step": step, "task_kind": "addition", "n_steps": n,
        "checks": [check] if step >= 0 else [], "flags": json.dumps(flags),
    }  # fmt: skip


def _metrics(number: int, n: int) -> dict[str, Any]:
    counts = {"n": n, "correct": n // 2, "accuracy": 0.5, "low": 0.4, "high": 0.6, "no_answer": 0, "truncated": 0}
    return {"round": number, "selection": counts | {"sound_of_correct": None, "slices": {}}}


def drawn(page: Any, before: str | None = None) -> None:
    """Wait until the selected rationale, and a count other than `before`, are drawn."""
    page.wait_for_function(
        """(before) => {
          const place = [...document.querySelectorAll('[data-testid="stCaptionContainer"]')]
            .map(node => node.innerText).find(text => /^[\\d,]+ of [\\d,]+$/.test(text));
          return place && place !== before && document.querySelector('[data-testid="stDataFrame"] canvas')
            && document.querySelector('.st-key-question');
        }""",
        arg=before,
    )


def place(page: Any) -> str:
    """ "1 of 100,000"."""
    captions = page.locator('[data-testid="stCaptionContainer"]').all_inner_texts()
    return str(next(text for text in captions if " of " in text and text.replace(",", "")[0].isdigit()))


def timed(page: Any, act: Callable[[], Any]) -> float:
    """Seconds from an action until the view that it leads to is drawn."""
    before = place(page)
    began = time.perf_counter()
    act()
    drawn(page, before)
    return time.perf_counter() - began


def open_page(browser: Any, url: str) -> tuple[float, Any]:
    """Seconds until a new session shows the page, and the page."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    began = time.perf_counter()
    page.goto(url)
    drawn(page)
    return time.perf_counter() - began, page


def pick(page: Any, key: str, option: str) -> Callable[[], Any]:
    """Open a drop-down list now; the returned click on an option is what is timed."""
    page.locator(f".st-key-w-{key} input").first.click()
    entry = page.get_by_role("option", name=option).first
    entry.wait_for()
    return lambda: entry.click()


def measure(page: Any) -> dict[str, float]:
    """Seconds of one change of each kind; the view is the unfiltered one before and after."""
    found: dict[str, float] = {}
    cell = page.locator(".st-key-cell-right-unsound button").first
    found["cell of the four-way count"] = timed(page, cell.click)
    found["next rationale, by key"] = timed(page, lambda: page.keyboard.press("j"))
    found["cell off again"] = timed(page, cell.click)
    found["round"] = timed(page, pick(page, "round", "round 3"))
    found["mode on top of it"] = timed(page, pick(page, "mode", "rationalized (saw the answer)"))
    clear = page.get_by_role("button", name="Clear all filters")
    found["all filters off"] = timed(page, clear.click)
    page.get_by_role("button", name="More filters").click()
    found["check that fired"] = timed(page, pick(page, "check", "carry"))
    timed(page, clear.click)
    box = page.locator('[class*="st-key-w-words"] input')
    box.fill("777")
    found["text search"] = timed(page, lambda: box.press("Enter"))
    timed(page, clear.click)
    return found


def summary(seconds: list[float]) -> dict[str, float]:
    """Median, fastest and slowest."""
    return {"median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds), "n": len(seconds)}


def benchmark(arguments: Arguments, executable: str) -> dict[str, Any]:
    """All figures."""
    from playwright.sync_api import sync_playwright

    rationales, repeats = (5_000, 1) if arguments.quick else (arguments.rationales, arguments.repeats)
    with tempfile.TemporaryDirectory() as folder:
        run = generate(Path(folder), rationales)
        size = sum(file.stat().st_size for file in run.rglob("*.parquet"))
        with Server("--root", folder) as server, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=executable, args=ARGUMENTS, headless=True)
            url = f"{server.url}/rationales?cell=all"
            first, page = open_page(browser, url)
            changes: dict[str, list[float]] = {}
            first_changes = measure(page)
            for _ in range(repeats):
                for name, seconds in measure(page).items():
                    changes.setdefault(name, []).append(seconds)
            later = []
            for _ in range(repeats):
                seconds, opened = open_page(browser, url)
                later.append(seconds)
                opened.context.close()
            browser.close()
            started = server.start_seconds
    return {
        "rationales": rationales,
        "parquet_mb": size / 1e6,
        "server_start_s": started,
        "open_first_session_s": first,
        "open_later_session": summary(later),
        "first_change_of_each_kind_s": first_changes,
        "changes": {name: summary(seconds) for name, seconds in changes.items()},
        "targets": {"open_s": 2.0, "filter_change_s": 0.5},
    }


def main() -> None:
    """Run the benchmark and write its result."""
    arguments = parse(Arguments, __doc__)
    executable = find_chromium()
    if executable is None:
        raise InputError(INSTALL)
    figures = benchmark(arguments, executable)
    print(
        f"first open {figures['open_first_session_s']:.2f} s, later {figures['open_later_session']['median_s']:.2f} s"
    )
    for name, found in figures["changes"].items():
        print(f"{name:32s} {found['median_s']:.2f} s (slowest {found['max_s']:.2f})")
    write_result("app_speed", figures, quick=arguments.quick, seeds=[0], device=arguments.device)


if __name__ == "__main__":
    sys.exit(run_command(main))
