"""Rationale files of other projects: which format a row has, and the fields of a record that it gives.

A format names the keys by which its rows are known and those that it reads; its function gives one row of fields for each rationale
(`analysis.rationales.records.record_from` checks them). Labels count from 0 here. A label that is not understood raises ValueError:
its row is listed, never read without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from star.layouts import exchange, text_of

Row = Mapping[str, Any]
Fields = dict[str, Any]
MARK = "ки"
"""What Math-Shepherd puts behind each step."""


@dataclass(frozen=True)
class Format:
    """One way in which rationales are stored."""

    name: str
    known_by: tuple[str, ...]
    """Keys that every row has."""
    read: Callable[[Row], list[Fields]]
    more: tuple[str, ...] = ()
    """Further keys that are read."""
    also: Callable[[Row], bool] = lambda row: True
    """What else must hold, where the keys alone do not tell."""


def labelled(steps: Sequence[str], first_error: int | None, source: str) -> Fields:
    """Steps with a label: the first wrong step from 0, -1 for none, None for no label."""
    if first_error is not None and not -1 <= first_error < len(steps):
        raise ValueError(f"the label names step {first_error} (from 0) of {len(steps)} steps")
    sound = None if first_error is None else first_error == -1
    return {"steps": list(steps), "first_error_step": first_error, "sound": sound, "label_source": None if sound is None else source}


def first_false(flags: Sequence[Any], steps: Sequence[str]) -> int:
    """The place of the first step labelled wrong, or -1."""
    if len(flags) != len(steps) or not all(isinstance(flag, bool) for flag in flags):
        raise ValueError(f"expected true or false for each of {len(steps)} steps, found {str(flags):.80}")
    return next((place for place, flag in enumerate(flags) if not flag), -1)


def process_bench(row: Row) -> list[Fields]:
    """{"id", "generator", "problem", "steps": [...], "final_answer_correct": true, "label": 2}; label -1: no error."""
    if not isinstance(row["label"], int) or isinstance(row["label"], bool):
        raise ValueError(f"label: expected the first wrong step or -1, found {row['label']!r:.80}")
    return [{"question": row["problem"], "answer_correct": row.get("final_answer_correct"), **labelled(row["steps"], row["label"], "human")}]


def prm800k(row: Row) -> list[Fields]:
    """{"question": {"problem", "ground_truth_answer"}, "label": {"steps": [{"completions": [{"text", "rating"}], "human_completion",
    "chosen_completion"}], "finish_reason"}}; a rating of -1 is wrong. The solution is what was chosen, at the end what was rated.
    """
    chosen: list[Mapping[str, Any]] = []
    for step in row["label"]["steps"]:
        place, others = step.get("chosen_completion"), step["completions"] or []
        chosen.append(others[place] if place is not None else step.get("human_completion") or others[0])
    wrong = next((place for place, each in enumerate(chosen) if each.get("rating") == -1), None)
    first = wrong if wrong is not None else -1 if row["label"].get("finish_reason") == "solution" else None
    question = row["question"]
    own = {"question": question["problem"], "gold": question.get("ground_truth_answer")}
    return [own | labelled([each["text"] for each in chosen], first, "human")]


def mr_gsm8k(row: Row) -> list[Fields]:
    """{"uuid", "question", "model_output_steps", "model_output_solution_correctness": "wrong",
    "model_output_solution_first_error_step": 2, ...}, counted from 1; N/A for none.
    """
    steps, first = row["model_output_steps"], row.get("model_output_solution_first_error_step")
    steps = steps if isinstance(steps, list) else str(steps).strip().split("\n")
    right = {"correct": True, "wrong": False, None: None}
    whole, answer = (right[row.get(f"model_output_{part}_correctness")] for part in ("solution", "answer"))
    error = -1 if whole else None if first in ("N/A", None, "") else int(first) - 1
    made = labelled(steps, error, "human") | {"sound": whole, "label_source": None if whole is None else "human"}
    return [{"id": row.get("uuid"), "question": row["question"], "gold": row.get("ground_truth_answer"), "answer_correct": answer} | made]


def stepwise(row: Row) -> list[Fields]:
    """TRL: {"prompt", "completions": ["step", ...], "labels": [true, false, ...]}."""
    steps = row["completions"]
    return [{"question": _question(row["prompt"]), **labelled(steps, first_false(row["labels"], steps), "auto")}]


def math_shepherd(row: Row) -> list[Fields]:
    """{"input": "Question? Step 1: ... ки\\nStep 2: ... ки", "label": "Question? Step 1: ... +\\nStep 2: ... -", "task"}."""
    question, *_ = re.split(r"(?=Step 1\s*:)", row["input"], maxsplit=1)
    steps = [step.strip() for step in row["input"][len(question) :].split(MARK) if step.strip()]
    signs = re.findall(r"([+-])\s*(?=\n\s*Step \d|\Z)", row["label"].rstrip())
    return [{"question": question.strip(), **labelled(steps, first_false([sign == "+" for sign in signs], steps), "auto")}]


def lm_eval(row: Row) -> list[Fields]:
    """samples_*.jsonl of lm-evaluation-harness: {"doc_id", "doc": {...}, "target", "resps": [["text", ...]], "filtered_resps": [...],
    "exact_match": 1.0}; one rationale for each text.
    """
    texts = [text for each in row["resps"] for text in (each if isinstance(each, list) else [each])]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("resps: expected generated texts, found log-likelihoods")
    asked = row["doc"] if isinstance(row["doc"], Mapping) else {}
    question = next((asked[name] for name in ("question", "problem", "query", "input", "text") if isinstance(asked.get(name), str)), "")
    scores = [row[name] for name in ("exact_match", "acc", "math_verify") if isinstance(row.get(name), int | float)]
    answers = row.get("filtered_resps") or []
    answer = answers[0] if len(texts) == 1 and answers and isinstance(answers[0], str) else None
    right = bool(scores[0]) if scores and len(texts) == 1 else None
    gold = str(row["target"]).rpartition("####")[2].strip() if row.get("target") is not None else None
    own = {"id": str(row.get("doc_id", "")) or None, "question": question, "gold": gold, "answer_correct": right, "answer": answer}
    return [own | {"rationale": text, "meta": {"sample": place, "filter": row.get("filter")}} for place, text in enumerate(texts)]


def inspect_log(row: Row) -> list[Fields]:
    """A sample of an inspect log: {"id", "epoch", "input", "choices", "target", "output": {"choices": [{"message": ...}]}, "scores":
    {"match": {"value": "C", "answer": "18"}}}.
    """
    output, scores = row["output"], row.get("scores") or {}
    said = [text_of((each.get("message") or {}).get("content")) for each in output.get("choices") or []]
    score = next(iter(scores.values()), {}) if isinstance(scores, Mapping) else {}
    right = {"C": True, "I": False, "N": False, 1: True, 0: False}.get(score.get("value")) if isinstance(score.get("value"), str | int | float) else None
    target = row["target"][0] if isinstance(row["target"], list) and row["target"] else row["target"]
    own = {"id": str(row["id"]), "question": _question(row["input"]), "choices": row.get("choices") or None, "gold": target or None}
    own |= {"answer": score.get("answer"), "answer_correct": right, "generator": output.get("model"), "meta": {"sample": row.get("epoch")}}
    return [own | {"rationale": text} for text in said or [output.get("completion") or ""]]


def written_answer(row: Row) -> list[Fields]:
    """A chat, prompt and response, instruction and output: the forms of `star.layouts`."""
    found = exchange(row)
    if found is None or not isinstance(found.response, str):
        raise ValueError("expected `steps` (a list of texts) or `rationale` (one text), or one question with one answer as text")
    return [{"question": found.question, "rationale": found.response}]


def _question(given: Any) -> Any:
    """A prompt as text: itself, or the last turn of a chat that is the user's."""
    if not isinstance(given, list):
        return given
    turns = [turn for turn in given if isinstance(turn, Mapping) and turn.get("role") == "user"]
    return text_of(turns[-1].get("content")) if turns else ""


FORMATS = (
    Format("ProcessBench", ("problem", "steps", "label"), process_bench, ("id", "generator", "final_answer_correct")),
    Format("PRM800K", ("question", "label"), prm800k, also=lambda row: isinstance(row["label"], dict) and "steps" in row["label"]),
    Format("MR-GSM8K", ("question", "model_output_steps"), mr_gsm8k, (
        "uuid", "ground_truth_answer", "model_output_answer_correctness", "model_output_solution_correctness",
        "model_output_solution_first_error_step")),
    Format("TRL stepwise supervision", ("prompt", "completions", "labels"), stepwise),
    Format("Math-Shepherd", ("input", "label"), math_shepherd, also=lambda row: isinstance(row["input"], str) and MARK in row["input"]),
    Format("lm-eval samples", ("doc", "resps"), lm_eval, ("doc_id", "target", "filtered_resps", "filter", "exact_match", "acc", "math_verify")),
    Format("an inspect log", ("id", "input", "target", "output"), inspect_log, ("epoch", "choices", "scores"), also=lambda row: isinstance(row["output"], dict)),
)  # fmt: skip


def format_of(row: Row) -> Format | None:
    """The format of a row; None for the record's own and for rows that no format knows."""
    for each in FORMATS:
        if all(key in row for key in each.known_by) and each.also(row):
            return each
    if "steps" in row or "rationale" in row:
        return None
    found = exchange(row)
    return None if found is None else Format(found.layout, found.columns, written_answer, ("id", "answer", "gold"))
