"""A real language model on word problems: SmolLM2-135M-Instruct on SVAMP, by the recipe of `make real`.

    python benchmarks/real_model.py                       # every piece; goes on where it stopped
    python benchmarks/real_model.py --pieces star         # one of them; the result holds those that are finished

Asked: how should a small chat model be shown the form of an answer, and does STaR teach a model of this size anything? The
pieces `form: ...` are greedy answers of the base model to selection problems under one prompting each; the others are the
arms of the paper's tables, half an hour each on two quiet cores; `cost` sets our sampling beside bare calls. What a piece made is
kept under benchmarks/cache.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.soundness.labelled import data_dir
from benchmarks.arms import arm_recipe, cost_of, finished_run, made, made_by, paired, runs_dir
from benchmarks.common import CommonArguments, parse, write_result
from benchmarks.sampling import BARE, SHARED, Case, ratios, run_case
from star.command_line import run_command
from star.errors import UsageError
from star.recipe import Recipe
from star.run import ATTEMPTS, TEST, Run, Where, read_rows, whole_json, write_json, write_parquet
from star.setup import prepare, resolve_model
from star.statistics import wilson

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
}
SIZE: Changes = {"loop": {"problems": 200}, "evaluation": {"selection_size": 300}}
"""Larger than in `make real`, where half an hour has to be enough."""
PIECES = (*FORMS, *ARMS, "cost")
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
    """What to run now; the result has every finished piece."""
    seed: int = 0
    """Seed of the runs."""
    problems: int = 200
    """Problems that each form is tried on."""


def recipe_of(piece: str, arguments: Arguments) -> Recipe:
    """The recipe of `make real` with a piece's changes."""
    changes: dict[str, dict[str, Any]] = {"task": {"path": str(data_dir() / "svamp.jsonl.gz")}}
    for more in (SIZE, {**FORMS, **ARMS}[piece], QUICK if arguments.quick else {}):
        for section, values in more.items():
            changes[section] = {**changes.get(section, {}), **values}
    return arm_recipe("svamp-smollm2-135m.yaml", arguments.seed, changes, folder="real_model", device=arguments.device)


def form_rows(pieces: Sequence[str], arguments: Arguments) -> dict[str, list[dict[str, Any]]]:
    """Greedy answers of the base model to the first selection problems under each prompting; kept, a file for each.

    One sampler serves all of them. Without `pieces`: what is there.
    """
    from star.attempts import sample_attempts
    from star.prompting import PromptBuilder
    from star.sampling import Decoding, open_sampler
    from star.shards import Shard

    folder = runs_dir("real_model", arguments.device) / ("forms-quick" if arguments.quick else "forms")
    files = {piece: folder / f"{piece.removeprefix('form: ').replace(' ', '-')}-{arguments.problems}.parquet" for piece in FORMS}
    missing = [piece for piece in FORMS if piece in pieces and not files[piece].is_file()]
    if missing:
        recipe = recipe_of("few-shot", arguments)
        setup = prepare(recipe, ["benchmarks"])
        sampler = open_sampler(recipe.sampling, setup.base_dir)
        for piece in missing:
            builder = PromptBuilder(setup.task, setup.tokenizer, recipe_of(piece, arguments).prompting)
            decoding = Decoding(max_new_tokens=recipe.sampling.max_new_tokens, stop=builder.stop)
            shard = Shard(0, setup.selection[: arguments.problems], decoding, "evaluated", "selection", 0, shots=True)
            write_parquet(files[piece], sample_attempts(sampler, builder, shard, progress=piece), ATTEMPTS)
        sampler.close()
    return {piece: read_rows(file) for piece, file in files.items() if file.is_file()}


def greedy(run: Run, where: Where) -> list[dict[str, Any]]:
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


def arm_figures(run: Run) -> dict[str, Any]:
    """The one test of the chosen round's model, and the whole cost."""
    return {"chosen_round": run.chosen_round, **counted(greedy(run, TEST)), "cost": cost_of(run.path)}


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


def cost_rows(arguments: Arguments) -> list[dict[str, Any]]:
    """Tokens per second of our vLLM sampler and of a bare `LLM.generate` on the same prompts; each way in its own process.

    Kept in a file; without the piece `cost`: what is there.
    """
    file = runs_dir("real_model", arguments.device) / ("cost-quick.json" if arguments.quick else "cost.json")
    if "cost" not in arguments.pieces or file.is_file():
        return (whole_json(file) or {}).get("rows", [])
    model = str(resolve_model(recipe_of("star", arguments).model))
    amount, new_tokens = (8, 8) if arguments.quick else (128, 64)
    rows = []
    for way in ("vllm", *BARE["vllm"]):
        case = Case(way, model, 0, SHARED, amount, new_tokens, arguments.device)
        rows.append({"size": "135M", **{k: v for k, v in vars(case).items() if k not in ("model", "device")}, **run_case(case)})
    write_json(file, {"rows": rows})
    return rows


def compared(first: Run, second: Run) -> dict[str, Any]:
    """second minus first on the same test problems: paired bootstrap interval, McNemar's exact test."""
    before, after = ({0: greedy(run, TEST)} for run in (first, second))
    both = paired(before, after, lambda row: row["lenient_verdict"] == "correct")
    return {"difference": both["difference"], "mcnemar_p": both["mcnemar_p_by_seed"][0]}


def main() -> None:
    arguments = parse(Arguments, __doc__, gpu=True)
    if unknown := sorted(set(arguments.pieces) - set(PIECES)):
        raise UsageError(f"--pieces: no piece called {', '.join(unknown)}; there are {', '.join(PIECES)}")
    if arguments.quick:
        arguments = Arguments(quick=True, device=arguments.device, pieces=("star",), problems=8)
    forms = form_rows(arguments.pieces, arguments)
    for piece in ARMS:
        if piece in arguments.pieces:
            finished_run(recipe_of(piece, arguments))
    cost = cost_rows(arguments)
    dirs = {piece: recipe_of(piece, arguments).run_dir for piece in ARMS}
    done = {piece: Run(path) for piece, path in dirs.items() if (path / "result.json").is_file()}
    figures = {
        "forms": {piece.removeprefix("form: "): counted(rows) for piece, rows in forms.items()},
        "rounds": [line for piece in ARMS if piece in done for line in round_figures(piece, done[piece])],
        "arms": {piece: arm_figures(done[piece]) for piece in ARMS if piece in done},
        "evidence": [line for piece, run in done.items() for line in evidence_rows(piece, run)],
        "comparisons": {
            f"{piece} minus few-shot": compared(done["few-shot"], done[piece])
            for piece in ARMS
            if piece != "few-shot" and {piece, "few-shot"} <= done.keys()
        },
        "cost": {"rows": cost, "ratio_to_bare_call": ratios(cost)},
        "not_run": [piece for piece in (*FORMS, *ARMS) if piece not in done and piece not in forms],
        "made": made([made_by(run.path) for run in done.values()]),
    }
    write_result("real_model", figures, quick=arguments.quick, seeds=[arguments.seed], device=arguments.device)


if __name__ == "__main__":
    sys.exit(run_command(main))
