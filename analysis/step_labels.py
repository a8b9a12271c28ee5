"""People's labels as training data for a process reward model: TRL's rows and PRM800K's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypedDict

from analysis.labels import Label, Labels
from analysis.rationales.records import with_options
from analysis.rationales.table import Rationale, Table


class TrlRow(TypedDict):
    """What TRL's PRMTrainer reads ("stepwise supervision")."""

    prompt: str
    completions: list[str]
    """The steps that are labelled."""
    labels: list[bool]
    """Whether each is right; neutral counts as not right, as in TRL's own conversion of PRM800K."""


def ratings(label: Label, n_steps: int) -> tuple[int, ...]:
    """1 right, 0 neutral, -1 wrong, for the steps that a label says something about.

    Where the person judged the whole: all steps of a sound rationale are right; of an unsound one the steps before the first
    wrong one are, and nothing is said about those after it. Empty where no step is named.
    """
    if label.ratings:
        return label.ratings[:n_steps]
    if label.verdict == "sound":
        return (1,) * n_steps
    if label.verdict == "unsound" and label.error_step is not None and label.error_step < n_steps:
        return (*(1,) * label.error_step, -1)
    return ()


def _labelled(table: Table, labels: Labels) -> Iterator[tuple[Label, Rationale, tuple[int, ...]]]:
    for label in sorted(labels.latest.values(), key=lambda one: one.at):
        row = table.row_of(label.id)
        if row is not None:
            one = table.rationale(row)
            if rated := ratings(label, len(one.steps)):
                yield label, one, rated


def trl_rows(table: Table, labels: Labels) -> list[TrlRow]:
    """A row for each label that says something about steps."""
    return [
        {
            "prompt": with_options(one.question, one.choices),
            "completions": list(one.steps[: len(rated)]),
            "labels": [rating == 1 for rating in rated],
        }
        for _, one, rated in _labelled(table, labels)
    ]


def prm800k_rows(table: Table, labels: Labels) -> list[dict[str, Any]]:
    """The same in the fields of PRM800K (Lightman et al. 2023), one completion a step."""
    return [
        {
            "labeler": label.labeller,
            "timestamp": label.at,
            "question": {
                "problem": with_options(one.question, one.choices),
                "ground_truth_answer": one.gold,
                "pre_generated_steps": list(one.steps),
                "pre_generated_answer": one.answer,
            },
            "label": {
                "steps": [
                    {
                        "completions": [{"text": step, "rating": rating, "flagged": False}],
                        "human_completion": None,
                        "chosen_completion": 0,
                    }
                    for step, rating in zip(one.steps, rated, strict=False)
                ],
                "finish_reason": "found_error" if -1 in rated else "solution",
            },
        }
        for label, one, rated in _labelled(table, labels)
    ]
