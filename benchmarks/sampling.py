"""Tokens per second and peak memory of the samplers, against bare calls on the same prompts.

    python benchmarks/sampling.py [--quick] [--device cuda]

Ways to sample the same prompts with random Llamas of 0.2M to 4M parameters: this project's transformers sampler, a bare
`model.generate` (prompts sorted by length, left padded, the same batch size), this project's vLLM sampler, a bare
`vllm.LLM.generate`, and the same asked for each token's log-probability, which our samplers always return; with and without a
few-shot prefix that all prompts share. No end token, so each way samples
equally many tokens. Each way runs in a process of its own, so that peak memory is its own; the first call is a warm-up.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.common import CommonArguments, in_new_process, parse, peak_mb, write_result
from benchmarks.scripted_models import byte_tokenizer
from star.command_line import run_command
from star.embedded.model import Size, widened
from star.embedded.model import build_model as ladder_model
from star.errors import InputError, counted
from star.progress import bar

Way = Literal["transformers", "generate", "vllm", "llm_generate", "llm_generate_logprobs"]
BARE: dict[Way, tuple[Way, ...]] = {"transformers": ("generate",), "vllm": ("llm_generate", "llm_generate_logprobs")}
"""Our samplers and the bare calls beneath them."""
SIZES: dict[str, Size] = {"0.2M": "0.2m", "1M": "1m", "4M": "4m"}
VOCABULARY = 256
SHARED = 400
"""Tokens of the few-shot prefix."""


@dataclass(frozen=True)
class Arguments(CommonArguments):
    case: str | None = None
    """Internal: run the one case in this JSON text and print its figures."""


@dataclass(frozen=True)
class Case:
    way: Way
    model: str
    batch: int
    """0: as vLLM likes."""
    shared: int
    prompts: int
    new_tokens: int
    device: str


def prompts_of(case: Case) -> list[list[int]]:
    """Seeded prompts of 12 to 30 tokens behind the shared prefix."""
    draw = random.Random(0)
    prefix = [draw.randrange(VOCABULARY) for _ in range(case.shared)]
    return [[*prefix, *(draw.randrange(VOCABULARY) for _ in range(draw.randint(12, 30)))] for _ in range(case.prompts)]


def build_model(path: Path, size: Size) -> None:
    """A random model of the embedded ladder without end token, with a tokenizer of one token per byte."""
    tokenizer = byte_tokenizer(end=None)
    model = widened(ladder_model(size, len(tokenizer), 0, None, None))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


def sampler_way(case: Case) -> tuple[Callable[[Sequence[list[int]]], int], Callable[[], int]]:
    """This project's sampler: a call that returns the number of sampled tokens, and its worker's process id (or 0)."""
    from star.sampling import Decoding

    decoding = Decoding(temperature=0.01, top_p=0.9, max_new_tokens=case.new_tokens)
    sampler: Any
    if case.way == "transformers":
        from star.sampling.transformers_sampler import TransformersSampler

        sampler = TransformersSampler(Path(case.model), batch_size=case.batch, device=case.device)
    else:
        from star.sampling.vllm_sampler import VllmSampler

        sampler = VllmSampler(Path(case.model), cpu=case.device == "cpu")

    def call(prompts: Sequence[list[int]]) -> int:
        return sum(len(row[0].token_ids) for row in sampler.sample(prompts, decoding))

    return call, lambda: sampler.worker.process.pid if case.way == "vllm" else 0


def bare_generate(
    model: Any, prompts: Sequence[Sequence[int]], batch_size: int, limit: int, *, by_length: bool = True, **settings: Any
) -> list[list[int]]:
    """What one writes by hand: tokens that `model.generate` adds to each prompt, in left-padded batches by length or in order."""
    import torch

    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i])) if by_length else list(range(len(prompts)))
    added: list[list[int]] = [[]] * len(prompts)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        width = max(len(prompts[i]) for i in chosen)
        pad = settings.get("pad_token_id", model.generation_config.pad_token_id)
        ids = torch.tensor([[pad] * (width - len(prompts[i])) + list(prompts[i]) for i in chosen], device=model.device)
        mask = torch.tensor([[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in chosen], device=model.device)
        out = model.generate(ids, attention_mask=mask, max_new_tokens=limit, **settings)
        for i, row in zip(chosen, out[:, width:].tolist(), strict=True):
            added[i] = row
    return added


def bare_model(path: str | Path, device: str) -> Any:
    """A model to sample from, in the type that our sampler takes on this device."""
    import torch
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype).to(device).eval()


def bare_llm(model: str, device: str) -> Any:
    """A bare vLLM engine in this process: its threads and memory as in ours, all else as vLLM comes."""
    from star.sampling.vllm_process import worker_environment

    os.environ.update(worker_environment(device == "cpu"))
    os.environ.pop("TORCHDYNAMO_DISABLE", None)
    import vllm

    options: dict[str, Any] = {"enforce_eager": True, "dtype": "float32"} if device == "cpu" else {}
    return vllm.LLM(model=model, generation_config="vllm", seed=0, **options)


def llm_generate_way(case: Case) -> Callable[[Sequence[list[int]]], int]:
    """`generate` of a bare vLLM engine."""
    llm = bare_llm(case.model, case.device)
    import vllm

    asked = {"logprobs": 0, "flat_logprobs": True} if case.way == "llm_generate_logprobs" else {}
    settings = vllm.SamplingParams(temperature=0.01, top_p=0.9, max_tokens=case.new_tokens, detokenize=False, **asked)

    def call(prompts: Sequence[list[int]]) -> int:
        llm.reset_prefix_cache()  # else a repetition would find its own prompts there, which no first call does
        outputs = llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], settings, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    return call


def measure(case: Case) -> dict[str, Any]:
    """Warm up, then the best of three timed calls: tokens per second (and of the slowest), all seconds, and peak memory in GiB."""
    worker: Callable[[], int] = lambda: 0  # noqa: E731
    if case.way in ("transformers", "vllm"):
        call, worker = sampler_way(case)
    elif case.way == "generate":  # with the settings of our sampler
        model = bare_model(case.model, case.device)
        given: dict[str, Any] = {"do_sample": True, "temperature": 0.01, "top_p": 0.9, "top_k": 0, "pad_token_id": 0}
        call = lambda prompts: sum(map(len, bare_generate(model, prompts, case.batch, case.new_tokens, **given)))  # noqa: E731
    else:
        call = llm_generate_way(case)
    prompts = prompts_of(case)
    call(prompts[: min(case.batch or 64, 64)])
    seconds, tokens = [], 0
    for _ in range(3):
        start = time.perf_counter()
        tokens = call(prompts)
        seconds.append(time.perf_counter() - start)
    figures = {
        "tokens_per_second": tokens / min(seconds),
        "slowest_tokens_per_second": tokens / max(seconds),
        "tokens": tokens,
        "seconds": sorted(seconds),
    }
    if case.device == "cuda" and not worker():
        import torch

        return {**figures, "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30}
    return {**figures, "peak_memory_gib": (peak_mb() + (peak_mb(worker()) if worker() else 0.0)) / 2**10}


def cases(arguments: Arguments, folder: Path) -> list[tuple[str, Case]]:
    """All measurements with the name of their model size."""
    from star.sampling.backends import vllm_build

    sizes = ["0.2M"] if arguments.quick else list(SIZES)
    batches = [64] if arguments.quick else [8, 64, 256]
    new_tokens = 16 if arguments.quick else 96
    build = vllm_build()
    with_vllm = build is not None and (build.kind == "gpu") == (arguments.device == "cuda")
    listed = []
    for size in sizes:
        for shared in (SHARED,) if arguments.quick else (0, SHARED):
            # Behind a shared prefix the largest batch says it all; it is what a recipe's default comes closest to.
            chosen = batches[-1:] if shared else batches
            # Small batches and long prompts are slow: fewer prompts give the same rate.
            most = 64 if arguments.quick else 256 if shared else 1000
            ways: list[tuple[Way, int, int]] = [
                (way, batch, min(most, 8 * batch)) for batch in chosen for way in ("transformers", "generate")
            ]
            if with_vllm:
                # vLLM batches by itself. It continues 256 sequences at a time by default, our sampler more.
                amounts = [64] if arguments.quick else [256, 1000] if shared else [1000]
                # Starting vLLM takes most of the quick mode's time, so there it is started once.
                engines: list[Way] = ["vllm"] if arguments.quick else ["vllm", *BARE["vllm"]]
                ways += [(way, 0, prompts) for prompts in amounts for way in engines]
            for way, batch, prompts in ways:
                listed.append((size, Case(way, str(folder / size), batch, shared, prompts, new_tokens, arguments.device)))
    return listed


def run_case(case: Case) -> dict[str, Any]:
    """The case in a process of its own; {"error": text} when it fails."""
    try:
        return in_new_process(__file__, "--case", json.dumps(case.__dict__), "--device", case.device)
    except InputError as error:
        return {"error": str(error)}


def ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our samplers' tokens per second over those of the bare calls beneath them, where both were measured."""
    known = ("size", "batch", "shared", "prompts")
    rates = {(row["way"], *(row[name] for name in known)): row.get("tokens_per_second") for row in rows}
    compared = []
    for (way, *case), rate in rates.items():
        for bare in BARE.get(way, ()):
            if rate and (other := rates.get((bare, *case))):
                settings = dict(zip(known, case, strict=True))
                compared.append({"way": way, "over": bare, **settings, "ratio": rate / other})
    return compared


def main() -> None:
    arguments = parse(Arguments, __doc__, gpu=True)
    if arguments.case is not None:
        print(json.dumps(measure(Case(**json.loads(arguments.case)))))
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in ["0.2M"] if arguments.quick else SIZES:
            build_model(Path(folder) / size, SIZES[size])
        for size, case in bar("sampling", unit="case", over=cases(arguments, Path(folder))):
            settings = {k: v for k, v in case.__dict__.items() if k not in ("model", "device")}
            row = {"size": size, **settings, **run_case(case)}
            print(f"{size} {case.way} batch {case.batch} shared {case.shared}: {row.get('tokens_per_second')}")
            rows.append(row)
    failed = [row for row in rows if "error" in row]
    figures = {"rows": rows, "ratio_to_bare_call": ratios(rows)}
    print(write_result("sampling", figures, quick=arguments.quick, seeds=[0], device=arguments.device))
    if failed:
        first = f"{failed[0]['way']}: {failed[0]['error']}"
        raise InputError(f"{len(failed)} of {counted(len(rows), 'case')} failed; the first: {first}")


if __name__ == "__main__":
    sys.exit(run_command(main))
