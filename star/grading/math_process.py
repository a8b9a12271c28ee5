"""math-verify at arm's length: one child process, started when first needed, killed when a pair takes too long, started again.

sympy has no time limit of its own that works off the main thread, and "9^{9^{9^9}}" takes for ever; a process can be killed.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import re
import subprocess
import sys
import threading
from functools import lru_cache
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

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

_POWER = re.compile(r"(?=\^[\s{(]{0,9}(\d{1,9})(?:\s?\^[\s{(]{0,9}(\d{1,9}))?)")
"""An exponent, and its own."""


class MathWorker:
    """The child process. `compare` may be called from any thread; one pair is compared at a time."""

    def __init__(self, time_limit: float = TIME_LIMIT) -> None:
        self.time_limit = time_limit
        self.process: subprocess.Popen[bytes] | None = None
        self._connection: Any = None
        self._owner = 0
        self._lock = threading.Lock()

    def compare(self, gold: str, answer: str) -> Verdict:
        """correct, incorrect, or ungradable: unreadable, or not decided within the time limit."""
        with self._lock:
            self._running()
            try:
                with contextlib.suppress(OSError):  # a child that has just died: the answer is missing then
                    self._connection.send((gold, answer))
                reply = self._reply(self.time_limit)
            except BaseException:  # Ctrl-C: the answer that is still to come is not that of the next pair
                self.close()
                raise
        return Verdict.ungradable if reply is None else Verdict(reply)

    def close(self) -> None:
        """End the child. Safe to call twice; the next comparison starts another."""
        process, self.process = self.process, None
        if process is not None:
            if self._owner == os.getpid():
                process.kill()
                process.wait()
            self._connection.close()

    def _running(self) -> None:
        """See that the child is there."""
        if self.process is not None and self._owner == os.getpid() and self.process.poll() is None:
            return
        self.close()
        self._owner = os.getpid()
        self._connection, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(_WORKER), str(theirs.fileno())],  # -P: star/ must not come first on the import path
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        if self._reply(START_LIMIT) != "ready":
            raise RuntimeError(
                "the process that compares mathematical answers did not start; try `python -c 'import math_verify'`"
            )

    def _reply(self, limit: float) -> str | None:
        """What the child says next; None when it died, or was killed at the limit."""
        with contextlib.suppress(EOFError, OSError):
            if self._connection.poll(limit):
                return str(self._connection.recv())
        self.close()
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
    if _is_tower(reference) or _is_tower(answer):
        return Verdict.ungradable  # the child would be killed, after seconds, and started again
    return _worker.compare(reference, answer)


def _is_tower(text: str) -> bool:
    """Whether an exponent is beyond a million: 9^{9^9}."""
    text = text.replace("**", "^")
    return any(int(power[2] or 1) * math.log10(int(power[1]) or 1) > 6 for power in _POWER.finditer(text))
