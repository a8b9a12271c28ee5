"""What the model says, remembered: scores and completions, keyed by model, token ids and settings.

The model is only loaded when something is asked that is not in the file, so a second call costs nothing, and a call
that was interrupted goes on where it stopped. Requests go out sorted, so that those with a common prefix come together.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.memory import Memory
from star.progress import bar
from star.sampling.base import Decoding, Sampler
from star.sampling.packed import Scored, Scorer, Tree

if TYPE_CHECKING:
    from star.pool import Actors, Chunk

TREES_PER_COMMIT = 64
PROMPTS_PER_COMMIT = 512


class Model:
    """A scorer and a sampler of one model, each opened on first need: in this process, or in an actor of `--workers`."""

    def __init__(self, open_scorer: Callable[[], Scorer], open_sampler: Callable[[], Sampler]) -> None:
        self._open_scorer, self._open_sampler = open_scorer, open_sampler
        self._scorer: Scorer | None = None
        self._sampler: Sampler | None = None

    def sample(self, part: Chunk) -> list[Any]:
        """What is remembered of each branch of trees, or where a decoding stands beside them of each prompt."""
        questions, decoding = part.content
        if decoding is None:
            self._scorer = self._scorer or self._open_scorer()
            return [[[s.logprob, s.greedy, s.next_token] for s in scored] for scored in self._scorer.score(questions)]
        self._sampler = self._sampler or self._open_sampler()
        return [[[completions[0].text]] for completions in self._sampler.sample(questions, decoding)]

    def map(self, parts: Iterable[Chunk]) -> Iterator[tuple[Chunk, list[Any]]]:
        """See `star.pool.Actors.map`."""
        return ((part, self.sample(part)) for part in parts)

    def close(self) -> None:
        if self._sampler is not None:
            self._sampler.close()
        self._scorer = self._sampler = None


class Answers:
    """What one model says, with a memory; the model is opened on first need."""

    def __init__(
        self,
        model: str,
        path: Path | None,
        open_scorer: Callable[[], Scorer],
        open_sampler: Callable[[], Sampler],
        *,
        numerics: Sequence[str] = (),
        progress: bool = False,
        workers: int = 0,
    ) -> None:
        """`model`: its fingerprint; `path`: the SQLite file, None keeps it in memory; `workers`: Ray actors that are asked.

        `numerics` is what scores depend on beside the weights: dtype and device.
        Raises MemoryFileError for a file that is none.
        """
        self.model, self.numerics, self.progress = model, tuple(numerics), progress
        self._opening, self._workers = (open_scorer, open_sampler), workers
        self._asks: Model | Actors[Chunk] | None = None
        self.asked = 0
        """Scores and completions that the model had to be asked for."""
        self._memory = Memory(path)

    def score(self, trees: Sequence[Tree], label: str) -> list[list[Scored]]:
        """Score every branch; only branches that are not remembered go to the model."""
        keys = [[self._key(["score", *self.numerics, b.scored], one.sequence(b)) for b in one.branches] for one in trees]
        known = self._memory.read(key for row in keys for key in row)
        todo = []
        for one, row in zip(trees, keys, strict=True):
            missing = {key: b for key, b in zip(row, one.branches, strict=True) if key not in known}
            if missing:
                todo.append((list(missing), Tree(one.trunk, tuple(missing.values()))))
        self._ask(known, todo, TREES_PER_COMMIT, label)
        return [[Scored(*known[key]) for key in row] for row in keys]

    def generate(self, prompts: Sequence[Sequence[int]], decoding: Decoding, label: str) -> list[str]:
        """One completion text for each prompt; equal prompts get equal texts."""
        settings: list[Any] = [
            *("generate", decoding.temperature, decoding.top_p, decoding.max_new_tokens, *decoding.stop),
            decoding.seed if decoding.temperature else 0,
        ]
        keys = [self._key(settings, prompt) for prompt in prompts]
        known = self._memory.read(keys)
        missing = {key: tuple(prompt) for key, prompt in zip(keys, prompts, strict=True) if key not in known}
        todo = [([key], prompt) for key, prompt in sorted(missing.items(), key=lambda item: item[1])]
        self._ask(known, todo, PROMPTS_PER_COMMIT, label, decoding)
        return [known[key][0] for key in keys]

    def close(self) -> None:
        if self._asks is not None:
            self._asks.close()
        self._asks = None
        self._memory.close()

    def _ask(
        self, known: dict[bytes, Any], todo: Sequence[tuple[list[bytes], Any]], size: int, label: str, decoding: Any = None
    ) -> None:
        """Ask (keys, question) pairs, `size` at a time, in any order; what comes is remembered, and known, by its keys."""
        if not todo:
            return
        from star.pool import Actors, Chunk

        self.asked += len(todo)
        if self._asks is None:
            self._asks = Actors(Model, self._opening, self._workers) if self._workers else Model(*self._opening)
        parts = {}
        for start in range(0, len(todo), size):
            keys, questions = zip(*todo[start : start + size], strict=True)
            parts[Chunk(f"{label}, question {start + 1:,} and the next", (list(questions), decoding))] = list(keys)
        with bar(label if self.progress else None, len(todo), "question") as shown:
            for part, answers in self._asks.map([*parts]):
                rows = zip(parts[part], answers, strict=True)
                new = {key: one for row, answered in rows for key, one in zip(row, answered, strict=True)}
                self._memory.keep(new)
                known |= new
                shown.update(len(answers))

    def _key(self, settings: Sequence[Any], ids: Sequence[int]) -> bytes:
        head = json.dumps([self.model, *settings]).encode()
        return hashlib.sha256(head + b"\0" + array("q", ids).tobytes()).digest()
