"""What a round costs beside bare calls: the same requests to a bare `vllm.LLM`, of as many tokens each, or to `model.generate`, and
the same training rows and steps to TRL's SFTTrainer. Used by real_model.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.common import CommonArguments
from benchmarks.gpu import peak
from benchmarks.loop import begun, ours, sft
from benchmarks.sampling import bare_generate, bare_llm, bare_model
from star.recipe import Recipe
from star.run import Run
from star.sampling.model_files import count_parameters

MEMORY = 8 * 2**30
"""Bytes that are written once before anything is timed, about what training takes."""
BATCH = 32
"""Prompts of a bare `model.generate`."""
Heat = float | tuple[float, ...]
"""Temperature, as recipes have it."""
READ = ("problem_id", "mode", "sample", "tokens")


def warm_up() -> None:
    """Do once what neither way should pay for by coming first: imports, and memory that the machine has not been given yet."""
    import torch

    import_module("trl.trainer.sft_trainer")
    torch.ones(MEMORY // 4)


def bare_way(recipe: Recipe, model_dir: Path, device: str) -> Callable[[list[list[int]], list[int], Heat], object]:
    """A bare call of the recipe's sampler, given prompts, how many tokens ours wrote to each and the temperature: vLLM writes as
    many tokens, whereas `model.generate` ends where it ends.
    """
    if recipe.sampling.backend == "transformers":
        model, limit = bare_model(model_dir, device), recipe.sampling.max_new_tokens
        pad = model.generation_config.pad_token_id or 0

        def generated(prompts: list[list[int]], lengths: list[int], heat: Heat) -> object:
            drawn: dict[str, Any] = {"do_sample": True, "temperature": heat} if heat else {"do_sample": False}
            return bare_generate(model, prompts, BATCH, limit, pad_token_id=pad, **drawn)

        return generated
    llm = bare_llm(str(model_dir), device)
    import vllm

    def generate(prompts: list[list[int]], lengths: list[int], heat: Heat) -> object:
        fixed = [vllm.SamplingParams(temperature=heat, max_tokens=n, ignore_eos=True, detokenize=False) for n in lengths]
        return llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], fixed, use_tqdm=False)

    return generate


def round_cost(recipe: Recipe, arguments: CommonArguments) -> dict[str, Any]:
    """Seconds of round 1, ours by stage and as bare calls, and what part of a matrix product's speed training reaches."""
    warm_up()
    mine = ours(recipe)
    run, (setup, builder, _) = Run(recipe.run_dir), begun(recipe)
    problem_of = {problem.id: problem for problem in (*setup.train, *setup.selection)}
    stages = [list(rows) for _, rows in groupby([*run.attempts(1, READ), *run.evaluation(1, READ)], itemgetter("mode"))]
    answer, seconds = bare_way(recipe, setup.base_dir, arguments.device), {}

    def asked(rows: Sequence[Mapping[str, Any]]) -> tuple[list[list[int]], list[int], Heat]:
        shots = rows[0]["mode"] != "evaluated" or recipe.prompting.keep_shots
        hinted = rows[0]["mode"] == "rationalized"
        ids = [builder.ids(problem_of[row["problem_id"]], shots=shots, hinted=hinted) for row in rows]
        heat = 0.0 if rows[0]["mode"] == "evaluated" else recipe.sampling.temperature
        return ids, [row["tokens"] for row in rows], heat

    answer(*asked(stages[-1][:8]))  # warms up
    for rows in stages:
        started = time.monotonic()
        answer(*asked(rows))
        seconds[rows[0]["mode"]] = time.monotonic() - started
    del answer
    encoded = [builder.encoded(problem_of[row["problem_id"]], row["completion"], shots=False) for row in run.training(1)]
    folder, started = recipe.run_dir.with_name("bare"), time.monotonic()
    model = bare_model(setup.base_dir, arguments.device)
    sft(model, setup.tokenizer, encoded, recipe, folder, arguments.device, gradient_checkpointing=False)
    seconds["training"] = time.monotonic() - started
    best, parameters = peak(arguments)["tflops"], count_parameters(setup.base_dir)
    trained, sampled = mine["trained_tokens"], sum(row["tokens"] for rows in stages for row in rows)
    return {
        "ours": {"total": mine["seconds"], **mine["stages"]},
        "bare": {"total": sum(seconds.values()), **seconds},
        "round_over_bare": mine["seconds"] / sum(seconds.values()),
        "trained_tokens": trained,
        "sampled_tokens": sampled,
        "matrix_product_tflops": best,
        "training_share": 6 * parameters * trained / mine["stages"]["training"] / best / 1e12,
    }
