"""One fine-tuning with TRL, in one process or in each process of a launch: on rows (SFTTrainer), or on pairs (see dpo.py)."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from star.errors import counted
from star.progress import bar
from star.recipe import TrainingSettings
from star.sampling.gguf import origin_of
from star.sampling.model_files import without_file_bars
from star.schemas import Training
from star.training.dpo import pair_facts, preference_trainer
from star.training.plan import FinetuningError, Job
from star.training.saving import publish, save_model
from star.training.trackers import guard_tracker

MOST_LOGITS = 2**26
"""Logits of a micro batch, 256 MB, up to which the model's own loss is taken. TRL's computes them in tiles and twice, which saves
memory where a vocabulary is large, and costs the embedded model a third more CPU time a step (196 against 144 ms)."""


def weights_dtype(method: str, dtype: str, *, cuda: bool) -> str:
    """Type of the trained model's weights. Always float32 when all of them are trained.

    A step of 1e-6 is below half a unit in the last place of nearly every bfloat16 weight: it would be rounded away. On a
    GPU the computation is bfloat16 all the same (autocast). Under LoRA only the adapters are trained, and peft keeps
    those in float32.
    """
    if method == "full":
        return "float32"
    return dtype if dtype != "auto" else ("bfloat16" if cuda else "float32")


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the process keep large blocks that it frees, where glibc allocates.

    By default the system takes each one and clears its pages again before the next use: a tenth of a CPU step at 135M parameters.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(library, "mallopt"):
        yield
        return
    assert library is not None
    trim_threshold, most_mapped = -1, -4  # glibc's names and defaults: M_TRIM_THRESHOLD 128 KiB, M_MMAP_MAX 65,536
    library.mallopt(trim_threshold, -1)
    library.mallopt(most_mapped, 0)
    try:
        yield
    finally:
        library.mallopt(trim_threshold, 128 * 1024)
        library.mallopt(most_mapped, 65_536)
        library.malloc_trim(0)


def _load(job: Job, settings: TrainingSettings) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    wanted = weights_dtype(settings.method, job.dtype, cuda=torch.cuda.is_available())
    model = AutoModelForCausalLM.from_pretrained(
        job.base, dtype=getattr(torch, wanted), trust_remote_code=job.trust_remote_code
    )
    tokenizer = AutoTokenizer.from_pretrained(job.base, trust_remote_code=job.trust_remote_code)
    if tokenizer.pad_token_id is None:  # padding is masked out: any token will do
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return model, tokenizer


def shared_arguments(job: Job, settings: TrainingSettings) -> dict[str, Any]:
    """What every trainer is told."""
    import torch

    devices = int(os.environ.get("WORLD_SIZE", "1"))
    if settings.batch_size % devices:
        raise FinetuningError(f"training.batch_size {settings.batch_size} is not a multiple of {devices} processes")
    share = settings.batch_size // devices
    most = min(settings.micro_batch_size or share, share)
    micro = next(size for size in range(most, 0, -1) if share % size == 0)  # else steps would see fewer rows than batch_size
    return {
        "output_dir": str(job.scratch),
        "run_name": job.run_name,
        "max_steps": job.steps,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": share // micro,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "constant_with_warmup" if settings.schedule == "constant" else settings.schedule,
        "warmup_steps": min(settings.warmup_steps, job.steps // 3),
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "max_length": settings.max_length,
        "train_sampling_strategy": "random",  # by length, whole stretches of steps see one length and the others are forgotten
        "bf16": torch.cuda.is_available() and job.dtype in ("auto", "bfloat16"),
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": settings.gradient_checkpointing,
        "seed": job.seed,
        "data_seed": job.seed,
        "logging_steps": max(1, min(50, job.steps // 10)),
        "logging_nan_inf_filter": False,  # it would show a loss of nan as the one before it, or 0
        "save_strategy": "no",
        "report_to": [] if settings.report_to == "none" else [settings.report_to],
        "dataloader_pin_memory": torch.cuda.is_available(),
        "disable_tqdm": None,
    }


def _trainer(job: Job, settings: TrainingSettings, **common: Any) -> Any:
    from transformers import Trainer
    from trl import SFTConfig, SFTTrainer

    class OnLogits(SFTTrainer):
        def compute_loss(self, model: Any, inputs: dict[str, Any], *more: Any, **named: Any) -> Any:
            return Trainer.compute_loss(self, model, {**inputs, "use_cache": False}, *more, **named)

    arguments = shared_arguments(job, settings)
    if job.preference is not None:
        return preference_trainer(job.preference, arguments, **common)
    config = SFTConfig(
        **arguments,
        packing=settings.packing,
        dataset_kwargs={"skip_prepare_dataset": not settings.packing},  # with_data did
        include_num_input_tokens_seen="non_padding",
    )
    logits = arguments["per_device_train_batch_size"] * settings.max_length * common["model"].config.get_text_config().vocab_size
    kind = OnLogits if logits <= MOST_LOGITS and not settings.packing else SFTTrainer
    return kind(args=config, **common)


def train(job: Job) -> Training:
    """Train and save the model to `job.output`. Raises FinetuningError when training diverged."""
    started, settings = time.monotonic(), job.settings
    import datasets

    datasets.disable_progress_bars()
    with without_file_bars():
        model, tokenizer = _load(job, settings)
    use_cache = getattr(model.config, "use_cache", True)
    data, peft_config = job.data, None
    if settings.method == "lora":
        from peft import LoraConfig

        lora = settings.lora
        targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
        peft_config = LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
        )
    trainer = _trainer(job, settings, model=model, processing_class=tokenizer, train_dataset=data, peft_config=peft_config)
    _show_progress(trainer, job.run_name)
    guard_tracker(trainer, settings.report_to, Path(job.output).parent)
    with freed_memory_kept():
        outcome = trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    _assert_finite(trainer, losses, settings)
    facts: Training = {
        "steps": job.steps,
        "rows": job.rows,
        "tokens": next(
            (int(entry["num_tokens"]) for entry in reversed(trainer.state.log_history) if "num_tokens" in entry),
            int(trainer.state.num_input_tokens_seen),
        ),
        "loss": float(losses[-1] if losses else outcome.training_loss),
        "loss_curve": losses,
        "truncated_rows": job.truncated,
        "dropped_rows": job.dropped,
        "num_processes": trainer.accelerator.num_processes,
        "seconds": 0.0,
    }
    facts.update(pair_facts(data, trainer.state.log_history) if job.preference is not None else {})
    trained = trainer.accelerator.unwrap_model(trainer.model)
    trained.config.use_cache = use_cache  # the trainer turns it off; saved so, every later generation would be slow
    with without_file_bars():
        save_model(trainer, tokenizer, Path(job.base), job.scratch, _card(job, settings))
    if trainer.accelerator.is_main_process:
        if trainer.accelerator.num_processes == 1 and job.generates:
            facts["ended"] = count_endings(trained.eval(), job)
        publish(job.scratch, Path(job.output))
    facts["seconds"] = round(time.monotonic() - started, 2)
    return facts


def _assert_finite(trainer: Any, losses: Sequence[float], settings: TrainingSettings) -> None:
    """Raise FinetuningError when training diverged, in every process of a launch alike: each may hold a part of the weights."""
    import torch

    parts = (each.to_local() if hasattr(each, "to_local") else each for each in trainer.model.parameters())
    broken = any(not bool(torch.isfinite(part).all()) for part in parts)
    count = trainer.accelerator.reduce(torch.tensor(float(broken), device=trainer.accelerator.device), "sum")
    if count.item() or not all(map(math.isfinite, losses)):
        raise FinetuningError(
            f"training diverged: {'the weights' if count.item() else 'the loss'} became infinite or not a number. Nothing was "
            f"saved; lower training.learning_rate (now {settings.learning_rate:g})."
        )


def _show_progress(trainer: Any, name: str) -> None:
    """One bar per fine-tuning, like the sampler's, with the running loss, in place of the trainer's own."""
    from transformers import PrinterCallback, ProgressCallback, TrainerCallback

    class Bar(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            label = f"{name}: fine-tuning" if state.is_world_process_zero else None
            self.bar = bar(label, state.max_steps, "step")

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.update(state.global_step - self.bar.n)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                self.bar.set_postfix(loss=f"{float(logs['loss']):.3f}", refresh=False)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.close()

    for own in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(own)
    trainer.add_callback(Bar())


def _card(job: Job, settings: TrainingSettings) -> str:
    pairs = job.preference is not None
    unit = "pair" if pairs else "packed sequence" if settings.packing else "row"
    loss = "" if pairs else f"loss on {settings.loss_on}, "
    origin = origin_of(Path(job.base))
    quantised = f" Its base was converted from {origin['file']} ({origin['quantisation']})." if origin else ""
    return (
        "---\nlibrary_name: transformers\ntags: [star, self-taught-reasoner]\n---\n"
        f"# {job.run_name}\n\nFine-tuned from `{Path(job.base).name}` on {job.rows} {job.trained_on} "
        f"({settings.method}, {counted(job.steps, 'step')} of {counted(settings.batch_size, unit)}, "
        f"learning rate {settings.learning_rate:g}, {loss}seed {job.seed}) in a run of the STaR suite. "
        f"The recipe, the training rows and their provenance are in the run directory this model belongs to.{quantised}\n"
    )


def count_endings(model: Any, job: Job) -> int:
    """How many of the first training prompts get a greedy completion that ends by itself: none means a lost end token."""
    import torch

    if not job.shown:
        return 0
    prompts, limits = [prompt for prompt, _ in job.shown], [2 * len(completion) + 8 for _, completion in job.shown]
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    width = max(map(len, prompts))
    context = getattr(model.config.get_text_config(), "max_position_embeddings", math.inf)
    most = min(max(limits), context - width)
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    with torch.no_grad():
        out = model.generate(ids, attention_mask=mask, max_new_tokens=most, do_sample=False, pad_token_id=ends[0] or 0)
    return sum(any(token in ends for token in row[width : width + limit].tolist()) for row, limit in zip(out, limits, strict=True))
