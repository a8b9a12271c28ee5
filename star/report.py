"""Runs as one table, named as in the paper's tables.

    python -m star.report runs/addition-1a2b3c runs/addition-4d5e6f --compare
    python -m star.report runs/* --format markdown --slices

Accuracy comes with its 95 % Wilson interval and n; beside it what is right in the form that was asked for and in any
(`curation.accept` says which of the two it is); rates, samples, tokens, seconds and FLOPs are of the whole run. Runs
whose recipes differ only in the seed are also shown as one row: mean and standard deviation over seeds, each seed once.
`--format csv` and `json` hold plain numbers, shares from 0 to 1. `--compare` compares every two arms on the problems that
both answered: paired bootstrap interval of the difference, exact McNemar test, p-values corrected by Holm's method. An
unfinished run shows its last round on the selection split, and says so.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from star.charts import slice_order
from star.command_line import parse, run_command
from star.errors import UsageError, counted
from star.paired import Comparison, compare_runs, same_seeds
from star.report_data import Figures, all_values, as_json, comparison_figures, expanded
from star.row_files import to_csv
from star.run import RunError
from star.run_summary import RunSummary, summarise_run
from star.statistics import Interval, amount, percent

Cells = dict[str, str]
RIGHT_ALIGNED = 4
"""Columns from this one on hold numbers."""
TITLES = {
    "accuracy": "accuracy % [95 %]",
    "sound_of_correct": "sound of right",
    "data_used": "train data used",
    "training_flops": "training FLOPs",
    "sampling_flops": "sampling FLOPs",
}
"""Names in the data whose title in a table is not made of the same words."""
PLAIN = ("method", "run", "n", "parameters", "split", "samples", "tokens", "seconds")
"""Columns that hold no share."""
MOST_COLUMNS = 8
"""Rows that a table on its side shows as columns; more make another table below it."""


@dataclass(frozen=True)
class Arguments:
    """What `python -m star.report` was asked for."""

    runs: tuple[Path, ...]
    """Run directories."""
    format: Literal["table", "markdown", "csv", "json"] = "table"
    """How to print."""
    compare: bool = False
    """Compare every two arms on the same problems (csv prints this table instead of the other)."""
    slices: bool = False
    """Accuracy by slice too (digits, steps, ...)."""
    reach: float | None = None
    """A selection accuracy, such as 0.95: shows the FLOPs that each run took to it."""
    tokens: int | None = None
    """A number of sampled tokens: shows the selection accuracy that each run reached with them."""


def _title(name: str) -> str:
    words = TITLES.get(name, name.replace("_", " "))
    return words if name in PLAIN or words.endswith("]") or "FLOPs" in words else f"{words} %"


def _shown(name: str, value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or "-"
    if isinstance(value, Interval):
        return value.percent()
    if "FLOPs" in TITLES.get(name, name):
        return f"{value:.2g}"
    return amount(value) if name in PLAIN else percent(value)


def cells(row: Figures) -> Cells:
    """One run's row, as `star.report_data` has it, or that of several finished seeds of one recipe."""
    shown = dict(row)
    if "seeds" in row:
        mean, sd, low, high = (100 * shown.pop(f"accuracy{end}") for end in ("", "_sd", "_min", "_max"))
        sizes = [amount(n) for n in sorted(set(row["n"]))]
        shown["method"] = row["method"].replace("mean of", "mean ± sd of")
        recipes = sorted({name.rpartition("-")[0] for name in row["runs"]})
        shown["run"] = f"{', '.join(recipes)}, seeds {', '.join(map(str, shown.pop('seeds')))}"
        shown["accuracy"] = f"{mean:.1f} ± {sd:.1f} ({low:.1f} to {high:.1f})"
        shown["n"] = sizes[0] if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return {_title(name): _shown(name, value) for name, value in shown.items() if name not in ("seed", "runs")}


def table(rows: Sequence[Figures]) -> list[Cells]:
    """The rows of `star.report_data.all_values` with the same columns each."""
    shown = [cells(row) for row in rows]
    columns = list(dict.fromkeys(name for row in shown for name in row))
    return [{name: row.get(name, "-") for name in columns} for row in shown]


def comparison_cells(pair: Comparison) -> Cells:
    """One comparison as a row."""
    return {
        "a": pair.a,
        "b": pair.b,
        "problems": f"{pair.n:,}",
        "b - a, points [95 %]": pair.difference.percent(),
        "only a right": "-" if pair.only_a is None else f"{pair.only_a:,}",
        "only b right": "-" if pair.only_b is None else f"{pair.only_b:,}",
        "McNemar p": p_text(pair.p),
        "p (Holm)": p_text(pair.p_holm),
    }


def p_text(p: float) -> str:
    """ "0.013", "<0.001", or "-" where there is no test."""
    return "-" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def warnings(summaries: Sequence[RunSummary], comparisons: Sequence[Comparison] = ()) -> list[str]:
    """Messages above the table."""
    texts = []
    chosen = sorted(run.path.name for run in summaries if run.select_on == "test")
    if chosen:
        texts.append(
            f"WARNING: rounds of {', '.join(chosen)} were chosen on the test split (evaluation.select_on: test); "
            "their test accuracy is too high and is not comparable."
        )
    unfinished = sorted(run.path.name for run in summaries if not run.finished)
    if unfinished:
        texts.append(
            f"Unfinished: {', '.join(unfinished)}. Their rows show the last finished round on the selection split; "
            "`python -m star.train <run>/recipe.yaml` goes on."
        )
    for run in summaries:
        if count := sum(run.skipped.values()):
            reasons = ", ".join(f"{number:,} x {reason}" for reason, number in run.skipped.items())
            rows = counted(count, "row") if run.rows is None else f"{count:,} of {counted(run.rows, 'row')}"
            texts.append(f"{run.path.name}: {rows} left out ({reasons}).")
        if run.kept_hint_unsure:
            texts.append(f"{run.path.name}: {run.kept_hint_unsure:,} of the kept rationalizations may speak of the hint.")
        if run.kept_not_judged:
            texts.append(
                f"{run.path.name}: {run.kept_not_judged:,} of the kept rationales could not be judged (curation.require: sound)."
            )
        texts += run.damage
    if len({run.accept for run in summaries}) > 1:
        lenient = ", ".join(sorted(run.path.name for run in summaries if run.accept == "lenient"))
        texts.append(f"WARNING: {lenient} count answers in any form (curation.accept: lenient), the other runs do not.")
    for names in same_seeds(summaries):
        texts.append(f"{', '.join(names)}: the same recipe and seed. Means over seeds and comparisons count {names[0]} alone.")
    for pair in comparisons:
        if pair.left_out:
            texts.append(
                f"WARNING: {pair.a} against {pair.b} rests on {counted(pair.n, 'problem')} and leaves out {pair.left_out:,}, "
                "which not every run answered. Their test splits differ; compare runs of the same data and test limits."
            )
    return texts


def markdown(rows: Sequence[Cells]) -> str:
    """A GitHub table."""
    if not rows:
        return ""
    names = list(rows[0])
    lines = [names, ["---:" if i >= RIGHT_ALIGNED else "---" for i in range(len(names))]]
    lines += [[row[name].replace("|", "\\|") for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def print_table(rows: Sequence[Cells], title: str) -> None:
    """A table in the terminal; one that is too wide is turned on its side, runs as columns, at most eight beside each other."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160)
    names = list(rows[0])
    widths = [max(len(name), *(len(row[name]) for row in rows)) for name in names]
    if sum(widths) + 3 * len(names) <= console.width:
        out = Table(title=title, title_justify="left")
        for index, name in enumerate(names):
            out.add_column(name, justify="right" if index >= RIGHT_ALIGNED else "left")
        for row in rows:
            out.add_row(*(Text(row[name]) for name in names))
        console.print(out)
        return
    for start in range(0, len(rows), MOST_COLUMNS):
        part = rows[start : start + MOST_COLUMNS]
        place = f" ({start + 1} to {start + len(part)} of {len(rows)})" if len(part) < len(rows) else ""
        out = Table(title=title + place, title_justify="left")
        out.add_column(names[0])
        for row in part:
            out.add_column(Text(row[names[0]]), justify="right", overflow="fold")
        for name in names[1:]:
            out.add_row(name, *(Text(row[name]) for row in part))
        console.print(out)


def render(arguments: Arguments, summaries: Sequence[RunSummary]) -> None:
    """Print the report in the format that was asked for."""
    comparisons = compare_runs(summaries) if arguments.compare else []
    notes = warnings(summaries, comparisons)
    slices = slice_order(name for run in summaries for name in run.slices) if arguments.slices else []
    rows = all_values(summaries, slices, arguments.reach, arguments.tokens)
    if arguments.format == "json":
        print(as_json(summaries, comparisons, notes))
        return
    if arguments.compare and not comparisons:
        notes.append("Nothing to compare: fewer than two finished arms answered the same test problems.")
    if arguments.format == "csv":
        for note in notes:
            print(note, file=sys.stderr)
        print(to_csv([*map(comparison_figures, comparisons)] if arguments.compare else [*map(expanded, rows)]), end="")
        return
    shown = [(table(rows), "Runs"), ([comparison_cells(pair) for pair in comparisons], "Paired comparison, same problems")]
    for note in notes:
        print(f"{note}\n")
    for part, title in shown:
        if part and arguments.format == "markdown":
            print(f"{markdown(part)}\n")
        elif part:
            print_table(part, title)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_command(lambda: report(parse(Arguments, __doc__, argv)))


def report(arguments: Arguments) -> None:
    """Print the report. A folder that is no run or has no finished round is named and left out.

    Raises RunError when none is left, UsageError when none is given.
    """
    if not arguments.runs:
        raise UsageError("no run is given; for example: python -m star.report runs/*")
    summaries = []
    for run in dict.fromkeys(arguments.runs):
        try:
            summaries.append(summarise_run(run))
        except RunError as error:
            print(f"left out: {error}", file=sys.stderr)
    if not summaries:
        raise RunError("no run to report; for example: python -m star.report runs/*")
    render(arguments, summaries)


if __name__ == "__main__":
    sys.exit(main())
