"""One self-contained page of a run, to send to a colleague: charts, tables, and the rationales to look at first.

    python -m analysis.export runs/addition-1a2b3c -o report.html

Nothing on the page is loaded from anywhere: charts are inlined as SVG images, there is no script at all, and every text
that came from a model or a file is escaped. It reads on light and dark screens and prints. Works on an unfinished run and
without analysis, and says which command would fill the gap.
"""

from __future__ import annotations

import base64
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

from analysis.pages.widgets.probe_words import DONE, IN_NATS, NATS, interval_words, measure_words
from analysis.pages.widgets.run_words import MODES, NO_REASON, sure
from analysis.rationales.joining import scores_of_run
from analysis.rationales.table import parse_flags
from analysis.sources import Source, run_labels
from star.command_line import parse, run_command
from star.errors import UsageError
from star.report import cells, label, percent, warnings
from star.run import TEST, Run, write_text
from star.run_summary import RunSummary, summarise_run

MAX_TEXT = 4_000
"""Characters of one step or question that are shown."""
MAX_STEPS = 60
CASE_COLUMNS = ("attempt_id", "problem_id", "round", "mode", "split", "slice", "sample", "rationale", "answer", "gold",
                "verdict", "sound")  # fmt: skip
"""Columns of attempts that a case shows."""
SCORE_COLUMNS = ("p_unsound", "first_error_step", "flags")
STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --paper: #fff; --soft: #667; --line: #d8dce2; --card: #f6f7f9;
  --bad: #b34700; --badbg: #fdeee3; --good: #00714f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --paper: #111418; --soft: #9aa4b0; --line: #2c323a;
  --card: #191e24; --bad: #ff9d5c; --badbg: #33231a; --good: #3fcf9f; } }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, "Segoe UI", Roboto, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 0 auto; padding: 2rem 1.2rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.25rem; margin: 2.6rem 0 .7rem; }
.soft { color: var(--soft); } .number { font-size: 2.1rem; font-weight: 650; line-height: 1.15; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .8rem; margin: 1.4rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1rem; }
.warning { border-left: .3rem solid var(--bad); background: var(--badbg); padding: .7rem 1rem; border-radius: .3rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .35rem .7rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
img { width: 100%; height: auto; display: block; margin: .6rem 0 1.2rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; font: .9rem/1.5 ui-monospace, Menlo, monospace; }
ol.steps { list-style: none; margin: .6rem 0 0; padding: 0; counter-reset: step; }
ol.steps li { padding: .2rem .6rem .2rem 2.6rem; position: relative; border-left: .25rem solid transparent; }
ol.steps li::before { counter-increment: step; content: counter(step); position: absolute; left: .6rem;
  color: var(--soft); font-size: .85rem; }
ol.steps li.flag { border-color: var(--bad); background: var(--badbg); border-radius: 0 .3rem .3rem 0; }
.reason { color: var(--bad); font-weight: 600; font-size: .88rem; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--soft); }
@media print { .card, .warning { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Arguments:
    """What `python -m analysis.export` was asked for."""

    run: Path
    """Run directory."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("report.html")
    """The page to write."""
    cases: int = 20
    """Right-but-unsound rationales to show, 0 or more."""


@dataclass(frozen=True)
class Case:
    """A rationale whose answer is right and whose reasoning is suspected to be wrong."""

    row: Mapping[str, Any]
    p_unsound: float | None
    first_error: int | None
    flags: tuple[tuple[int, str], ...]
    """(0-based step, reason)."""


def text(value: object, limit: int = MAX_TEXT) -> str:
    """Escaped, control characters shown as a replacement sign, cut at `limit`."""
    shown = "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value)[:limit])
    return escape(shown) + (" &hellip;" if len(str(value)) > limit else "")


def table(rows: Sequence[Mapping[str, str]], *, numbers_from: int = 1) -> str:
    """An HTML table of plain texts."""
    if not rows:
        return ""
    names = list(rows[0])

    def line(tag: str, values: Iterable[str]) -> str:
        kind = [' class="n"' if index >= numbers_from else "" for index in range(len(names))]
        return "<tr>" + "".join(f"<{tag}{k}>{text(v)}</{tag}>" for k, v in zip(kind, values, strict=True)) + "</tr>"

    body = "".join(line("td", [row[name] for name in names]) for row in rows)
    return f'<div class="scroll"><table><thead>{line("th", names)}</thead><tbody>{body}</tbody></table></div>'


def image(chart: Any, alt: str) -> str:
    """A chart as an inlined SVG image: an <img> never runs what is inside it."""
    from analysis import charts

    with tempfile.TemporaryDirectory() as folder:
        content = charts.save(chart, Path(folder) / "chart.svg").read_bytes()
    return f'<img alt="{text(alt)}" src="data:image/svg+xml;base64,{base64.b64encode(content).decode()}">'


def read_cases(run: Run, summary: RunSummary, most: int) -> tuple[list[Case], str]:
    """The top right-but-unsound rationales, worst first, and sentences about them.

    Those of the evaluated split come first; where they are fewer than `most`, the rounds up to the chosen one fill the
    list. Rationalized ones are counted apart: their answers are right because they were shown.
    """
    last, files = summary.round or 0, run.attempt_files()
    evaluation = f"{run.folder(TEST if summary.finished else last).name}/evaluation.parquet"
    if evaluation not in files:
        return [], "No evaluated rationales."
    rows = [row for row in _right_rows(run, evaluation) if not row["sample"]]
    earlier = [f"{run.folder(number).name}/{name}.parquet" for number in range(last, -1, -1) for name in ("evaluation", "attempts")]
    others = [row for file in earlier if file in files and file != evaluation for row in _right_rows(run, file)]
    scored = any(row["p_unsound"] is not None for row in (*rows, *others))
    checked = any(row["sound"] is not None for row in rows)
    if not checked and not scored:
        return [], f"Soundness is not known yet. To find out, run: python -m analysis.score {run.path}"
    how = "by the task's exact check" if checked else "by the automatic score (at least 50 % likely)"
    cases = _cases(rows)
    about = f"Of {len(rows):,} right answers of the {summary.split} split, {len(cases):,} rest on unsound reasoning, {how}."
    if len(cases) >= most:
        return cases[:most], about + (f" The {most} most suspicious:" if len(cases) > most > 0 else "")
    more = _cases(others)
    about += _about_others(others, [case.row for case in more], last)
    filled = more[: most - len(cases)]
    return [*cases, *filled], about + (f" {len(filled)} of the rounds, the most suspicious, are below." if filled else "")


def _about_others(right: Sequence[Mapping[str, Any]], unsound: Sequence[Mapping[str, Any]], last: int) -> str:
    """How many of the rounds' right answers are unsound, in sentences; nothing where there is no other right answer."""
    where = f"in rounds 0 to {last}" if last else "of the base model"
    (own, own_unsound), (shown, shown_unsound) = (
        [sum((row["mode"] == "rationalized") is saw for row in rows) for rows in (right, unsound)] for saw in (False, True)
    )
    about = f" Of {own:,} other right answers {where}, {own_unsound:,}." if right else ""
    return about + (f" Of {shown:,} rationalized ones, which saw the answer, {shown_unsound:,}." if shown else "")


def _right_rows(run: Run, file: str) -> list[dict[str, Any]]:
    """Rationales of a file that end in a right answer, with their scores (None: not scored)."""
    rows = run.table(file, CASE_COLUMNS).to_pylist()
    scores = scores_of_run(run, file, SCORE_COLUMNS)
    scored = scores.to_pylist() if scores else [dict.fromkeys(SCORE_COLUMNS)] * len(rows)
    both = [row | score for row, score in zip(rows, scored, strict=True)]
    return [row for row in both if row["verdict"] == "correct" and row["rationale"]]


def _cases(rows: Iterable[Mapping[str, Any]]) -> list[Case]:
    """The unsound ones of rows with right answers, the most suspicious first."""
    cases = []
    for row in rows:
        p = row["p_unsound"]
        if row["sound"] is False if row["sound"] is not None else (p is not None and p >= 0.5):
            flags = tuple((flag.step, flag.message) for flag in parse_flags(row["flags"]))
            cases.append(Case(row, p, row["first_error_step"], flags))
    return sorted(cases, key=lambda case: -(case.p_unsound if case.p_unsound is not None else 1.0))


def case_html(case: Case, question: str, number: int) -> str:
    """Question, answer, and the steps with the flagged ones marked and the reason in words."""
    from analysis.rationales.steps import split_steps

    steps = split_steps(case.row["rationale"])[:MAX_STEPS]
    reasons: dict[int, list[str]] = {}
    for step, reason in case.flags:
        reasons.setdefault(step, []).append(reason)
    first = case.first_error if case.first_error is not None and case.first_error >= 0 else None
    if first is not None and first not in reasons:
        reasons[first] = [f"first suspected error: {NO_REASON}"]
    items = []
    for index, line in enumerate(steps):
        said = "".join(f'<div class="reason">{text(reason)}</div>' for reason in reasons.get(index, []))
        items.append(f"<li{' class=flag' if said else ''}><pre>{text(line)}</pre>{said}</li>")
    about = f"{text(origin(case.row))} · answer {text(case.row['answer'])}, gold {text(case.row['gold'])}"
    if case.p_unsound is not None:
        about += f" · {sure(case.p_unsound)} unsound by the automatic score"
    whole = "".join(f'<div class="reason">{text(reason)}</div>' for reason in reasons.get(-1, []))
    return (
        f'<div class="card" style="margin: 1rem 0"><div class="soft">{number} · {text(case.row["slice"] or "")} · '
        f"{about}</div><pre>{text(question)}</pre>{whole}<ol class=steps>{''.join(items)}</ol></div>"
    )


def origin(row: Mapping[str, Any]) -> str:
    """Split, round and way of a rationale: "train split, round 2, rationalized (saw the answer)"."""
    model = "base model" if row["round"] == 0 else f"round {row['round']}"
    split = f"{row['split']} split"
    return ", ".join([split, model] + ([] if row["mode"] == "evaluated" else [MODES.get(row["mode"], row["mode"])]))


def figure_cards(summary: RunSummary) -> str:
    """The figures that matter, each with its interval and n."""
    shown = [("answers right", summary.accuracy)]
    if summary.sound_of_correct.n:
        shown.append(("of these, reasoning sound", summary.sound_of_correct))
    cards = [
        f'<div class="card"><div class="soft">{name}</div><div class="number">{percent(share.value)} %</div>'
        f'<div class="soft">95 % interval {percent(share.low)} to {percent(share.high)} · n = {share.n:,}</div></div>'
        for name, share in shown
    ]
    cards.append(
        f'<div class="card"><div class="soft">no answer / truncated</div><div class="number">'
        f"{percent(summary.no_answer)} / {percent(summary.truncated)} %</div>"
        f'<div class="soft">of {summary.accuracy.n:,} problems of the {text(summary.split)} split</div></div>'
    )
    return f'<div class="cards">{"".join(cards)}</div>'


def faithfulness_html(run: Run, number: int | None) -> str:
    """The probes' table with controls, or the command that makes them."""
    probed = run.probed_rounds()
    part = probed.get(str(number)) or next(reversed(list(probed.values())), None)
    if not part:
        return f"<p class=soft>Not probed yet. To find out, run: python -m analysis.probe {text(run.name)}</p>"
    rows = []
    for name, measure in part.get("measures", {}).items():
        control: Mapping[str, Any] = measure.get("control") or {}
        unit = NATS if name in IN_NATS else "%"
        rows.append(
            {
                "measure": measure_words(name),
                "value (95 %)": interval_words(measure, unit),
                "n": f"{measure.get('n') or 0:,}",
                "control": interval_words(control, unit) or "-",
                "control is": DONE.get(str(control.get("name")), "-"),
                "corrected": interval_words(measure.get("corrected") or {}, unit) or "-",
                "note": measure.get("note") or "",
            }
        )
    if not any(row["note"] for row in rows):
        rows = [{name: value for name, value in row.items() if name != "note"} for row in rows]
    about = f"{part.get('n_rationales', 0):,} rationales; every effect beside what its control changes."
    return f"<p class=soft>{text(about)}</p>" + table(rows)


def charts_html(run: Run) -> str:
    """Accuracy, soundness and data by round."""
    from analysis import charts

    metrics = run.rounds
    if not metrics:
        return ""
    frame = charts.rounds_frame(metrics, run.name)
    parts = [image(charts.accuracy_by_round(frame), "Accuracy by round")]
    soundness = charts.soundness_by_round(frame)
    if soundness is not None:
        parts.append(image(soundness, "Right and sound answers by round"))
    data = charts.data_frame(metrics)
    if len(data):
        parts.append(image(charts.data_by_round(data), "Training data by round"))
    return "".join(parts)


def page(run: Path, most: int) -> str:
    """The whole page. Raises RunError for a directory that is no run."""
    summary, folder = summarise_run(run), Run(run)
    manifest = folder.manifest
    cases, about = read_cases(folder, summary, most)
    questions = {row["problem_id"]: row["question"] or "" for row in folder.problems(["problem_id", "question"])}
    name = run_labels([Source("run", run, run.name)])[run.name]
    model = (folder.recipe.get("model") or {}).get("path", "")
    size = f", {summary.parameters:,} parameters" if summary.parameters else ""
    commit = str(manifest.get("commit") or "unknown")[:12] + (" with local changes" if manifest.get("dirty") else "")
    round_ = f"round {summary.round}" + ("" if summary.finished else " so far")
    notes = "".join(f'<p class="warning">{text(note)}</p>' for note in warnings([summary]))
    details = [{"": name, "value": value} for name, value in cells(summary).items()]
    by_slice = [
        {"slice": name, "answers right % [95 %]": share.percent(), "n": f"{share.n:,}"}
        for name, share in summary.slices.items()
    ]
    shown = "".join(
        case_html(case, questions.get(case.row["problem_id"], ""), i) for i, case in enumerate(cases, start=1)
    )
    content = (
        f"<h1>{text(name)}</h1><p class=soft>{text(label(summary))}, {round_}, from {text(model)}{size}; "
        f"commit {text(commit)}</p>{notes}{figure_cards(summary)}<h2>Does it learn, and is it sound?</h2>"
        f"{charts_html(folder)}<h2>By slice</h2>{table(by_slice)}<h2>Right answer, wrong reasoning</h2>"
        f"<p>{text(about)}</p>{shown}"
        f"<h2>Does the model use its rationale?</h2>{faithfulness_html(folder, summary.round)}"
        f"<h2>Cost and details</h2>{table(details)}<details><summary>Recipe</summary>"
        f"<pre>{text(yaml.safe_dump(dict(folder.recipe), sort_keys=False, allow_unicode=True), 50_000)}</pre></details>"
    )
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(name)}</title><style>{STYLE}</style></head><body>{content}</body></html>\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_command(lambda: export(parse(Arguments, __doc__, argv)))


def export(arguments: Arguments) -> None:
    """Write the page. Raises UsageError, RunError."""
    if arguments.cases < 0:
        raise UsageError(f"--cases {arguments.cases}: expected how many rationales to show, 0 or more")
    content = page(arguments.run, arguments.cases)
    write_text(arguments.output, content)
    print(f"wrote {arguments.output} ({len(content) / 1024:,.0f} KB)")


if __name__ == "__main__":
    sys.exit(main())
