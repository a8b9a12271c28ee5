"""Which scorer a specification on the command line names."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from analysis.rationales.formats import Columns
from analysis.soundness.scorer import Item, Scorer, Usage
from star.errors import UsageError

SCORERS = {
    "file": ("analysis.soundness.recorded:RecordedScores", "scores.jsonl"),
    "judge": ("analysis.soundness.judge:Judge", "openai:MODEL"),
    "likelihood": ("analysis.soundness.likelihood:Likelihood", "MODEL"),
    "prm": ("analysis.soundness.prm:ProcessRewardModel", "HUB_ID_OR_DIR"),
    "rollout": ("analysis.soundness.rollout:Rollouts", "[RUN]"),
    "verifier": ("analysis.soundness.likelihood:RunVerifier", "RUN"),
}
"""Kind -> (module and class, what follows the colon: "" for nothing, in brackets what may be left out). The class is called with
that rest, the options and the place."""
MEMORY = "scorers.sqlite"
Specifications = tyro.conf.UseAppendAction[Annotated[tuple[tuple[str, ...], ...], tyro.conf.arg(metavar="SPEC ...")]]
"""Of `--scorer`: several behind it, or it several times."""


@dataclass(frozen=True)
class ScorerOptions:
    """What scorers are told beside their specification: the flags of `analysis.score` and `analysis.calibrate`."""

    prm_format: str | None = None
    """How a process reward model reads a rationale, where its name and its config.json do not tell."""
    engine: Literal["auto", "transformers", "vllm"] = "auto"
    """What runs the models of prm, rollout and likelihood."""
    base_url: str | None = None
    """Address of an OpenAI-compatible server, such as http://localhost:8000/v1. The key is read from OPENAI_API_KEY."""
    votes: int = 1
    """How often a judge is asked about each rationale."""
    max_tokens: int = 16_384
    """At most this many tokens in a judge's reply."""
    concurrency: int = 8
    """Calls to a server at the same time."""
    max_cost: float | None = None
    """Stop asking a paid judge once this command has spent this much; what is under way is still paid. Needs --prices."""
    prices: tuple[float, float] | None = None
    """Price of a million prompt tokens and of a million generated ones."""
    rollouts: int = 8
    """Continuations, for rollout: half as many from each step, twice as many from the question and around the largest drop."""
    show_gold: bool = False
    """Show a judge the gold answer; that it was shown is part of the fingerprint."""


@dataclass(frozen=True)
class Place:
    """What scorers may need of the call that opens them."""

    input: Path | None = None
    """The run directory or file whose rationales are scored."""
    output: Path | None = None
    """Where the scores go."""
    columns: Columns | None = None
    """What the columns of the input are called."""
    dry_run: bool = False
    """Nothing may be fetched."""

    @property
    def memory(self) -> Path | None:
        """The file that keeps what models said, for every command about one input: RUN/analysis/ or the folder of a file; that of
        the output where there is no input or its folder cannot be written; None: there is no place for one."""
        if self.input is not None:
            folder = self.input / "analysis" if self.input.is_dir() else self.input.parent
            if os.access(folder if folder.exists() else folder.parent, os.W_OK):
                return folder / MEMORY
        return None if self.output is None else self.output.parent / MEMORY


class NotHereError(Exception):
    """In a dry run: (a model that would be fetched or converted first, what it takes of an item)."""


class Unfetched(Scorer[Usage]):
    """Stands for a scorer in a dry run whose model is not here."""

    def __init__(self, specification: str, model: str, roughly: Callable[[Item], Usage]) -> None:
        self.name, self.to_fetch, self.roughly = specification, model, roughly

    def prepared(self, item: Item) -> Usage:
        return self.roughly(item)

    def takes(self, row: Usage) -> Usage:
        return row


@contextmanager
def open_scorers(
    specifications: Sequence[str], options: ScorerOptions = ScorerOptions(), place: Place = Place()
) -> Iterator[list[Scorer[Any]]]:
    """Scorers of specifications such as "file:scores.jsonl", closed at the end. Raises UsageError for one that is none, or two
    of one name."""
    with ExitStack() as stack:
        opened: list[Scorer[Any]] = []
        for specification in specifications:
            kind, _, rest = specification.partition(":")
            target, wanted = SCORERS.get(kind, ("", ""))
            if not target or (bool(rest) != bool(wanted) and not wanted.startswith("[")):
                known = ", ".join(f"{name}:{example}" if example else name for name, (_, example) in SCORERS.items())
                raise UsageError(f"--scorer {specification}: expected one of the form {known}.")
            module, _, name = target.partition(":")
            try:
                opened.append(getattr(importlib.import_module(module), name)(rest, options, place))
            except NotHereError as missing:
                opened.append(Unfetched(specification, *missing.args))
            stack.callback(opened[-1].close)
        names = [scorer.name for scorer in opened]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UsageError(f"two scorers are called {twice!r}: score with one after the other.")
        yield opened
