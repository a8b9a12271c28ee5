"""The parent's side of the vLLM worker: start it, ask it, notice when it dies, end it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from star.command_line import SPINS
from star.sampling.base import SamplerError

ROOT = Path(__file__).resolve().parent.parent.parent


def worker_environment(cpu: bool) -> dict[str, str]:
    """Environment of the worker: engine in one process, no usage statistics, no look-ups on the network."""
    environment = {name: value for name, value in os.environ.items() if (name, value) != SPINS}  # vLLM binds its threads itself
    environment.update(
        VLLM_ENABLE_V1_MULTIPROCESSING="0",
        VLLM_NO_USAGE_STATS="1",
        DO_NOT_TRACK="1",
        HF_HUB_OFFLINE="1",
        TOKENIZERS_PARALLELISM="false",
        VLLM_LOGGING_LEVEL=os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),
        PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    )
    if cpu:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        environment.update(
            OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", str(cores)),
            VLLM_CPU_KVCACHE_SPACE=os.environ.get("VLLM_CPU_KVCACHE_SPACE", "2"),
            # vLLM compiles a comparison and a sum for log-probabilities: seconds, and a C++ compiler, for nothing.
            TORCHDYNAMO_DISABLE="1",
        )
    return environment


class WorkerProcess:
    """One worker. Every failure ends the process and is a SamplerError that carries the end of its log."""

    def __init__(self, *, cpu: bool) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        self.connection, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "star.sampling.vllm_worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=self.log,
                env=worker_environment(cpu),
            )

    def ask(self, do: str, **arguments: Any) -> Any:
        """Send one request and return its result."""
        return next(item for item in self.stream(do, **arguments) if "result" in item)["result"]

    def stream(self, do: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Send one request and yield its replies; the last one has the key "result"."""
        complete = False
        try:
            self.connection.send({"do": do, **arguments})
            while not complete:
                reply: dict[str, Any] = self.connection.recv()
                if "error" in reply:
                    raise SamplerError(self._with_log(f"vLLM failed during `{do}`: {reply['error']}"))
                complete = "result" in reply
                yield reply
        except (EOFError, OSError) as error:
            raise SamplerError(self._with_log(f"The vLLM worker died before or during `{do}`")) from error
        finally:
            # Replies of an interrupted exchange would be taken for those to the next request.
            if not complete:
                self.end()

    def _with_log(self, message: str) -> str:
        status = self._wait(0.5)
        ended = "" if status is None else f" (exit status {status})"
        return f"{message}{ended}. End of its log:\n{self.log_tail()}"

    def _wait(self, seconds: float) -> int | None:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def log_tail(self) -> str:
        """The last fifteen lines of what the worker printed."""
        if self.log.closed:
            return "(closed)"
        # pread: the worker appends through the same file offset, which must not move
        size = os.fstat(self.log.fileno()).st_size
        text = os.pread(self.log.fileno(), 20_000, max(0, size - 20_000)).decode(errors="replace")
        return "\n".join(text.splitlines()[-15:]) or "(empty)"

    def end(self) -> None:
        """Close the connection, which ends the worker; kill it if it does not listen. Safe to call twice."""
        self.connection.close()
        if self._wait(5) is None:
            self.process.kill()
            self.process.wait()
        self.log.close()
