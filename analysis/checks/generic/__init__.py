"""The checks that need no grammar: they run on any rationale and say nothing where there is nothing to say.

A new check is a function from a `Reading` to flags, under `@generic_check`, in a file of this folder: all of them are found here.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules

from analysis.checks.base import GENERIC, Flag, shorten
from analysis.checks.reading import Reading

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def generic_flags(reading: Reading) -> tuple[Flag, ...]:
    """All findings of the generic checks on a reading, in the order of the steps."""
    if not reading.steps:
        return ()
    flags = [replace(flag, message=shorten(flag.message, 300)) for check in GENERIC.values() for flag in check(reading)]
    return tuple(sorted(flags, key=lambda flag: (flag.step, -flag.severity)))
