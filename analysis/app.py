"""Starts the app from any folder: `rationale-app`, or `python -m analysis.app`.

    rationale-app                     the runs below runs/
    rationale-app --root elsewhere    other runs
    rationale-app --records FILE      a rationale file from somewhere else
    rationale-app --server.port 8600  flags with a dot in their name are Streamlit's

It listens on this machine alone and reports nothing: the settings are those of .streamlit/config.toml. To serve others, give
--server.address 0.0.0.0 --server.allowedHosts NAME, the name by which they open it.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from star.command_line import run_command

_HERE = Path(__file__).resolve().parent
SETTINGS = next(place / "config.toml" for place in (_HERE / "settings", _HERE.parent / ".streamlit") if place.is_dir())
"""Part of `analysis` once installed (see pyproject.toml), beside it in a checkout."""


def flags(settings: Mapping[str, Any], prefix: str = "--") -> Iterator[str]:
    """{"server": {"headless": True}} as Streamlit's flags: --server.headless=true."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flags(value, f"{prefix}{name}.")
        else:
            values = value if isinstance(value, list) else [value]
            yield from (f"{prefix}{name}={str(each).lower() if isinstance(each, bool) else each}" for each in values)


def command_line(argv: Sequence[str]) -> list[str]:
    """The command line of Streamlit: our settings, the user's on top, and after `--` what the app itself reads."""
    theirs, ours, rest = [], [], list(argv)
    while rest:
        item = rest.pop(0)
        if not (item.startswith("--") and "." in item.partition("=")[0]):
            ours.append(item)
            continue
        theirs.append(item)
        if "=" not in item and rest:
            theirs.append(rest.pop(0))
    settings = flags(tomllib.loads(SETTINGS.read_text(encoding="utf-8")))
    return ["streamlit", "run", str(_HERE / "pages" / "main.py"), *settings, *theirs, "--", *ours]


def main() -> int:
    """The command line. Returns the exit status."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        return run_command(lambda: print(__doc__))
    from streamlit.web.cli import main as streamlit

    from analysis.pages.widgets import context

    sys.argv = command_line(sys.argv[1:])
    if status := context.check(sys.argv[sys.argv.index("--") + 1 :]):
        return status
    streamlit(prog_name="streamlit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
