"""What one GPU gives, in at most ten minutes: benchmarks/gpu.sh.

    python benchmarks/gpu.py --device cuda         # --quick alone proves on a CPU that the script works

Random models with the shapes of SmolLM2-135M and Qwen2.5-0.5B, so that nothing has to be fetched: speed and memory are those of the
trained ones. Each part runs in a process of its own (of quick mode only the first), so that its peak memory is its own; the result
is written anew after each part, so that time that runs out takes nothing along. A part that fails says so in its place.
"""

from __future__ import annotations

import json
import random
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.arms import arm_recipe, finished_run
from benchmarks.common import CommonArguments, in_new_process, parse, peak_mb, write_result
from benchmarks.probe_cost import measure as probe_cost
from benchmarks.sampling import SHARED, Case, Way, bare_model, measure
from benchmarks.scripted_models import byte_tokenizer
from star.command_line import run_command
from star.errors import InputError, UsageError
from star.recipe import SEEDS, load_recipe
from star.run import Run
from star.sampling.model_files import count_parameters

RECIPE = SEEDS / "recipes" / "gsm8k-qwen2.5-0.5b.yaml"
SHAPES: dict[str, tuple[str, tuple[int, ...]]] = {
    "SmolLM2-135M": ("llama", (49_152, 576, 1_536, 30, 9, 3)),
    "Qwen2.5-0.5B": ("qwen2", (151_936, 896, 4_864, 24, 14, 2)),
}
"""Architecture, and vocabulary, hidden and intermediate size, layers, heads, key-value heads."""
TINY = (2_048, 32, 64, 2, 2, 1)
STEPS = (2, 10, 40)
"""Optimizer steps of three fine-tunings: one warms up, the other two differ by 30 steps, as loading and saving is in both."""


@dataclass(frozen=True)
class Arguments(CommonArguments):
    part: str | None = None
    """Internal: run this part alone and print its figures."""


def shaped(shape: str, arguments: Arguments, folder: Path) -> Path:
    """A random model of a public one's shape (tiny in quick mode) with a tokenizer of one token per byte and no end token."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, sizes = SHAPES[shape]
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    named = dict(zip(names, TINY if arguments.quick else sizes, strict=True))
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **named, tie_word_embeddings=True, bos_token_id=None, eos_token_id=None)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / shape)
    byte_tokenizer(end=None).save_pretrained(folder / shape)
    return folder / shape


def peak(arguments: CommonArguments, folder: Path | None = None) -> dict[str, Any]:
    """TFLOP/s of a product of two square matrices, the best of five."""
    import torch

    size, gpu = (256 if arguments.quick else 8_192), arguments.device == "cuda"
    matrix = torch.randn(size, size, device=arguments.device, dtype=torch.bfloat16 if gpu else torch.float32)
    seconds = []
    for _ in range(6):
        started = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # waits for the device
        seconds.append(time.perf_counter() - started)
    return {"tflops": 2 * size**3 / min(seconds[1:]) / 1e12}


def sampling(arguments: Arguments, folder: Path) -> dict[str, Any]:
    """Our transformers sampler and a bare `model.generate`: tokens per second of both."""
    model = str(shaped("SmolLM2-135M", arguments, folder))
    batch, new_tokens = (8, 8) if arguments.quick else (256, 128)
    ways: tuple[Way, Way] = ("transformers", "generate")
    rates: dict[str, Any] = {way: measure(Case(way, model, batch, SHARED, 2 * batch, new_tokens, arguments.device)) for way in ways}
    return {**rates, "ratio_to_bare_call": rates[ways[0]]["tokens_per_second"] / rates[ways[1]]["tokens_per_second"]}


def training(shape: str, arguments: Arguments, folder: Path) -> dict[str, Any]:
    """Fine-tuning of all weights as the recipe of Qwen2.5-0.5B does it, on full rows: tokens per second, peak memory."""
    import torch

    from star.training.finetuning import finetune
    from star.training.plan import Job, with_data

    model, draw = shaped(shape, arguments, folder), random.Random(0)
    settings = load_recipe(RECIPE).training.model_copy(update={"batch_size": 2, "max_length": 32} if arguments.quick else {})
    part = settings.max_length // 2
    ids = [tuple(draw.randrange(256) for _ in range(2 * part)) for _ in range(8 * settings.batch_size)]
    rows = tuple((row[:part], row[part:]) for row in ids)
    runs = [
        finetune(with_data(Job(str(model), str(folder / f"{steps} steps"), steps, 0, settings, generates=False), rows))
        for steps in ((1, 2, 80) if arguments.quick else STEPS)
    ]
    tokens, seconds = (runs[2][name] - runs[1][name] for name in ("tokens", "seconds"))
    gpu = arguments.device == "cuda"
    return {
        "parameters": count_parameters(model),
        "tokens_per_second": tokens / seconds,
        "tflops": 6 * count_parameters(model) * tokens / seconds / 1e12,
        "peak_memory_gb": torch.cuda.max_memory_allocated() / 1e9 if gpu else peak_mb() * 2**20 / 1e9,
    }


def memory(arguments: Arguments, folder: Path) -> dict[str, Any]:
    """`training` at the shape of Qwen2.5-0.5B beside the memory that the recipe's head promises, in GB."""
    said = re.search(r"about (\d+) GB while training", RECIPE.read_text(encoding="utf-8"))
    if said is None:
        raise InputError(f"{RECIPE.name}: its head names no memory for training any more")
    return {**training("Qwen2.5-0.5B", arguments, folder), "recipe_says_gb": int(said[1])}


def probes(arguments: Arguments, folder: Path) -> dict[str, Any]:
    """One packed pass over all truncations of a rationale of 16 steps against one call each, and against padded batches."""
    model = bare_model(shaped("SmolLM2-135M", arguments, folder), arguments.device)
    return probe_cost(model, 4 if arguments.quick else 16, arguments.device, 1 if arguments.quick else 3, 3)


def round_at_16m(arguments: Arguments, folder: Path) -> dict[str, Any]:
    """A base of 16M parameters pretrained for this (quick: 0.03M), then one round of STaR: accuracy before and after, seconds."""
    from star import pretrain

    size, tokens = ("0.03m", 1e4) if arguments.quick else ("16m", 8e6)
    base = pretrain.Arguments(size, folder / "base", tokens, device=arguments.device)  # type: ignore[arg-type]
    started = time.monotonic()
    pretrain.run(base)
    pretrained = time.monotonic() - started
    changes: dict[str, Any] = {
        "model": {"path": str(folder / "base")},
        "loop": {"rounds": 1, "problems": 8 if arguments.quick else 2_000},
        "sampling": {"backend": "transformers", **({"max_new_tokens": 8} if arguments.quick else {})},
        "evaluation": {"selection_size": 8 if arguments.quick else 500},
        "training": {"steps": {"first": 1}} if arguments.quick else {},
        "task": {"test_size": 8} if arguments.quick else {},
    }
    recipe = arm_recipe("addition.yaml", 0, changes, folder="gpu", device=arguments.device)
    run = Run(finished_run(recipe.model_copy(update={"runs_dir": str(folder / "runs")})))
    lines = [{"accuracy": line["selection"]["accuracy"], "seconds": line["seconds"]} for line in run.rounds]
    return {"size": size, "pretraining_seconds": pretrained, "rounds": lines}


PARTS = {
    "peak": peak,
    "sampling": sampling,
    "training": lambda arguments, folder: training("SmolLM2-135M", arguments, folder),
    "memory": memory,
    "probes": probes,
    "round": round_at_16m,
}


def of_part(part: str, arguments: Arguments) -> dict[str, Any]:
    """The figures of a part; what it writes is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        return PARTS[part](arguments, Path(folder))


def main() -> None:
    arguments = parse(Arguments, __doc__, gpu=True)
    if arguments.device == "cpu" and not arguments.quick:
        raise UsageError("gpu.py measures a GPU: give --device cuda, or --quick to try the script on a CPU.")
    if arguments.part is not None:
        print(json.dumps(of_part(arguments.part, arguments)))
        return
    figures: dict[str, Any] = {}
    for part in PARTS:
        flags = ["--part", part, "--device", arguments.device, *(["--quick"] if arguments.quick else [])]
        here = arguments.quick and figures
        try:
            figures[part] = of_part(part, arguments) if here else in_new_process(__file__, *flags)
        except InputError as error:
            figures[part] = {"error": str(error)}
        write_result("gpu", figures, quick=arguments.quick, seeds=[0], device=arguments.device)
    if failed := [part for part, each in figures.items() if "error" in each]:
        raise InputError(f"{', '.join(failed)} failed; the first: {figures[failed[0]]['error']}")


if __name__ == "__main__":
    sys.exit(run_command(main))
