"""What the engine costs: a round of ours against the bare calls beneath it, and against the loop people write by hand.

    python benchmarks/loop.py [--quick]

All do the same round on the embedded model in one process, one after the other: generate for the same problems, retry the
failed ones with the hint, fine-tune for the same steps on the rows that are kept, answer the selection problems.

- ours: `star.loop.Loop`, as a recipe runs it.
- bare: `model.generate` in batches of similar length, of the size that is fastest on these prompts, then TRL's SFTTrainer
  without gradient checkpointing (as in ours), and nothing else: no files, no provenance.
- by hand: `model.generate` in batches of 8 in the order of the data, SFTTrainer with its defaults, reload from disk.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.arms import arm_recipe, runs_dir
from benchmarks.common import CommonArguments, parse, write_result
from benchmarks.sampling import bare_generate, bare_model
from star import run as runs
from star.command_line import run_command
from star.grading import grade
from star.recipe import Recipe

Tokens = Sequence[Sequence[int]]
BATCHES = (16, 32, 64, 128, 256, 512)
"""Batch sizes of which the bare calls take the fastest."""


@dataclass(frozen=True)
class Arguments(CommonArguments):
    problems: int = 2_000
    """Problems of the round."""
    steps: int = 200
    """Optimizer steps."""
    repeats: int = 3
    """Times each way is measured, each with a seed of its own; medians of seconds and means of accuracy are reported."""


def recipe_of(arguments: Arguments, seed: int = 0) -> Recipe:
    """One round of the default recipe without its soundness filter, so that all ways keep the same rows."""
    size = 24 if arguments.quick else arguments.problems
    steps = 3 if arguments.quick else arguments.steps
    changes = {
        "loop": {"rounds": 1, "problems": size, "rationalizer": "current", "target": None},
        "curation": {"require": "answer"},
        "training": {"steps": {"first": steps, "growth": 1.0, "cap": None, "add": 0, "epochs": None}},
        "evaluation": {"selection_size": max(2, size // 4)},
        "sampling": {"backend": "transformers", "temperature": 0.0, "top_p": 1.0},
    }
    return arm_recipe("addition.yaml", seed, changes, folder="loop", device=arguments.device)


def ours(recipe: Recipe) -> dict[str, Any]:
    """Seconds of round 1, by stage, and what it reached. Opening the sampler and the base evaluation are not part of a round."""
    from star.loop import Loop
    from star.pool import open_pool
    from star.setup import prepare

    shutil.rmtree(recipe.run_dir, ignore_errors=True)
    setup = prepare(recipe, ["benchmark"])
    pool = open_pool(recipe, setup)
    loop = Loop(recipe, setup, pool, lambda line: None)
    loop.finish_round(0)
    started = time.monotonic()
    loop.finish_round(1)
    seconds = time.monotonic() - started
    pool.close()
    line: dict[str, Any] = dict(runs.Run(setup.run_dir).rounds[1])
    return {
        "seconds": seconds,
        "stages": line["seconds"],
        "accuracy": line["selection"]["accuracy"],
        "loss": line["training"]["loss"],
        "kept": line["training"]["rows"],
        "sampled_tokens": line["sampled_tokens"],
        "trained_tokens": line["training"]["tokens"],
    }


def generate(model: Any, tokenizer: Any, prompts: Tokens, batch_size: int, limit: int, *, by_length: bool) -> list[str]:
    """Completions by bare calls, greedy."""
    settings = {"do_sample": False, "pad_token_id": tokenizer.pad_token_id}
    added = bare_generate(model, prompts, batch_size, limit, by_length=by_length, **settings)
    return list(tokenizer.batch_decode(added, skip_special_tokens=True))


def sft(
    model: Any,
    tokenizer: Any,
    rows: Sequence[tuple[list[int], list[int]]],
    recipe: Recipe,
    folder: Path,
    device: str,
    **settings: Any,
) -> float:
    """Bare TRL: SFTTrainer on tokenised rows, saved to `folder`; returns the last loss it logs. `settings` are SFTConfig's."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    training = recipe.training
    data = [{"input_ids": [*p, *c], "completion_mask": [0] * len(p) + [1] * len(c)} for p, c in rows]
    config = SFTConfig(
        output_dir=str(folder),
        max_steps=training.steps.first,
        per_device_train_batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=training.warmup_steps,
        max_length=training.max_length,
        completion_only_loss=True,  # for tokenised rows TRL would learn the prompts too, whatever the mask says
        bf16=device == "cuda",
        use_cpu=device == "cpu",
        save_strategy="no",
        report_to=[],
        logging_steps=max(1, min(50, training.steps.first // 10)),  # as ours, so that the last losses are of as many steps
        disable_tqdm=True,
        seed=recipe.seed + 1,
        data_seed=recipe.seed + 1,
        **settings,
    )
    trainer = SFTTrainer(model=model, args=config, train_dataset=Dataset.from_list(data), processing_class=tokenizer)
    trainer.train()
    trainer.save_model(str(folder))
    tokenizer.save_pretrained(folder)
    return float([entry["loss"] for entry in trainer.state.log_history if "loss" in entry][-1])


def begun(recipe: Recipe) -> tuple[Any, Any, Sequence[Any]]:
    """(setup, prompt builder, problems of round 1) as the engine has them."""
    from star.prompting import PromptBuilder
    from star.setup import prepare
    from star.splits import draw

    setup = prepare(recipe, ["benchmark"])
    builder = PromptBuilder(setup.task, setup.tokenizer, recipe.prompting)
    return setup, builder, draw(setup.train, recipe.loop.problems, f"round-{recipe.seed}-1")


def plain_round(
    recipe: Recipe, folder: Path, device: str, *, batch_size: int, by_length: bool, reload: bool, **settings: Any
) -> dict[str, Any]:
    """The same round with bare calls; `reload` reads the model from disk before each stage, as scripts in a row do.

    `settings` are SFTConfig's, beside the recipe's.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    setup, builder, pool = begun(recipe)
    limit, seconds = recipe.sampling.max_new_tokens, {}
    task, tokenizer = setup.task, AutoTokenizer.from_pretrained(setup.base_dir)
    model = bare_model(setup.base_dir, device)

    def right(problems: Sequence[Any], texts: Sequence[str]) -> list[bool]:
        spans = [task.extract(text, problem).strict for problem, text in zip(problems, texts, strict=True)]
        return [grade(span, problem, task.answer_type) == "correct" for span, problem in zip(spans, problems, strict=True)]

    def answers(problems: Sequence[Any], hinted: bool) -> list[str]:
        prompts = [builder.ids(problem, shots=True, hinted=hinted) for problem in problems]
        return generate(model, tokenizer, prompts, batch_size, limit, by_length=by_length)

    answers(pool[:8], False)  # ours has sampled before its round begins, so this warms up too
    started = time.monotonic()
    texts = answers(pool, False)
    verdicts = right(pool, texts)
    kept = [(p, t) for p, t, ok in zip(pool, texts, verdicts, strict=True) if ok]
    failed = [p for p, ok in zip(pool, verdicts, strict=True) if not ok]
    if reload:
        model = bare_model(setup.base_dir, device)
    texts = answers(failed, True)
    kept += [(p, t) for p, t, ok in zip(failed, texts, right(failed, texts), strict=True) if ok]
    seconds["sampling"] = time.monotonic() - started
    rows = [(builder.ids(p, shots=False), builder.completion_ids(t)) for p, t in kept]
    # A step is too small for bfloat16 weights: on a GPU the model is loaded again for training, in float32.
    again = reload or device == "cuda"
    base = AutoModelForCausalLM.from_pretrained(setup.base_dir, dtype=torch.float32) if again else model
    before = time.monotonic()
    loss = sft(base, tokenizer, rows, recipe, folder, device, **settings)
    seconds["training"] = time.monotonic() - before
    model = bare_model(folder, device) if again else base.eval()
    before = time.monotonic()
    verdicts = right(setup.selection, answers(setup.selection, False))
    seconds["evaluation"] = time.monotonic() - before
    total = time.monotonic() - started
    accuracy = sum(verdicts) / len(verdicts)
    return {"seconds": total, "stages": seconds, "accuracy": accuracy, "loss": loss, "kept": len(rows)}


def batch_seconds(recipe: Recipe, device: str, sizes: Sequence[int]) -> dict[int, float]:
    """Seconds of the bare call on the round's prompts in batches of each size: a completion that does not end holds up all
    of its batch, so the largest batch is not the fastest.
    """
    from transformers import AutoTokenizer

    setup, builder, pool = begun(recipe)
    prompts = [builder.ids(problem, shots=True, hinted=False) for problem in pool]
    model = bare_model(setup.base_dir, device)
    tokenizer, limit = AutoTokenizer.from_pretrained(setup.base_dir), recipe.sampling.max_new_tokens
    generate(model, tokenizer, prompts[:8], 8, limit, by_length=True)
    seconds = {}
    for size in sizes:
        started = time.monotonic()
        generate(model, tokenizer, prompts, size, limit, by_length=True)
        seconds[size] = time.monotonic() - started
    return seconds


def median_of(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The run of median seconds, with the spread of all, and accuracy and last loss of each in the order of the seeds."""
    ordered = sorted(measured, key=lambda one: one["seconds"])
    accuracies = [one["accuracy"] for one in measured]
    return {
        **ordered[len(ordered) // 2],
        "fastest": ordered[0]["seconds"],
        "slowest": ordered[-1]["seconds"],
        "accuracy": sum(accuracies) / len(accuracies),
        "accuracies": accuracies,
        "loss": sum(one["loss"] for one in measured) / len(measured),
        "losses": [one["loss"] for one in measured],
        "repeats": len(ordered),
    }


def main() -> None:
    arguments = parse(Arguments, __doc__, gpu=True)
    scratch = runs_dir("loop", arguments.device) / "plain"
    measured: dict[str, list[dict[str, Any]]] = {"ours": [], "bare calls": [], "by hand": []}
    import trl  # noqa: F401 - takes seconds, which would be counted to whoever comes first

    tried = batch_seconds(recipe_of(arguments), arguments.device, (8,) if arguments.quick else BATCHES)
    fastest = min(tried, key=lambda size: tried[size])
    bare: dict[str, Any] = {"batch_size": fastest, "by_length": True, "reload": False, "gradient_checkpointing": False}
    by_hand: dict[str, Any] = {"batch_size": 8, "by_length": False, "reload": True}
    seeds = list(range(1 if arguments.quick else arguments.repeats))
    for seed in seeds:
        recipe = recipe_of(arguments, seed)
        measured["ours"].append(ours(recipe))
        measured["bare calls"].append(plain_round(recipe, scratch, arguments.device, **bare))
        measured["by hand"].append(plain_round(recipe, scratch, arguments.device, **by_hand))
    ways = {name: median_of(each) for name, each in measured.items()}
    mine = ways["ours"]["seconds"]
    figures = {
        "ways": ways,
        "round_over_bare": mine / ways["bare calls"]["seconds"],
        "speedup_over_hand_written": ways["by hand"]["seconds"] / mine,
        "bare_seconds_by_batch_size": tried,
        "problems": recipe.loop.problems,
        "steps": recipe.training.steps.first,
    }
    write_result("loop", figures, quick=arguments.quick, seeds=seeds, device=arguments.device)


if __name__ == "__main__":
    sys.exit(run_command(main))
