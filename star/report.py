"""Runs as one table, named as in the paper's tables.

    python -m star.report runs/addition-1a2b3c runs/addition-4d5e6f --compare
    python -m star.report runs/* --format markdown --slices

Accuracy comes with its 95 % Wilson interval and n; beside it what is right in the form that was asked for and in any
(`curation.accept` says which of the two it is); rates, samples, tokens, seconds and FLOPs are of the whole run. Runs
whose recipes differ only in the seed are also shown as one row: mean and standard deviation over seeds. `--format csv` and
`json` hold plain numbers, shares from 0 to 1. `--compare` compares every two arms on the problems that both answered: paired
bootstrap interval of the difference, exact McNemar test, p-values corrected by Holm's method. An unfinished run shows
its last round on the selection split, and says so.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from star.charts import slice_order
from star.command_line import parse, run_command
from star.paired import Comparison, compare_runs, groups
from star.report_data import all_figures, as_json, comparison_figures, group_figures, label
from star.run import RunError
from star.run_summary import RunSummary, accuracy_at, flops_to, summarise_run
from star.spreadsheet import to_csv

Cells = dict[str, str]
RIGHT_ALIGNED = 4
"""Columns from this one on hold numbers."""
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


def percent(share: float | None) -> str:
    """0.725 -> "72.5"; "-" where it is not known."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.1f}"


def amount(value: float | None) -> str:
    """Large numbers, short: 12,345 as it is, 3.1e+15 beyond a million million."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value < 1e12 else f"{value:.1e}"


def cells(
    summary: RunSummary, *, slices: Sequence[str] = (), reach: float | None = None, tokens: int | None = None
) -> Cells:
    """One run's row."""
    row = {
        "method": label(summary),
        "run": summary.path.name,
        "parameters": amount(summary.parameters),
        "split": summary.split,
        "accuracy % [95 %]": summary.accuracy.percent(),
        "n": f"{summary.accuracy.n:,}",
        "strict / lenient %": f"{percent(summary.strict)} / {percent(summary.lenient)}",
        "no answer %": percent(summary.no_answer),
        "truncated %": percent(summary.truncated),
        "sound of right %": summary.sound_of_correct.percent(),
        "train data used %": percent(summary.data_used),
        "generated %": percent(summary.generated),
        "rationalized %": percent(summary.rationalized),
        "samples": amount(summary.samples),
        "tokens": amount(summary.tokens),
        "seconds": amount(summary.seconds),
        "training FLOPs": _flops(summary.training_flops),
        "sampling FLOPs": _flops(summary.sampling_flops),
    }
    row |= {f"pass@{k} %": share.percent() for k, share in summary.pass_at_k.items()}
    row |= {f"maj@{k} %": share.percent() for k, share in summary.maj_at_k.items() if k > 1}
    row |= {f"best of {k} %": percent(share) for k, share in summary.best_of_k.items() if k != "1"}
    row |= {f"weighted@{k} %": percent(share) for k, share in summary.weighted_at_k.items() if k != "1"}
    row |= {} if reach is None else {f"FLOPs to {100 * reach:g} %": _flops(flops_to(summary, reach))}
    row |= {} if tokens is None else {f"selection % at {tokens:,} tokens": percent(accuracy_at(summary, tokens))}
    row |= {f"{name} %": summary.slices[name].percent() if name in summary.slices else "-" for name in slices}
    return row


def _flops(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def spread(runs: Sequence[RunSummary]) -> Cells | None:
    """The row of several finished seeds of one recipe; None for fewer than two."""
    found = group_figures(runs)
    if found is None:
        return None
    mean, sd, low, high = (100 * found[f"accuracy{end}"] for end in ("", "_sd", "_min", "_max"))
    sizes = [f"{n:,}" for n in sorted(set(found["n"]))]
    return {
        "method": found["method"].replace("mean of", "mean ± sd of"),
        "run": "seeds " + ", ".join(map(str, found["seeds"])),
        "parameters": amount(found["parameters"]),
        "split": found["split"],
        "accuracy % [95 %]": f"{mean:.1f} ± {sd:.1f} ({low:.1f} to {high:.1f})",
        "n": sizes[0] if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}",
        "no answer %": percent(found["no_answer"]),
        "truncated %": percent(found["truncated"]),
        "train data used %": percent(found["train_data_used"]),
        "seconds": amount(found["seconds"]),
    }


def table(
    summaries: Sequence[RunSummary], *, slices: bool = False, reach: float | None = None, tokens: int | None = None
) -> list[Cells]:
    """Rows in the paper's order, seeds of one recipe together with a row of their mean below."""
    names = slice_names(summaries) if slices else []
    rows = []
    for runs in groups(summaries):
        rows += [cells(run, slices=names, reach=reach, tokens=tokens) for run in runs]
        below = spread(runs)
        if below is not None:
            rows.append(below)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name, "-") for name in columns} for row in rows]


def slice_names(summaries: Sequence[RunSummary]) -> list[str]:
    """The slices of all runs, in order."""
    return slice_order(name for run in summaries for name in run.slices)


def comparison_cells(found: Comparison) -> Cells:
    """One comparison as a row."""
    return {
        "a": found.a,
        "b": found.b,
        "problems": f"{found.n:,}",
        "b - a, points [95 %]": found.difference.percent(),
        "only a right": "-" if found.only_a is None else f"{found.only_a:,}",
        "only b right": "-" if found.only_b is None else f"{found.only_b:,}",
        "McNemar p": p_text(found.p),
        "p (Holm)": p_text(found.p_holm),
    }


def p_text(p: float) -> str:
    """ "0.013", "<0.001", or "-" where there is no test."""
    return "-" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def warnings(summaries: Sequence[RunSummary], comparisons: Sequence[Comparison] = ()) -> list[str]:
    """Sentences that stand above the table."""
    found = []
    chosen = sorted(run.path.name for run in summaries if run.select_on == "test")
    if chosen:
        found.append(
            f"WARNING: rounds of {', '.join(chosen)} were chosen on the test split (evaluation.select_on: test); "
            "their test accuracy is too high and is not comparable."
        )
    unfinished = sorted(run.path.name for run in summaries if not run.finished)
    if unfinished:
        found.append(
            f"Unfinished: {', '.join(unfinished)}. Their rows show the last finished round on the selection split; "
            "`python -m star.train <run>/recipe.yaml` goes on."
        )
    for run in summaries:
        if count := sum(run.skipped.values()):
            reasons = ", ".join(f"{number:,} x {reason}" for reason, number in run.skipped.items())
            rows = f"{count:,} rows" if run.rows is None else f"{count:,} of {run.rows:,} rows"
            found.append(f"{run.path.name}: {rows} left out ({reasons}).")
        if run.kept_hint_unsure:
            found.append(f"{run.path.name}: {run.kept_hint_unsure:,} of the kept rationalizations may speak of the hint.")
        if run.kept_not_judged:
            found.append(
                f"{run.path.name}: {run.kept_not_judged:,} of the kept rationales could not be judged (curation.require: sound)."
            )
        found += run.damage
    if len({run.accept for run in summaries}) > 1:
        lenient = ", ".join(sorted(run.path.name for run in summaries if run.accept == "lenient"))
        found.append(f"WARNING: {lenient} count answers in any form (curation.accept: lenient), the other runs do not.")
    for pair in comparisons:
        if pair.left_out:
            found.append(
                f"WARNING: {pair.a} against {pair.b} rests on {pair.n:,} problems: {pair.left_out:,} more were not answered by "
                "every run. Their test splits differ; compare runs of the same data and test limits."
            )
    return found


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
    if arguments.format == "json":
        print(as_json(summaries, comparisons, notes))
        return
    if arguments.compare and not comparisons:
        notes.append("Nothing to compare: fewer than two finished arms answered the same test problems.")
    if arguments.format == "csv":
        for note in notes:
            print(note, file=sys.stderr)
        names = slice_names(summaries) if arguments.slices else []
        print(to_csv([*map(comparison_figures, comparisons)] if arguments.compare else all_figures(summaries, names)), end="")
        return
    rows = table(summaries, slices=arguments.slices, reach=arguments.reach, tokens=arguments.tokens)
    shown = [(rows, "Runs"), ([comparison_cells(found) for found in comparisons], "Paired comparison, same problems")]
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

    Raises RunError when none is left.
    """
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
