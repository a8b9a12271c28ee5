"""Do the probes find the faithfulness that is known to be there?

    python benchmarks/probe_validity.py          # about ten minutes; --quick: under two

Mixtures of a scripted model that ignores its rationale and one that reads its answer off the last line, each estimate checked
against its own 95 % interval over many seeds; and two trained addition models, one whose answers can only come from the scratchpad
and one whose scratchpads carry no information.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from benchmarks.common import CACHE, CommonArguments, parse, write_result
from benchmarks.trained_pair import Role
from star.command_line import run_command
from star.progress import bar

ESTIMATES = (
    *("aoc_normalised", "reliance", "forced_mistake_flip", "added_mistake_flip", "added_mistake_aoc"),
    *("follows_corruption", "filler_flip", "shuffled_flip", "shuffled_follows"),
)
"""Measures that equal the share of readers in a mixture."""
SCRIPTED_PROBES = ("early_answering", "forced_mistake", "added_mistake", "filler", "shuffled_rationale")
TRAINED = (
    *("aoc_normalised", "aoc_soft", "reliance", "forced_mistake_flip", "added_mistake_flip", "follows_corruption"),
    *("filler_gap", "shuffled_flip", "shuffled_follows", "nie", "nde", "information_gain_total"),
)


@dataclass(frozen=True)
class Arguments(CommonArguments):
    seeds: int = 100
    """Seeds of the mixtures."""
    questions: int = 100
    """Questions per seed."""
    training_steps: int = 1_500
    """Optimizer steps of each trained model."""


def scripted_measures(share: float, seed: int, questions: int) -> dict[str, Any]:
    """Measures of one scripted model."""
    from analysis.faithfulness.batch import Settings
    from analysis.faithfulness.measures import all_measures
    from analysis.faithfulness.running import probe_all
    from benchmarks.scripted_models import ScriptedModel, byte_tokenizer, scripted_setup, scripted_subjects

    asking, answers = scripted_setup(ScriptedModel(byte_tokenizer(), share=share, seed=seed))
    rows = probe_all(scripted_subjects(questions, seed), asking, answers, SCRIPTED_PROBES, Settings(max_positions=3))
    answers.close()
    return all_measures([row.as_dict() for row in rows])


def brief(measures: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """value, low, high, n, the control's value and the corrected effect of some measures."""
    return {
        name: {key: measures[name][key] for key in ("value", "low", "high", "n")}
        | {"control": (measures[name]["control"] or {}).get("value"), "corrected": measures[name]["corrected"]}
        for name in names
        if name in measures
    }


def coverage(share: float, seeds: int, questions: int) -> dict[str, Any]:
    """For each estimate: mean over seeds, and in how many seeds its interval holds the true share."""
    held = dict.fromkeys(ESTIMATES, 0)
    total = dict.fromkeys(ESTIMATES, 0.0)
    for seed in bar(f"mixtures with share {share}", unit="seed", over=range(seeds)):
        measures = scripted_measures(share, seed, questions)
        for name in ESTIMATES:
            held[name] += measures[name]["low"] <= share <= measures[name]["high"]
            total[name] += measures[name]["value"]
    return {
        "share": share,
        "seeds": seeds,
        "questions": questions,
        "estimates": {name: {"mean": total[name] / seeds, "within_interval": held[name]} for name in ESTIMATES},
        "fewest_within": min(held.values()),
    }


def trained_measures(
    role: Role, steps: int, questions: int, *, hidden: int = 64, probes: Sequence[str] | None = None, cache: Path = CACHE
) -> dict[str, Any]:
    """Train (or find) one of the pair and run the probes (None: all) on rationales that it wrote itself."""
    from analysis.faithfulness.answers import Answers
    from analysis.faithfulness.batch import Settings, Subject
    from analysis.faithfulness.layout import Layout
    from analysis.faithfulness.measures import all_measures
    from analysis.faithfulness.probes import PROBES
    from analysis.faithfulness.running import probe_all
    from benchmarks.trained_pair import sums, train
    from star.grading import grade
    from star.prompting import PromptBuilder
    from star.provenance import model_fingerprint
    from star.recipe import PromptingSettings, TaskSettings
    from star.sampling.base import Decoding
    from star.sampling.packed import PackedScorer
    from star.sampling.transformers_sampler import TransformersSampler
    from star.tasks import addition

    folder = train(role, cache / f"{role}-{steps}", steps=steps, hidden=hidden)
    sampler = TransformersSampler(folder, device="cpu")
    task = addition.build(TaskSettings(digits=(1, 2)), 0)
    asking = Layout(task, PromptBuilder(task, sampler.tokenizer, PromptingSettings(shots=0)), shots=False)
    problems = sums(0)[-questions:]  # two-digit sums first: their rationales are longer
    written = sampler.sample([asking.prompt(problem) for problem in problems], Decoding(max_new_tokens=96))
    subjects = []
    for problem, (completion,) in zip(problems, written, strict=True):
        rationale, answer = asking.read(completion.text, problem)
        subjects.append(
            Subject(
                problem.id,
                problem,
                rationale,
                answer,
                None,
                answer is not None and grade(answer, problem, task.answer_type) == "correct",
            )
        )
    digest = model_fingerprint(folder)
    memory = cache / f"{role}-{steps}.sqlite"
    answers = Answers(digest, memory, lambda: PackedScorer.load(folder, device="cpu"), lambda: sampler, progress=True)
    rows = probe_all(subjects, asking, answers, tuple(probes or PROBES), Settings(max_new_tokens=96), context=256)
    answers.close()
    measures = all_measures([row.as_dict() for row in rows])
    return {"correct": sum(bool(s.correct) for s in subjects), "n": len(subjects), **brief(measures, TRAINED)}


def apart(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two intervals do not overlap: of the corrected effects, where both have one."""
    if one["corrected"] and other["corrected"]:
        one, other = one["corrected"], other["corrected"]
    return bool(one["low"] > other["high"] or other["low"] > one["high"])


def main() -> None:
    arguments = parse(Arguments, __doc__)
    seeds, questions = (2, 20) if arguments.quick else (arguments.seeds, arguments.questions)
    steps, asked = (arguments.training_steps // 100, 15) if arguments.quick else (arguments.training_steps, 200)
    mixtures = [coverage(share, seeds, questions) for share in ((0.5,) if arguments.quick else (0.25, 0.6))]
    pair = {role: trained_measures(role, steps, asked) for role in get_args(Role)}
    names = [name for name in TRAINED if name in pair["ignorer"] and name in pair["reader"]]
    separated = {name: apart(pair["ignorer"][name], pair["reader"][name]) for name in names}
    figures = {
        "mixtures": mixtures,
        "trained": {role: {key: measures[key] for key in ("correct", "n")} for role, measures in pair.items()},
        "pair": {
            name: {**{role: pair[role][name] for role in ("ignorer", "reader")}, "apart": separated[name]} for name in names
        },
    }
    write_result("probe_validity", figures, quick=arguments.quick, seeds=list(range(seeds)))


if __name__ == "__main__":
    sys.exit(run_command(main))
