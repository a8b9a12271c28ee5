"""What a person sees of a run: a header, one row per round, the result and what to type next."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from star import run as runs
from star.charts import slice_order
from star.errors import counted
from star.problem import Reading
from star.recipe import Recipe
from star.schemas import Result, RoundLine
from star.setup import Setup
from star.statistics import percent, wilson


def command(name: str) -> str:
    """One of our commands as one types it here: by its name where the shell finds it, else by its place beside this Python."""
    beside = Path(sys.executable).with_name(name)
    if shutil.which(name) or not beside.is_relative_to(Path.cwd()):
        return name
    return str(beside.relative_to(Path.cwd()))


def with_half_width(correct: int, n: int) -> str:
    """97 of 100 right -> "97±4": per cent, and half of the 95 % interval."""
    interval = wilson(correct, n)
    return f"{100 * interval.value:.0f}±{50 * (interval.high - interval.low):.0f}"


class RoundTable:
    """Prints as the run goes. Columns: round, accuracy by slice and overall, data kept and dropped, soundness, seconds."""

    def __init__(self, recipe: Recipe, setup: Setup, sampler: str) -> None:
        self._print = Console(width=max(120, Console().width), highlight=False, soft_wrap=True).print
        slices = slice_order(p.slice for p in setup.selection)[:10]
        self.slices: list[str] = slices if len(slices) > 1 else []
        self.setup = setup
        self.other: Reading = "strict" if setup.task.accept == "lenient" else "lenient"
        self._print(f"[bold]{recipe.name}[/]: {setup.task.name}, {setup.parameters:,} parameters, sampler {sampler}")
        self._print(
            f"{len(setup.train):,} train, {len(setup.selection):,} selection, {counted(len(setup.test), 'test problem')}"
        )
        for reason, count in setup.skipped.items():
            self._print(f"left out: {counted(count, 'problem')} ({reason})")
        self.split = split = recipe.evaluation.select_on
        if split == "test":
            self._print("[bold yellow]rounds are chosen on test (evaluation.select_on): its accuracy will flatter[/]")
        wanted = recipe.evaluation.selection_size
        if split == "selection" and len(setup.selection) < wanted:
            self._print(
                f"the selection split has {counted(len(setup.selection), 'problem')} instead of evaluation.selection_size "
                f"{wanted:,}: at most half of the train problems"
            )
        self.header_due = True

    def _header(self) -> None:
        self.header_due = False
        slices = "".join(f"{name.replace(' digits', 'd').replace(' digit', 'd')[:6]:>7}" for name in self.slices)
        self._print(
            f"\naccuracy % on the {self.split} split (95 % interval; ± half of it), answers read {self.setup.task.accept}; "
            f"{self.other}: read so; sound: of the kept rationales, line by line; seconds: sample/train/evaluate"
        )
        head = f"{'round':>5}{'accuracy':>19}{self.other:>8}{slices}{'generated':>10}{'rationalized':>13}{'dropped':>8}"
        self._print(f"[bold]{head}{'sound %':>8}{'seconds':>13}[/]")

    def row(self, line: RoundLine) -> None:
        """One finished round."""
        if self.header_due:
            self._header()
        chosen, data, seconds = line["selection"], line.get("data"), line.get("seconds") or {}
        interval = f"{percent(chosen.get('accuracy'))} ({percent(chosen.get('low'))}-{percent(chosen.get('high'))})"
        by_slice = [(chosen.get("slices") or {}).get(name) for name in self.slices]
        slices = "".join(f"{with_half_width(s['correct'], s['n']) if s else '-':>7}" for s in by_slice)
        sampling = sum(seconds.get(name) or 0 for name in ("sampling", "rationalizing", "loading"))
        times = f"{sampling:.0f}/{seconds.get('training') or 0:.0f}/{seconds.get('evaluation') or 0:.0f}"
        counts = [data.get("generated", 0), data.get("rationalized", 0), sum(data.get("dropped", {}).values())] if data else []
        generated, rationalized, dropped = [f"{count:,}" for count in counts] or ("-", "-", "-")
        sound = percent(data.get("kept_sound") if data else None)
        tail = f"{generated:>10}{rationalized:>13}{dropped:>8}{sound:>8}{times:>13}"
        right = chosen.get(self.other)
        other = percent(None if right is None else right / max(1, chosen["n"]))
        self._print(f"{line['round']:>5}{interval:>19}{other:>8}{slices}{tail}")
        if data and (count := data.get("kept_not_judged")):
            self._print(f"{count:,} of the kept rationales could not be judged (curation.require: sound)")

    def finish(self, result: Result, charts: Sequence[Path]) -> None:
        """The end: test accuracy, where everything is, the next two commands."""
        test, run_dir, select_on = result["test"], self.setup.run_dir, result.get("select_on")
        self._print(
            f"\n[bold]round {result['chosen_round']} chosen on the {select_on} split; test accuracy "
            f"{percent(test.get('accuracy'))} % ({percent(test.get('low'))}-{percent(test.get('high'))}, n={test['n']:,})[/]"
        )
        if (sound := test.get("sound_of_correct")) is not None:
            self._print(f"sound rationales among right answers on test: {percent(sound)} %")
        lines = {line["round"]: line["selection"].get("accuracy") for line in runs.Run(run_dir).rounds}
        base, reached = lines.get(0), lines.get(result["chosen_round"])
        if base is not None and reached is not None and reached < base:
            self._print(
                f"[bold yellow]worse than the base model on the {select_on} split: {percent(reached)} % against "
                f"{percent(base)} %[/]"
            )
        for chart in charts:
            self._print(f"chart           {chart}")
        self._print(f"run directory   {run_dir}")
        self._print(f"next            {command('rationale-app')} --root {run_dir.parent}     browse the rationales")
        self._print(f"                {command('star-report')} {run_dir}")
