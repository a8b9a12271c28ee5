"""Language models on this machine: where a model is, an engine that is opened again when a row has ended it, a scorer that
remembers what its model said, and a chat model as judge, through the samplers of the engine."""

from __future__ import annotations

import hashlib
import math
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from analysis.memory import Memory
from analysis.soundness.openai_server import Keep, Reply
from analysis.soundness.scorer import Item, RowT, Scorer, StepScores, Usage, safe_name, tokens_of
from analysis.soundness.scorers import NotHereError, Place, ScorerOptions
from star.errors import InputError, first_line
from star.sampling.base import SamplerError

if TYPE_CHECKING:
    from star.recipe import ModelSettings
    from star.sampling import Sampler

EngineT = TypeVar("EngineT")
ResultT = TypeVar("ResultT")
KEPT = 256
"""Rows whose scores are kept together."""
MOST_DEATHS = 16
"""Of an engine without a success between them, before its scorer gives up. A row that ends it is found by halving, which costs 9 of
KEPT rows."""
PROMPTS = {"vllm": 256, "transformers": 8}
"""Prompts of a judge whose replies are kept together: few where they come slowly."""
ROWS = 32
"""Replies that transformers continues at a time."""
LONGEST_PROMPT, LEAST_REPLY = 8_192, 16
"""In tokens; room for a reply comes on top of the first."""


def one_pass(item: Item) -> Usage:
    """Over a rationale whose tokens are not counted."""
    return Usage(prompt_tokens=tokens_of("\n".join([item.question, *item.steps])), calls=1)


def find_model(
    model: str | ModelSettings, place: Place, roughly: Callable[[Item], Usage] = one_pass
) -> tuple[str, Path]:
    """(name for files and columns, directory) of settings or of HUB_ID_OR_DIR[@revision], fetched where it is not here. Raises
    RecipeError; in a dry run, NotHereError in place of fetching or converting."""
    from star.recipe import ModelSettings
    from star.setup import gguf_file, local_model, resolve_model

    if isinstance(model, str):
        path, _, revision = (model, "", "") if Path(model).exists() else model.partition("@")
        model = ModelSettings(path=path, revision=revision or None)
    if place.dry_run and ((here := local_model(model)) is None or gguf_file(here)):
        raise NotHereError(model.path, roughly)
    return safe_name(Path(model.path).name), resolve_model(model)


class Engine(Generic[EngineT]):
    """What runs a model: opened when something is asked, and opened again where a row has ended it."""

    def __init__(self, name: str, start: Callable[[], EngineT]) -> None:
        self.name, self.start, self.deaths = name, start, 0
        self.opened: EngineT | None = None

    def ask(
        self, call: Callable[[EngineT, Sequence[RowT]], Sequence[ResultT]], rows: Sequence[RowT]
    ) -> Iterator[Sequence[ResultT | StepScores]]:
        """`call(engine, rows)`; where that fails, the results of each half when it is done, and a row that fails alone has the
        status `error`. Raises InputError where the model cannot be opened, or fails again and again."""
        if not rows:
            return
        if self.opened is None:
            self.opened = self.start()
        results: Sequence[ResultT | StepScores] | None = None
        try:
            results = call(self.opened, rows)
            self.deaths = 0
        except (RuntimeError, SamplerError) as error:  # out of memory, or a worker that died
            why = first_line(error)
            if isinstance(error, SamplerError):
                self.close()
                self.deaths += 1
            if len(rows) == 1:
                results = [StepScores("error", why=why)]
            elif self.deaths > MOST_DEATHS:
                raise SamplerError(
                    f"{self.name} failed {self.deaths} times, at last with: {why} What it has scored is kept: when the cause is "
                    "mended, the same command goes on."
                ) from error
        if results is not None:
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
        keys, known, missing = self._remembered(rows)
        for begin in range(0, len(missing), KEPT):
            part = missing[begin : begin + KEPT]
            left = iter(part)
            for said in self.engine.ask(self.ask, [row for _, row in part]):
                found = {key: _checked(each) for each, (key, _) in zip(said, left, strict=False)}
                self.memory.keep({key: asdict(each) for key, each in found.items() if each.status != "error"})
                known |= found
        return [known[key] for key in keys]

    def missing(self, rows: Sequence[RowT]) -> list[RowT]:
        return [row for _, row in self._remembered(rows)[2]]

    def _remembered(self, rows: Sequence[RowT]) -> tuple[list[bytes], dict[bytes, StepScores], list[tuple[bytes, RowT]]]:
        """(key of each row, what is remembered, key and row of what is not)."""
        from pydantic import TypeAdapter

        kept = TypeAdapter(StepScores)
        keys = [hashlib.sha256(f"{self.fingerprint} {row!r}".encode("utf-8", "replace")).digest() for row in rows]
        known = {key: kept.validate_python(content) for key, content in self.memory.read(keys).items()}
        return keys, known, [(key, row) for key, row in dict(zip(keys, rows, strict=True)).items() if key not in known]

    def close(self) -> None:
        self.engine.close()
        self.memory.close()


def _checked(said: StepScores) -> StepScores:
    """A score that is no number, as a status."""
    numbers = chain([said.p_unsound], *said.features.values())
    finite = all(number is None or math.isfinite(number) for number in numbers)
    return said if finite else StepScores("error", why="the model's output is not a number")


class LocalModel:
    """Asks a `Sampler`. `sampling`: temperature and top_p."""

    def __init__(self, model: str, engine: str, options: ScorerOptions, sampling: Mapping[str, Any]) -> None:
        self.name, self.backend, self.sampling, self.max_tokens = model, engine, sampling, options.max_tokens
        self.longest = LONGEST_PROMPT + options.max_tokens
        self.engine: Engine[Sampler] = Engine(model, self._start)

    @cached_property
    def folder(self) -> Path:
        """The model's directory, fetched from the Hub where it is not here."""
        return find_model(self.name, Place())[1]

    @cached_property
    def tokenizer(self) -> Any:
        """Raises InputError where it has no chat template."""
        from star.sampling.model_files import load_tokenizer

        tokenizer = load_tokenizer(self.folder)
        if not tokenizer.chat_template:
            raise InputError(f"{self.name} has no chat template: a judge is told what to do, so name a chat or instruct model.")
        return tokenizer

    @property
    def reserved(self) -> Sequence[str]:
        """Special tokens: as text in a rationale they would end a turn."""
        return [str(token) for token in self.tokenizer.all_special_tokens]

    @cached_property
    def identity(self) -> list[str]:
        """A digest of weights and tokenizer."""
        from star.provenance import model_fingerprint

        return [model_fingerprint(self.folder)]

    def ask(self, missing: Mapping[str, Sequence[int]], keep: Keep) -> dict[str, StepScores]:
        """Ask each prompt for the votes that are missing; returns what failed. Raises InputError where the model cannot run."""
        from star.sampling.model_files import context_length

        room = (context_length(self.folder, self.longest) or self.longest) - LEAST_REPLY
        ids = {prompt: self._ids(prompt) for prompt in missing}
        failed = {
            prompt: StepScores("too_long", why=f"{len(found):,} tokens, more than the judge reads")
            for prompt, found in ids.items()
            if len(found) > min(LONGEST_PROMPT, room)
        }
        asked = sorted((list(votes), len(ids[prompt]), prompt) for prompt, votes in missing.items() if prompt not in failed)
        for votes, group in groupby(asked, key=lambda one: one[0]):
            prompts = [prompt for _, _, prompt in group]
            sample = partial(self._replies, votes)
            for start in range(0, len(prompts), PROMPTS[self.backend]):
                batch = prompts[start : start + PROMPTS[self.backend]]
                said = chain.from_iterable(self.engine.ask(sample, [ids[prompt] for prompt in batch]))
                for prompt, replies in zip(batch, said, strict=True):
                    if isinstance(replies, list):
                        keep(prompt, votes, replies)
                    else:
                        failed[prompt] = replies
        return failed

    def _ids(self, prompt: str) -> list[int]:
        turns = [{"role": "user", "content": prompt}]
        try:
            text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # templates raise errors of Jinja and of their own
            raise InputError(f"the chat template of {self.name} fails: {error}.") from error
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _start(self) -> Sampler:
        from star.recipe import SamplingSettings
        from star.sampling import open_sampler

        settings = SamplingSettings.model_validate({"backend": self.backend, "batch_size": ROWS})
        return open_sampler(settings, self.folder, max_context=self.longest)

    def _replies(self, votes: Sequence[int], sampler: Sampler, prompts: Sequence[Sequence[int]]) -> list[list[Reply]]:
        from star.sampling import Decoding

        # The seed: votes that are added later must not be those of before.
        decoding = Decoding(**self.sampling, samples=len(votes), max_new_tokens=self.max_tokens, seed=votes[0])
        started = time.monotonic()
        sampled = sampler.sample(prompts, decoding)
        seconds = round((time.monotonic() - started) / len(prompts) / len(votes), 4)
        return [
            [
                Reply(
                    choice={"message": {"content": one.text}, "finish_reason": one.finish_reason},
                    usage=asdict(Usage(0 if number else len(ids), len(one.token_ids), int(number == 0), seconds)),
                )
                for number, one in enumerate(completions)
            ]
            for ids, completions in zip(prompts, sampled, strict=True)
        ]

    def close(self) -> None:
        self.engine.close()
