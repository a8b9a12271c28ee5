"""math-verify at arm's length: one child process, started when first needed, killed when a pair takes too long, started again.

sympy has no time limit of its own that works off the main thread, and "9^{9^{9^9}}" takes for ever; a process can be killed.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path

from star.grading.numbers import unwrap
from star.problem import Verdict

TIME_LIMIT = 5.0
"""Seconds for one pair."""
START_LIMIT = 120.0
"""Seconds for the child to import math-verify."""
_WORKER = Path(__file__).with_name("math_worker.py")
_RELATION = re.compile(r"=|≈|\\(?:approx|to|implies|Rightarrow|rightarrow)(?![a-zA-Z])")
DOUBTFUL = re.compile(
    r"\b(?:or|and|wait|not|no|but|maybe|either|actually|instead)\b|\\text\s*\{\s*(?:or|and)\s*\}", re.IGNORECASE
)


class MathWorker:
    """The child process. `compare` may be called from any thread; one pair is compared at a time."""

    def __init__(self, time_limit: float = TIME_LIMIT) -> None:
        self.time_limit = time_limit
        self.process: subprocess.Popen[str] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def compare(self, gold: str, answer: str) -> Verdict:
        """correct, incorrect, or ungradable: unreadable, or not decided within the time limit."""
        with self._lock:
            process = self._running()
            reply = self._ask(process, json.dumps([gold, answer]), self.time_limit)
        return Verdict.ungradable if reply is None else Verdict(reply)

    def close(self) -> None:
        """End the child. Safe to call twice; the next comparison starts another."""
        process, self.process = self.process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):  # text that the killed child never read is flushed here
                        pipe.close()

    def _running(self) -> subprocess.Popen[str]:
        if self.process is not None and self._owner == os.getpid() and self.process.poll() is None:
            return self.process
        self.close()
        self._owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)],  # -P: star/ must not come first on the child's import path
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        if self._ask(self.process, None, START_LIMIT) != "ready":
            self.close()
            raise RuntimeError(
                "the process that compares mathematical answers did not start; try `python -c 'import math_verify'`"
            )
        return self.process

    def _ask(self, process: subprocess.Popen[str], line: str | None, limit: float) -> str | None:
        """Write a line, read a line; None when the child died or was killed at the limit."""
        assert process.stdin is not None and process.stdout is not None
        watchdog = threading.Timer(limit, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            if line is not None:
                process.stdin.write(line + "\n")
                process.stdin.flush()
            reply = process.stdout.readline()
        except OSError:
            reply = ""
        finally:
            watchdog.cancel()
        if reply.endswith("\n"):
            return str(json.loads(reply))
        process.kill()  # it may have closed its pipes without having ended yet
        process.wait()
        return None


_worker = MathWorker()
atexit.register(_worker.close)


@lru_cache(maxsize=20_000)
def compare(span: str, gold: str) -> Verdict:
    """Equality of two short mathematical answers. A span that is not one answer is ungradable without asking."""
    answer, reference = unwrap(span, brackets=False), unwrap(gold, brackets=False)
    if DOUBTFUL.search(answer) and not DOUBTFUL.search(reference):
        return Verdict.ungradable
    if "\\boxed" in answer + reference or bool(_RELATION.search(answer)) != bool(_RELATION.search(reference)):
        return Verdict.ungradable  # several boxes, or "41=42" and "41 \approx 42", which math-verify accepts for 42
    encodable = all(text.isprintable() or "\n" in text for text in (answer, reference))
    if not encodable:
        return Verdict.ungradable
    return _worker.compare(reference, answer)
