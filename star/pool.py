"""Who samples the shards: this process, or Ray actors that live through the run (`sampling.workers`).

`analysis.score --workers` and `analysis.probe --workers` give their work to such actors too.

Actors need this package installed, and the run directory and the base model at the same paths, on every machine.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from star import sampling
from star.attempts import sample_attempts
from star.errors import counted
from star.problem import Attempt
from star.progress import bar
from star.prompting import PromptBuilder
from star.recipe import Recipe
from star.sampling.base import Sampler, SamplerError
from star.setup import Setup
from star.shards import Shard

TRIES = 3
"""Workers that a shard may cost."""


class Pool(Protocol):
    """Samples and grades shards with one model at a time."""

    model_dir: Path | None
    """What is loaded."""

    def load(self, model_dir: Path) -> None:
        """Swap to the weights in `model_dir`, proven as `Sampler.load` does."""

    def map(self, shards: Sequence[Shard]) -> Iterator[tuple[Shard, list[Attempt]]]:
        """Each shard with its attempts, in any order. Raises SamplerError."""

    def sleep(self) -> None:
        """Give back accelerator memory until the next `load`."""

    def close(self) -> None:
        """Free everything. Safe to call twice."""


def open_pool(recipe: Recipe, setup: Setup) -> Pool:
    """A pool with the base model loaded. Raises SamplerError when it cannot be started."""
    kind = OnRay if recipe.sampling.workers else Worker
    return kind(recipe, setup.base_dir, PromptBuilder(setup.task, setup.tokenizer, recipe.prompting))


class Here:
    """The sampler of this process, one shard after the other."""

    def __init__(self, sampler: Sampler, builder: PromptBuilder) -> None:
        self.sampler, self.builder, self.model_dir = sampler, builder, sampler.model_dir

    def load(self, model_dir: Path) -> None:
        self.sampler.load(model_dir)
        self.model_dir = model_dir

    def map(self, shards: Sequence[Shard]) -> Iterator[tuple[Shard, list[Attempt]]]:
        for shard in shards:
            yield shard, sample_attempts(self.sampler, self.builder, shard, progress=shard.label)

    def sleep(self) -> None:
        self.sampler.sleep()

    def close(self) -> None:
        self.sampler.close()


class Worker(Here):
    """The sampler that a recipe asks for, in this process or in an actor."""

    def __init__(self, recipe: Recipe, model_dir: Path, builder: PromptBuilder) -> None:
        dtype, trust = recipe.model.dtype, recipe.model.trust_remote_code
        super().__init__(sampling.open_sampler(recipe.sampling, model_dir, dtype=dtype, trust_remote_code=trust), builder)

    def sample(self, shard: Shard) -> list[Attempt]:
        """One shard."""
        return sample_attempts(self.sampler, self.builder, shard)


@dataclass(frozen=True, eq=False)
class Chunk:
    """A part of what the analysis asks its actors for."""

    label: str
    content: Any
    stage: str | None = None
    advice: str = "Give fewer workers, or none to see its message."


START = Chunk("the start", None, advice="`python -m star.doctor` says what Ray sees.")
Part = TypeVar("Part", Chunk, Shard)
"""What an actor is given at a time: its stage and label are for people, its advice says what to do where it costs too many."""


class Actors(Generic[Part]):
    """Ray actors of one class, which has `sample(part) -> result`; one part each at a time. A dead one is replaced, and its part
    given to another.
    """

    def __init__(self, kind: type, arguments: tuple[Any, ...], workers: int, gpus: int = 1) -> None:
        """`gpus`: of each, where there are any. Raises SamplerError."""
        self.ray, self.arguments, self.count = connect(), arguments, workers
        self.kind = self.ray.remote(kind).options(**actor_options(self.ray, workers, gpus))
        self.failures = (self.ray.exceptions.RayError, SamplerError)
        self.workers = [self._new() for _ in range(workers)]

    def _new(self) -> Any:
        return self.kind.remote(*self.arguments)

    def _replace(self, worker: Any) -> Any:
        self.ray.kill(worker)
        self.workers[self.workers.index(worker)] = new = self._new()
        return new

    def map(self, parts: Sequence[Part]) -> Iterator[tuple[Part, Any]]:
        """See Pool.map. A worker that starts in another's place takes parts once it is up."""
        waiting, free, failed = deque(parts), list(self.workers), Counter[int]()
        busy: dict[Any, tuple[Any, Part | None]] = {}
        with bar(parts[0].stage, len(parts), "shard") as shown:
            while waiting or any(part for _, part in busy.values()):
                while waiting and free:
                    worker, part = free.pop(), waiting.popleft()
                    busy[worker.sample.remote(part)] = worker, part
                (answer,), _ = self.ray.wait(list(busy), num_returns=1)
                worker, taken = busy.pop(answer)
                try:
                    result = self.ray.get(answer)
                except self.failures as error:
                    failed[id(taken)] += 1
                    if failed[id(taken)] == (TRIES if taken else TRIES * len(self.workers)):
                        what, reason = taken or START, str(error).strip().rpartition("\n")[2].strip()
                        cost = f"{what.label} cost {counted(failed[id(taken)], 'worker')}; the last one said: {reason}."
                        raise SamplerError(f"{cost} {what.advice} What is finished is kept.") from error
                    waiting.extend([taken] if taken else [])
                    worker = self._replace(worker)
                    busy[worker.__ray_ready__.remote()] = worker, None
                    continue
                free.append(worker)
                if taken is not None:
                    shown.update(1)
                    yield taken, result

    def _end(self) -> None:
        for worker in self.workers:
            self.ray.kill(worker)
        self.workers = []

    def close(self) -> None:
        """End the actors, and a local Ray with them. Safe to call twice."""
        self._end()
        self.ray.shutdown()


class OnRay(Actors[Shard]):
    """Actors that sample."""

    def __init__(self, recipe: Recipe, model_dir: Path, builder: PromptBuilder) -> None:
        self.recipe, self.builder = recipe, builder
        self.model_dir: Path | None = model_dir
        settings = recipe.sampling
        super().__init__(Worker, (recipe, model_dir.resolve(), builder), settings.workers, settings.gpus_per_worker)

    def load(self, model_dir: Path) -> None:
        """See Pool.load. A worker that cannot is replaced; the next call of `map` says if its successor cannot either."""
        self.model_dir, self.arguments = model_dir, (self.recipe, model_dir.resolve(), self.builder)
        for worker, loaded in [(worker, worker.load.remote(model_dir.resolve())) for worker in self.workers]:
            try:
                self.ray.get(loaded)
            except self.failures:
                self._replace(worker)
        self.workers = self.workers or [self._new() for _ in range(self.count)]

    def sleep(self) -> None:
        """See Pool.sleep. Before a training on several machines the actors end, as Ray keeps their GPUs as long as they live."""
        end = self.recipe.training.launcher is not None
        try:
            self.ray.get([worker.sleep.remote() for worker in self.workers])
        except self.failures:
            end = True
        if end:
            self._end()
            self.model_dir = None


def connect() -> Any:
    """Ray: of the cluster that RAY_ADDRESS names, else started here, on loopback and without usage reports."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS") or "local"  # else Ray waits for what was last started on this machine, dead or not
    if local := address == "local":  # read when ray is imported; without it the servers listen on every interface
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise SamplerError('workers need Ray: pip install -e ".[ray]", or leave it at 0.') from error
    failure: Exception | None = None
    for _ in range(2 if local else 1):  # on a busy machine the first start may take longer than Ray waits
        try:
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False if local else None)
            return ray
        except Exception as error:  # Ray raises bare ones
            ray.shutdown()
            failure = error
    where = "a local Ray cannot be started" if local else f"no Ray answers at {address} (RAY_ADDRESS)"
    raise SamplerError(f"{where}: {str(failure).strip().partition(chr(10))[0]}") from failure


def actor_options(ray: Any, workers: int, gpus: int) -> dict[str, Any]:
    """What each actor asks Ray for: GPUs where there are any, and a share of its machine's cores, which are its threads.

    Raises SamplerError where there is too little: Ray would wait for more for ever.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = int(sum(node.get("GPU", 0) // gpus for node in nodes)) if gpus else 0
    if gpus and any(node.get("GPU") for node in nodes) and room < workers:
        raise SamplerError(
            f"{counted(workers, 'worker')} with {counted(gpus, 'GPU')} each: Ray has room for {room}, as a worker's GPUs are on "
            "one machine. Lower sampling.workers (--workers), or sampling.gpus_per_worker."
        )
    share = max(1, int(min(node.get("CPU", 1) for node in nodes)) // -(-workers // len(nodes)))
    return {"num_cpus": 0 if room else share, "num_gpus": gpus if room else 0, "scheduling_strategy": "SPREAD"}
