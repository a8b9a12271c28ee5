"""The successors of STaR: what defines each of them, against examples worked by hand; and the loop with their keys."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from star import loop as star_loop
from star import run as runs
from star.curation import curate
from star.drawing import adaptive_order, balance, best_temperature
from star.loop import Loop
from star.pool import Here
from star.problem import Problem, Verdict
from star.prompting import PromptBuilder
from star.recipe import CurationSettings, Recipe
from star.sampling.base import Decoding
from star.sampling.decode_loop import choose
from star.setup import prepare
from star.statistics import best_of_k, maj_at_k, pass_at_k
from star.training.plan import Job
from tests.scripted import ScriptedSampler
from tests.scripted_loop import Killed, contents, make_recipe, scripted_finetune
from tests.scripted_loop import run as run_loop


def attempt(problem: str, right: bool, **more: Any) -> Any:
    verdict = Verdict.correct if right else Verdict.incorrect
    row = {"problem_id": problem, "verdict": str(verdict), "rationale": "r", "sound": None, "mode": "generated", "answer": "1"}
    return row | {"attempt_id": f"{problem}-{more.get('sample', 0)}", "round": 1, "completion": f"c{more}", "kept": right} | more


def problems(*names: str) -> list[Problem]:
    return [Problem(name, f"{name}?", "1") for name in names]


def names(order: list[Problem]) -> list[str]:
    return [problem.id for problem in order]


# ------------------------------------------------------------------ AdaSTaR


def test_adaptive_order_over_three_rounds() -> None:
    """Round 1 draws a b c d (three solved: floor(4 (3/4)^2) = 2 move), round 2 what comes next, and so on."""
    pool = problems("a", "b", "c", "d", "e")
    first = [attempt("a", True), attempt("b", False), attempt("b", True), attempt("c", True), attempt("d", False)]
    order = adaptive_order(pool, [first], "adaptive", seed=0)
    assert set(names(order)[:3]) == {"c", "d", "e"}  # not moved, or never drawn
    assert names(order)[3:] == ["b", "a"]  # both of round 1: b was right in one of two attempts, a in all
    # Round 2 draws c d e, all solved: all three move.
    second = [attempt(name, True) for name in "cde"]
    assert names(adaptive_order(pool, [first, second], "adaptive", seed=0))[:2] == ["b", "a"]
    # Round 3 draws b and a, none solved: nothing moves, so they come again.
    third = [attempt("b", False), attempt("a", False)]
    assert names(adaptive_order(pool, [first, second, third], "adaptive", seed=0))[:2] == ["b", "a"]
    without = names(adaptive_order(pool, [first, second, third], "adaptive_no_curriculum", seed=0))
    assert set(without[:3]) == {"c", "d", "e"} and set(without[3:]) == {"a", "b"}


def test_the_share_that_moves_is_exact() -> None:
    """70 of 100 solved: floor(100 (7/10)^2) = 49 move, not 48."""
    pool = problems(*(f"p{k}" for k in range(100)))
    history = [[attempt(f"p{k}", k < 70) for k in range(100)]]
    assert set(names(adaptive_order(pool, history, "adaptive", 0))[:51]) == {f"p{k}" for k in range(49, 100)}


def test_ties_are_broken_by_the_seed_and_ablations_differ() -> None:
    pool = problems(*"abcdefgh")
    orders = {tuple(names(adaptive_order(pool, [], "adaptive", seed=seed))) for seed in range(5)}
    assert len(orders) == 5 and all(set(order) == set("abcdefgh") for order in orders)
    history = [[attempt(name, True) for name in "ab"] + [attempt("b", False)]]
    assert names(adaptive_order(pool, history, "adaptive", 0))[-2:] == ["b", "a"]
    assert names(adaptive_order(pool, history, "adaptive_reversed", 0))[:2] == ["a", "b"]


# ------------------------------------------------------------------ B-STaR


def test_balance_score_on_five_problems() -> None:
    """wanted 2: two different sound ones 1; one of two sound 1/2 * 1/2; one twice the same 1/2; none 0; one unsound 0."""
    rows = [
        *(attempt("a", True, rationale=text, sound=True) for text in ("x", "y")),
        *(attempt("b", True, rationale=text, sound=sound) for text, sound in (("x", True), ("y", False))),
        *(attempt("c", True, rationale="x", sound=True) for _ in range(2)),
        attempt("d", False),
        attempt("e", True, sound=False),
    ]
    assert balance(rows, 2) == pytest.approx((1 + 0.25 + 0.5 + 0 + 0) / 5)
    probe = [row | {"sample": k} for k, row in enumerate([*rows[-2:], *rows[:2], *rows[:2]])]
    assert best_temperature(probe, (0.5, 1.0, 0.7), 2) == 0.7


# ------------------------------------------------------------------ choosing among samples


def test_best_of_k_is_the_mean_over_all_choices_ties_included() -> None:
    scores, right = [3.0, 1.0, 2.0, 2.0, 0.0, 2.0], [False, True, True, False, True, True]
    for k in range(1, 7):
        each = []
        for chosen in itertools.combinations(range(6), k):
            top = max(scores[i] for i in chosen)
            tied = [right[i] for i in chosen if scores[i] == top]
            each.append(sum(tied) / len(tied))
        assert best_of_k(scores, right, k) == pytest.approx(sum(each) / len(each))
    assert best_of_k(scores, right, 1) == pytest.approx(pass_at_k(6, 4, 1))
    with pytest.raises(ValueError, match="best-of-7"):
        best_of_k(scores, right, 7)


def test_votes_count_by_their_weights() -> None:
    voted, right = ["a", "a", "b"], [False, False, True]
    assert maj_at_k(voted, right, 3) == 0.0 and maj_at_k(voted, right, 3, [-2.3, -2.3, 0.0]) == 1.0


def test_mixed_keeps_only_problems_that_went_both_ways(base_model: Path, tmp_path: Path) -> None:
    setup = prepare(make_recipe(base_model, tmp_path), ["test"])
    text = "<scratch>\n1 + 1\n</scratch>"
    rows = [attempt(name, right, rationale=text) for name, right in (("a", True), ("a", False), ("b", True), ("c", False))]
    judged = curate(rows, setup.task, CurationSettings(problems="mixed"), None)
    assert [row["drop_reason"] for row in judged] == [None, "incorrect", "not_mixed", "incorrect"]


# ------------------------------------------------------------------ the loop with their keys


def by_length(model: Path, rows: Any, **_: Any) -> list[float]:
    return [float(len(row[1])) for row in rows]


def run(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, **script: Any) -> tuple[Any, Any, list[Job]]:
    jobs: list[Job] = []

    def kept_job(job: Job) -> Any:
        jobs.append(job)
        return scripted_finetune(job) | ({"reference_tokens": 7, "dropped_rows": job.dropped} if job.preference else {})

    monkeypatch.setattr(star_loop, "finetune", kept_job)
    monkeypatch.setattr(star_loop, "completion_scores", by_length)
    setup, _, result = run_loop(recipe, **script)
    return setup, result, jobs


PAIRED: dict[str, Any] = {
    "sampling": {"samples": 4, "temperature": 1.0}, "loop": {"rounds": 1, "rationalize": False}, "training": {"objective": "rpo"},
    "evaluation": {"samples": 2}, "verifier": {"kind": "dpo"},
}  # fmt: skip


def attempts(setup: Any, number: int, file: str = "attempts") -> list[dict[str, Any]]:
    return runs.read_rows(setup.run_dir / f"round_{number:02d}" / f"{file}.parquet")


def test_without_a_first_pass_every_problem_is_rationalized(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, _, _ = run(make_recipe(base_model, tmp_path, loop={"first_pass": False, "rounds": 1}), monkeypatch)
    rows = attempts(setup, 1)
    assert {row["mode"] for row in rows} == {"rationalized"} and len({row["problem_id"] for row in rows}) == 60


def test_adaptive_drawing_stops_when_it_has_enough(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = {"draw": "adaptive", "enough": True, "problems": None, "rounds": 3, "rationalize": False}
    training = {"steps": {"first": 2, "growth": 1.0}, "batch_size": 4}
    recipe = make_recipe(base_model, tmp_path, loop=loop, training=training, sampling={"shard": 8})
    setup, _, _ = run(recipe, monkeypatch, skill=0.9)
    drawn_by = [list(dict.fromkeys(row["problem_id"] for row in attempts(setup, n))) for n in (1, 2, 3)]
    kept = [sum(bool(row["kept"]) for row in attempts(setup, n)) for n in (1, 2, 3)]
    assert all(count >= 8 for count in kept) and all(len(ids) <= 24 for ids in drawn_by)
    history: list[Any] = [attempts(setup, n) for n in (1, 2)]
    wanted = names(adaptive_order(list(setup.train), history, "adaptive", recipe.seed))
    assert drawn_by[2] == wanted[: len(drawn_by[2])]
    assert set(drawn_by[0]) != set(drawn_by[1])


def test_a_uniform_draw_that_stops_when_it_has_enough_is_another_each_round(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = {"enough": True, "problems": None, "rounds": 2, "rationalize": False}
    training = {"steps": {"first": 2, "growth": 1.0}, "batch_size": 4}
    recipe = make_recipe(base_model, tmp_path, loop=loop, training=training, sampling={"shard": 8})
    setup, _, _ = run(recipe, monkeypatch, skill=0.9)
    first, second = ([row["problem_id"] for row in attempts(setup, number)] for number in (1, 2))
    assert set(first[:8]) != set(second[:8]) and len(first) < 60


def test_more_retries_than_samples_are_no_two_shards_of_one_number(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = {"enough": True, "problems": None, "rounds": 1, "rationalize": False, "retries": 4}
    recipe = make_recipe(base_model, tmp_path, loop=loop, sampling={"shard": 8, "temperature": 1.0})
    setup, _, _ = run(recipe, monkeypatch, skill=0.0)
    assert set(Counter(row["seed"] for row in attempts(setup, 1) if row["sample"]).values()) == {8}


def test_temperatures_are_tried_counted_and_the_best_one_is_taken(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = {"try_temperatures": [0.5, 1.0], "probe": 10, "samples": 2}
    setup, _, _ = run(make_recipe(base_model, tmp_path, sampling=sampling, loop={"rounds": 1}), monkeypatch)
    probed = attempts(setup, 1, "probe")
    assert len(probed) == 10 * 2 * 2 and {row["sample"] for row in probed} == {0, 1, 2, 3}
    line = runs.Run(setup.run_dir).rounds[1]
    assert line["temperature"] == best_temperature(probed, (0.5, 1.0), 2)  # type: ignore[arg-type]
    assert line["samples"] == len(probed) + len(attempts(setup, 1)) + 30


def test_a_probe_asks_of_the_pool_as_it_is_and_counts_where_its_round_has_no_model(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, sampling = {"digits": [1], "grow": {"to": 3}}, {"try_temperatures": [0.5, 1.0], "probe": 20, "samples": 2}
    loop = {"rounds": 1, "rationalize": False}
    setup, result, _ = run(make_recipe(base_model, tmp_path, task=task, sampling=sampling, loop=loop), monkeypatch, skill=0.0)
    probed = attempts(setup, 1, "probe")
    assert len(probed) == 80 and {row["slice"] for row in probed} == {"1 digit"}
    assert result["round_without_model"]["round"] == 1
    assert result["cost"]["samples"] == len(probed) + len(attempts(setup, 1)) + len(setup.test)


@pytest.mark.parametrize(
    "sections",
    [
        {
            "loop": {"rounds": 2, "draw": "adaptive", "enough": True, "problems": None, "start": "continue"},
            "training": {"steps": {"first": 4, "growth": 1.0}, "batch_size": 4}, "sampling": {"shard": 8},
        },
        {"loop": {"rounds": 2, "problems": 20}, "sampling": {"try_temperatures": [0.5, 1.0], "probe": 10, "samples": 2}},
        {"loop": {"rounds": 2, "problems": 20, "first_pass": False}, "sampling": {"shard": 8}},
        {
            "loop": {"rounds": 2, "problems": 20, "rationalize": False}, "curation": {"problems": "mixed", "replay": 2},
            "sampling": {"samples": 4, "shard": 32},
        },
    ],
    ids=["adastar", "b-star", "pps", "reinforce-rej"],
)  # fmt: skip
def test_killed_in_every_call_and_resumed_equals_uninterrupted(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any]
) -> None:
    """Each start does one thing, sampling a shard or training, and is killed in the next."""
    whole, _, _ = run(make_recipe(base_model, tmp_path / "whole", **sections), monkeypatch, skill=0.7)
    recipe, done = make_recipe(base_model, tmp_path / "killed", **sections), [0]

    def one_thing(real: Any) -> Any:
        def called(*args: Any, **more: Any) -> Any:
            done[0] += 1
            if done[0] > 1:
                raise Killed
            return real(*args, **more)

        return called

    monkeypatch.setattr(ScriptedSampler, "sample", one_thing(ScriptedSampler.sample))
    monkeypatch.setattr(star_loop, "finetune", one_thing(scripted_finetune))
    kills = 0
    while not (recipe.run_dir / "result.json").is_file():
        done[0] = 0
        try:
            setup, _, _ = run_loop(recipe, skill=0.7)
        except Killed:
            kills += 1
    assert kills >= 7 and contents(setup) == contents(whole)


def test_temperatures_by_round(base_model: Path, tmp_path: Path) -> None:
    recipe = make_recipe(base_model, tmp_path, sampling={"temperature": [0.8, 1.3]})
    setup = prepare(recipe, ["test"])
    loop = Loop(recipe, setup, Here(ScriptedSampler(setup.tokenizer, setup.base_dir), None), lambda line: None)  # type: ignore[arg-type]
    assert [loop.stages.temperature(number) for number in (1, 2, 3)] == [0.8, 1.3, 1.3]


def test_top_k_leaves_only_the_likeliest_tokens() -> None:
    import torch

    logits = torch.tensor([[0.0, 2.0, 1.0, -1.0]]).repeat(200, 1)
    uniforms = torch.linspace(0.001, 0.999, 200)
    for k, allowed in ((1, {1}), (2, {1, 2}), (None, {0, 1, 2, 3})):
        tokens, _ = choose(logits, Decoding(temperature=1.0, top_k=k), uniforms)
        assert set(tokens.tolist()) == allowed
    tokens, _ = choose(logits, Decoding(temperature=1.0, top_k=2), uniforms)
    share = (tokens == 1).float().mean().item()
    assert share == pytest.approx(1 / (1 + torch.exp(torch.tensor(-1.0)).item()), abs=0.02)


def test_recipes_reach_the_sampler(base_model: Path, tmp_path: Path) -> None:
    recipe = make_recipe(base_model, tmp_path, sampling={"top_k": 40, "temperature": 0.7}, loop={"rounds": 1})
    setup = prepare(recipe, ["test"])
    asked: list[Decoding] = []

    class Noting(ScriptedSampler):
        def sample(self, prompts: Any, decoding: Decoding, *, progress: str | None = None) -> Any:
            asked.append(decoding)
            return super().sample(prompts, decoding, progress=progress)

    pool = Here(Noting(setup.tokenizer, setup.base_dir), PromptBuilder(setup.task, setup.tokenizer, recipe.prompting))
    Loop(recipe, setup, pool, lambda line: None).finish_round(0)
    Loop(recipe, setup, pool, lambda line: None).attempts(1)
    assert [decoding.top_k for decoding in asked] == [None, 40, 40]
