"""Runs, rounds or model sizes side by side: accuracy, soundness and faithfulness on the same questions.

    python -m analysis.compare runs/addition-1a2b3c runs/addition-4d5e6f
    python -m analysis.compare runs/addition-1a2b3c --by round
    python -m analysis.compare runs/size-* --by size -o size-comparison

Prints and writes (comparison.md, comparison.json, comparison.png and .svg) every measure with its 95 % interval, its
control on the same questions and their number; paired differences with McNemar's or a bootstrap test and Holm's
correction; and all of it once more on the questions that every arm gets right. A measure that was not computed is "-",
with the command that computes it; one that has no value, with the reason. Two to four runs are compared pair by pair,
more of them, sizes and rounds each against the first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from analysis import comparing as comparison
from analysis.comparing import MEASURES, Arm, Figure
from analysis.faithfulness.effects import NOTHING_LEFT
from star.charts import slice_order
from star.command_line import parse, run_command
from star.errors import UsageError
from star.files import plain
from star.paired import Comparison
from star.report import markdown, p_text, print_table
from star.run import Run, RunError, write_json, write_text
from star.run_summary import arm_name

By = Literal["size", "round", "recipe"]
Cells = dict[str, str]


@dataclass(frozen=True)
class Arguments:
    """What `python -m analysis.compare` was asked for."""

    runs: tuple[Path, ...]
    """Run directories."""
    by: By = "recipe"
    """What differs: model sizes, the rounds of each run, or recipes (the chosen round of each run)."""
    split: comparison.Split = "selection"
    """Questions to compare on. Probes are made on selection; test has accuracy and soundness only, of the chosen round
    only."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for the tables and the chart; by default analysis/comparison of the first run."""


@dataclass(frozen=True)
class Section:
    """Figures and differences on one set of questions."""

    title: str
    questions: int
    figures: list[Figure]
    differences: list[Comparison]


def read_arms(run_dirs: Sequence[Path], by: By, split: comparison.Split) -> list[Arm]:
    """One arm per run, or per round of each run, in the order to be shown; no two have the same label.

    Raises RunError for rounds on the test split, and where an evaluation is missing.
    """
    if by == "round" and split == "test":
        raise RunError(
            "the test split is evaluated with the chosen round only, so rounds cannot be compared on it: leave out "
            "--split test, or compare the chosen rounds of several runs without --by round"
        )
    names = [arm_name(Run(run).recipe) for run in run_dirs]
    folders = [run.name if [r.name for r in run_dirs].count(run.name) == 1 else str(run) for run in run_dirs]
    arms = []
    for run, name, folder in zip(run_dirs, names, folders, strict=True):
        shown = name if names.count(name) == 1 else f"{name} ({folder})"
        if by == "round":
            suffix = f", {shown}" if len(run_dirs) > 1 else ""
            for number in (line["round"] for line in Run(run).rounds):
                arms.append(comparison.read_arm(run, number, split=split, label=f"round {number}{suffix}"))
            continue
        arm = comparison.read_arm(run, Run(run).chosen_round, split=split, label=shown)
        if by == "size" and arm.parameters:
            size = f"{arm.parameters / 1e6:.3g}M"
            arm = replace(arm, label=f"{size}, {shown}" if len(set(names)) > 1 else f"{size} ({folder})")
        arms.append(arm)
    return sorted(arms, key=lambda arm: arm.parameters or 0) if by == "size" else arms


def alike_to(first: Arm, arms: Sequence[Arm]) -> list[Arm]:
    """The arms, `first` among them, that all share questions, in their order."""
    alike = [first]
    for arm in arms:
        if arm is not first and comparison.shared_questions([*alike, arm]):
            alike.append(arm)
    return [arm for arm in arms if arm in alike]


def sections(arms: Sequence[Arm], by: By) -> list[Section]:
    """All shared questions, then those that every arm gets right."""
    compared = comparison.pairs(arms, every=by == "recipe" and len(arms) <= 4)
    grounds = {
        "All questions that every arm answered": comparison.shared_questions(arms),
        "Only the questions that every arm gets right": comparison.all_right(arms),
    }
    return [
        Section(
            f"{title} ({len(questions):,})",
            len(questions),
            comparison.figures(arms, questions),
            comparison.differences(compared, questions),
        )
        for title, questions in grounds.items()
    ]


def figure_rows(section: Section) -> list[Cells]:
    """A row per arm, a column per measure; the control in brackets behind the interval."""
    rows: dict[str, Cells] = {}
    for figure in section.figures:
        arm = figure.arm
        size = f"{arm.parameters:,}" if arm.parameters else "-"
        start = {"arm": arm.label, "run": arm.run, "parameters": size, "round": str(arm.round)}
        rows.setdefault(arm.label, start)[heading(figure)] = cell(figure)
    return list(rows.values())


def heading(figure: Figure) -> str:
    """The measure with its unit."""
    return f"{figure.measure.name} {'%' if figure.measure.unit == 'share' else figure.measure.unit}"


def cell(figure: Figure) -> str:
    """ "94.0 [90.0, 98.0] n=150 (control 4.7, corrected 93.7)", or "(control 97.0, nothing left to measure)"."""
    share = figure.measure.unit == "share"
    text = figure.interval.percent() if share else figure.interval.plain(2)
    if text == "-":
        return text
    beside = [
        f"{name} {100 * value:.1f}" if share else f"{name} {value:.2f}"
        for name, value in (("control", figure.control), ("corrected", figure.corrected))
        if value is not None
    ]
    beside += ["nothing left to measure"] if figure.note == NOTHING_LEFT else []
    return f"{text} n={figure.interval.n:,}" + (f" ({', '.join(beside)})" if beside else "")


def difference_rows(section: Section) -> list[Cells]:
    """A row per pair and measure."""
    rows = []
    for one in section.differences:
        measure, change = MEASURES[one.measure], one.difference
        rows.append(
            {
                "a": one.a,
                "b": one.b,
                "measure": measure.name,
                "questions": f"{one.n:,}",
                "b - a [95 %]": f"{change.percent()} points" if measure.unit == "share" else change.plain(2),
                "test": one.test or "-",
                "p": p_text(one.p),
                "p (Holm)": p_text(one.p_holm),
            }
        )
    return rows


def remarks(section: Section) -> list[str]:
    """What must be known about single figures: "silent recovery (round 1; round 2): no control exists: ..."."""
    by_note: dict[tuple[str, str], list[str]] = {}
    for figure in section.figures:
        if figure.note:
            by_note.setdefault((figure.measure.name, figure.note), []).append(figure.arm.label)
    return [f"{measure} ({'; '.join(labels)}): {note}" for (measure, note), labels in by_note.items()]


def notes(arms: Sequence[Arm], split: comparison.Split, by: By = "recipe") -> list[str]:
    """What a reader must know, and the commands that fill gaps."""
    texts = [f"Questions: the {split} split."]
    if split == "selection":
        final = "python -m star.report has that of the chosen round on test" if by == "round" else "--split test has the final ones"
        texts[0] += f" Rounds were chosen on it, so its accuracies are slightly high; {final}."
    if len(comparison.shared_questions(arms)) < min((len(arm.values["accuracy"]) for arm in arms), default=0):
        texts.append("The arms did not all answer the same questions; only the shared ones are compared.")
    texts += _unlike_probes(arms)
    for measure in MEASURES.values():
        for why in dict.fromkeys(arm.absent[measure.key] for arm in arms if measure.key in arm.absent):
            without = [arm.label for arm in arms if arm.absent.get(measure.key) == why]
            texts.append(f"No value for {measure.name} ({'; '.join(without)}): {why}.")
    commands = list(dict.fromkeys(command for arm in arms for command in arm.missing))
    if commands:
        texts.append("\n".join(["Not computed yet. To fill the gaps, run:", *(f"    {line}" for line in commands)]))
    return texts


def _unlike_probes(arms: Sequence[Arm]) -> list[str]:
    """That the arms were probed on different questions, where they were."""
    probed = {arm.label: {row["problem_id"] for row in arm.probed} for arm in arms if arm.probed}
    shared = comparison.probed_questions(arms)
    if all(questions == shared for questions in probed.values()):
        return []
    counts = "; ".join(f"{label}: {len(questions):,}" for label, questions in probed.items())
    return [
        f"The arms were not probed on the same questions ({counts}): what probes measure is compared on the "
        f"{len(shared):,} that all of these share. For more, probe them with the same --n and --seed."
    ]


def chart(section: Section, by: By) -> Any:
    """Accuracy, soundness and faithfulness: against size, by round, or a dot per recipe."""
    import pandas as pd

    from analysis import charts

    shown = ("accuracy", "sound", "right_unsound", "aoc_normalised", "reliance", "filler_gap")
    rows = [
        {"label": f.arm.label, "arm": f.arm.recipe, "parameters": f.arm.parameters, "measure": f.measure.name,
         "unit": f.measure.unit, **asdict(f.interval)}
        for f in section.figures
        if f.measure.key in shown and f.interval.n
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    question = "Do they differ?"
    sizes = frame["parameters"].nunique() if by == "size" else 0
    if by == "size" and sizes > 1 and frame["parameters"].notna().all():
        return charts.against_size(frame, "Do larger models reason better, and use their reasoning?")
    if by == "round":
        order = slice_order(frame["label"])
        frame = frame.sort_values("label", key=lambda labels: labels.map(order.index), kind="stable")
        question = "What changes from round to round?"
    return charts.comparison(frame, question)


def write(folder: Path, shown: Sequence[Section], said: Sequence[str], by: By) -> list[Path]:
    """comparison.md, comparison.json, and the chart as PNG and SVG."""
    from analysis import charts

    lines = ["# Comparison", "", *said, ""]
    for section in shown:
        lines += [f"## {section.title}", "", markdown(figure_rows(section)), ""]
        lines += [*(f"- {remark}" for remark in remarks(section)), ""]
        lines += ["### Paired differences", "", markdown(difference_rows(section)), ""] if section.differences else []
    write_text(folder / "comparison.md", "\n".join(lines))
    write_json(folder / "comparison.json", {"by": by, "notes": list(said), "sections": plain([_content(s) for s in shown])})
    drawn = chart(shown[0], by)
    images = [charts.save(drawn, folder / f"comparison{ending}") for ending in (".png", ".svg")]
    return [folder / "comparison.md", folder / "comparison.json", *images]


def _content(section: Section) -> dict[str, Any]:
    figures = [
        {"arm": f.arm.label, "run": f.arm.run, "round": f.arm.round, "parameters": f.arm.parameters,
         "measure": f.measure.key, **f.interval.as_dict(), "control": f.control, "corrected": f.corrected, "note": f.note}
        for f in section.figures
    ]  # fmt: skip
    differences = [
        {"a": one.a, "b": one.b, "measure": one.measure, **vars(one.difference), "test": one.test, "p": one.p, "p_holm": one.p_holm}
        for one in section.differences
    ]
    return {"title": section.title, "questions": section.questions, "figures": figures, "differences": differences}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_command(lambda: compare(parse(Arguments, __doc__, argv)))


def compare(arguments: Arguments) -> None:
    """Read, compare, write, print. Raises RunError, UsageError."""
    run_dirs = list({run.resolve(): run for run in arguments.runs}.values())
    if not run_dirs:
        raise UsageError("no run is given: give two or more run directories, or one with --by round")
    finished = [run for run in run_dirs if Run(run).rounds or Run(run).result or not Run(run).exists]
    waiting = [run for run in run_dirs if run not in finished] if len(finished) > 1 else []
    run_dirs = [run for run in run_dirs if run not in waiting]
    arms = read_arms(run_dirs, arguments.by, arguments.split)
    if len(arms) < 2:
        raise RunError("one arm alone cannot be compared: give two runs, or one run with several rounds and --by round")
    alike = max((alike_to(arm, arms) for arm in arms), key=len)
    if len(alike) < 2:
        hint = " Try --split test." if arguments.split == "selection" and arguments.by != "round" else ""
        raise RunError(f"the runs share no question: they differ in task, seed or selection size.{hint}")
    left_out = [f"{run} has no finished round yet and is left out." for run in waiting]
    left_out += [f"{arm.label} shares no question with the others and is left out." for arm in arms if arm not in alike]
    shown, said = sections(alike, arguments.by), [*left_out, *notes(alike, arguments.split, arguments.by)]
    folder = arguments.output or Run(run_dirs[0]).file("analysis/comparison")
    written = write(folder, shown, said, arguments.by)
    for note in said:
        print(f"{note}\n")
    for section in shown:
        if section.figures:
            print_table(figure_rows(section), section.title)
            print("\n".join(remarks(section)))
        if section.differences:
            print_table(difference_rows(section), "Paired differences on the same questions")
    print("wrote " + ", ".join(str(path) for path in written))


if __name__ == "__main__":
    sys.exit(main())
