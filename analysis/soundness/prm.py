"""Process reward models: `prm:HUB_ID_OR_DIR[@revision]` gives P(step right) per step, from a model trained to tell.

Nothing that comes with a model is run; Qwen2.5-Math-PRM has a class of its own here. What is loaded has to prove itself: the
separator is one token, the head has two classes, no weight is missing or left over, and a fixed rationale has the same scores alone
and in a batch. p_unsound is 1 - prod P(step right).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.soundness.hazard import error_at
from analysis.soundness.local_model import each_scored, named_model
from analysis.soundness.prm_formats import QWEN, VERSION, Encoded, Reader, format_of
from analysis.soundness.scorer import Estimate, Item, StepScores, Usage
from analysis.soundness.scorers import Place, ScorerOptions
from star.errors import InputError
from star.sampling import model_files

PROBE = ("What is 2 + 3 * 4?", ("3 * 4 = 12", "2 + 12 = 15", "So the answer is 15."))
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.06}
"""Between a rationale alone and in a batch: what rounding may do to a probability."""


class ProcessRewardModel:
    """A `Scorer`. The model is loaded with the first score; raises InputError where it is not what its format needs."""

    def __init__(self, specification: str, options: ScorerOptions, place: Place) -> None:
        from analysis.faithfulness.answers import model_digest

        self.name, self.model_dir = named_model(specification)
        model_files.check_model_dir(self.model_dir)
        config = model_files.read_config(self.model_dir)
        kind, form = format_of(self.name, _architecture(self.model_dir), options.prm_format)
        self.options = options
        self.reader = Reader(form, model_files.load_tokenizer(self.model_dir))
        self.limit = model_files.context_length(self.model_dir, form.max_tokens) or form.max_tokens
        self.vocabulary = int(config["vocab_size"])
        content = f"{model_digest(self.model_dir)} {kind} {VERSION}"
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()[:16]
        self.engine: TransformersEngine | VllmEngine | None = None

    def plan(self, items: Sequence[Item]) -> Estimate:
        """Rationales that fit, and their tokens."""
        rows = [row for row in map(self._encoded, items) if isinstance(row, Encoded)]
        return Estimate(calls=len(rows), prompt_tokens=sum(len(row.ids) for row in rows))

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """One result per item, in order."""
        rows = [self._encoded(item) for item in items]
        fitting = [row for row in rows if isinstance(row, Encoded)]
        if fitting and self.engine is None:
            self.engine = self._open()
        read = iter(each_scored(self.engine.read, fitting) if self.engine and fitting else [])
        return [self._result(row, next(read)) if isinstance(row, Encoded) else row for row in rows]

    def close(self) -> None:
        """Free the model."""
        if self.engine is not None:
            self.engine.close()
        self.engine = None

    def _encoded(self, item: Item) -> Encoded | StepScores:
        if not item.steps:
            return StepScores("unparsed", fingerprint=self.fingerprint, why="no steps")
        options = "".join(f"\n({label}) {text}" for label, text in (item.choices or {}).items())
        try:
            row = self.reader.encode(item.question + options, item.steps)
        except Exception as error:  # somebody's chat template or tokenizer
            return StepScores("error", fingerprint=self.fingerprint, why=f"{type(error).__name__}: {error}"[:200])
        if len(row.ids) > self.limit:
            why = f"{len(row.ids):,} tokens, more than {self.limit:,}"
            return StepScores("too_long", fingerprint=self.fingerprint, why=why)
        if len(row.positions) != len(item.steps) or max(row.ids) >= self.vocabulary:
            return StepScores("error", fingerprint=self.fingerprint, why="its steps or characters do not fit the model's tokenizer")
        return row

    def _result(self, row: Encoded, said: list[float] | StepScores) -> StepScores:
        if isinstance(said, StepScores) or not np.isfinite(said).all():
            why = said.why if isinstance(said, StepScores) else "the model's output is not a number"
            return StepScores("error", fingerprint=self.fingerprint, why=why)
        errors = error_at(1 - np.array(said))
        usage = Usage(prompt_tokens=len(row.ids), calls=1)
        return StepScores("ok", float(errors.sum()), tuple(said), tuple(errors.tolist()), usage, self.fingerprint)

    def _open(self) -> TransformersEngine | VllmEngine:
        """An engine that gives a fixed rationale the same scores alone and beside others. Raises InputError."""
        from analysis.faithfulness.packed import numerics
        from star.recipe import SamplingSettings
        from star.sampling.backends import choose_backend, has_gpu

        wanted = self.options.engine if self.options.engine != "auto" or has_gpu() else "transformers"
        backend, _ = choose_backend(SamplingSettings(backend=wanted), self.model_dir)
        kind = VllmEngine if backend == "vllm" else TransformersEngine
        engine = kind(self.model_dir, self.reader, self.limit)
        question, steps = PROBE
        rows = [self.reader.encode(question, steps[:count]) for count in (3, 1, 2)]
        together, alone = engine.read(rows), [engine.read([row])[0] for row in rows]
        apart = np.abs(np.concatenate(together) - np.concatenate(alone)).max()
        if not apart <= TOLERANCE[numerics()[0]]:
            engine.close()
            raise InputError(f"{self.model_dir}: a rationale's scores differ by {apart:.2g} alone and in a batch: not used.")
        return engine


class TransformersEngine:
    """The reference: forward passes over batches padded on the right; probabilities in float32."""

    def __init__(self, model_dir: Path, reader: Reader, limit: int) -> None:
        import torch

        from analysis.faithfulness.packed import PackedScorer, numerics

        dtype, device = numerics()
        kind = model_class(_architecture(model_dir), bool(reader.looked_at))
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
        """Let the model go."""
        del self.model


def _architecture(model_dir: Path) -> str:
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
        from analysis.faithfulness.packed import numerics
        from star.sampling.vllm_process import WorkerProcess

        dtype, device = numerics()
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
        if _architecture(model_dir) != QWEN:
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
        """End the worker."""
        self.worker.end()
