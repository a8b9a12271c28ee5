"""One self-contained page of a run, to send to a colleague: charts, tables, and the rationales to look at first.

    python -m analysis.export runs/addition-1a2b3c -o report.html

Nothing on the page is loaded from anywhere: charts are inlined as SVG images, there is no script at all, and every text
that came from a model or a file is escaped. It reads on light and dark screens and prints. Works on an unfinished run and
without analysis, and says which command would fill the gap.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated, Any

import tyro

from analysis.pages.widgets.probe_words import DONE, IN_NATS, NATS, interval_words, measure_words
from analysis.pages.widgets.run_words import MODES, NO_REASON
from analysis.soundness.grades import flag_words, flagged, score_words
from analysis.store import Source, run_labels
from star import run as runs
from star.report import cells, label, percent, warnings
from star.run import RunError
from star.run_summary import RunSummary, read_recipe, summarise_run

MAX_TEXT = 4_000
"""Characters of one step or question that are shown."""
MAX_STEPS = 60
CASE_COLUMNS = ("attempt_id", "problem_id", "round", "mode", "split", "slice", "sample", "rationale", "answer", "gold",
                "verdict", "sound")  # fmt: skip
"""Columns of attempts that a case shows."""
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

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("report.html")
    """The page to write."""
    cases: int = 20
    """Right-but-unsound rationales to show, 0 or more."""


@dataclass(frozen=True)
class Case:
    """A rationale whose answer is right and whose reasoning is proven unsound or flagged."""

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


def read_cases(run: Path, summary: RunSummary, most: int) -> tuple[list[Case], str]:
    """The top right-but-unsound rationales, worst first, and sentences about them.

    Those of the evaluated split come first; where they are fewer than `most`, the rounds up to the chosen one fill the
    list. Rationalized ones are counted apart: their answers are right because they were shown.
    """
    last = summary.round or 0
    evaluation = (run / "test" if summary.finished else run / f"round_{last:02d}") / "evaluation.parquet"
    if not evaluation.is_file():
        return [], "No evaluated rationales."
    rows = [row for row in _right_rows(evaluation) if not row["sample"]]
    others = [row for file in _round_files(run, last) if file != evaluation for row in _right_rows(file)]
    scores = _scores(run, {row["attempt_id"] for row in (*rows, *others)})
    checked = any(row["sound"] is not None for row in rows)
    if not checked and not scores:
        return [], f"Soundness is not known yet. To find out, run: python -m analysis.score {run}"
    rest = "rest on unsound reasoning, by the task's exact check"
    how = rest if checked else f"are proven unsound or {flag_words()}"
    cases = _cases(rows, scores)
    about = f"Of {len(rows):,} right answers of the {summary.split} split, {len(cases):,} {how}."
    if len(cases) >= most:
        return cases[:most], about + (f" The {most} most suspicious:" if len(cases) > most > 0 else "")
    more = _cases(others, scores)
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


def _round_files(run: Path, last: int) -> list[Path]:
    """What the rounds up to `last` evaluated and sampled, the latest round first."""
    folders = [run / f"round_{number:02d}" for number in range(last, -1, -1)]
    files = [folder / name for folder in folders for name in ("evaluation.parquet", "attempts.parquet")]
    return [file for file in files if file.is_file()]


def _right_rows(file: Path) -> list[dict[str, Any]]:
    """Rationales of a file that end in a right answer."""
    return [row for row in runs.read_rows(file, CASE_COLUMNS) if row["verdict"] == "correct" and row["rationale"]]


def _cases(rows: Iterable[Mapping[str, Any]], scores: Mapping[str, Mapping[str, Any]]) -> list[Case]:
    """The unsound ones of rows with right answers, the most suspicious first."""
    cases = []
    for row in rows:
        score = scores.get(row["attempt_id"], {})
        p = score.get("p_unsound")
        unsound = row["sound"] is False if row["sound"] is not None else (p is not None and flagged(p))
        if unsound:
            flags = tuple((int(flag["step"]), str(flag["message"])) for flag in _flags(score.get("flags")))
            cases.append(Case(row, p, score.get("first_error_step"), flags))
    return sorted(cases, key=lambda case: -(case.p_unsound if case.p_unsound is not None else 1.0))


def _scores(run: Path, wanted: set[str]) -> dict[str, Mapping[str, Any]]:
    file = run / "analysis" / "soundness.parquet"
    if not file.is_file():
        return {}
    columns = ["attempt_id", "p_unsound", "first_error_step", "flags"]
    return {row["attempt_id"]: row for row in runs.read_rows(file, columns) if row["attempt_id"] in wanted}


def _flags(value: object) -> list[dict[str, Any]]:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return []
    listed = found if isinstance(found, list) else []
    return [
        flag for flag in listed if isinstance(flag, dict) and isinstance(flag.get("step"), int) and "message" in flag
    ]


def _questions(run: Path) -> dict[str, str]:
    file = run / "problems.parquet"
    if not file.is_file():
        return {}
    return {row["problem_id"]: row["question"] or "" for row in runs.read_rows(file, ["problem_id", "question"])}


def case_html(case: Case, question: str, number: int) -> str:
    """Question, answer, and the steps with the flagged ones marked and the reason in words."""
    from analysis.rationales.steps import split_steps

    steps = split_steps(case.row["rationale"])[:MAX_STEPS]
    reasons: dict[int, list[str]] = {}
    for step, reason in case.flags:
        reasons.setdefault(step, []).append(reason)
    first = case.first_error if case.first_error is not None and case.first_error >= 0 else None
    if first is not None and first not in reasons:
        reasons[first] = [NO_REASON]
    items = []
    for index, line in enumerate(steps):
        said = "".join(f'<div class="reason">{text(reason)}</div>' for reason in reasons.get(index, []))
        items.append(f"<li{' class=flag' if said else ''}><pre>{text(line)}</pre>{said}</li>")
    about = f"{text(origin(case.row))} · answer {text(case.row['answer'])}, gold {text(case.row['gold'])}"
    if case.p_unsound is not None:
        about += f" · {score_words(case.p_unsound)}"
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


def faithfulness_html(run: Path, number: int | None) -> str:
    """The probes' table with controls, or the command that makes them."""
    file = run / "analysis" / "probes.json"
    found = (runs.read_json(file).get("rounds") or {}) if file.is_file() else {}
    part = found.get(str(number)) or next(reversed(list(found.values())), None)
    if not part:
        return f"<p class=soft>Not probed yet. To find out, run: python -m analysis.probe {text(run.name)}</p>"
    rows = []
    for name, measure in (part.get("measures") or {}).items():
        control, unit = measure.get("control") or {}, NATS if name in IN_NATS else "%"
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


def charts_html(run: Path) -> str:
    """Accuracy, soundness and data by round."""
    from analysis import charts

    metrics = charts.read_metrics(run)
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
    summary, recipe = summarise_run(run), read_recipe(run)
    manifest = runs.read_json(run / "run.json") if (run / "run.json").is_file() else {}
    cases, about = read_cases(run, summary, most)
    questions = _questions(run)
    name = run_labels([Source("run", run, run.name)])[run.name]
    model = (recipe.get("model") or {}).get("path", "")
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
        f"{charts_html(run)}<h2>By slice</h2>{table(by_slice)}<h2>Right answer, wrong reasoning</h2>"
        f"<p>{text(about)}</p>{shown}"
        f"<h2>Does the model use its rationale?</h2>{faithfulness_html(run, summary.round)}"
        f"<h2>Cost and details</h2>{table(details)}<details><summary>Recipe</summary>"
        f"<pre>{text((run / 'recipe.yaml').read_text(encoding='utf-8', errors='replace'), 50_000)}</pre></details>"
    )
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(name)}</title><style>{STYLE}</style></head><body>{content}</body></html>\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 1 and a sentence for bad input."""
    arguments = tyro.cli(Arguments, description=__doc__, args=argv)
    try:
        if arguments.cases < 0:
            raise RunError(f"--cases {arguments.cases}: expected how many rationales to show, 0 or more")
        content = page(arguments.run, arguments.cases)
        runs.write_text(arguments.output, content)
    except (RunError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {arguments.output} ({len(content) / 1024:,.0f} KB)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
