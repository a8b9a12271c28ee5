"""Sampling, scoring and probing by Ray actors: with a stand-in for Ray whose actors die as told, and with Ray itself."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis import score
from analysis.faithfulness.answers import Answers
from analysis.faithfulness.running import probe_all
from analysis.rationales.records import write_records
from benchmarks.scaling import made_up
from benchmarks.scripted_models import ScriptedModel, byte_tokenizer, scripted_setup, scripted_subjects
from star import pool as pools
from star import run as runs
from star import sampling
from star.loop import Loop
from star.problem import Attempt
from star.recipe import Recipe
from star.sampling.base import SamplerError
from star.setup import prepare
from star.shards import Shard
from tests.scripted import ScriptedSampler
from tests.scripted_loop import contents, make_recipe, run, scripted_finetune

pytestmark = pytest.mark.usefixtures("no_training")

SECTIONS: dict[str, Any] = {"loop": {"rounds": 2}, "evaluation": {"samples": 2}}


class ActorDiedError(Exception):
    """What Ray raises."""


class FakeRay:
    """The part of Ray that the pool uses. Calls are worked off in a random order; `dies(actor number, method, arguments)`."""

    def __init__(self, dies: Callable[[int, str, Any], bool], cpus: int = 4, gpus: int = 0) -> None:
        self.dies, self.rng = dies, random.Random(0)
        self.exceptions = SimpleNamespace(RayError=ActorDiedError)
        self.resources = {"CPU": cpus, **({"GPU": gpus} if gpus else {})}
        self.started = 0
        self.options_given: dict[str, Any] = {}
        self.dead: set[int] = set()
        self.down = False

    def remote(self, kind: Any) -> Any:
        def options(**given: Any) -> Any:
            self.options_given = given
            return SimpleNamespace(remote=lambda *arguments: FakeActor(self, kind, arguments))

        return SimpleNamespace(options=options)

    def wait(self, answers: Sequence[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return [self.rng.choice(answers)], []

    def get(self, answer: Any) -> Any:
        return [each() for each in answer] if isinstance(answer, list) else answer()

    def kill(self, actor: Any) -> None:
        self.dead.add(actor.number)

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": self.resources}, {"Alive": False, "Resources": {"CPU": 64, "GPU": 64}}]

    def shutdown(self) -> None:
        self.down = True


class FakeActor:
    def __init__(self, ray: FakeRay, kind: Any, arguments: Any) -> None:
        self.ray, self.number, self.object = ray, ray.started, None
        self.make = lambda: kind(*arguments)
        ray.started += 1

    def __getattr__(self, method: str) -> Any:
        def call(*arguments: Any) -> Callable[[], Any]:
            def answer() -> Any:
                if self.number in self.ray.dead or self.ray.dies(self.number, method, arguments):
                    self.ray.dead.add(self.number)
                    raise ActorDiedError(f"actor {self.number} died\nkilled by the test\n")
                self.object = self.object or self.make()
                return method == "__ray_ready__" or getattr(self.object, method)(*arguments)

            return answer

        return SimpleNamespace(remote=call)


def recipe_of(base_model: Path, folder: Path, workers: int = 3, **training: Any) -> Recipe:
    sections = {**SECTIONS, "sampling": {"shard": 8, "samples": 2, "workers": workers}, "training": training}
    return make_recipe(base_model, folder, **sections)


def run_on(recipe: Recipe, fake: FakeRay, monkeypatch: pytest.MonkeyPatch) -> Path:
    setup = prepare(recipe, ["test"])

    def scripted(settings: Any, model_dir: Path, **options: Any) -> ScriptedSampler:
        return ScriptedSampler(setup.tokenizer, model_dir)

    monkeypatch.setattr(sampling, "open_sampler", scripted)
    monkeypatch.setattr(pools, "connect", lambda: fake)
    pool = pools.open_pool(recipe, setup)
    try:
        Loop(recipe, setup, pool, lambda line: None).run()
    finally:
        pool.close()
    assert fake.down and fake.dead >= {worker.number for worker in getattr(pool, "workers", [])}
    return setup.run_dir


def at_random(number: int, method: str, arguments: Any) -> bool:
    """One call in eight takes its actor with it; never the same shard three times, as another actor is another number."""
    return random.Random(f"{number} {method} {arguments[0].label if method == 'sample' else ''}").random() < 1 / 8


@pytest.mark.parametrize("dies", [lambda *_: False, at_random], ids=["living", "dying"])
def test_workers_give_what_one_process_gives(
    dies: Any, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = contents(run(recipe_of(base_model, tmp_path / "one", workers=0))[0])
    recipe, fake = recipe_of(base_model, tmp_path / "many"), FakeRay(dies)
    run_dir = run_on(recipe, fake, monkeypatch)
    assert contents(SimpleNamespace(run_dir=run_dir)) == expected  # type: ignore[arg-type]
    assert (fake.started > 10) == (dies is at_random)
    assert run_dir.name == recipe_of(base_model, tmp_path, workers=0).run_dir.name


def test_a_shard_that_costs_three_workers_is_named_and_the_rest_is_kept(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poison(number: int, method: str, arguments: Any) -> bool:
        return method == "sample" and arguments[0].mode == "generated" and arguments[0].number == 4

    recipe, fake = recipe_of(base_model, tmp_path), FakeRay(poison)
    said = r"generated \(train\), shard 4 cost 3 workers.*killed by the test.*problems are \w{16} to"
    with pytest.raises(SamplerError, match=said):
        run_on(recipe, fake, monkeypatch)
    parts = [part.name for part in (recipe.run_dir / "round_01" / "attempts.parts").iterdir()]
    assert parts and "generated-0-00004.parquet" not in parts
    run_dir = run_on(recipe, FakeRay(lambda *_: False), monkeypatch)
    expected = contents(run(recipe_of(base_model, tmp_path / "one", workers=0))[0])
    assert contents(SimpleNamespace(run_dir=run_dir)) == expected  # type: ignore[arg-type]


def test_workers_that_never_start_end_the_run(base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SamplerError, match=r"^the start cost 9 workers.*killed by the test.*star\.doctor"):
        run_on(recipe_of(base_model, tmp_path), FakeRay(lambda *_: True), monkeypatch)


def test_workers_give_their_gpus_back_before_a_training_on_several_machines(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, alive = FakeRay(lambda *_: False, gpus=6), []
    monkeypatch.setattr(
        "star.loop.finetune", lambda job: alive.append(fake.started - len(fake.dead)) or scripted_finetune(job)
    )
    config = {"accelerate_config": "seeds/accelerate/cpu2.yaml", "launcher": "srun"}
    run_on(recipe_of(base_model, tmp_path, **config), fake, monkeypatch)
    assert alive == [0, 0] and fake.options_given["num_gpus"] == 1
    run_on(recipe_of(base_model, tmp_path / "again"), fake := FakeRay(lambda *_: False), monkeypatch)
    assert alive == [0, 0, 3, 3] and fake.options_given == {"num_cpus": 1, "num_gpus": 0, "scheduling_strategy": "SPREAD"}


def test_too_few_gpus_are_said_at_once() -> None:
    with pytest.raises(SamplerError, match=r"Ray has room for 3"):
        pools.actor_options(FakeRay(lambda *_: False, gpus=7), workers=4, gpus=2)


def scored(folder: Path, workers: int) -> bytes:
    """Scores of 40 made-up rationales, seven a chunk."""
    folder.mkdir(exist_ok=True)
    arguments = score.Arguments(folder / "rationales.jsonl", folder / f"scores-{workers}.jsonl", workers=workers)
    write_records(arguments.input, made_up(40))
    assert arguments.output is not None and not score.score_file(arguments, arguments.output)
    return arguments.output.read_bytes()


def test_scores_of_workers_are_those_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "CHUNK", 7)
    monkeypatch.setattr(pools, "connect", lambda: fake)
    fake = FakeRay(lambda number, method, _: number == 0 and method == "sample", gpus=1)
    assert scored(tmp_path, workers=2) == scored(tmp_path, workers=0)
    assert fake.started == 3 and fake.down and fake.options_given["num_gpus"] == 0


def test_probes_of_workers_are_those_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "connect", lambda: fake)
    for name in ("TREES_PER_COMMIT", "PROMPTS_PER_COMMIT"):
        monkeypatch.setattr(f"analysis.faithfulness.answers.{name}", 5)
    fake, subjects, tokenizer = FakeRay(at_random), scripted_subjects(6, seed=0), byte_tokenizer()
    asking, alone = scripted_setup(ScriptedModel(tokenizer, share=0.5))
    open_model = partial(ScriptedModel, tokenizer, share=0.5)
    many = Answers(alone.model, None, open_model, open_model, workers=3)
    assert probe_all(subjects, asking, many) == probe_all(subjects, asking, alone)
    many.close()
    assert many.asked == alone.asked and fake.started > 3 and fake.down


def test_a_wrong_address_is_tried_once_and_no_ray_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself waits most of a minute for a cluster that is not there."""
    tried: list[str] = []

    def init(address: str, **_: Any) -> None:
        tried.append(address)
        raise ConnectionError("nobody there\nmore")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, shutdown=lambda: None))
    monkeypatch.setenv("RAY_ADDRESS", "head:1")
    with pytest.raises(SamplerError, match=r"^no Ray answers at head:1 \(RAY_ADDRESS\): nobody there$"):
        pools.connect()
    assert tried == ["head:1"]
    monkeypatch.setenv("RAY_ADDRESS", "")  # for Ray as good as none: a local one, which must stay on loopback
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", raising=False)
    with pytest.raises(SamplerError, match="a local Ray cannot be started"):
        pools.connect()
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert tried[1:] == ["local"] * 2  # never a cluster that once ran here
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SamplerError, match=r"workers need Ray: pip install"):
        pools.connect()


@pytest.mark.slow
@pytest.mark.ray
def test_ray_itself_with_a_worker_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    sections = {"sampling": {"shard": 16, "backend": "transformers", "max_new_tokens": 64, "workers": 2}}
    model = Path(sampling.model_files.__file__).parents[2] / "seeds/models/addition-0.2m"
    recipe = make_recipe(model, tmp_path / "many", loop={"rounds": 1, "problems": 128}, **sections)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    setup = prepare(recipe, ["test"])
    pool = pools.open_pool(recipe, setup)
    assert isinstance(pool, pools.OnRay)
    first, victim = ray.get([worker.__ray_call__.remote(lambda _: os.getpid()) for worker in pool.workers])
    real, calls = pool.map, []

    def killing(shards: Sequence[Shard]) -> Iterator[tuple[Shard, list[Attempt]]]:
        for each in real(shards):
            calls.append(each[0].label)
            if len(calls) == 5:
                os.kill(victim, signal.SIGKILL)
            yield each

    monkeypatch.setattr(pool, "map", killing)
    try:
        Loop(recipe, setup, pool, lambda line: None).attempts(1)
        after = ray.get([worker.__ray_call__.remote(lambda _: os.getpid()) for worker in pool.workers])
        assert after[0] == first and after[1] != victim and pool.model_dir == setup.base_dir
        pool._end()
        with monkeypatch.context() as patch:
            patch.setattr(pools, "connect", lambda: ray)
            patch.setattr(ray, "shutdown", lambda: None)
            patch.setattr(score, "CHUNK", 7)
            assert scored(tmp_path / "scores", workers=2) == scored(tmp_path / "scores", workers=0)
    finally:
        pool.close()
    settings = recipe.sampling.model_copy(update={"workers": 0})
    here = recipe.model_copy(update={"runs_dir": str(tmp_path / "one"), "sampling": settings})
    one = prepare(here, ["test"])
    Loop(here, one, pools.open_pool(here, one), lambda line: None).attempts(1)
    many, alone = (runs.read_rows(each.run_dir / "round_01" / "attempts.parquet") for each in (setup, one))
    assert many == alone and len(calls) >= 8
