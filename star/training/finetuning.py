"""Rows -> a `from_pretrained` directory, through TRL's SFTTrainer. Runs in the loop's process, or under `accelerate launch`:

accelerate launch --config_file seeds/accelerate/fsdp2.yaml -m star.training.finetuning JOB.json
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from star.recipe import SEEDS, RecipeError, TrainingSettings
from star.sampling.model_files import load_model, without_file_bars
from star.training.plan import Encoded, FinetuningError, has_target, prepare
from star.training.saving import publish, save_model
from star.training.trackers import forgiving


@dataclass(frozen=True)
class Job:
    """One fine-tuning: everything a training process needs, so that it can be written to a file and launched."""

    base: str
    """Model directory or Hub id to start from."""
    output: str
    """Directory to write; appears whole or not at all."""
    rows: tuple[Encoded, ...]
    steps: int
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    """A dumped TrainingSettings."""
    dtype: str = "auto"
    trust_remote_code: bool = False
    run_name: str = "star"
    taught: str = "self-generated rationales"
    """What the completions are, for the model card."""


def finetune(job: Job) -> dict[str, Any]:
    """Train and save; returns steps, rows, tokens, loss, truncated_rows, dropped_rows, seconds, num_processes and how many
    of 4 generations ended. Raises FinetuningError when training diverged.

    With `settings.accelerate_config` the job goes to `accelerate launch`, else it runs here.
    """
    settings = TrainingSettings.model_validate(job.settings)
    if settings.accelerate_config is None or os.environ.get("ACCELERATE_MIXED_PRECISION"):
        return _train(job, settings)
    return _launch(job, accelerate_config(settings.accelerate_config))


def accelerate_config(given: str) -> Path:
    """The configuration file, as given or below the project for seeds/... Raises RecipeError when there is none."""
    for candidate in (Path(given).expanduser(), SEEDS.parent / given):
        if candidate.is_file():
            return candidate.resolve()
    raise RecipeError(
        f"training.accelerate_config {given} is not a file; make one with `accelerate config --config_file {given}` or use "
        "one of seeds/accelerate."
    )


def _launch(job: Job, config: Path) -> dict[str, Any]:
    folder = Path(job.output).parent
    folder.mkdir(parents=True, exist_ok=True)
    job_file, result_file = folder / "finetuning_job.json", folder / "finetuning_result.json"
    job_file.write_text(json.dumps(asdict(job)), encoding="utf-8")
    result_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    done = subprocess.run([*command, "-m", "star.training.finetuning", str(job_file), str(os.getpid())], check=False)
    # The result is written last: a process that breaks after that, while its libraries shut down, takes nothing along.
    if not result_file.is_file():
        raise FinetuningError(f"accelerate launch ended with status {done.returncode}; its messages are above.")
    result: dict[str, Any] = json.loads(result_file.read_text(encoding="utf-8"))
    job_file.unlink()
    result_file.unlink()
    if "error" in result:
        raise FinetuningError(result["error"])
    return {**result, "ended": _endings(_trained_model(job), job)}


def _trained_model(job: Job) -> Any:
    """The saved model in this process, on a GPU in half precision where there is one: only a few tokens are asked of it."""
    import torch

    cuda = torch.cuda.is_available()
    dtype = torch.bfloat16 if cuda else torch.float32
    model = load_model(Path(job.output), dtype=dtype, trust_remote_code=job.trust_remote_code)
    return model.to("cuda") if cuda else model


def weights_dtype(method: str, dtype: str, *, cuda: bool) -> str:
    """Type of the trained model's weights. Always float32 when all of them are trained.

    A step of 1e-6 is below half a unit in the last place of nearly every bfloat16 weight: it would be rounded away. On a
    GPU the computation is bfloat16 all the same (autocast). Under LoRA only the adapters are trained, and peft keeps
    those in float32.
    """
    if method == "full":
        return "float32"
    return dtype if dtype != "auto" else ("bfloat16" if cuda else "float32")


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


def _config(job: Job, settings: TrainingSettings, folder: Path) -> Any:
    import torch
    from trl import SFTConfig

    devices = int(os.environ.get("WORLD_SIZE", "1"))
    if settings.batch_size % devices:
        raise FinetuningError(f"training.batch_size {settings.batch_size} is not a multiple of {devices} processes")
    share = settings.batch_size // devices
    micro = min(settings.micro_batch_size or share, share)
    return SFTConfig(
        output_dir=str(folder),
        run_name=job.run_name,
        max_steps=job.steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=share // micro,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=min(settings.warmup_steps, job.steps // 3),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        max_length=settings.max_length,
        completion_only_loss=True,
        packing=settings.packing,
        train_sampling_strategy="random",  # by length, whole stretches of steps see one length and the others are forgotten
        bf16=torch.cuda.is_available() and job.dtype in ("auto", "bfloat16"),
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=settings.gradient_checkpointing,
        seed=job.seed,
        data_seed=job.seed,
        logging_steps=max(1, min(50, job.steps // 10)),
        logging_nan_inf_filter=False,  # it would show a loss of nan as the one before it, or 0
        save_strategy="no",
        report_to=[] if settings.report_to == "none" else [settings.report_to],
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=None,
    )


def _lora(settings: TrainingSettings) -> Any:
    from peft import LoraConfig

    lora = settings.lora
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    return LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )


def _train(job: Job, settings: TrainingSettings) -> dict[str, Any]:
    started = time.monotonic()
    rows, counts = prepare(job.rows, settings)
    import datasets
    from transformers.trainer_callback import PrinterCallback, ProgressCallback
    from trl import SFTTrainer

    datasets.disable_progress_bars()
    with without_file_bars():
        model, tokenizer = _load(job, settings)
    use_cache = getattr(model.config, "use_cache", True)
    scratch = Path(job.output + ".tmp")
    trainer = SFTTrainer(
        model=model,
        args=_config(job, settings, scratch),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=_lora(settings) if settings.method == "lora" else None,
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(_progress(job))
    _tame_tracker(trainer, job, settings.report_to)
    outcome = trainer.train()
    tokens = sum(int(entry["num_tokens"]) for entry in trainer.state.log_history[-2:-1] if "num_tokens" in entry)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    _assert_finite(trainer, losses, settings)
    result = {
        "steps": job.steps,
        "rows": len(rows),
        "tokens": tokens,
        "loss": float(losses[-1] if losses else outcome.training_loss),
        "loss_curve": losses,
        **counts,
        "num_processes": trainer.accelerator.num_processes,
    }
    trained = trainer.accelerator.unwrap_model(trainer.model)
    trained.config.use_cache = use_cache  # the trainer turns it off; saved so, every later generation would be slow
    with without_file_bars():
        save_model(trainer, tokenizer, Path(job.base), scratch, _card(job, settings, len(rows)))
    if trainer.accelerator.is_main_process:
        if trainer.accelerator.num_processes == 1:
            result["ended"] = _endings(trained.eval(), job)
        publish(scratch, Path(job.output))
    return {**result, "seconds": round(time.monotonic() - started, 2)}


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


def _tame_tracker(trainer: Any, job: Job, report_to: str) -> None:
    """A failing tracker is noted and training goes on; TensorBoard's files stay out of the model directory."""
    from transformers.integrations import get_reporting_integration_callbacks

    for kind in get_reporting_integration_callbacks(report_to):
        callback = next(one for one in trainer.callback_handler.callbacks if isinstance(one, kind))
        for event in ("on_train_begin", "on_log", "on_save", "on_train_end"):
            setattr(callback, event, forgiving(report_to)(getattr(callback, event)))
        if report_to == "tensorboard":
            folder = Path(job.output).parent
            callback.logging_dir = str(folder.parent / "tensorboard" / folder.name)


def _progress(job: Job) -> Any:
    """One bar per fine-tuning, like the sampler's, with the running loss."""
    from tqdm import tqdm
    from transformers import TrainerCallback

    class Bar(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar = tqdm(
                total=state.max_steps,
                desc=f"{job.run_name}: fine-tuning",
                unit="step",
                leave=False,
                disable=not state.is_world_process_zero,
            )

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.update(state.global_step - self.bar.n)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                self.bar.set_postfix(loss=f"{float(logs['loss']):.3f}", refresh=False)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.close()

    return Bar()


def _card(job: Job, settings: TrainingSettings, rows: int) -> str:
    unit = "packed sequences" if settings.packing else "rows"
    return (
        "---\nlibrary_name: transformers\ntags: [star, self-taught-reasoner]\n---\n"
        f"# {job.run_name}\n\nFine-tuned from `{Path(job.base).name}` on {rows} {job.taught} "
        f"({settings.method}, {job.steps} steps of {settings.batch_size} {unit}, learning rate {settings.learning_rate:g}, "
        f"loss on {settings.loss_on}, seed {job.seed}) in a run of the STaR suite. The recipe, the training rows and their "
        "provenance are in the run directory this model belongs to.\n"
    )


def _endings(model: Any, job: Job, count: int = 4) -> int:
    """How many of `count` training prompts get a greedy completion that ends by itself: none means a lost end token."""
    import torch

    settings, ended = TrainingSettings.model_validate(job.settings), 0
    for prompt, completion in [row for row in job.rows if has_target(*row, settings)][:count]:
        ids = torch.tensor([prompt], device=model.device)
        with torch.no_grad():
            out = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=2 * len(completion) + 8, do_sample=False
            )
        ended += int(out.shape[1] < ids.shape[1] + 2 * len(completion) + 8)
    return ended


def read_job(path: Path) -> Job:
    """A job as `finetune` writes it for `accelerate launch`."""
    content = json.loads(path.read_text(encoding="utf-8"))
    rows: Sequence[Any] = content.pop("rows")
    return Job(rows=tuple((tuple(prompt), tuple(completion)) for prompt, completion in rows), **content)


def _end_with(pid: int) -> None:
    """End this process when `pid` is gone: kill -9 of a run leaves its launcher alive, and that would train on."""
    import psutil

    try:
        waiting = psutil.Process(pid)
        while waiting.is_running() and waiting.status() != psutil.STATUS_ZOMBIE:
            time.sleep(1)
    except psutil.NoSuchProcess:
        pass
    os._exit(1)


def main() -> None:
    """One process of an `accelerate launch`: JOB.json and the id of the process that waits for it."""
    path = Path(sys.argv[1])
    if len(sys.argv) > 2:
        threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    try:
        result = _train(job := read_job(path), TrainingSettings.model_validate(job.settings))
    except FinetuningError as error:  # the same in every process; the run that waits for them says it
        result = {"error": str(error)}
    if os.environ.get("RANK", "0") == "0":
        written = path.parent / "finetuning_result.json.tmp"
        written.write_text(json.dumps(result), encoding="utf-8")
        written.rename(path.parent / "finetuning_result.json")
    _leave_together()


def _leave_together() -> None:
    """Wait for the main process's files, then end the group: gloo's threads abort a process that just exits, and the
    launcher ends the others with it.
    """
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
