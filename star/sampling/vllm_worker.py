"""The process that holds a vLLM engine: `python -m star.sampling.vllm_worker FD`, started by VllmSampler alone.

Requests come in and replies go out through the `multiprocessing.Connection` on the inherited file descriptor FD, whose other
end only the parent holds. Whatever vLLM prints goes to the log that the parent reads. The process ends when the connection
closes or its parent is gone, so that no engine outlives a killed run.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

CHUNK = 512
"""Completed prompts per reply."""


def main() -> None:
    """Serve requests one after the other until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to the parent, which then closes us
    parent: Connection[Any, Any] = Connection(int(sys.argv[1]))
    requests: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(parent, requests), daemon=True).start()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    engine = Engine(parent.send)
    while True:
        request = requests.get()
        try:
            parent.send({"result": getattr(engine, request.pop("do"))(**request)})
        except Exception as error:  # the boundary of the process: everything becomes a reply
            traceback.print_exc()
            parent.send({"error": f"{type(error).__name__}: {error}"})


def _listen(parent: Connection[Any, Any], requests: queue.Queue[Any]) -> None:
    """In a thread of its own, so that a closed connection ends a call that is still at work."""
    try:
        while True:
            requests.put(parent.recv())
    except (EOFError, OSError):
        os._exit(0)


def _end_with_parent(parent: int) -> None:
    """The connection stays open when a fork of a killed parent still holds it; the change of parent tells the truth."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


class Engine:
    """One vLLM engine; each public method is a request."""

    def __init__(self, reply: Callable[[Any], None]) -> None:
        self.reply = reply
        self.llm: Any = None

    def start(self, model_dir: str, options: dict[str, Any]) -> dict[str, Any]:
        """Build the engine. Returns vLLM's version and the context length in use."""
        import vllm

        self.llm = vllm.LLM(model=model_dir, tokenizer=model_dir, **options)
        return {"version": vllm.__version__, "context": int(self.llm.llm_engine.model_config.max_model_len)}

    def reload(self, model_dir: str) -> None:
        """Put other weights of the same model in place. Whether that worked is for the parent to prove."""
        if self.llm.llm_engine.is_sleeping():
            self.llm.wake_up()
        # Without a path vLLM would restore the first weights.
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": model_dir})
        self.llm.apply_model(_repack_embeddings)
        self.llm.reset_prefix_cache()

    def sleep(self) -> None:
        """Give the accelerator's memory back; the weights are loaded again by `reload`."""
        self.llm.sleep(level=2)

    def sample(
        self, prompts: list[list[int]], budgets: list[int], decoding: dict[str, Any], ends: list[int], report: bool
    ) -> None:
        """Reply with chunks of outputs in order: for each prompt its (token ids, log-probabilities, reason) triples."""
        import torch
        from vllm import SamplingParams

        # One seed for the call: a seed per request costs a random generator per request and step.
        torch.manual_seed(decoding["seed"] % 2**63)
        self.llm.reset_prefix_cache()
        by_budget = {
            budget: SamplingParams(
                n=decoding["samples"],
                temperature=decoding["temperature"],
                top_p=decoding["top_p"] if decoding["temperature"] > 0 else 1.0,
                top_k=decoding["top_k"] or 0,
                max_tokens=budget,
                stop=list(decoding["stop"]) or None,
                stop_token_ids=ends or None,
                ignore_eos=not ends,
                logprobs=0,
                flat_logprobs=True,
                detokenize=bool(decoding["stop"]),
            )
            for budget in set(budgets)
        }
        outputs = self.llm.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            [by_budget[budget] for budget in budgets],
            use_tqdm=self._progress if report else False,
        )
        for at in range(0, len(outputs), CHUNK):
            chunk = [[_plain(one) for one in output.outputs] for output in outputs[at : at + CHUNK]]
            self.reply({"outputs": chunk})

    def _progress(self, iterable: Any = None, **settings: Any) -> Any:
        """A progress bar that draws nothing and tells the parent how many prompts are done."""
        from tqdm import tqdm

        if iterable is not None:  # preparing the prompts: not worth a bar
            return iterable
        reply = self.reply

        class Reporter(tqdm):
            def update(self, n: float | None = 1) -> bool | None:
                reply({"finished": n})
                return super().update(n)

        return Reporter(**{**settings, "file": Path(os.devnull).open("w")})


def _repack_embeddings(model: Any) -> None:
    """On a CPU the output head multiplies with a packed copy of its weights, and with tied embeddings vLLM 0.32's
    reload does not pack it again: the head keeps the old weights. Packing again is what loading does last."""
    from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        for module in model.modules():
            if isinstance(module, VocabParallelEmbedding):
                module.quant_method.process_weights_after_loading(module)


def _plain(output: Any) -> tuple[list[int], list[float], str]:
    ids = list(output.token_ids)
    flat = output.logprobs
    logprobs = [flat.logprobs[start] for start in flat.start_indices[: len(ids)]]
    return ids, logprobs, "stop" if output.finish_reason == "stop" else "length"


if __name__ == "__main__":
    main()
