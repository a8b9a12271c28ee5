"""What scorers that run a language model on this machine share: where the model is, an engine that is opened again when a row has
ended it, and a memory of what it said."""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from analysis.memory import Memory
from analysis.soundness.scorer import Failure, Item, RowT, Scorer, StepScores, Usage, safe_name, tokens_of
from analysis.soundness.scorers import NotHereError, Place
from star.errors import first_line
from star.sampling.base import SamplerError

if TYPE_CHECKING:
    from star.recipe import ModelSettings

EngineT = TypeVar("EngineT")
ResultT = TypeVar("ResultT")
KEPT = 256
"""Rows whose scores are kept together."""
MOST_DEATHS = 16
"""Of an engine without a success between them, before its scorer gives up. A row that ends it is found by halving, which costs 9 of
KEPT rows."""


def one_pass(item: Item) -> Usage:
    """Over a rationale whose tokens are not counted."""
    return Usage(prompt_tokens=tokens_of("\n".join([item.question, *item.steps])), calls=1)


def find_model(specification: str, place: Place, roughly: Callable[[Item], Usage] = one_pass) -> tuple[str, Path]:
    """(name for files and columns, directory) of HUB_ID_OR_DIR[@revision], fetched where it is not here. Raises RecipeError; in a
    dry run, NotHereError in place of fetching."""
    from star.recipe import ModelSettings

    path, _, revision = (specification, "", "") if Path(specification).exists() else specification.partition("@")
    return safe_name(Path(path).name), resolved(ModelSettings(path=path, revision=revision or None), place, roughly)


def resolved(settings: ModelSettings, place: Place, roughly: Callable[[Item], Usage]) -> Path:
    """The model's directory, as `find_model` finds it."""
    from star.setup import gguf_file, local_model, resolve_model

    if place.dry_run and ((here := local_model(settings)) is None or gguf_file(here)):
        raise NotHereError(settings.path, roughly)
    return resolve_model(settings)


class Engine(Generic[EngineT]):
    """What runs a model: opened when something is asked, and opened again where a row has ended it."""

    def __init__(self, name: str, start: Callable[[], EngineT]) -> None:
        self.name, self.start, self.deaths = name, start, 0
        self.opened: EngineT | None = None

    def ask(
        self, call: Callable[[EngineT, Sequence[RowT]], Sequence[ResultT]], rows: Sequence[RowT]
    ) -> Iterator[Sequence[ResultT | Failure]]:
        """`call(engine, rows)`; where that fails, the results of each half when it is done, and a row that fails alone has a
        Failure. Raises InputError where the model cannot be opened, or fails again and again."""
        if not rows:
            return
        if self.opened is None:
            self.opened = self.start()
        try:
            results = call(self.opened, rows)
        except (RuntimeError, SamplerError) as error:  # out of memory, or a worker that died
            why = first_line(error)
            if isinstance(error, SamplerError):
                self.close()
                self.deaths += 1
            if len(rows) == 1:
                yield [("error", why)]
                return
            if self.deaths > MOST_DEATHS:
                raise SamplerError(
                    f"{self.name} failed {self.deaths} times, at last with: {why} What it has scored is kept: when the cause is "
                    "mended, the same command goes on."
                ) from error
        else:
            self.deaths = 0
            yield results
            return
        half = len(rows) // 2
        yield from self.ask(call, rows[:half])
        yield from self.ask(call, rows[half:])

    def close(self) -> None:
        """Free the model. Safe to call twice."""
        getattr(self.opened, "close", lambda: None)()
        self.opened = None


class LocalScorer(Scorer[RowT]):
    """A scorer with a model on this machine. What it said of a row is kept in the memory of its place, so that a command that was
    stopped goes on.

    `facts`: what decides a score beside the weights. Raises InputError for a directory that is no model.
    """

    def __init__(self, name: str, model_dir: Path, facts: str, place: Place) -> None:
        from star.provenance import model_fingerprint
        from star.sampling.model_files import check_model_dir

        check_model_dir(model_dir)
        self.name, self.model_dir = name, model_dir
        self.fingerprint = hashlib.sha256(f"{model_fingerprint(model_dir)} {facts}".encode()).hexdigest()[:16]
        self.memory = Memory(place.memory)
        self.engine: Engine[Any] = Engine(name, self.start)

    @abstractmethod
    def start(self) -> Any:
        """The engine. Raises InputError where it cannot be had."""

    @abstractmethod
    def ask(self, engine: Any, rows: Sequence[RowT]) -> list[StepScores]:
        """What the engine makes of rows; RuntimeError or SamplerError where one of them is too much for it."""

    def run(self, rows: Sequence[RowT]) -> list[StepScores]:
        """One result per row; only what is not remembered is asked."""
        keys, known = self._known(rows)
        missing = [(key, row) for key, row in dict(zip(keys, rows, strict=True)).items() if key not in known]
        for begin in range(0, len(missing), KEPT):
            part = missing[begin : begin + KEPT]
            left = iter(part)
            for said in self.engine.ask(self.ask, [row for _, row in part]):
                found = {key: _checked(each) for each, (key, _) in zip(said, left, strict=False)}
                self.memory.keep({key: asdict(each) for key, each in found.items() if each.status != "error"})
                known |= found
        return [known[key] for key in keys]

    def missing(self, rows: Sequence[RowT]) -> list[RowT]:
        keys, known = self._known(rows)
        return [row for key, row in dict(zip(keys, rows, strict=True)).items() if key not in known]

    def _known(self, rows: Sequence[RowT]) -> tuple[list[bytes], dict[bytes, StepScores]]:
        """(key of each row, what is remembered)."""
        from pydantic import TypeAdapter

        kept = TypeAdapter(StepScores)
        keys = [hashlib.sha256(f"{self.fingerprint} {row!r}".encode("utf-8", "replace")).digest() for row in rows]
        return keys, {key: kept.validate_python(content) for key, content in self.memory.read(keys).items()}

    def close(self) -> None:
        self.engine.close()
        self.memory.close()


def _checked(said: StepScores | Failure) -> StepScores:
    """A failure, or a score that is no number, as a status."""
    if not isinstance(said, StepScores):
        return StepScores(said[0], why=said[1])
    numbers = chain([said.p_unsound], *said.features.values())
    if all(number is None or math.isfinite(number) for number in numbers):
        return said
    return StepScores("error", why="the model's output is not a number")
