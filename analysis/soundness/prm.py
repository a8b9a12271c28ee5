"""Process reward models: `prm:HUB_ID_OR_DIR[@revision]` gives P(step right) per step, from a model trained to tell.

Nothing that comes with a model is run; Qwen2.5-Math-PRM has a class of its own here. What is loaded has to prove itself: the
separator is one token, the head has two classes, no weight is missing or left over, and a fixed rationale has the same scores alone
and in a batch. p_unsound is 1 - prod P(step right).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.rationales.records import with_options
from analysis.soundness.local_model import LocalScorer, find_model
from analysis.soundness.prm_formats import QWEN, VERSION, Encoded, Reader, format_of
from analysis.soundness.scorer import Item, StepScores, Usage
from analysis.soundness.scorers import Place, ScorerOptions
from star.errors import InputError
from star.sampling import model_files

PROBE = ("What is 2 + 3 * 4?", ("3 * 4 = 12", "2 + 12 = 15", "So the answer is 15."))
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.06}
"""Between a rationale alone and in a batch: what rounding may do to a probability."""


class ProcessRewardModel(LocalScorer[Encoded]):
    """The model is loaded with the first score; raises InputError where it is not what its format needs."""

    def __init__(self, specification: str, options: ScorerOptions, place: Place) -> None:
        name, model_dir = find_model(specification, place)
        kind, form = format_of(name, architecture(model_dir), options.prm_format)
        super().__init__(name, model_dir, f"{kind} {VERSION}", place)
        self.wanted = options.engine
        self.reader = Reader(form, model_files.load_tokenizer(model_dir))
        self.limit = model_files.context_length(model_dir, form.max_tokens) or form.max_tokens
        self.vocabulary = int(model_files.read_config(model_dir)["vocab_size"])

    def prepared(self, item: Item) -> Encoded | StepScores:
        row = self.reader.encode(with_options(item.question, item.choices), item.steps)
        if len(row.ids) > self.limit:
            return StepScores("too_long", why=f"{len(row.ids):,} tokens, more than {self.limit:,}")
        if len(row.positions) != len(item.steps) or max(row.ids) >= self.vocabulary:
            return StepScores("error", why="its steps or characters do not fit the model's tokenizer")
        return row

    def takes(self, row: Encoded) -> Usage:
        """One pass over its tokens."""
        return Usage(prompt_tokens=len(row.ids), calls=1)

    def ask(self, engine: TransformersEngine | VllmEngine, rows: Sequence[Encoded]) -> list[StepScores]:
        return [StepScores.of_steps(said, self.takes(row)) for row, said in zip(rows, engine.read(rows), strict=True)]

    def start(self) -> TransformersEngine | VllmEngine:
        """An engine that gives a fixed rationale the same scores alone and beside others. Raises InputError."""
        from star.recipe import SamplingSettings
        from star.sampling.backends import choose_backend, has_gpu

        wanted = self.wanted if self.wanted != "auto" or has_gpu() else "transformers"
        backend, _ = choose_backend(SamplingSettings(backend=wanted), self.model_dir)
        kind = VllmEngine if backend == "vllm" else TransformersEngine
        engine = kind(self.model_dir, self.reader, self.limit)
        question, steps = PROBE
        rows = [self.reader.encode(question, steps[:count]) for count in (3, 1, 2)]
        together, alone = engine.read(rows), [engine.read([row])[0] for row in rows]
        apart = np.abs(np.concatenate(together) - np.concatenate(alone)).max()
        if not apart <= TOLERANCE[model_files.numerics()[0]]:
            engine.close()
            raise InputError(f"{self.model_dir}: a rationale's scores differ by {apart:.2g} alone and in a batch: not used.")
        return engine


class TransformersEngine:
    """The reference: forward passes over batches padded on the right; probabilities in float32."""

    def __init__(self, model_dir: Path, reader: Reader, limit: int) -> None:
        import torch

        from star.sampling.packed import PackedScorer

        dtype, device = model_files.numerics()
        kind = model_class(architecture(model_dir), bool(reader.looked_at))
        model = model_files.load_model(model_dir, dtype=getattr(torch, dtype), model_class=kind, exact=True)
        labels = 2 if reader.looked_at else int(model.config.num_labels)
        if labels != 2:
            raise InputError(f"the head of {model_dir} has {labels} classes; a process reward model has two: wrong and right.")
        self.looked_at, self.model = reader.looked_at, PackedScorer(model.to(device), mode="plain")

    def read(self, rows: Sequence[Encoded]) -> list[list[float]]:
        """P(right) at the positions of each rationale."""
        import torch

        said: list[list[float]] = [[] for _ in rows]
        for batch in self.model.batches([len(row.ids) for row in rows]):
            group = [rows[k] for k in batch]
            logits = self.model.padded_logits([row.ids for row in group], [row.positions for row in group])
            pair = logits[:, self.looked_at] if self.looked_at else logits
            right = torch.softmax(pair, dim=-1)[:, 1].split([len(row.positions) for row in group])
            for k, values in zip(batch, right, strict=True):
                said[k] = values.tolist()
        return said

    def close(self) -> None:
        del self.model


def architecture(model_dir: Path) -> str:
    """What the configuration calls the model."""
    return str((model_files.read_config(model_dir).get("architectures") or [""])[0])


def model_class(architecture: str, words: bool) -> Any:
    """The transformers class that holds the weights of a format."""
    import transformers

    if words:
        return transformers.AutoModelForCausalLM
    return qwen_prm_class() if architecture == QWEN else transformers.AutoModelForTokenClassification


def qwen_prm_class() -> Any:
    """Qwen2.5-Math-PRM: a Qwen2 with two layers in place of the vocabulary's head. Its own code does not run on transformers 5."""
    from torch import nn
    from transformers import Qwen2Model, Qwen2PreTrainedModel
    from transformers.modeling_outputs import TokenClassifierOutput

    class Qwen2ForProcessRewardModel(Qwen2PreTrainedModel):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.model, size = Qwen2Model(config), config.hidden_size
            self.score = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 2))
            self.post_init()

        def forward(self, input_ids: Any, attention_mask: Any = None, use_cache: bool = False) -> Any:
            hidden = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)
            return TokenClassifierOutput(logits=self.score(hidden.last_hidden_state))

    return Qwen2ForProcessRewardModel


class VllmEngine:
    """vLLM's pooling engine in a process of its own; the outputs of all tokens come back and are read at the same positions."""

    def __init__(self, model_dir: Path, reader: Reader, limit: int) -> None:
        from star.sampling.vllm_process import WorkerProcess

        dtype, device = model_files.numerics()
        options: dict[str, Any] = {
            "runner": "pooling",
            "pooler_config": {"task": "token_classify", "tok_pooling_type": "ALL"},
            "dtype": dtype,
            "max_model_len": limit,
            # A chunk or a cached prefix has no outputs of its own, and compiled pooling has had wrong ones (vllm #48831).
            "max_num_batched_tokens": max(limit, 8_192),
            "enable_chunked_prefill": False,
            "enable_prefix_caching": False,
            "enforce_eager": True,
            "disable_log_stats": True,
        }
        if architecture(model_dir) != QWEN:
            options["convert"] = "classify"
        if reader.looked_at:  # two rows of the vocabulary's head become a head of two classes
            words = reader.tokenizer.convert_ids_to_tokens(reader.looked_at)
            options["hf_overrides"] = {"classifier_from_token": words, "method": "no_post_processing"}
        self.worker = WorkerProcess(cpu=device == "cpu")
        self.worker.ask("start", model_dir=str(model_dir.resolve()), options=options)

    def read(self, rows: Sequence[Encoded]) -> list[list[float]]:
        """P(right) at the positions of each rationale. Raises SamplerError when the worker dies."""
        said: list[list[float]] = self.worker.ask("classify", prompts=[list(row) for row in rows])
        return said

    def close(self) -> None:
        self.worker.end()
