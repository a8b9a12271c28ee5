"""What one packed forward pass over all truncations saves: seconds and tokens against the naive way.

    python benchmarks/probe_cost.py          # a few minutes; --quick: under one

Random models of about 4M parameters (Llama, Qwen2, GPT-2), rationales of 4 to 32 steps of about 16 tokens behind a
question of 48, an answer of 4 tokens behind a trigger of 6. Compared: one call per truncation; the same calls in padded
batches of the best size; and one packed pass.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from benchmarks.common import CommonArguments, parse, write_result
from star.command_line import run_command
from star.progress import bar

ARCHITECTURES = ("llama", "qwen2", "gpt2")
VOCABULARY = 2_048
BATCHES = (1_024, 4_096, 16_384)
"""Padded tokens per batch of the naive way; the fastest of them is compared with."""
QUESTION, STEP, TRIGGER, ANSWER = 48, 16, 6, 4


@dataclass(frozen=True)
class Arguments(CommonArguments):
    repeats: int = 3
    """Timings per figure; the fastest counts, taken in turns so that a busy moment hits all ways alike."""
    rationales: int = 3
    """Rationales per timing."""


def model_of(architecture: str, device: str) -> Any:
    """A random model of about 4M parameters."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 224, "num_hidden_layers": 6, "num_attention_heads": 7, "max_position_embeddings": 2048}
    if architecture != "gpt2":
        shape |= {"intermediate_size": 608, "num_key_value_heads": 7}
    ends = {"tie_word_embeddings": True, "bos_token_id": None, "eos_token_id": None}
    config = AutoConfig.for_model(architecture, vocab_size=VOCABULARY, **shape, **ends)
    return AutoModelForCausalLM.from_config(config).to(device).eval()


def trees_of(steps: int, count: int) -> list[Any]:
    """Rationales of about `steps` steps with one branch per truncation."""
    from star.sampling.packed import tree

    rng = random.Random(steps)

    def ids(length: int) -> list[int]:
        return [rng.randrange(VOCABULARY) for _ in range(length)]

    trees = []
    for _ in range(count):
        cuts = [QUESTION]
        for _ in range(steps):
            cuts.append(cuts[-1] + rng.randint(STEP - 4, STEP + 4))
        trunk, probe = ids(cuts[-1]), ids(TRIGGER + ANSWER)
        trees.append(tree(trunk, [(trunk[:cut] + probe, ANSWER) for cut in cuts]))
    return trees


def fastest(ways: dict[str, Callable[[], Any]], repeats: int, device: str) -> dict[str, float]:
    """Seconds of each way, the best of `repeats` after one call to warm up, in turns."""
    import torch

    best = dict.fromkeys(ways, float("inf"))
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            if device == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            way()
            if device == "cuda":
                torch.cuda.synchronize()
            if repeat:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def measure(model: Any, steps: int, device: str, repeats: int, count: int) -> dict[str, Any]:
    """What a model takes for `count` rationales of `steps` steps, each way."""

    from star.sampling.packed import PackedScorer, Tree

    packed = PackedScorer(model, mode="packed")
    single = PackedScorer(model, mode="plain", batch_tokens=1)
    batched = {size: PackedScorer(model, mode="plain", batch_tokens=size) for size in BATCHES}
    trees = trees_of(steps, count)
    tokens = [max(b.shared for b in t.branches) + sum(len(b.tokens) for b in t.branches) for t in trees]
    ways: dict[str, Callable[[], Any]] = {
        "packed": lambda: packed.score(trees),
        "one call per truncation": lambda: single.score(trees),
        **{f"batched {size}": partial(scorer.score, trees) for size, scorer in batched.items()},
    }
    seconds = fastest(ways, repeats, device)
    pairs = zip(chain(*packed.score(trees)), chain(*single.score(trees)), strict=True)
    seconds["batched"] = min(seconds[f"batched {size}"] for size in BATCHES)
    naive_tokens = sum(len(t.sequence(b)) for t in trees for b in t.branches)
    one: Tree = trees[0]
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": steps,
        "rationales": len(trees),
        "sequences_per_rationale": len(one.branches),
        "tokens_packed": sum(tokens),
        "tokens_one_by_one": naive_tokens,
        "seconds": seconds,
        "times_faster_than_one_call_each": seconds["one call per truncation"] / seconds["packed"],
        "times_faster_than_batched": seconds["batched"] / seconds["packed"],
        "largest_difference_in_logprob": max(abs(x.logprob - y.logprob) for x, y in pairs),
    }


def main() -> None:
    arguments = parse(Arguments, __doc__, gpu=True)
    lengths = (16,) if arguments.quick else (4, 8, 16, 32)
    repeats, count = (1, 1) if arguments.quick else (arguments.repeats, arguments.rationales)
    jobs = [(architecture, steps) for architecture in ARCHITECTURES for steps in lengths]
    rows = [
        {"architecture": kind, **measure(model_of(kind, arguments.device), steps, arguments.device, repeats, count)}
        for kind, steps in bar("probe cost", len(jobs), "case", over=jobs)
    ]
    at16 = [row for row in rows if row["steps"] == 16]
    worst = {
        "times_faster_than_one_call_each": min(row["times_faster_than_one_call_each"] for row in at16),
        "times_faster_than_batched": min(row["times_faster_than_batched"] for row in at16),
    }
    write_result("probe_cost", {"worst_at_16_steps": worst, "rows": rows}, quick=arguments.quick, device=arguments.device)


if __name__ == "__main__":
    sys.exit(run_command(main))
