"""Progress of what takes long: a bar on a terminal, one line for each stage in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from star.errors import counted


def bar(label: str | None, total: int | None = None, unit: str = "row", *, over: Iterable[Any] | None = None, **more: Any) -> Any:
    """tqdm's bar where standard error is a terminal, else a `Stage`; both are context managers with `update`.

    `label`: None shows nothing. `over`: what iterating goes through. `more` goes to tqdm.
    """
    from tqdm import tqdm

    if label is None or sys.stderr.isatty():
        shown = {"desc": label, "total": total, "unit": unit, "disable": label is None, "leave": False, **more}
        return tqdm(over, **shown)
    return Stage(label, unit, over)


class Stage:
    """A bar's stand-in for a log file: silent until the end, then one line on standard error.

    "round 1: generated (train): 400 prompts in 12.3 s"
    """

    def __init__(self, label: str, unit: str, over: Iterable[Any] | None = None) -> None:
        self.label, self.unit, self.over = label, unit, over
        self.n: float = 0
        self.shown = ""
        self.started: float | None = time.monotonic()

    def update(self, n: float = 1) -> None:
        """`n` more are done."""
        self.n += n

    def set_postfix(self, refresh: bool = True, **values: object) -> None:
        """Figures that the line ends with."""
        self.shown = "".join(f", {name} {value}" for name, value in values.items())

    def close(self) -> None:
        """Print the line, once."""
        if self.started is not None:
            seconds, self.started = time.monotonic() - self.started, None
            done = counted(round(self.n), self.unit)
            print(f"{self.label}: {done} in {seconds:.1f} s{self.shown}", file=sys.stderr, flush=True)

    def __iter__(self) -> Iterator[Any]:
        with self:
            for one in self.over or ():
                yield one
                self.update()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
