"""What a run was: its recipe, commit, command, hardware and cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st
import yaml

from analysis.pages.widgets import parts, text
from analysis.sources import started
from star.errors import counted
from star.run import Overview


def show(run: Overview) -> None:
    """What was run, from which commit, on what, and what it cost."""
    manifest = run.manifest
    left, right = parts.two("recipe")
    with left:
        st.subheader("What it was", anchor=False)
        recorded, argv, commit = manifest.get("model"), manifest.get("argv"), str(manifest.get("commit") or "")[:12]
        model = recorded if isinstance(recorded, dict) else {"path": (run.recipe.get("model") or {}).get("path")}
        size = model.get("parameters")
        seconds = run.result.get("seconds_total") if run.result else None
        flops = sum(float(v) for line in run.rounds for v in (line.get("flops") or {}).values() if v is not None)
        text.facts(
            [
                ("started", started(manifest)),
                ("base model", f"{model.get('path')}, {size:,} parameters" if isinstance(size, int) else model.get("path")),
                ("commit", commit + (", with changes that are not committed" if commit and manifest.get("dirty") else "")),
                ("command", " ".join(["python -m star.train", *map(str, argv)]) if isinstance(argv, list) else None),
                ("hardware", _hardware(manifest.get("hardware") or {})),
                ("versions", _flat(manifest.get("versions"))),
                ("time", f"{seconds / 60:.1f} minutes" if isinstance(seconds, int | float) else None),
                ("computation", f"{flops:.2e} floating-point operations" if flops else None),
            ]
        )
    with right:
        st.subheader("Recipe", anchor=False)
        if run.recipe:
            content = yaml.safe_dump(dict(run.recipe), sort_keys=False, allow_unicode=True)
            with st.expander("All settings", icon=":material/tune:"):
                st.code(text.clean(content), language=None, height=420)
        else:
            st.caption("The recipe of this run is missing.")


def _hardware(recorded: Mapping[str, Any]) -> str:
    """ "AMD EPYC, 2 cores, 23.5 GiB of memory, no GPU", of what is recorded."""
    cores, memory, gpus = (recorded.get(name) for name in ("cores", "memory_gib", "gpus"))
    entries = [
        recorded.get("processor"),
        counted(cores, "core") if isinstance(cores, int) else None,
        f"{memory:g} GiB of memory" if isinstance(memory, int | float) else None,
        (", ".join(map(str, gpus)) or "no GPU") if isinstance(gpus, list) else None,
    ]
    return ", ".join(str(entry) for entry in entries if entry)


def _flat(content: Any) -> str:
    if not isinstance(content, dict):
        return ""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in content.items() if value is not None)
