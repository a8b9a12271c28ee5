"""Training rows -> a trained model directory, in this process or under `accelerate launch`, whose processes run this file:

accelerate launch --config_file seeds/accelerate/fsdp2.yaml -m star.training.finetuning JOB.json
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter

from star.files import write_json
from star.parsing import parse_yaml
from star.recipe import SEEDS, RecipeError
from star.sampling.model_files import ready_model
from star.schemas import Training
from star.training.plan import FinetuningError, Job
from star.training.sft import count_endings, train

AS_JSON = TypeAdapter(Job)
"""What `accelerate launch` reads."""


def finetune(job: Job) -> Training:
    """Train and save the model to `job.output`. Raises FinetuningError when training diverged.

    With `settings.accelerate_config` the job goes to `accelerate launch`, else it runs here.
    """
    settings = job.settings
    if settings.accelerate_config is None or os.environ.get("ACCELERATE_MIXED_PRECISION"):
        return train(job)
    return _launch(job, accelerate_config(settings.accelerate_config), settings.launcher)


def accelerate_config(given: str) -> Path:
    """The configuration file, as given or below the project for seeds/... Raises RecipeError when there is none."""
    for candidate in (Path(given).expanduser(), SEEDS.parent / given):
        if candidate.is_file():
            return candidate.resolve()
    raise RecipeError(
        f"training.accelerate_config {given} is not a file; make one with `accelerate config --config_file {given}` or use "
        "one of seeds/accelerate."
    )


def _launch(job: Job, config: Path, launcher: str | None) -> Training:
    folder = Path(job.output).parent
    folder.mkdir(parents=True, exist_ok=True)
    job_file, result_file = folder / "finetuning_job.json", folder / "finetuning_result.json"
    job_file.write_bytes(AS_JSON.dump_json(job))
    result_file.unlink(missing_ok=True)
    done = subprocess.run(command_of(job_file.resolve(), config, launcher), check=False)
    # The result is written last: a process that breaks after that, while its libraries shut down, takes nothing along.
    if not result_file.is_file():
        raise FinetuningError(f"accelerate launch ended with status {done.returncode}; its messages are above.")
    result = json.loads(result_file.read_text(encoding="utf-8"))
    job_file.unlink()
    result_file.unlink()
    if "error" in result:
        raise FinetuningError(result["error"])
    if job.generates:
        result["ended"] = count_endings(ready_model(Path(job.output), trust_remote_code=job.trust_remote_code), job)
    return cast(Training, result)


def command_of(job_file: Path, config: Path, launcher: str | None) -> list[str]:
    """The command that trains. With a launcher each machine reads its rank from MACHINE_RANK or Slurm's SLURM_PROCID, and meets
    the others at the configuration's main_process_ip, or at this machine where it names none.
    """
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    script = ["-m", "star.training.finetuning", str(job_file), str(os.getpid()), socket.gethostname()]
    if launcher is None:
        return [*launch, *script]
    if "main_process_ip" not in parse_yaml(config.read_bytes()):
        launch += ["--main_process_ip", socket.gethostname()]
    ranked = 'exec "$@" --machine_rank "${MACHINE_RANK:-${SLURM_PROCID:?not set, nor MACHINE_RANK}}" ' + shlex.join(script)
    return [*shlex.split(launcher), "sh", "-c", ranked, "sh", *launch]


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
    """One process of an `accelerate launch`: JOB.json, and the id and the machine of the process that waits for it."""
    path = Path(sys.argv[1])
    if sys.argv[3:] == [socket.gethostname()]:  # the launcher of another machine ends what it started there
        threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    try:
        result: Any = train(AS_JSON.validate_json(path.read_bytes()))
    except FinetuningError as error:  # the same in every process; the run that waits for them says it
        result = {"error": str(error)}
    if os.environ.get("RANK", "0") == "0":
        write_json(path.parent / "finetuning_result.json", result)
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
