"""Rationale files of other projects: which format a row has, and the fields of a record that it gives.

A format names the keys by which its rows are known and those that it reads; its function gives the fields of each rationale
(`analysis.rationales.records.record_from` checks them); an answer of None is then read from the rationale. Labels count from 0.
A label that is not understood raises ValueError: its row is listed, never read without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from star.layouts import CHATS, exchange, said, text_of
from star.row_files import Row, cell, has

Fields = dict[str, Any]
MARK = "ки"
"""What Math-Shepherd puts behind each step."""


@dataclass(frozen=True)
class Columns:
    """The columns of a file that call them otherwise: `a`, nested `a.b`, or texts joined, `a+b`."""

    question: str | None = None
    """Column of the question, of a record file that calls it otherwise."""
    rationale: str | None = None
    """Column of the rationale."""
    answer: str | None = None
    """Column of the answer that the rationale reached."""
    gold: str | None = None
    """Column of the reference answer."""

    def renamed(self, row: Row) -> Row:
        """The row under a record's names. Raises ValueError where it lacks a column."""
        given = self.given
        if lacking := [column for column in given.values() if not has(row, column)]:
            raise ValueError(f"no column {lacking[0]!r}; the row has {', '.join(map(str, row))}")
        named = {part.strip().split(".")[0] for column in given.values() for part in column.split("+")} | set(given.values())
        named |= {"steps"} if "rationale" in given else set()
        return {name: value for name, value in row.items() if name not in named} | {k: cell(row, v) for k, v in given.items()}

    @property
    def given(self) -> dict[str, str]:
        """Field of a record -> column, of those that were named."""
        return {item.name: column for item in fields(self) if (column := getattr(self, item.name)) is not None}


@dataclass(frozen=True)
class Format:
    """One way in which rationales are stored: the keys that every row has, how it is read, and further keys that are read."""

    name: str
    known_by: tuple[str, ...]
    read: Callable[[Row], list[Fields]]
    more: tuple[str, ...] = ()
    also: Callable[[Row], bool] = lambda row: True
    """What else must hold, where the keys alone do not tell."""


def labelled(steps: Sequence[str], first_error: int | None, source: str) -> Fields:
    """Steps with a label: the first wrong step from 0, -1 for none, None for no label."""
    return {"steps": list(steps), "first_error_step": first_error, "label_source": None if first_error is None else source}


def first_false(flags: Sequence[Any], steps: Sequence[str]) -> int:
    """The place of the first step labelled wrong, or -1."""
    if len(flags) != len(steps) or not all(isinstance(flag, bool) for flag in flags):
        raise ValueError(f"expected true or false for each of {len(steps)} steps, found {flags!s:.80}")
    return flags.index(False) if False in flags else -1


def process_bench(row: Row) -> list[Fields]:
    """{"id", "generator", "problem", "steps": [...], "final_answer_correct": true, "label": 2}; label -1: no error."""
    label = row["label"]
    if type(label) is not int and not (isinstance(label, float) and label.is_integer()):  # 1.0 as pandas writes it
        raise ValueError(f"label: expected the first wrong step or -1, found {label!r:.80}")
    own = {"question": row["problem"], "answer_correct": row.get("final_answer_correct")}
    return [own | labelled(row["steps"], int(label), "human")]


def prm800k(row: Row) -> list[Fields]:
    """{"question": {"problem", "ground_truth_answer"}, "label": {"steps": [STEP, ...], "finish_reason"}}, STEP: {"completions":
    [{"text", "rating"}], "human_completion", "chosen_completion"}; -1 is wrong. Read are the chosen texts, at the end a rated one.
    """
    chosen: list[Mapping[str, Any]] = []
    for step in row["label"]["steps"]:
        place, others = step.get("chosen_completion"), step["completions"] or []
        chosen.append(others[place] if place is not None else step.get("human_completion") or others[0])
    whole = -1 if row["label"].get("finish_reason") == "solution" else None
    first = next((place for place, each in enumerate(chosen) if each.get("rating") == -1), whole)
    own = {"question": row["question"]["problem"], "gold": row["question"].get("ground_truth_answer")}
    return [own | labelled([each["text"] for each in chosen], first, "human")]


def mr_gsm8k(row: Row) -> list[Fields]:
    """{"uuid", "question", "model_output_steps", "model_output_solution_correctness": "wrong",
    "model_output_solution_first_error_step": 2, ...}, counted from 1; N/A for none.
    """
    steps, first = row["model_output_steps"], row.get("model_output_solution_first_error_step")
    steps = steps if isinstance(steps, list) else str(steps).strip().split("\n")
    right = {"correct": True, "wrong": False, None: None}
    whole, answer = (right[row.get(f"model_output_{part}_correctness")] for part in ("solution", "answer"))
    made = labelled(steps, -1 if whole else None if first in ("N/A", None, "") or int(first) < 1 else int(first) - 1, "human")
    own = {"id": row.get("uuid"), "question": row["question"], "gold": row.get("ground_truth_answer"), "answer_correct": answer}
    return [own | made | {"sound": whole, "label_source": None if whole is None else "human"}]


def stepwise(row: Row) -> list[Fields]:
    """TRL: {"prompt", "completions": ["step", ...], "labels": [true, false, ...]}."""
    steps = row["completions"]
    return [{"question": said(row["prompt"], "user"), **labelled(steps, first_false(row["labels"], steps), "auto")}]


def math_shepherd(row: Row) -> list[Fields]:
    """{"input": "Question? Step 1: ... ки\\nStep 2: ... ки", "label": "Question? Step 1: ... +\\nStep 2: ... -", "task"}."""
    question = re.split(r"(?=Step 1\s*:)", row["input"], maxsplit=1)[0]
    steps = [step.strip() for step in row["input"][len(question) :].split(MARK) if step.strip()]
    signs = re.findall(r"([+-])\s*(?=\n\s*Step \d|\Z)", row["label"].rstrip())
    return [{"question": question.strip(), **labelled(steps, first_false([sign == "+" for sign in signs], steps), "auto")}]


def lm_eval(row: Row) -> list[Fields]:
    """samples_*.jsonl of lm-evaluation-harness: {"doc_id", "doc": {...}, "target", "resps": [["text", ...]], "filtered_resps":
    [...], "exact_match": 1.0}; one rationale for each text.
    """
    texts = [text for each in row["resps"] for text in (each if isinstance(each, list) else [each])]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("resps: expected generated texts, found log-likelihoods")
    asked = row["doc"] if isinstance(row["doc"], Mapping) else {}
    question = next((asked[name] for name in ASKED if isinstance(asked.get(name), str)), "")
    own: Fields = {"id": str(row.get("doc_id", "")), "question": question}
    if row.get("target") is not None:
        own["gold"] = str(row["target"]).rpartition("####")[2].strip()
    if len(texts) == 1:
        right = next((row[name] for name in METRICS if isinstance(row.get(name), int | float)), None)
        answer = next((each for each in row.get("filtered_resps") or [] if isinstance(each, str)), None)
        read: list[Fields] = [{"answer": answer, "answer_correct": None if right is None else right > 0}]
    else:
        read = [{"answer": None} for _ in texts]
    samples = [{"rationale": text, "meta": {"sample": place, "filter": row.get("filter")}} for place, text in enumerate(texts)]
    return [own | answered | sample for answered, sample in zip(read, samples, strict=True)]


def inspect_log(row: Row) -> list[Fields]:
    """A sample of an inspect log: {"id", "epoch", "input", "choices", "target", "output": {"choices": [{"message": ...}]},
    "scores": {"match": {"value": "C", "answer": "18"}}}.
    """
    score: Row = next(iter((row.get("scores") or {}).values()), {})
    right = {"C": True, "I": False, "N": False, "1": True, "0": False, "1.0": True, "0.0": False}.get(str(score.get("value")))
    target = row["target"][0] if isinstance(row["target"], list) and row["target"] else row["target"]
    output, meta = row["output"], {"sample": row.get("epoch")}
    own = {"id": str(row["id"]), "question": said(row["input"], "user"), "choices": row.get("choices") or None, "meta": meta}
    own |= {"gold": target or None, "answer": score.get("answer"), "answer_correct": right, "generator": output.get("model")}
    texts = [text_of((each.get("message") or {}).get("content")) for each in output.get("choices") or []]
    return [own | {"rationale": text} for text in texts or [output.get("completion") or ""]]


def written_answer(row: Row) -> list[Fields]:
    """A chat, prompt and response, instruction and output: the forms of `star.layouts`."""
    asked = exchange(row)
    if asked is None:
        return []
    given = None if "answer" in asked.columns else row.get("answer")
    return [{"question": asked.question, "rationale": asked.response, "answer": given}]


def gsm8k(row: Row) -> list[Fields]:
    """{"question", "answer": "She sold 48/2 = <<48/2=24>>24 ... \n#### 72"}: a worked solution."""
    return [{"question": row["question"], "rationale": row["answer"], "answer": None}]


def worked_problem(row: Row) -> list[Fields]:
    """{"problem", "solution": "... $\\boxed{12}$.", "answer": "12"}, as MATH and NuminaMath have it."""
    return [{"question": row["problem"], "rationale": row["solution"], "answer": row["answer"]}]


MODELS = {
    *("steps", "rationale", "response", "completion", "completions", "output", "outputs", "prediction", "predictions", "generated"),
    *("generation", "generations", "generated_text", "model_output", "model_output_steps", "resps", *CHATS),
}
"""Keys of what a model wrote: in a row with one of them the data set's own solution is no rationale to judge."""
RIGHT = tuple(f"model_output_{what}" for what in ("answer_correctness", "solution_correctness", "solution_first_error_step"))
ASKED = ("question", "problem", "query", "input", "text")
METRICS = ("exact_match", "acc", "math_verify")
FORMATS = (
    Format("GSM8K", ("question", "answer"), gsm8k,
           also=lambda row: "####" in str(row["answer"]) and not row.keys() & {*MODELS, "solution"}),
    Format(
        "ProcessBench", ("problem", "steps", "label"), process_bench, ("final_answer_correct",), lambda row: "question" not in row
    ),  # what the app exports has both
    Format("PRM800K", ("question", "label"), prm800k, also=lambda row: isinstance(row["label"], dict) and "steps" in row["label"]),
    Format("problem, solution and answer", ("problem", "solution", "answer"), worked_problem,
           also=lambda row: not row.keys() & MODELS),
    Format("MR-GSM8K", ("question", "model_output_steps"), mr_gsm8k, ("uuid", "ground_truth_answer", *RIGHT)),
    Format("TRL stepwise supervision", ("prompt", "completions", "labels"), stepwise),
    Format("Math-Shepherd", ("input", "label"), math_shepherd, also=lambda row: MARK in str(row["input"])),
    Format("lm-eval samples", ("doc", "resps"), lm_eval, ("doc_id", "target", "filtered_resps", "filter", *METRICS)),
    Format("an inspect log", ("input", "target", "output"), inspect_log, ("epoch", "choices", "scores"),
           lambda row: "id" in row and isinstance(row["output"], dict)),
)  # fmt: skip


def format_of(row: Row) -> Format | None:
    """The format of a row; None for the record's own and for rows that no format knows."""
    for each in FORMATS:
        if all(key in row for key in each.known_by) and each.also(row):
            return each
    asked = None if "steps" in row or "rationale" in row else exchange(row)
    return None if asked is None else Format(asked.layout, asked.columns, written_answer)
