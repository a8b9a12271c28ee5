"""Time limits of tests."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fails where the block takes more processor time of this thread.

    Garbage is collected later: a test process holds gigabytes of other tests, and one look at all of them takes seconds.
    """
    gc.disable()
    started = time.thread_time()
    try:
        yield
        took = time.thread_time() - started
    finally:
        gc.enable()
    assert took < seconds
