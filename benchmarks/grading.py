"""How often and how fast graders are right: ours, math-verify on whole texts, and the last number of the text.

    python benchmarks/grading.py [--quick]

Three labelled sets. model_solutions: 5,276 solutions that models of 6B and 175B parameters wrote to GSM8K's test questions, with
the labels of their source. rewritten_gsm8k: GSM8K test solutions rewritten so that the right verdict is known: formats, units,
corrections, hedges, run-on text, wrong answers. hand_written: the number cases of tests/grade_cases.json, most of them
meant to fool graders; ours was made to pass them, so its figure there is no estimate. Texts outside the contract of
the last line (`#### N`), which the other graders do not know of, are left out. A grader errs by accepting a wrong
answer or by refusing a right one. Ours gives the strict verdict, which counts in a run, and the lenient one. CPU
seconds, one core.
"""

from __future__ import annotations

import json
import logging
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from analysis.soundness.labelled import question_rows
from benchmarks.common import ROOT, CommonArguments, parse, write_result
from star.command_line import run_command
from star.grading import grade
from star.problem import Problem, Verdict
from star.recipe import TaskSettings
from star.statistics import wilson
from star.tasks import load_task

Grader = Callable[[str, str], bool]
SEED = 0


@dataclass(frozen=True)
class Arguments(CommonArguments):
    problems: int = 1_319
    """GSM8K test problems that are rewritten (--quick: 60)."""


@dataclass(frozen=True)
class Text:
    """One completion with its right verdict."""

    category: str
    gold: str
    text: str
    right: bool


def rewritten(solution: str, gold: str, other: tuple[str, str], rng: random.Random) -> list[Text]:
    """Completions made from one real solution; `other` is the solution and answer of another problem."""
    value = Fraction(gold)
    wrong = str(int(value) + rng.choice((-10, -2, -1, 1, 2, 10)))
    grouped = f"{int(value):,}" if value.denominator == 1 else gold
    next_question = f"\n\nQuestion: A box of {other[1]} pens is sold. How many are that?\nAnswer:\n{other[0]}\n#### {other[1]}"
    right = {
        "plain": gold,
        "separators": grouped,
        "currency": f"${grouped}.00",
        "unit": f"{gold} apples",
        "full stop": f"{gold}.",
        "bold": f"**{gold}**",
        "box": f"\\boxed{{{gold}}}",
        "Unicode minus": gold.replace("-", "−"),
    }
    texts = [Text(name, gold, f"{solution}\n#### {span}", True) for name, span in right.items()]
    texts += [
        Text("run-on", gold, f"{solution}\n#### {gold}{next_question}", True),
        Text("corrected", gold, f"{solution}\n#### {wrong}\nWait, I made a mistake.\n#### {gold}", True),
        Text("wrong answer", gold, f"{solution}\n#### {wrong}", False),
        Text("wrong, right one in the rationale", gold, f"{solution}\nThat makes {gold}.\n#### {wrong}", False),
        Text("corrected away", gold, f"{solution}\n#### {gold}\nWait, I made a mistake.\n#### {wrong}", False),
        Text("hedge", gold, f"{solution}\n#### {gold} or {wrong}", False),
        Text("hedge, right one last", gold, f"{solution}\n#### {wrong} or {gold}", False),
        Text("correction in the answer", gold, f"{solution}\n#### {gold}, no wait, {wrong}", False),
        Text("wrong sign", gold, f"{solution}\n#### {-value if value else 1}", False),
        Text("run-on after a wrong answer", other[1], f"{solution}\n#### {gold}{next_question}", False),
    ]
    return [text for text in texts if text.right or text.category != "run-on after a wrong answer" or other[1] != gold]


def corpus(count: int) -> list[Text]:
    """Rewritten GSM8K test solutions, in a fixed random order of problems."""
    answers = [row["answer"] for row in question_rows("gsm8k_test")]
    rng = random.Random(SEED)
    rng.shuffle(answers)
    pairs = []
    for answer in answers[:count]:
        solution, _, gold = re.sub(r"<<[^<>]*>>", "", answer).rpartition("\n#### ")
        pairs.append((solution, gold.replace(",", "").strip()))
    texts: list[Text] = []
    for index, (solution, gold) in enumerate(pairs):
        texts += rewritten(solution, gold, pairs[index - 1], rng)
    return texts


def hand_written() -> list[Text]:
    """The number cases of tests/grade_cases.json."""
    cases = json.loads((ROOT / "tests" / "grade_cases.json").read_text(encoding="utf-8"))
    return [
        Text("hand-written", case["gold"], case["completion"], case["verdict"] == "correct")
        for case in cases
        if case["kind"] == "number" and "lenient" not in case
    ]


def model_solutions(count: int | None) -> list[Text]:
    """Solutions with the source's label of their answer; its last line `A: 26` is written `#### 26`."""
    rows = question_rows("gsm8k_model_solutions")
    texts = []
    for row in random.Random(SEED).sample(rows, count or len(rows)):
        *steps, last = row["steps"]
        text = "\n".join([*steps, re.sub(r"^A: ?", "#### ", last)])
        texts.append(Text(row["generator"], row["gold"].replace(",", ""), text, row["answer_correct"]))
    return texts


def graders() -> dict[str, Grader]:
    """Name -> (text, gold) -> accepted."""
    task = load_task(TaskSettings(name="gsm8k"), SEED)

    def ours(text: str, gold: str, lenient: bool = False) -> bool:
        problem = Problem("id", "question", gold)
        extraction = task.extract(text, problem)
        return grade(extraction.lenient if lenient else extraction.strict, problem, task.answer_type) == Verdict.correct

    from math_verify import parse as read
    from math_verify import verify

    logging.disable(logging.ERROR)

    def math_verify(text: str, gold: str) -> bool:
        return bool(verify(read(gold), read(text)))

    return {
        "star, strict": ours,
        "star, lenient": lambda text, gold: ours(text, gold, lenient=True),
        "math-verify on the whole text": math_verify,
        "last number": last_number,
    }


def last_number(text: str, gold: str) -> bool:
    numbers = re.findall(r"-?\d[\d,]*\.?\d*", text)
    try:
        return bool(numbers) and float(numbers[-1].replace(",", "")) == float(Fraction(gold))
    except (ValueError, OverflowError):
        return False


def measure(grader: Grader, texts: Sequence[Text]) -> dict[str, Any]:
    """Accuracy with both kinds of error, and the speed."""
    started = time.process_time()
    accepted = [grader(text.text, text.gold) for text in texts]
    seconds = time.process_time() - started
    wrong_accepted = sum(verdict and not text.right for text, verdict in zip(texts, accepted, strict=True))
    right_refused = sum(text.right and not verdict for text, verdict in zip(texts, accepted, strict=True))
    return {
        "n": len(texts),
        "agreement": wilson(len(texts) - wrong_accepted - right_refused, len(texts)).as_dict(),
        "wrong_accepted": wrong_accepted,
        "of_wrong": sum(not text.right for text in texts),
        "right_refused": right_refused,
        "of_right": sum(text.right for text in texts),
        "cpu_seconds_per_10000": seconds / len(texts) * 10_000,
    }


def main() -> None:
    arguments = parse(Arguments, __doc__)
    sets = {
        "model_solutions": model_solutions(300 if arguments.quick else None),
        "rewritten_gsm8k": corpus(60 if arguments.quick else arguments.problems),
        "hand_written": hand_written(),
    }
    figures: dict[str, Any] = {name: {} for name in sets}
    for name, texts in sets.items():
        for grader_name, grader in graders().items():
            figures[name][grader_name] = measure(grader, texts)
    write_result("grading", figures, quick=arguments.quick, seeds=[SEED], device="cpu")


if __name__ == "__main__":
    sys.exit(run_command(main))
