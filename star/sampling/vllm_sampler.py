"""The vLLM sampler: an engine in a process of its own that lives through the run and swaps weights.

Swapping weights in a running engine can go silently wrong (measured: with tied embeddings on a CPU the output head
kept the old weights). So after every swap the engine continues a probe prompt, and transformers must find the same
tokens and log-probabilities on the same checkpoint, and nearer to them than to those of the checkpoint before (a small
step moves them by less than the two programs differ); else the engine is rebuilt, and if it still differs the run stops.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from star.progress import bar
from star.sampling import model_files
from star.sampling.backends import has_gpu
from star.sampling.base import Completion, Decoding, FinishReason, SamplerError
from star.sampling.swap_proof import PROBE_TOKENS, Reference, shape_of
from star.sampling.text import StopStrings, finished_completions
from star.sampling.transformers_sampler import check_prompts
from star.sampling.vllm_process import WorkerProcess

MAX_SEQUENCES = 1024
"""Sequences that are continued at once on a CPU. Small models spend their time between operations, and vLLM's own 256 makes
four times as many of them."""
MAX_LOGITS = 2**26
"""Logits of one step on a CPU, 256 MB in float32: what large vocabularies are kept to."""
MIN_TEMPERATURE = 0.01
"""vLLM itself raises lower temperatures to this, with a warning each time."""


class VllmSampler:
    """See Sampler. One request carries all samples of a prompt; prefixes that prompts share are computed once."""

    name = "vllm"

    def __init__(
        self,
        model_dir: Path,
        *,
        dtype: str = "auto",
        trust_remote_code: bool = False,
        max_context: int | None = None,
        gpu_memory: float = 0.6,
        gpus: int = 1,
        cpu: bool | None = None,
    ) -> None:
        self.cpu = not has_gpu() if cpu is None else cpu
        self.dtype = ("float32" if self.cpu else "bfloat16") if dtype == "auto" else dtype
        self.trust_remote_code = trust_remote_code
        self.max_context = max_context
        self.gpu_memory, self.gpus = gpu_memory, gpus
        self.model_dir: Path | None = None
        self.worker: WorkerProcess | None = None
        self.asleep = False
        self.reload_works = True
        self.shape = ""
        self.reference: Reference | None = None
        self.rebuilds = 0
        self.load(model_dir)

    def load(self, model_dir: Path) -> None:
        """See Sampler.load. Raises SamplerError when the engine does not compute what transformers computes."""
        model_files.check_model_dir(model_dir)
        shape = shape_of(model_dir)
        self.tokenizer = model_files.load_tokenizer(model_dir, trust_remote_code=self.trust_remote_code)
        self.ends = model_files.end_tokens(model_dir, self.tokenizer)
        self.vocabulary = int(model_files.read_config(model_dir)["vocab_size"])
        reference = Reference(model_dir, self.dtype, self.trust_remote_code, self.vocabulary)
        if self.worker is not None and self.reload_works and shape == self.shape:
            difference = self._reload(model_dir, reference)
            if difference is None:
                self.model_dir, self.reference = model_dir, reference
                return
            # Not tried again for this model: each attempt costs a probe and the rebuild comes anyway.
            self.reload_works = False
            warnings.warn(f"vLLM kept stale weights ({difference}); its engine is rebuilt each round.", stacklevel=2)
        if self.worker is not None:
            self.rebuilds += 1
        self._start(model_dir)
        self.shape = shape
        difference = self._difference(reference)
        if difference is not None:
            self.close()
            raise SamplerError(
                f"vLLM and transformers disagree on {model_dir} even with a fresh engine: {difference}. "
                "Use sampling.backend: transformers for this model."
            )
        self.model_dir, self.reference = model_dir, reference

    def _reload(self, model_dir: Path, reference: Reference) -> str | None:
        """Swap weights in the running engine; what is wrong with the result, or None."""
        assert self.worker is not None
        try:
            self.worker.ask("reload", model_dir=str(model_dir.resolve()))
            self.asleep = False
        except SamplerError as error:
            return str(error).splitlines()[0]
        return self._difference(reference, self.reference)

    def _start(self, model_dir: Path) -> None:
        self.close()
        context = model_files.context_length(model_dir, self.max_context)
        options: dict[str, Any] = {
            "dtype": self.dtype,
            "trust_remote_code": self.trust_remote_code,
            "enable_prefix_caching": True,
            "generation_config": "vllm",  # the sampling settings come from the recipe alone
            "disable_log_stats": True,
            "seed": 0,
        }
        if context is not None:
            options["max_model_len"] = context
        if self.cpu:
            options["enforce_eager"] = True
            options["max_num_seqs"] = min(MAX_SEQUENCES, MAX_LOGITS // self.vocabulary)
        else:
            options.update(gpu_memory_utilization=self.gpu_memory, enable_sleep_mode=True, tensor_parallel_size=self.gpus)
        self.worker = WorkerProcess(cpu=self.cpu)
        started = self.worker.ask("start", model_dir=str(model_dir.resolve()), options=options)
        self.context = int(started["context"])
        self.asleep = False

    def _difference(self, reference: Reference, before: Reference | None = None) -> str | None:
        decoding = Decoding(max_new_tokens=min(PROBE_TOKENS, self.context - len(reference.prompt)))
        # No end tokens: the probe goes on to its last token whatever the model says.
        ids, logprobs, _ = self._ask([reference.prompt], [decoding.max_new_tokens], decoding, [], None)[0][0]
        difference = reference.difference(ids, logprobs)
        return reference.staleness(before, logprobs) if difference is None and before is not None else difference

    def sample(
        self, prompts: Sequence[Sequence[int]], decoding: Decoding, *, progress: str | None = None
    ) -> list[list[Completion]]:
        """See Sampler.sample. Raises SamplerError on a dead worker, an empty prompt or an unknown token id."""
        if self.worker is None or self.asleep:
            raise SamplerError("This sampler was closed or put to sleep; call load(model_dir) before sample.")
        if not prompts:
            return []
        check_prompts(prompts, self.vocabulary)
        if decoding.temperature > 0:
            decoding = replace(decoding, temperature=max(decoding.temperature, MIN_TEMPERATURE))
        budgets = [max(0, min(decoding.max_new_tokens, self.context - len(prompt))) for prompt in prompts]
        fitting = [i for i, budget in enumerate(budgets) if budget > 0]
        raw = self._ask([list(prompts[i]) for i in fitting], [budgets[i] for i in fitting], decoding, self.ends, progress)
        none: tuple[list[int], list[float], FinishReason] = ([], [], "length")
        by_prompt = [[none] * decoding.samples for _ in prompts]
        for i, outputs in zip(fitting, raw, strict=True):
            by_prompt[i] = outputs
        stop = StopStrings(self.tokenizer, decoding.stop)
        done = finished_completions(self.tokenizer, stop, self.ends, [one for outputs in by_prompt for one in outputs])
        return [done[i : i + decoding.samples] for i in range(0, len(done), decoding.samples)]

    def _ask(
        self,
        prompts: list[list[int]],
        budgets: list[int],
        decoding: Decoding,
        ends: Sequence[int],
        progress: str | None,
    ) -> list[list[tuple[list[int], list[float], FinishReason]]]:
        assert self.worker is not None
        outputs: list[Any] = []
        request = {"prompts": prompts, "budgets": budgets, "decoding": asdict(decoding), "ends": list(ends)}
        with bar(progress, len(prompts), "prompt") as shown:
            for reply in self.worker.stream("sample", **request, report=progress is not None):
                shown.update(reply.get("finished", 0))
                outputs += reply.get("outputs", [])
        if len(outputs) != len(prompts):
            raise SamplerError(f"vLLM answered {len(outputs)} of {len(prompts)} prompts; run the same command again.")
        return outputs

    def sleep(self) -> None:
        """Give back accelerator memory until the next `load`; nothing on a CPU."""
        if self.worker is not None and not self.cpu and not self.asleep:
            self.worker.ask("sleep")
            self.asleep = True

    def close(self) -> None:
        """End the worker. Safe to call twice."""
        if self.worker is not None:
            self.worker.end()
        self.worker, self.model_dir = None, None
