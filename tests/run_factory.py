"""Builds a complete run directory in a second, without a model: for the tests of whatever reads one.

    run = make_run(tmp_path, rounds=3)                       a finished addition run, analysed and probed
    run = make_run(tmp_path, finished=False, analysis=False)  cut off after its last round

Files, schemas and numbers hang together: metrics.jsonl counts what is in the parquet files, training rows are the kept
attempts, right-but-unsound rationales are really wrong at the step that soundness.parquet names.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis import score
from star import run as runs
from star.attempts import summarise
from star.problem import Problem, problem_id
from star.recipe import Recipe
from star.tasks import addition
from tests.probe_factory import write_probes

HOSTILE = (
    "</script><script>alert('x')</script><img src=x onerror=alert(1)> ```\n# heading\n$x^2$ <b>bold</b> \x00 & \" '"
)


@dataclass(frozen=True)
class Plan:
    """What the run should look like."""

    name: str = "addition"
    task: str = "addition"
    """addition, or gsm8k (word problems of one's own, no exact check)."""
    rounds: int = 3
    problems: int = 60
    """Problems drawn per round, and in the selection and test splits each."""
    seed: int = 0
    method: str = "star"
    answer_only: bool = False
    rationalize: bool = True
    require: str = "answer"
    finished: bool = True
    analysis: bool = True
    probes: bool = True
    samples: int = 0
    """Samples per test problem beside the greedy one."""
    hostile: bool = False
    """Put text into questions and rationales that must never be run or rendered."""
    select_on: str = "selection"
    parameters: int = 200_000
    skill: float = 0.5
    """Accuracy that the last round reaches on the middle slice."""
    sections: dict[str, Any] = field(default_factory=dict)
    """Further recipe sections, merged in."""

    def recipe(self, runs_dir: Path) -> Recipe:
        """The resolved recipe of this run."""
        content: dict[str, Any] = {
            "name": self.name,
            "seed": self.seed,
            "runs_dir": str(runs_dir),
            "task": {"name": self.task, "digits": [1, 2, 3]},
            "model": {"path": "seeds/models/addition-0.2m"},
            "prompting": {"answer_only": self.answer_only},
            "loop": {"method": self.method, "rounds": max(1, self.rounds), "rationalize": self.rationalize},
            "curation": {"require": self.require},
            "evaluation": {"selection_size": self.problems, "samples": self.samples, "select_on": self.select_on},
        }
        for section, values in self.sections.items():
            content[section] = {**content.get(section, {}), **values}
        return Recipe.model_validate(content)


def make_run(root: Path, **plan: Any) -> Path:
    """Write a run directory below `root` and return it; keywords are the fields of `Plan`."""
    return _Writer(Plan(**plan), root).write()


class _Writer:
    def __init__(self, plan: Plan, root: Path) -> None:
        self.plan, self.recipe = plan, plan.recipe(root)
        self.dir = self.recipe.run_dir
        self.rng = random.Random(plan.seed)
        self.splits = {split: self._problems(split) for split in ("train", "selection", "test")}
        self.soundness: list[dict[str, Any]] = []
        self.evaluated: list[dict[str, Any]] = []

    def write(self) -> Path:
        runs.write_text(self.dir / "recipe.yaml", self.recipe.to_yaml())
        runs.write_json(self.dir / "run.json", self._provenance())
        rows = [self._problem_row(p, split) for split, problems in self.splits.items() for p in problems]
        runs.write_parquet(self.dir / "problems.parquet", rows, runs.PROBLEMS)
        rounds = 0 if self.plan.method == "few_shot" else 1 if self.plan.method == "direct" else self.plan.rounds
        lines = [json.dumps(self._round(number)) for number in range(rounds + 1)]
        runs.write_text(self.dir / "metrics.jsonl", "\n".join(lines) + "\n")
        if self.plan.finished:
            self._finish(rounds)
        if self.plan.analysis:
            schema = score.schema(is_run=True, used_gold=False)
            runs.write_parquet(self.dir / "analysis" / "soundness.parquet", self._placed(), schema)
        if self.plan.probes:
            self._probes()
        return self.dir

    def _placed(self) -> list[dict[str, Any]]:
        """The scores in the order of the run's files; an id of both selection and test comes twice."""
        run = runs.Run(self.dir)
        names = [name for file in run.attempt_files() for name in run.table(file, ["attempt_id"]).column(0).to_pylist()]
        by_id: dict[str, list[dict[str, Any]]] = {}
        for row in self.soundness:
            by_id.setdefault(row["attempt_id"], []).append(row)
        return [by_id[name].pop(0) | {"place": place} for place, name in enumerate(names)]

    def _provenance(self) -> dict[str, Any]:
        return {
            "schema_version": runs.SCHEMA_VERSION,
            "commit": "0123456789ab",
            "dirty": False,
            "seed": self.plan.seed,
            "argv": ["star.train", "recipe.yaml"],
            "started": "2026-01-02T03:04:05+00:00",
            "versions": {"python": "3.11.0", "torch": "2.13.0", "transformers": "5.0.0"},
            "hardware": {"processor": "test", "cores": 2, "memory_gb": 8.0},
            "recipe": self.plan.name,
            "model": {"path": "seeds/models/addition-0.2m", "parameters": self.plan.parameters},
        }

    def _problems(self, split: str) -> list[Problem]:
        # The problems depend on the split alone, so that two runs can be compared on the same questions.
        rng = random.Random(f"{split} {self.plan.task}")
        found: dict[str, Problem] = {}
        while len(found) < self.plan.problems:
            problem = (_sum if self.plan.task == "addition" else _word_problem)(rng, len(found))
            found.setdefault(problem.id, problem)
        problems = list(found.values())
        if self.plan.hostile:
            text = f"{problems[0].question} {HOSTILE}"
            problems[0] = Problem(problem_id(text), text, problems[0].gold, slice=problems[0].slice)
        return problems

    def _problem_row(self, problem: Problem, split: str) -> dict[str, Any]:
        return {
            "problem_id": problem.id,
            "split": split,
            "slice": problem.slice,
            "question": problem.question,
            "choices": None,
            "gold": problem.gold,
            "hint": f"{problem.question}\n({problem.gold})",
        }

    def _accuracy(self, number: int, problem: Problem) -> float:
        """Chance that round `number`'s model answers right: rises with the round, falls with the slice."""
        reach = self.plan.skill * (number + 0.5) / (self.plan.rounds + 0.5)
        return min(0.98, reach * {"1": 1.8, "2": 1.0, "3": 0.6}.get(problem.slice[:1], 1.0))

    def _attempt(self, problem: Problem, number: int, mode: str, split: str, sample: int = 0) -> dict[str, Any]:
        difficulty = _unit(problem.id, sample, split)
        reach = 0.85 if mode == "rationalized" else self._accuracy(number, problem)
        right = difficulty < reach
        sound_share = 0.9 if self.plan.require == "sound" else 0.55 if mode == "rationalized" else 0.7
        sound = right and _unit(problem.id, "sound", sample, mode, number) < sound_share
        verdict = (
            "correct" if right else ("no_answer", "truncated", "incorrect")[min(2, int(10 * _unit(problem.id, number)))]
        )
        answer = (
            problem.gold if right else None if verdict in ("no_answer", "truncated") else str(int(problem.gold) + 10)
        )
        steps, error = self._steps(problem, sound)
        identity = f"{number}-{mode[0]}-{problem.id}-{sample}"
        exact = self.plan.task == "addition" and not self.plan.answer_only
        self._score({"attempt_id": identity, "round": number, "mode": mode, "split": split}, error, len(steps))
        return {
            "attempt_id": identity,
            "problem_id": problem.id,
            "round": number,
            "mode": mode,
            "split": split,
            "slice": problem.slice,
            "sample": sample,
            "prompt_hash": hashlib.sha256(f"{mode} {problem.id}".encode()).hexdigest()[:16],
            "completion": "\n".join([*steps, str(answer or "")]),
            "rationale": "" if self.plan.answer_only else "\n".join(steps),
            "answer": answer,
            "lenient_answer": answer,
            "gold": problem.gold,
            "verdict": verdict,
            "strict_verdict": verdict,
            "lenient_verdict": verdict,
            "sound": sound if exact else None,
            "finish_reason": "length" if verdict == "truncated" else "stop",
            "tokens": 20 + 5 * len(steps),
            "prompt_tokens": 300,
            "logprob": -0.1 * len(steps) - difficulty,
            "seed": self.plan.seed,
            "kept": None,
            "drop_reason": None,
        }

    def _steps(self, problem: Problem, sound: bool) -> tuple[list[str], int]:
        """The rationale's steps and its first wrong one (-1: none)."""
        if self.plan.task == "addition":
            steps = addition.scratchpad(*addition.operands(problem.question.split(" <")[0]))
            if not sound:
                steps[2] = steps[2].replace("C: 0", "C: 7").replace("C: 1", "C: 8")
        else:
            boxes, pens, more = (int(word) for word in problem.question.split() if word.isdigit())
            product = boxes * pens + (0 if sound else 2)
            steps = [f"{boxes} boxes of {pens} pens are {boxes} * {pens} = {product} pens."]
            steps.append(f"With {more} more that makes {product} + {more} = {int(problem.gold)} pens.")
        if self.plan.hostile and problem is self.splits["test"][0]:
            steps[-1] += " " + HOSTILE
        return steps, -1 if sound else (2 if self.plan.task == "addition" else 0)

    def _score(self, attempt: dict[str, Any], error: int, n_steps: int) -> None:
        noise = 0.2 * _unit(attempt["attempt_id"])
        message = "the carry must be 0, not 7" if self.plan.task == "addition" else "the product is off by 2"
        if self.plan.hostile:
            message += " " + HOSTILE
        flag = {"step": error, "check": "equation_false", "message": message, "severity": 1.0}
        self.soundness.append(
            attempt
            | {
                "p_unsound": noise if error < 0 else 1 - noise,
                "first_error_step": error,
                "task_kind": "addition" if self.plan.task == "addition" else "math_word",
                "n_steps": n_steps,
                "checks": [] if error < 0 else ["equation_false"],
                "flags": json.dumps([] if error < 0 else [flag]),
            }
        )

    def _round(self, number: int) -> dict[str, Any]:
        folder = self.dir / f"round_{number:02d}"
        evaluation = [self._attempt(p, number, "evaluated", "selection") for p in self.splits["selection"]]
        runs.write_parquet(folder / "evaluation.parquet", evaluation, runs.ATTEMPTS)
        self.evaluated = evaluation
        line: dict[str, Any] = {"round": number, "selection": summarise(evaluation), "samples": len(evaluation)}
        line["seconds"] = {"sampling": 1.5, "rationalizing": 0.5, "training": 6.0, "evaluation": 0.8, "loading": 0.2}
        sampled = list(evaluation)
        if number:
            attempts = self._sampled(number)
            training = [_training_row(row, number) for row in attempts if row["kept"]]
            runs.write_parquet(folder / "attempts.parquet", attempts, runs.ATTEMPTS)
            runs.write_parquet(folder / "training.parquet", training, runs.TRAINING)
            line["data"] = self._data(attempts)
            steps = 40 + 10 * number
            line["training"] = {"steps": steps, "rows": len(training), "tokens": 8 * 60 * steps, "truncated_rows": 0}
            line["training"]["loss"] = round(1.2 / number, 4)
            sampled += attempts
        line["samples"] = len(sampled)
        line["sampled_tokens"] = sum(row["tokens"] for row in sampled)
        line["prompt_tokens"] = 300 * len(sampled)
        line["flops"] = {
            "sampling": 2.0 * self.plan.parameters * (line["sampled_tokens"] + line["prompt_tokens"]),
            "training": 6.0 * self.plan.parameters * line.get("training", {}).get("tokens", 0),
        }
        return line

    def _sampled(self, number: int) -> list[dict[str, Any]]:
        attempts = []
        for problem in self.splits["train"]:
            first = self._attempt(problem, number - 1, "generated", "train")
            attempts.append(first | {"round": number, "attempt_id": f"{number}-g-{problem.id}-0"})
            self.soundness[-1] |= {"attempt_id": attempts[-1]["attempt_id"], "round": number}
            if self.plan.rationalize and self.plan.method == "star" and first["verdict"] != "correct":
                attempts.append(self._attempt(problem, number, "rationalized", "train"))
        for row in attempts:
            reason = row["verdict"] if row["verdict"] != "correct" else None
            if not reason and self.plan.require == "sound" and row["sound"] is False:
                reason = "unsound"
            row["kept"], row["drop_reason"] = reason is None, reason
        return attempts

    def _data(self, attempts: list[dict[str, Any]]) -> dict[str, Any]:
        kept = [row for row in attempts if row["kept"]]
        modes = Counter(row["mode"] for row in kept)
        sound = [row["sound"] for row in kept if row["sound"] is not None]
        return {
            "drawn": self.plan.problems,
            "generated": modes["generated"],
            "rationalized": modes["rationalized"],
            "dropped": dict(Counter(row["drop_reason"] for row in attempts if row["drop_reason"])),
            "kept_sound": sum(sound) / len(sound) if sound else None,
            "problems_used": len({row["problem_id"] for row in kept}),
            "pool": self.plan.problems,
        }

    def _finish(self, rounds: int) -> None:
        rows = [
            self._attempt(problem, rounds, "evaluated", "test", sample)
            for problem in self.splits["test"]
            for sample in range(self.plan.samples + 1)
        ]
        runs.write_parquet(self.dir / "test" / "evaluation.parquet", rows, runs.ATTEMPTS)
        greedy = [row for row in rows if row["sample"] == 0]
        gate = {"chance": 0.0, "correct": 5, "n": self.plan.problems, "p_value": 0.0, "passed": True}
        result = {
            "rounds": rounds,
            "chosen_round": rounds,
            "select_on": self.plan.select_on,
            "test": summarise(greedy),
            "seconds_total": 9.0 * (rounds + 1),
            "gate": gate,
            "parameters": self.plan.parameters,
        }
        runs.write_json(self.dir / "result.json", result)

    def _probes(self) -> None:
        write_probes(self.dir, self.plan.task, self.evaluated, commit=0.9 if self.plan.require == "sound" else 0.6)


def _training_row(row: dict[str, Any], number: int) -> dict[str, Any]:
    return {
        "attempt_id": row["attempt_id"],
        "problem_id": row["problem_id"],
        "from_round": number,
        "mode": row["mode"],
        "hinted": False,
        "prompt": "Input:\n...\nTarget:\n",
        "completion": row["completion"],
    }


def _unit(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16) / 16**12


def _sum(rng: random.Random, index: int) -> Problem:
    digits = 1 + index % 3
    low = 10 ** (digits - 1) if digits > 1 else 0
    return addition.make_problem(rng.randint(low, 10**digits - 1), rng.randint(low, 10**digits - 1), digits)


def _word_problem(rng: random.Random, index: int) -> Problem:
    boxes, pens, more = rng.randint(2, 40), rng.randint(2, 30), rng.randint(1, 90)
    question = f"Ann has {boxes} boxes of {pens} pens and buys {more} more pens. How many pens has she?"
    return Problem(problem_id(question), question, str(boxes * pens + more), slice=f"{1 + index % 3} steps")
