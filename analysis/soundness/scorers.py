"""Which scorer a specification on the command line names, and the one without a model: scores that are recorded in a file."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro

from analysis.rationales.formats import Columns
from analysis.rationales.records import BrokenLine
from analysis.soundness.scorer import Item, Scorer, StepScores, Usage, safe_name
from star.errors import InputError, UsageError
from star.row_files import Row, parsed_rows, stem

SCORERS = {
    "file": ("analysis.soundness.scorers:RecordedScores", "scores.jsonl"),
    "judge": ("analysis.soundness.judge:Judge", "openai:MODEL"),
    "likelihood": ("analysis.soundness.likelihood:Likelihood", "MODEL"),
    "prm": ("analysis.soundness.prm:ProcessRewardModel", "HUB_ID_OR_DIR"),
    "rollout": ("analysis.soundness.rollout:Rollouts", "[RUN]"),
    "verifier": ("analysis.soundness.likelihood:RunVerifier", "RUN"),
}
"""Kind -> (module and class, what follows the colon: "" for nothing, in brackets what may be left out). The class is called with
that rest, the options and the place."""
MEMORY = "scorers.sqlite"
EXPECTED = '{"id": "...", "step_ok": [0.98, 0.41]}: P(step right) per step, null where there is none'
Specifications = tyro.conf.UseAppendAction[Annotated[tuple[tuple[str, ...], ...], tyro.conf.arg(metavar="SPEC ...")]]
"""Of `--scorer`: several behind it, or it several times."""


@dataclass(frozen=True)
class ScorerOptions:
    """What scorers are told beside their specification: the flags of `analysis.score` and `analysis.calibrate`."""

    prm_format: str | None = None
    """How a process reward model reads a rationale, where its name and its config.json do not tell."""
    engine: Literal["auto", "transformers", "vllm"] = "auto"
    """What runs the models of prm and rollout."""
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


class _Line(NamedTuple):
    number: int
    id: str | None
    step_ok: tuple[float | None, ...] | None


class RecordedScores(Scorer[StepScores]):
    """What another scorer has said; "outside" where the file says nothing of a rationale.

    Joined by id where ids are unique in the file, else by place: then line n of the file is rationale n, with the same id where it
    has one. Raises InputError for a file that cannot be read or has the id of no rationale, values that are no probabilities, step
    counts that differ from the rationale's, ids of rationales that repeat while the file's do not, and by place another number of
    rationales, one that cannot be read, or another id.
    """

    def __init__(self, path: str | Path, options: ScorerOptions | None = None, place: Place | None = None) -> None:
        self.path = path = Path(path)
        self.name = safe_name(stem(path))
        self.lines = parsed_rows(path, _parsed, "step score", EXPECTED)
        ids = [line.id for line in self.lines]
        self.by_id = {line.id: line for line in self.lines} if None not in ids and len(set(ids)) == len(ids) else None
        if place is not None and place.input is not None:
            self._check_belongs(place.input, place.columns)
        self.asked: dict[str, int] = {}
        self.fingerprint = hashlib.sha256(repr(self.lines).encode()).hexdigest()[:16]

    def _check_belongs(self, file: Path, columns: Columns | None) -> None:
        """By id one at least is that of a rationale; by place there are as many lines as rationales."""
        from analysis.rationales.reading import read_records

        broken: list[BrokenLine] = []
        records = read_records(file, broken=broken, columns=columns)
        if self.by_id is not None:
            if not any(record.id in self.by_id for record in records):
                raise InputError(f"{self.path}: none of its {len(self.lines):,} ids is that of a rationale of {file}.")
            return
        count = sum(1 for _ in records)
        if broken or count != len(self.lines):
            unread = f" and {len(broken):,} that cannot be read" if broken else ""
            raise InputError(
                f"{self.path} has {len(self.lines):,} lines for {count:,} rationales{unread}: expected one line for each, in their "
                "order, or an `id` of its own on every line."
            )

    def prepared(self, item: Item) -> StepScores:
        line = self.lines[item.place] if self.by_id is None and item.place < len(self.lines) else None
        if self.by_id is not None:
            line, before = self.by_id.get(item.id), self.asked.setdefault(item.id, item.place)
            if before != item.place and line is not None:
                raise InputError(
                    f"rationales {before + 1} and {item.place + 1} have the same id {item.id!r}, which {self.path} scores once: "
                    "give it a line for every rationale, in their order."
                )
        elif line is None:
            raise InputError(f"{self.path} has {len(self.lines):,} lines, and there are more rationales: expected one line each.")
        elif line.id not in (None, item.id):
            raise InputError(f"{self.path}, line {line.number} scores {line.id!r}, but rationale {item.place + 1} is {item.id!r}.")
        if line is None or line.step_ok is None:
            return StepScores("outside", why=f"{self.path.name} has no score of it")
        if len(line.step_ok) != len(item.steps):
            raise InputError(
                f"{self.path}, line {line.number}: {len(line.step_ok)} step scores for rationale {item.id}, which has "
                f"{len(item.steps)} steps. Score the steps as they are read here (a list in `steps`)."
            )
        return StepScores.of_steps(line.step_ok)


def _parsed(number: int, row: Row) -> _Line:
    said, name = row["step_ok"], row.get("id")
    steps = [] if said is None else said
    if not isinstance(steps, list) or not all(p is None or (type(p) in (int, float) and 0 <= p <= 1) for p in steps):
        raise ValueError("step_ok holds something else than numbers from 0 to 1 and nulls")
    return _Line(number, None if name is None else str(name), None if said is None else tuple(said))
