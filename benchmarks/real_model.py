"""A real language model, SmolLM2-135M-Instruct: word problems (SVAMP), common sense (CommonsenseQA) and sums.

    python benchmarks/real_model.py                       # every piece that is not there yet
    python benchmarks/real_model.py --pieces star cost    # these

Asked: how should a small chat model be shown the form of an answer, does STaR teach a model of this size anything, and does it use
its rationales? The pieces `form: ...` are greedy answers of the base model to selection problems under one prompting each; the
others are the arms of the paper's tables by the recipe of `make real`, half an hour each on two quiet cores; `probes: ARM` are all
probes on rationales of an arm's final model, and what it answers without any; `cost` sets our sampling beside bare calls, `round` a
small round with vLLM and `round, transformers` one with the other sampler.
What comes out of a piece lies in a file of its own under benchmarks/results/real_model and is not made again while it is there, so
that pieces can be made on several days; delete a file to measure it anew, also with other --problems or --probed. Runs are kept
under benchmarks/cache.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

from analysis.soundness.labelled import data_dir
from benchmarks.arms import arm_recipe, cost_of, finished_run, made
from benchmarks.common import CommonArguments, made_once, parse, part_path, write_result
from benchmarks.round_cost import round_cost
from benchmarks.sampling import BARE, SHARED, Case, ratios, run_case
from star.command_line import run_command
from star.errors import UsageError
from star.problem import AnswerType, Attempt
from star.recipe import Recipe, TaskSettings
from star.run import TEST, Run, Where
from star.setup import prepare, resolve_model
from star.statistics import mcnemar, paired_difference, share, wilson

Changes = Mapping[str, Mapping[str, Any]]
FORMS: dict[str, Changes] = {
    "form: instruction": {"prompting": {"shots": 0}},
    "form: instruction with an example": {"prompting": {"shots": 1, "shots_as": "instruction"}},
    "form: instruction with 6 examples": {"prompting": {"shots": 6, "shots_as": "instruction"}},
    "form: 3 turns": {"prompting": {"shots": 3, "shots_as": "turns"}},
    "form: 6 turns": {"prompting": {"shots": 6, "shots_as": "turns"}},
    "form: 6 examples as plain text": {"prompting": {"shots": 6, "mode": "few_shot"}},
}
ARMS: dict[str, Changes] = {
    "few-shot": {"loop": {"method": "few_shot"}},
    "direct": {"loop": {"method": "direct"}},
    "star without rationalization": {"loop": {"rationalize": False}},
    "star": {},
    "star, sound": {"curation": {"require": "sound"}},
    "CommonsenseQA, few-shot": {"loop": {"method": "few_shot"}},
    "CommonsenseQA, star": {"loop": {"rounds": 1, "problems": 100}},
    "addition, few-shot": {"loop": {"method": "few_shot"}},
    "addition, star": {"loop": {"rounds": 1}},
    "short sums, few-shot": {"loop": {"method": "few_shot"}},
    "short sums, star": {},
}
"""Of SVAMP where no task is named."""
TASKS: dict[str, Changes] = {
    "CommonsenseQA": {"prompting": {"shots": 5}, "evaluation": {"selection_size": 220}},
    "addition": {"prompting": {"shots": 5}, "sampling": {"max_new_tokens": 256}, "training": {"max_length": 640}},
    "short sums": {
        "task": {"digits": [1, 2], "grow": {"to": 3, "threshold": 0.8}, "pool": 450},
        "sampling": {"max_new_tokens": 100, "temperature": 0.3},
        "loop": {"rounds": 8, "problems": 120, "start": "continue", "rationalizer": "base"},
        "curation": {"replay": 2},
        "training": {"learning_rate": 5e-5},
        "evaluation": {"selection_size": 90},
    },
}
"""220 problems of CommonsenseQA are enough for 200 rationales.

Short sums have one to three digits as in `model_sizes.py`, three once two are solved; fewer problems, and more rounds."""
SIZE: Changes = {"loop": {"problems": 200}, "evaluation": {"selection_size": 300}}
"""Larger than in `make real`, where half an hour has to be enough."""
SMALLER: Changes = {"task": {"limit": 1_000, "test_limit": 150, "test_size": 150}, "evaluation": {"selection_size": 150}}
"""Of the tasks in `TASKS`, whose prompts are long."""
PROBED = ("few-shot", "star", "star, sound", "CommonsenseQA, few-shot", "CommonsenseQA, star")
ROUNDS: Mapping[str, Literal["vllm", "transformers"]] = {"round": "vllm", "round, transformers": "transformers"}
"""Pieces that time a small round, with the sampler of each."""
PIECES = (*FORMS, *ARMS, *(f"probes: {arm}" for arm in PROBED), "cost", *ROUNDS)
ARM_FIGURES = ("chosen_round", "strict", "lenient", "in_form", "truncated", "tokens", "cost")
COLUMNS = ("problem_id", "mode", "sample", "verdict", "strict_verdict", "lenient_verdict", "tokens", "prompt_tokens")
QUICK: Changes = {
    "task": {"limit": 24, "test_limit": 4},
    "sampling": {"backend": "transformers", "max_new_tokens": 24, "samples": 1},
    "loop": {"rounds": 1, "problems": 8},
    "training": {"steps": {"first": 1}},
    "evaluation": {"selection_size": 8},
}


@dataclass(frozen=True)
class Arguments(CommonArguments):
    pieces: tuple[str, ...] = PIECES
    """What to make now, where it is not there; the result has every piece that is."""
    seed: int = 0
    """Seed of the runs."""
    problems: int = 200
    """Problems that each form is tried on."""
    probed: int = 200
    """Rationales that are probed."""


def recipe_of(piece: str, arguments: Arguments) -> Recipe:
    """The recipe of `make real` with a piece's changes."""
    of_task = TASKS.get(piece.partition(",")[0], {})
    sizes = (SIZE, SMALLER, of_task) if of_task else (SIZE,)
    changes: dict[str, dict[str, Any]] = {"task": task_of(piece)}
    for more in (*sizes, {**FORMS, **ARMS}[piece], QUICK if arguments.quick else {}):
        for section, values in more.items():
            changes[section] = {**changes.get(section, {}), **values}
    return arm_recipe("svamp-smollm2-135m.yaml", arguments.seed, changes, folder="real_model", device=arguments.device)


def base_of(arm: str) -> str:
    """The arm of the same problems that is not trained."""
    task = arm.partition(",")[0]
    return f"{task}, few-shot" if task in TASKS else "few-shot"


def task_of(piece: str) -> dict[str, Any]:
    """Where the problems of an arm come from."""
    name = piece.partition(",")[0]
    if name == "CommonsenseQA":
        return TaskSettings(name="commonsense_qa", path=str(data_dir() / "commonsense_qa_train.jsonl.gz")).model_dump()
    return {"path": str(data_dir() / "svamp.jsonl.gz")} if name not in TASKS else TaskSettings(name="addition").model_dump()


def form_figures(piece: str, arguments: Arguments) -> dict[str, Any]:
    """Greedy answers of the base model to the first selection problems under one prompting."""
    from star.attempts import sample_attempts
    from star.prompting import PromptBuilder
    from star.sampling import Decoding, open_sampler
    from star.shards import Shard

    recipe = recipe_of(piece, arguments)
    setup = prepare(recipe_of("few-shot", arguments), ["benchmarks"])
    builder = PromptBuilder(setup.task, setup.tokenizer, recipe.prompting)
    decoding = Decoding(max_new_tokens=recipe.sampling.max_new_tokens, stop=builder.stop)
    shard = Shard(0, setup.selection[: arguments.problems], decoding, "evaluated", "selection", 0, shots=True)
    with closing(open_sampler(recipe.sampling, setup.base_dir)) as sampler:
        return counted(sample_attempts(sampler, builder, shard, progress=piece))


def greedy(run: Run, where: Where) -> list[Attempt]:
    """Greedy answers to the selection split of a round, or to test."""
    return [row for row in run.evaluation(where, COLUMNS) if row["sample"] == 0]


def counted(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Shares that are right in the asked form and in any, with their intervals; truncated ones; mean tokens."""
    n = len(rows)
    return {
        "strict": wilson(sum(row["strict_verdict"] == "correct" for row in rows), n).as_dict(),
        "lenient": wilson(sum(row["lenient_verdict"] == "correct" for row in rows), n).as_dict(),
        "in_form": wilson(sum(row["strict_verdict"] in ("correct", "incorrect") for row in rows), n).as_dict(),
        "truncated": sum(row["verdict"] == "truncated" for row in rows) / n if n else None,
        "tokens": sum(row["tokens"] for row in rows) / n if n else None,
        "prompt_tokens": sum(row["prompt_tokens"] for row in rows) / n if n else None,
    }


def round_figures(arm: str, run: Run) -> list[dict[str, Any]]:
    """By round: selection accuracy, right ones among all generated samples, kept rows, seconds by stage."""
    rounds = []
    for line in run.rounds:
        samples = [row for row in run.attempts(line["round"], COLUMNS) if row["mode"] == "generated"]
        facts = {"data": line.get("data"), "seconds": line.get("seconds"), "samples": counted(samples) if samples else None}
        rounds.append({"arm": arm, "round": line["round"], **counted(greedy(run, line["round"])), **facts})
    return rounds


def arm_figures(arm: str, arguments: Arguments) -> dict[str, Any]:
    """The one test of the chosen round's model, problem by problem and whole, what came before it, and the cost."""
    run = Run(finished_run(recipe_of(arm, arguments)))
    rows = greedy(run, TEST)
    right = {row["problem_id"]: row["lenient_verdict"] == "correct" for row in rows}
    base = base_of(arm)
    return {
        "chosen_round": run.chosen_round,
        **counted(rows),
        "minus_few_shot": None if arm == base else compared(piece_of(base, arguments)["figures"]["right"], right),
        "rounds": round_figures(arm, run),
        "evidence": evidence_rows(arm, run),
        "right": right,
        "cost": cost_of(run.path),
    }


def probe_figures(arm: str, arguments: Arguments) -> dict[str, Any]:
    """All measures of the probes on an arm's final model, and how many answers are right with and without the rationale."""
    from analysis.faithfulness.rows import row_schema
    from analysis.probe import Arguments as ProbeArguments
    from analysis.probe import probe

    run = Run(finished_run(recipe_of(arm, arguments)))
    probe(ProbeArguments(run.path, n=arguments.probed, device=arguments.device))
    probed = run.probed_rounds()[str(run.chosen_round)]
    table = run.probes(row_schema())
    problems = {row["problem_id"]: row for row in run.problems()}
    rights = with_and_without(table.to_pylist() if table else [], problems)
    return {"n": probed["n_rationales"], "measures": probed["measures"], **rights}


def with_and_without(rows: Sequence[Mapping[str, Any]], problems: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Shares that are right with the rationale and without any, and their difference, where the model was asked both."""
    from star.grading import same_answer

    asked = [row for row in rows if (row["probe"], row["position"], row["applicable"]) == ("early_answering", 0, True)]
    right: dict[str, list[bool]] = {"answer_before": [], "answer_after": []}
    for row, (name, outcomes) in product(asked, right.items()):
        problem = problems[row["problem_id"]]
        kind: AnswerType = "choice" if problem["choices"] else "number"
        outcomes.append(same_answer(row[name], problem["gold"], kind, problem["choices"], problem["question"]))
    units = [row["problem_id"] for row in asked]
    return {
        "right_with_rationale": share(right["answer_before"], units).as_dict(),
        "right_without": share(right["answer_after"], units).as_dict(),
        "rationale_minus_none": paired_difference(right["answer_after"], right["answer_before"], units).as_dict(),
    }


def evidence_rows(arm: str, run: Run) -> list[dict[str, Any]]:
    """Of the right answers of each mode: what is proven unsound, flagged, scored and not flagged, and not judged."""
    import analysis
    from analysis.score import Arguments as ScoreArguments
    from analysis.score import score

    score(ScoreArguments(run.path))
    frame = analysis.load(run.path)
    rows = []
    for mode, right in frame[frame.right == 1].groupby("mode"):
        counts = right.evidence.value_counts()
        shares = {name: wilson(int(counts.get(name, 0)), len(right)).as_dict() for name in ("proven", "flagged", "clear", "none")}
        rows.append({"arm": arm, "mode": mode, "right": len(right), **shares})
    return rows


def cost_figures(arguments: Arguments) -> dict[str, Any]:
    """Tokens per second of our vLLM sampler and of a bare `LLM.generate` on the same prompts; each way in its own process."""
    model = str(resolve_model(recipe_of("star", arguments).model))
    amount, new_tokens = (8, 8) if arguments.quick else (128, 64)
    rows = []
    for way in ("vllm", *BARE["vllm"]):
        case = Case(way, model, 0, SHARED, amount, new_tokens, arguments.device)
        rows.append({"size": "135M", **{k: v for k, v in vars(case).items() if k not in ("model", "device")}, **run_case(case)})
    return {"rows": rows, "ratio_to_bare_call": ratios(rows)}


def small_round(piece: str, arguments: Arguments) -> Recipe:
    """A round of STaR that takes minutes, with the sampler of one of `ROUNDS`."""
    steps, problems = (1, 8) if arguments.quick else (12, 64)
    small: Changes = {
        "loop": {"problems": problems, "rounds": 1},
        "evaluation": {"selection_size": problems},
        "training": {"steps": {"first": steps}},
        "sampling": {"backend": ROUNDS[piece]},
    }
    content = recipe_of("star", arguments).model_dump(mode="json")
    changes = {section: {**content[section], **values} for section, values in small.items()}
    return Recipe.model_validate({**content, **changes, "name": f"real-model-round-{ROUNDS[piece]}"})


def make(piece: str, arguments: Arguments) -> dict[str, Any]:
    """The figures of a piece, made now."""
    if piece in FORMS:
        return form_figures(piece, arguments)
    if piece.startswith("probes: "):
        return probe_figures(piece.removeprefix("probes: "), arguments)
    if piece in ROUNDS:
        return round_cost(small_round(piece, arguments), arguments)
    return cost_figures(arguments) if piece == "cost" else arm_figures(piece, arguments)


def piece_file(piece: str, seed: int | str, arguments: Arguments) -> Path:
    """Where the figures of a piece and seed are kept; seed "*": a pattern."""
    return part_path("real_model", f"{piece}-seed{seed}", quick=arguments.quick, device=arguments.device)


def seeds_there(piece: str, arguments: Arguments) -> list[int]:
    """Seeds that a piece was made with, in order."""
    pattern = piece_file(piece, "*", arguments)
    said = [path.stem.rpartition("-seed")[2] for path in pattern.parent.glob(pattern.name)]
    return sorted(int(seed) for seed in said if seed.isdecimal())


def piece_of(piece: str, arguments: Arguments) -> dict[str, Any]:
    """The content of a piece's file, which is made where it is not there."""
    path, quick, device = piece_file(piece, arguments.seed, arguments), arguments.quick, arguments.device
    content = made_once(path.stem, path, partial(make, piece, arguments), seeds=[arguments.seed], quick=quick, device=device)
    assert content is not None
    return content


def compared(before: Mapping[str, bool], after: Mapping[str, bool]) -> dict[str, Any]:
    """after minus before on the same test problems: paired bootstrap interval, McNemar's exact test."""
    first, second = list(before.values()), [after[problem] for problem in before]
    return {"difference": paired_difference(first, second, list(before)).as_dict(), "mcnemar_p": mcnemar(first, second).p}


def over_seeds(before: Mapping[int, Mapping[str, bool]], after: Mapping[int, Mapping[str, bool]]) -> dict[str, Any]:
    """after minus before by the seeds of both, problems as units: all answers to one are resampled together."""
    seeds = sorted(set(before) & set(after))
    pairs = [(right, after[seed][problem], problem) for seed in seeds for problem, right in before[seed].items()]
    return {"difference": paired_difference(*zip(*pairs, strict=True)).as_dict(), "seeds": len(seeds)}


def figures_of(pieces: Mapping[str, Mapping[int, dict[str, Any]]]) -> dict[str, Any]:
    """The whole result: `pieces` are the contents of the pieces' files by seed; what has no seed beside it is of the first.

    Compared over seeds are arms that have several; one that is kept without its answers (direct) is among the tests alone.
    """
    of = {piece: contents[min(contents)]["figures"] for piece, contents in pieces.items()}
    runs = [(arm, seed, run["figures"]) for arm in ARMS for seed, run in pieces.get(arm, {}).items()]
    right = {arm: {seed: right for each, seed, figures in runs if each == arm and (right := figures["right"])} for arm in ARMS}
    compared_arms = [arm for arm in ARMS if base_of(arm) != arm and len(set(right[arm]) & set(right[base_of(arm)])) > 1]
    contents = [content for each in pieces.values() for content in each.values()]

    def lines(name: str) -> list[dict[str, Any]]:
        return [{"seed": seed, **line} for _, seed, figures in runs for line in figures[name]]

    return {
        "forms": {piece.removeprefix("form: "): of[piece] for piece in FORMS if piece in of},
        "rounds": lines("rounds"),
        "tests": [
            {"arm": arm, "seed": seed, **{name: figures[name] for name in ARM_FIGURES}, **(figures["minus_few_shot"] or {})}
            for arm, seed, figures in runs
        ],
        "evidence": lines("evidence"),
        "comparisons": {f"{arm} minus few-shot": over_seeds(right[base_of(arm)], right[arm]) for arm in compared_arms},
        "probes": {arm: of[f"probes: {arm}"] for arm in PROBED if f"probes: {arm}" in of},
        "cost": of.get("cost"),
        "round": {sampler: of[piece] for piece, sampler in ROUNDS.items() if piece in of},
        "not_run": [piece for piece in PIECES if piece not in of],
        "made": made([(content["date"], content["commit"]) for content in contents]),
    }


def main() -> None:
    arguments = parse(Arguments, __doc__, gpu=True)
    if unknown := sorted(set(arguments.pieces) - set(PIECES)):
        raise UsageError(f"--pieces: no piece called {'; '.join(unknown)}. There are: {'; '.join(PIECES)}.")
    for name, least in {"seed": 0, "problems": 1, "probed": 1}.items():
        if getattr(arguments, name) < least:
            raise UsageError(f"--{name}: expected {least} or more, found {getattr(arguments, name)}")
    if arguments.quick:
        arguments = replace(arguments, pieces=("star, sound", "probes: star, sound"), problems=8, probed=2)
        for piece in PIECES:
            piece_file(piece, arguments.seed, arguments).unlink(missing_ok=True)  # quick mode tries what is there now
    for piece in arguments.pieces:
        piece_of(piece, arguments)
    there = {piece: seeds for piece in PIECES if (seeds := seeds_there(piece, arguments))}
    pieces = {piece: {seed: piece_of(piece, replace(arguments, seed=seed)) for seed in seeds} for piece, seeds in there.items()}
    seeds = sorted({seed for each in there.values() for seed in each})
    write_result("real_model", figures_of(pieces), quick=arguments.quick, seeds=seeds, device=arguments.device)


if __name__ == "__main__":
    sys.exit(run_command(main))
