"""Time limits of tests."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

YARDSTICK = 0.07
"""Seconds that `slowness` counts as 1: two idle cores of the year 2026."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fails where the block takes more processor time of this thread, on a slow machine in proportion.

    Garbage is collected later: a test process holds gigabytes of other tests, and one look at all of them takes seconds.
    """
    gc.disable()
    started = time.thread_time()
    try:
        yield
        took = time.thread_time() - started
    finally:
        gc.enable()
    assert took < seconds or took < seconds * slowness(), f"{took:.2f} s of processor time for {seconds:g}"


def slowness() -> float:
    """How many times slower this machine is now than the one that the limits were written on; never below 1."""
    text = "Ann has 12 * 3 = 36 red books, and Ben 7. " * 2_000

    def work() -> float:
        started = time.thread_time()
        words = [match[0].lower() for match in re.finditer(r"\d+|[A-Za-z]+|[^\s\w]", text)]
        assert len({word: index for index, word in enumerate(words)}) == 14
        return time.thread_time() - started

    return max(1.0, sum(work() for _ in range(5)) / YARDSTICK)
