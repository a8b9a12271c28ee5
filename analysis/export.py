"""One self-contained page of a run or a record file, to send to a colleague: charts, tables, the rationales to look at first.

    python -m analysis.export runs/addition-1a2b3c -o report.html
    python -m analysis.export theirs.jsonl --cases 50 -o report.html

Nothing on the page is loaded from anywhere: charts are inlined as SVG images, there is no script at all, and every text
that came from a model or a file is escaped. It reads on light and dark screens and prints. Works on an unfinished run and
without analysis, and says which command would fill the gap.
"""

from __future__ import annotations

import base64
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis.pages.widgets.measures import measure_rows, measure_words
from analysis.pages.widgets.words import MODES, NO_REASON
from analysis.rationales.formats import Columns
from analysis.soundness.grades import FLAGGED, score_words
from analysis.sources import Source, check_output, run_labels, source_of, typed
from star.command_line import parse, run_command
from star.errors import UsageError, counted
from star.report import cells, warnings
from star.report_data import label, run_values
from star.run import Run, write_text
from star.run_summary import RunSummary, summarise_run
from star.statistics import percent, wilson

if TYPE_CHECKING:
    import pandas as pd

    from analysis.rationales.filters import Judge
    from analysis.rationales.table import Rationale, Table

MAX_TEXT = 4_000
"""Characters of one step or question that are shown."""
MAX_STEPS = 60
JUDGED: dict[Judge, str] = {
    "human": "rest on unsound reasoning, by the labels in the file",
    "exact": "rest on unsound reasoning, by the task's exact check",
    "score": f"are proven unsound or {FLAGGED}",
}


@dataclass(frozen=True)
class Arguments:
    """What `python -m analysis.export` was asked for."""

    run: Path
    """Run directory or record file."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("report.html")
    """The page to write."""
    columns: tyro.conf.OmitArgPrefixes[Columns] = field(default_factory=Columns)
    cases: int = 20
    """Right-but-unsound rationales to show, 0 or more."""


@dataclass(frozen=True)
class CaseView:
    """What the page shows of a case, as plain texts."""

    about: str
    question: str
    reasons: list[str]
    """Of the rationale as a whole."""
    steps: list[tuple[str, list[str]]]
    """(step, why it is flagged)."""


def readable(value: object, limit: int = MAX_TEXT) -> str:
    """Plain text, control characters shown as a replacement sign, cut at `limit`. The template escapes it."""
    shown = "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value)[:limit])
    return shown + (" \N{HORIZONTAL ELLIPSIS}" if len(str(value)) > limit else "")


def image(chart: Any) -> str:
    """The source of an inlined SVG image: an <img> never runs what is inside it."""
    from analysis import charts

    with tempfile.TemporaryDirectory() as folder:
        content = charts.save(chart, Path(folder) / "chart.svg").read_bytes()
    return f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"


def run_cases(table: Table, summary: RunSummary, most: int) -> tuple[list[CaseView], str]:
    """The top right-but-unsound rationales, worst first, and sentences about them.

    Those of the evaluated split come first; where they are fewer than `most`, the rounds up to the chosen one fill the
    list. Rationalized ones are counted apart: their answers are right because they were shown.
    """
    from analysis.rationales.filters import View, judges, select

    frame, last = table.frame, summary.round or 0
    number, of_split = frame["round"].astype(float), (frame["mode"] == "evaluated") & (frame["split"] == summary.split)
    evaluated = frame[of_split & (frame["sample"] == 0) & (summary.finished | (number == last))]
    evaluated = evaluated.drop_duplicates("problem", keep="last")  # rounds may be chosen on the test split
    if evaluated.empty:
        return [], "No evaluated rationales."
    if not (known := judges(table)):
        return [], f"Soundness is not known yet. To find out, run: python -m analysis.score {table.source.typed}"
    final = frame.index.isin(evaluated.index)
    answers = (frame["mode"] != "evaluated") | (frame["sample"] == 0)  # further samples of an evaluation are no other answers
    right = ((frame["right"] == 1) & (frame["n_steps"] > 0) & answers & (final | (number <= last))).to_numpy()
    unsound = select(table, View(cell="right-unsound", judge=known[0]), right)
    own, more = unsound[final[unsound]], unsound[~final[unsound]]
    about = f"Of {counted((right & final).sum(), 'right answer')} of the {summary.split} split, {len(own):,} {JUDGED[known[0]]}."
    if len(own) >= most:
        about += f" The {most} most suspicious:" if len(own) > most > 0 else ""
    else:
        about += _about_others(frame[right & ~final], frame.iloc[more], last)
        more = more[: most - len(own)]
        about += f" {len(more)} of the rounds, the most suspicious, are below." if len(more) else ""
    return [case_view(table.rationale(row)) for row in [*own, *more][:most]], about


def _about_others(right: pd.DataFrame, unsound: pd.DataFrame, last: int) -> str:
    """How many of the rounds' right answers are unsound, in sentences; nothing where there is no other right answer."""
    where = f"in rounds 0 to {last}" if last else "of the base model"
    (shown, shown_unsound) = ((rows["mode"] == "rationalized").sum() for rows in (right, unsound))
    about = f" Of {len(right) - shown:,} other right answers {where}, {len(unsound) - shown_unsound:,}." if len(right) else ""
    return about + (f" Of {shown:,} rationalized ones, which saw the answer, {shown_unsound:,}." if shown else "")


def case_view(one: Rationale) -> CaseView:
    """What the page shows of a rationale: the steps, each with the reasons why it is flagged."""
    reasons: dict[int, list[str]] = {}
    for flag in one.flags:
        reasons.setdefault(flag.step, []).append(flag.message)
    if one.human_step >= 0:
        reasons.setdefault(one.human_step, []).append("first wrong step by the label in the file")
    if one.first_error >= 0:
        reasons.setdefault(one.first_error, [NO_REASON])
    said = score_words(one.p_unsound) if one.p_unsound >= 0 or one.row["exact"] < 0 else ""  # the exact check has judged it
    known = [f"answer {one.answer}", f"gold {one.gold}" if one.gold else "", said]
    about = " · ".join(filter(None, [one.id, one.row.get("slice"), one.row.get("generator"), origin(one.row), *known]))
    steps = [(step, reasons.get(k, [])) for k, step in enumerate(one.steps[:MAX_STEPS])]
    return CaseView(about, one.question, reasons.get(-1, []), steps)


def origin(row: Mapping[str, Any]) -> str:
    """Split, round and way of a rationale: "train split, round 2, rationalized (saw the answer)"; "" where none is known."""
    split, number, mode = (row.get(name) for name in ("split", "round", "mode"))
    model = "base model" if number == "0" else f"round {number}"
    made = MODES.get(mode or "", mode) if mode != "evaluated" else None
    return ", ".join(filter(None, [f"{split} split" if split else None, model if number else None, made]))


def figure_cards(summary: RunSummary) -> list[tuple[str, str, str]]:
    """(title, figure in per cent, what it rests on) of what matters most."""
    shown = [("answers right", summary.accuracy)]
    if summary.sound_of_correct.n:
        shown.append(("of these, reasoning sound", summary.sound_of_correct))
    cards = [
        (title, percent(s.value), f"95 % interval {percent(s.low)} to {percent(s.high)} · n = {s.n:,}") for title, s in shown
    ]
    neither = f"{percent(summary.no_answer)} / {percent(summary.truncated)}"
    below = f"of {counted(summary.accuracy.n, 'problem')} of the {summary.split} split"
    return [*cards, ("no answer / truncated", neither, below)]


def probe_rows(run: Run, number: int | None) -> tuple[str, list[dict[str, str]]]:
    """A message about the probes, or the command that makes them, and their table with controls."""
    probed = run.probed_rounds()
    part = probed.get(str(number)) or next(reversed(list(probed.values())), None)
    if not part:
        return f"Not probed yet. To find out, run: python -m analysis.probe {typed(run.path)}", []
    rows = measure_rows(part.get("measures", {}), part.get("measures_correct"))
    rows = [row | {"measure": measure_words(row["measure"])} for row in rows]
    if not any(row["note"] for row in rows):
        for row in rows:
            del row["note"]
    return f"{counted(part.get('n_rationales', 0), 'rationale')}; every effect beside what its control changes.", rows


def images(run: Run) -> list[tuple[str, str]]:
    """(title, source) of accuracy, soundness and data by round."""
    from analysis import charts

    metrics = run.rounds
    if not metrics:
        return []
    frame, data = charts.rounds_frame(metrics, run.name), charts.data_frame(metrics)
    drawn = {
        "Accuracy by round": charts.accuracy_by_round(frame),
        "Right and sound answers by round": charts.soundness_by_round(frame),
        "Training data by round": charts.data_by_round(data) if len(data) else None,
    }
    return [(title, image(chart)) for title, chart in drawn.items() if chart is not None]


def page(source: Source, most: int) -> str:
    """The page of a run. Raises RunError where its files are damaged."""
    from analysis.rationales.table_reading import load_table

    summary, folder = summarise_run(source.path), Run(source.path)
    manifest = folder.manifest
    cases, about_cases = run_cases(load_table(source), summary, most)
    about_probes, probes = probe_rows(folder, summary.round)
    model = (folder.recipe.get("model") or {}).get("path", "")
    size = f", {summary.parameters:,} parameters" if summary.parameters else ""
    commit = str(manifest.get("commit") or "unknown")[:12] + (" with local changes" if manifest.get("dirty") else "")
    round_ = f"round {summary.round}" + ("" if summary.finished else " so far")
    return render(
        heading="Right answer, wrong reasoning",
        name=run_labels([source])[source.name],
        about=f"{label(summary)}, {round_}, from {model}{size}; commit {commit}",
        warnings=warnings([summary]),
        cards=figure_cards(summary),
        images=images(folder),
        slices=[
            {"slice": name, "answers right % [95 %]": share.percent(), "n": f"{share.n:,}"}
            for name, share in summary.slices.items()
        ],
        about_cases=about_cases,
        cases=cases,
        about_probes=about_probes,
        probes=probes,
        details=[{"": name, "value": value} for name, value in cells(run_values(summary)).items()],
        recipe=yaml.safe_dump(dict(folder.recipe), sort_keys=False, allow_unicode=True),
    )


def render(**parts: Any) -> str:
    """The template with what it shows; autoescape: no text of a model or a file ever becomes markup."""
    html = Environment(loader=PackageLoader("analysis", ""), autoescape=True, undefined=StrictUndefined)
    html.filters["readable"] = readable
    return html.get_template("export.html.j2").render(**parts)


def table_page(table: Table, rows: Sequence[int], heading: str, about: str) -> str:
    """A page of some rationales of a table, in their order, with counts of the whole table."""
    right, p = table.frame["right"], table.frame["p_unsound"]
    human = table.frame["human"]
    counts = [
        ("answers right", wilson(int((right == 1).sum()), int((right >= 0).sum()))),
        ("sound by the labels in the file", wilson(int((human == 1).sum()), int((human >= 0).sum()))),
        ("proven unsound", wilson(int((p == 1).sum()), int(p.notna().sum()))),
    ]
    return render(
        name=table.source.name,
        about=counted(len(table), "rationale"),
        warnings=[note for note in table.notes if "left out" in note],
        cards=[(title, percent(s.value), f"{percent(s.low)} to {percent(s.high)} · n = {s.n:,}") for title, s in counts if s.n],
        images=[],
        slices=[],
        heading=heading,
        about_cases=about,
        cases=[case_view(table.rationale(row)) for row in rows],
        recipe="",
    )


def file_page(source: Source, most: int) -> str:
    """The page of a record file: its right answers of unsound reasoning, the strongest evidence first. Raises RecordError."""
    from analysis.rationales.filters import View, base_mask, judges, select
    from analysis.rationales.table_reading import load_table

    table = load_table(source)
    heading = "Right answer, wrong reasoning"
    if not (known := judges(table)):
        return table_page(table, [], heading, " ".join(["Soundness is not known yet.", *table.notes]))
    view = View(cell="right-unsound", judge=known[0])
    rows = select(table, view, base_mask(table, view))
    return table_page(table, rows[:most].tolist(), heading, f"{counted(len(rows), 'right answer')} {JUDGED[view.judge]}.")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_command(lambda: export(parse(Arguments, __doc__, argv)))


def export(arguments: Arguments) -> None:
    """Write the page. Raises UsageError, RunError."""
    if arguments.cases < 0:
        raise UsageError(f"--cases {arguments.cases}: expected how many rationales to show, 0 or more")
    check_output(arguments.output, (arguments.run,))
    source = source_of(arguments.run, arguments.columns)
    content = file_page(source, arguments.cases) if source.kind == "file" else page(source, arguments.cases)
    write_text(arguments.output, content)
    print(f"wrote {arguments.output} ({len(content) / 1024:,.0f} KB)")


if __name__ == "__main__":
    sys.exit(main())
