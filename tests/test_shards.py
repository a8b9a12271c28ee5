"""Shards: the same rows whoever samples them, in whatever order, and wherever a run was killed; grading again without sampling."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from star import attempts as star_attempts
from star import drawing as star_drawing
from star import files
from star import loop as star_loop
from star import run as runs
from star import stages as star_stages
from star.curation import curate
from star.pool import Here
from star.problem import Attempt, Problem
from star.prompting import PromptBuilder
from star.recipe import Recipe, load_recipe
from star.regrade import main as regrade
from star.sampling.base import Decoding
from star.setup import Setup, prepare
from star.shards import Shard, cut
from tests.scripted import ScriptedSampler
from tests.scripted_loop import Killed, attempts_of, contents, make_recipe, run

pytestmark = pytest.mark.usefixtures("no_training")

SMALL: dict[str, Any] = {"loop": {"rounds": 2}, "sampling": {"shard": 8, "samples": 2}, "evaluation": {"samples": 3}}


class Shuffled(Here):
    """Another order at every call."""

    def map(self, shards: Sequence[Shard]) -> Iterator[tuple[Shard, list[Attempt]]]:
        yield from super().map(random.Random(len(shards)).sample(shards, len(shards)))


def run_with(recipe: Recipe, kind: type[Here]) -> Setup:
    setup = prepare(recipe, ["test"])
    sampler = ScriptedSampler(setup.tokenizer, setup.base_dir)
    pool = kind(sampler, PromptBuilder(setup.task, setup.tokenizer, recipe.prompting))
    star_loop.Loop(recipe, setup, pool, lambda line: None).run()
    return setup


def test_shards_are_cut_at_problems_and_the_first_has_the_stages_seed() -> None:
    problems = [Problem(str(number), "?", "1") for number in range(10)]
    call: dict[str, Any] = {"mode": "generated", "split": "train", "round_number": 1, "shots": False}
    shards = cut(problems, Decoding(samples=3, seed=5), 10, **call)
    assert [len(shard.problems) for shard in shards] == [3, 3, 3, 1]
    assert [problem for shard in shards for problem in shard.problems] == problems
    assert shards[0].decoding.seed == 5 and len({shard.decoding.seed for shard in shards}) == 4
    assert [len(shard.problems) for shard in cut(problems, Decoding(samples=30), 10, **call)] == [1] * 10
    assert cut([], Decoding(), 10, **call) == []


def test_the_order_of_shards_changes_nothing(base_model: Path, tmp_path: Path) -> None:
    plain = contents(run(make_recipe(base_model, tmp_path / "plain", **SMALL))[0])
    setup = run_with(make_recipe(base_model, tmp_path / "shuffled", **SMALL), Shuffled)
    assert contents(setup) == plain
    assert len({row["seed"] for row in attempts_of(setup, 1) if row["mode"] == "generated"}) == 15
    assert not list(setup.run_dir.rglob("*.parts"))


def test_rows_that_come_in_small_batches_are_the_same(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts are curated shard by shard and written batch by batch: as if a round were curated at once."""
    curation = {"problems": "mixed", "deduplicate": "exact"}
    whole = contents(run(make_recipe(base_model, tmp_path / "whole", **SMALL, curation=curation))[0])
    monkeypatch.setattr(files, "BATCH", 7)
    setup, _, _ = run(make_recipe(base_model, tmp_path / "small", **SMALL, curation=curation))
    assert contents(setup) == whole
    rows = attempts_of(setup, 1)
    plain = [{**row, "kept": None, "drop_reason": None} for row in rows]
    assert curate(plain, setup.task, load_recipe(setup.run_dir / "recipe.yaml").curation, None) == rows
    assert {row["drop_reason"] for row in rows} >= {None, "not_mixed"}


def test_the_size_of_shards_is_part_of_what_a_recipe_computes(base_model: Path, tmp_path: Path) -> None:
    recipe = make_recipe(base_model, tmp_path)
    assert recipe.digest() == make_recipe(base_model, tmp_path, sampling={"shard": 4096}).digest()
    other = make_recipe(base_model, tmp_path, sampling={"shard": 8})
    assert other.digest() != recipe.digest() and recipe.differing_keys(other) == ["sampling.shard"]


@pytest.mark.parametrize("torn", [False, True])
def test_a_kill_while_rationalizing_keeps_what_was_generated(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bool
) -> None:
    expected = contents(run(make_recipe(base_model, tmp_path / "whole", **SMALL))[0])
    recipe = make_recipe(base_model, tmp_path / "killed", **SMALL)
    real = ScriptedSampler.sample

    def killed(self: Any, prompts: Any, decoding: Any, *, progress: str | None = None) -> Any:
        if progress == "round 1: rationalized (train), shard 2":
            raise Killed
        return real(self, prompts, decoding, progress=progress)

    monkeypatch.setattr(ScriptedSampler, "sample", killed)
    with pytest.raises(Killed):
        run(recipe)
    monkeypatch.setattr(ScriptedSampler, "sample", real)
    parts = sorted((recipe.run_dir / "round_01" / "attempts.parts").iterdir())
    assert [part.name[:13] for part in parts] == ["generated-0-0"] * 15 + ["rationalized-"] * 2
    if torn:
        parts[3].write_bytes(parts[3].read_bytes()[:-9])
    setup, sampler, _ = run(recipe)
    again = [label for label, _ in sampler.calls if label.startswith("round 1: generated")]
    assert again == (["round 1: generated (train), shard 3"] if torn else [])
    assert contents(setup) == expected


# ---------------------------------------------------------------------- grading again


def test_regrading_gives_round_1_of_a_new_run_without_sampling(base_model: Path, tmp_path: Path, capsys: Any) -> None:
    old, _, _ = run(make_recipe(base_model, tmp_path, **SMALL))
    recipe = make_recipe(base_model, tmp_path, **SMALL, curation={"cap": 1, "require": "sound"})
    assert regrade([str(old.run_dir), "--curation.cap", "1", "--curation.require", "sound"]) == 0
    assert f"python -m star.train {recipe.run_dir}/recipe.yaml" in capsys.readouterr().out
    assert runs.Run(recipe.run_dir).manifest["argv"][0] == "star.regrade"
    setup, sampler, _ = run(recipe)
    sampled = [label for label, _ in sampler.calls]
    assert sampled and not [one for one in sampled if one.startswith("round 0") or ("round 1" in one and "(train)" in one)]
    fresh = make_recipe(base_model, tmp_path / "fresh", **SMALL, curation={"cap": 1, "require": "sound"})
    assert contents(setup) == contents(run(fresh)[0]) != contents(old)


def test_a_changed_grader_regrades_and_says_what_is_missing(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, _, _ = run(make_recipe(base_model, tmp_path, loop={"rounds": 1}))
    monkeypatch.setattr(star_attempts, "grade", lambda *_: "incorrect")
    assert regrade([str(old.run_dir), "--name", "stricter"]) == 1
    said = capsys.readouterr().err
    assert "has no rationalized attempt 0 of problem" in said and "samples what is missing" in said
    setup, sampler, _ = run(make_recipe(base_model, tmp_path, name="stricter", loop={"rounds": 1}))
    assert sampler.calls[0][0] == "round 1: rationalized (train)"
    assert {row["verdict"] for row in attempts_of(setup, 1)} == {"incorrect", "truncated"}


def test_answers_in_another_form_are_accepted_without_new_samples(base_model: Path, tmp_path: Path) -> None:
    old, _, _ = run(make_recipe(base_model, tmp_path, loop={"rounds": 1}), before="The sum is:\n")
    assert not [row for row in attempts_of(old, 1) if row["kept"]]
    assert regrade([str(old.run_dir), "--curation.accept", "lenient"]) == 0
    recipe = make_recipe(base_model, tmp_path, loop={"rounds": 1}, curation={"accept": "lenient"})
    assert {row["strict_verdict"] for row in attempts_of(prepare(recipe, []), 1) if row["kept"]} == {"no_answer"}


def test_a_run_that_tried_temperatures_is_regraded_where_the_same_one_is_chosen(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sections: dict[str, Any] = {
        "loop": {"rounds": 1}, "sampling": {"try_temperatures": [0.5, 1.0], "probe": 10, "samples": 2},
        "curation": {"require": "sound", "scorer": scores_of_nothing(tmp_path)},
    }  # fmt: skip
    old, _, _ = run(make_recipe(base_model, tmp_path, **sections))
    assert {row["not_judged"] for row in attempts_of(old, 1) if row["kept"]} == {True}
    assert regrade([str(old.run_dir), "--curation.require", "answer", "--curation.scorer", "None"]) == 0
    recipe = make_recipe(base_model, tmp_path, **sections | {"curation": {"require": "answer"}})
    rows, probe = attempts_of(prepare(recipe, []), 1), runs.Run(recipe.run_dir).probe(1)
    assert {row["not_judged"] for row in rows} == {None} and {row["sample"] for row in probe} == {0, 1, 2, 3}
    best = star_drawing.best_temperature(probe, (0.5, 1.0), 2)
    monkeypatch.setattr(star_stages, "best_temperature", lambda *_: 1.5 - best)
    capsys.readouterr()
    assert regrade([str(old.run_dir), "--curation.cap", "1"]) == 1
    assert f"the probe chooses temperature {1.5 - best:g}, at which" in capsys.readouterr().err


def scores_of_nothing(folder: Path) -> str:
    (folder / "scores.jsonl").write_text('{"id": "none", "step_ok": null}\n')
    return f"file:{folder / 'scores.jsonl'}"


def test_gold_rows_are_no_attempts_that_regrading_keeps(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = dict.fromkeys(("attempt_id", "problem_id", "prompt", "completion"), "x")
    row = texts | {"from_round": 1, "mode": "gold", "hinted": False}
    old, _, _ = run(make_recipe(base_model, tmp_path, loop={"rounds": 1}))
    monkeypatch.setattr(star_loop, "gold_rows", lambda *_, **__: [row] * 500)
    monkeypatch.setattr(star_loop, "without_hints", lambda rows, *_, **__: rows)
    assert regrade([str(old.run_dir), "--curation.gold"]) == 0
    kept = sum(row["kept"] for row in attempts_of(old, 1))
    assert f"keeps {kept} of {len(attempts_of(old, 1))} attempts (was {kept})" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--sampling.temperature", "1"], "sampling.temperature: needs other samples"),
        ([], "give a flag such as --curation.cap 1"),
        (["--curation.cap", "0"], "curation.cap: Input should be greater"),
    ],
)
def test_what_cannot_be_regraded_is_said(
    flags: list[str], said: str, base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = prepare(make_recipe(base_model, tmp_path), [])
    assert regrade([str(setup.run_dir), *flags]) == 2 and said in capsys.readouterr().err


def test_a_run_that_was_stopped_gives_the_shards_that_it_has(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And `.` is the run directory that one is in."""
    real = ScriptedSampler.sample

    def killed(self: Any, prompts: Any, decoding: Any, *, progress: str | None = None) -> Any:
        if progress == "round 1: generated (train), shard 2":
            raise Killed
        return real(self, prompts, decoding, progress=progress)

    old, changed = make_recipe(base_model, tmp_path, **SMALL), {"curation": {"cap": 1}}
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ScriptedSampler, "sample", killed)
        run(old)
    monkeypatch.chdir(old.run_dir)
    next(Path("round_01/attempts.parts").glob("generated-0-00000.parquet")).unlink()  # workers finish shards in any order
    assert regrade([".", "--curation.cap", "1"]) == 1
    assert "has no generated attempt 0 of problem" in capsys.readouterr().err
    setup, sampler, _ = run(make_recipe(base_model, tmp_path, **SMALL, **changed))
    sampled = [label for label, _ in sampler.calls]
    assert sampled[:2] == ["round 1: generated (train)", "round 1: generated (train), shard 2"]
    assert setup.run_dir.parent == old.run_dir.parent
    assert contents(setup) == contents(run(make_recipe(base_model, tmp_path / "fresh", **SMALL, **changed))[0])


def test_an_attempt_that_is_missing_costs_its_shard_alone(base_model: Path, tmp_path: Path) -> None:
    old, _, _ = run(make_recipe(base_model, tmp_path, **SMALL))
    file = old.run_dir / "round_01" / "attempts.parquet"
    pq.write_table(pq.read_table(file).slice(1), file)
    assert regrade([str(old.run_dir), "--curation.cap", "1"]) == 1
    parts = make_recipe(base_model, tmp_path, **SMALL, curation={"cap": 1}).run_dir / "round_01" / "attempts.parts"
    assert sorted(part.name for part in parts.iterdir()) == [f"generated-0-{number:05d}.parquet" for number in range(1, 15)]


def test_what_is_not_sampled_in_round_1_may_change(base_model: Path, tmp_path: Path) -> None:
    old, _, _ = run(make_recipe(base_model, tmp_path, **SMALL))
    loop = SMALL["loop"] | {"start": "continue"}
    changes: dict[str, Any] = {"loop": loop, "verifier": {"kind": "dpo"}, "evaluation": {"samples": 2}}
    flags = ["--loop.start", "continue", "--verifier.kind", "dpo", "--evaluation.samples", "2"]
    assert regrade([str(old.run_dir), *flags]) == 0
    new = make_recipe(base_model, tmp_path, **SMALL | changes)
    assert attempts_of(prepare(new, []), 1) == attempts_of(old, 1)
