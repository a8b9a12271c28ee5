"""The chart and the table of `benchmarks/human_labels.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.published import ANSWER_TO_BEAT


def draw(figures: dict[str, Any], folder: Path) -> None:
    """The precision-recall curve of right answers, and the reliability of p_unsound, as PNG beside the JSON."""
    import pandas as pd

    from analysis import charts

    right = figures["steps"]["right_answers"]
    curve = pd.DataFrame(right["curve"]).assign(label="detector")
    question = f"Right answer, wrong reasoning: can it be found? ({right['n']:,} human labels)"
    drawn = charts.precision_recall(curve, question, base_rate=right["base_rate"])
    charts.save(drawn, folder / "human_labels.png")
    bins = pd.DataFrame(figures["steps"]["reliability"]["bins"])
    charts.save(charts.reliability(bins), folder / "human_labels_reliability.png")


def show(figures: dict[str, Any]) -> None:
    """The table that the README quotes."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Against human labels (95 % intervals over questions)")
    for column in ("data", "measure", "figure", "beside"):
        table.add_column(column)
    for task, row in figures["exact"].items():
        beside = f"best published {100 * row['best_published']:.1f}, hidden fifth {100 * row['hidden']['value']:.1f}"
        table.add_row(task, "first mistake, %", row["accuracy"].percent(), beside)
    answer = figures["answer"]
    table.add_row(
        "GSM8K solutions", "answer right, AUROC", answer["questions_held_out"].plain(), f"quick model {ANSWER_TO_BEAT}"
    )
    for name in answer:
        if name.startswith("leave_"):
            table.add_row("", name.replace("_", " "), answer[name].plain(), "")
    for source in ("GSM8K", "SVAMP"):
        alarms = answer["called_unsound"][f"shipped_{source}"]["all"]
        table.add_row(f"{source}, worked solutions", "called unsound, %", alarms.percent(), "aim: at most 20")
    table.add_row(
        "", "hidden fifth", answer["hidden"]["hidden"].plain(), answer["hidden"]["seen_cross_validated"].plain()
    )
    for name in ("all", "right_answers"):
        row = figures["steps"]["mr_ben"][name]
        table.add_row(
            "Mr-Ben",
            f"p_unsound, {name.replace('_', ' ')}",
            row["auroc"].plain(),
            f"equations {row['equation_only'].plain()}",
        )
    for name in ("mr_ben", "mr_gsm8k"):
        row = figures["steps"][f"first_error_{name}"]
        detector, plain = row["detector"], row["equation_only"]
        beside = f"F1 {detector['f1']:.3f}; equations {100 * plain['accuracy']:.1f}, F1 {plain['f1']:.3f}"
        table.add_row(name, "first error, %", row["accuracy"].percent(), beside)
    for name, row in figures["natural_program"].items():
        table.add_row(
            "Natural Program", name.replace("_", " "), row["auroc"].plain(), f"equations {row['equation_only'].plain()}"
        )
    recovery = figures["recovery"]
    held_out = {"questions": recovery["questions_held_out"]["all"], **recovery["data_set_held_out"]}
    held_out |= {name: row["all"] for name, row in recovery["generator_held_out"].items()}
    for name, row in held_out.items():
        interval = f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        table.add_row("recoveries", f"AUROC, {name} held out", interval, f"{row['n']:,} questions")
    Console().print(table)
