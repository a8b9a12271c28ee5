"""model_sizes.py: where pretraining stops, what is kept of finished work, and what is said of sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import arms, common, model_sizes, size_bases, size_figures
from star import pretrain
from star import run as runs
from star.errors import InputError, UsageError
from star.recipe import SEEDS
from star.statistics import wilson
from tests.run_factory import make_run

pytestmark = pytest.mark.slow


def made_up(
    size: str, parameters: int, arm: str, right: int, *, base: str = "skill .3", seed: int = 0, flip: float = 0.5
) -> dict[str, Any]:
    known = {"tokens": 1_000, "without_hint": 0.3, "with_hint": 0.6, "reached": True, "in_band": True}
    return {
        "settings": {"size": size, "base": base, "arm": arm, "seed": seed, "known": known},
        "parameters": parameters,
        "accuracy": wilson(right, 100).as_dict(),
        "sound_of_right": wilson(right, right).as_dict() if right else None,
        "right_but_unsound": wilson(seed, 100).as_dict(),
        "rounds_to_goal": 2 if right >= 90 else None,
        "flops_to_goal": 2e9 if right >= 90 else None,
        "faithfulness": {"forced_mistake_flip": {"value": flip, "low": None, "high": None, "n": 30}},
        "made_by": ["2026-01-01", "abc"],
    }


def test_what_other_settings_made_or_half_a_file_is_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    settings, calls = {"seed": 1, "rates": (1e-3, 2e-3)}, []

    def make() -> dict[str, Any]:
        calls.append(1)
        return {"value": len(calls)}

    asked, only_read = model_sizes.Arguments(), model_sizes.Arguments(collect=True)
    assert model_sizes.kept(only_read, "a b", settings, make) is None
    assert model_sizes.kept(asked, "a b", settings, make) == model_sizes.kept(only_read, "a b", settings, make)
    assert model_sizes.kept(asked, "a b", settings | {"seed": 2}, make)["value"] == 2  # type: ignore[index]
    (tmp_path / "model_sizes" / "a-b.json").write_text('{"figures": {"sett')
    assert model_sizes.kept(asked, "a b", settings, make)["value"] == 3  # type: ignore[index]
    assert len(calls) == 3


def test_collecting_runs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(model_sizes, "make_bases", lambda *_, **__: pytest.fail("a base was pretrained"))
    monkeypatch.setattr(model_sizes, "loss_after", lambda *_: pytest.fail("a rate was searched"))
    monkeypatch.setattr("sys.argv", ["model_sizes.py", "--collect"])
    with pytest.raises(InputError, match="no finished run"):
        model_sizes.main()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--bases", "skill .9"], "no base called skill .9. There are: skill .3"),
        (["--seeds", "-1"], "expected numbers of 0 or more"),
    ],
)
def test_wrong_bases_and_seeds_are_refused_before_any_work(
    flags: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_sizes, "outcome", lambda *_: pytest.fail("work was done"))
    monkeypatch.setattr("sys.argv", ["model_sizes.py", *flags])
    with pytest.raises(UsageError, match=message):
        model_sizes.main()


def test_a_size_bootstraps_where_star_ends_clear_above_its_base() -> None:
    listed = [
        *(made_up("0.1m", 1_000, "base", 20, base=base) for base in ("skill .1", "skill .3")),
        made_up("0.1m", 1_000, "STaR", 25, base="skill .1"),
        made_up("0.1m", 1_000, "STaR", 95, base="skill .3"),
        *(made_up("4m", 10_000, arm, right) for arm, right in (("base", 20), ("STaR", 20))),
    ]
    found = {row["size"]: row for row in size_figures.bootstraps(listed)}
    assert (found["0.1m"]["tried"], found["0.1m"]["smallest"]) == ([0.1, 0.3], 0.3)
    assert found["4m"]["smallest"] is None
    gained = size_figures.summary(listed)["gained"]
    assert (gained["skill .3"], gained["skill .6"]) == ({"runs": 2, "gained": 1}, {"runs": 0, "gained": 0})
    row = size_figures.over_seeds([listed[3], made_up("0.1m", 1_000, "STaR", 75, seed=1)])
    assert (row["seeds"], row["reached_goal"], row["rounds_to_goal"]["value"], row["accuracy"]["value"]) == (2, 1, 2.0, 0.85)


def test_trends_take_runs_as_units_match_accuracy_and_say_no_difference_only_of_narrow_intervals() -> None:
    sizes = {"0.03m": 10**4, "0.1m": 10**5, "1m": 10**6}
    rows = [
        made_up(size, count, "STaR", 95, seed=seed, flip=0.2 * place + 0.02 * seed)
        for place, (size, count) in enumerate(sizes.items())
        for seed in (0, 1)
    ]
    unmatched = [made_up("4m", 10**7, "STaR", right, seed=seed, flip=0.0) for seed, right in ((0, 40), (1, 88))]
    found = {row["measure"]: row for row in size_figures.trends(rows + unmatched)}
    flip = found["answer changed by an added mistake"]
    assert flip["per_tenfold_parameters"]["n"] == 6  # those that are less right stay out
    assert flip["per_tenfold_parameters"]["value"] == pytest.approx(0.2)
    assert flip["verdict"] == "differs"
    assert found["right but unsound"]["verdict"] == "no difference"
    assert found["answers right"]["per_tenfold_parameters"]["n"] == 8
    assert found["answers right"]["verdict"] == "not settled"
    alike = [row | {"right_but_unsound": wilson(0, 100).as_dict()} for row in rows]
    found = {row["measure"]: row for row in size_figures.trends(alike)}
    assert found["right but unsound"]["verdict"] == "does not vary"
    assert arms.made([tuple(row["made_by"]) for row in rows]) == [{"date": "2026-01-01", "commit": "abc", "runs": 6}]


def test_trends_compare_what_each_run_gained_over_its_own_base_and_no_skill_with_another() -> None:
    begun = {"skill .1": 10, "skill .3": 30}  # the larger, the fewer have the higher skill: no change with size all the same
    sizes = {"0.1m": (10**5, ["skill .3"]), "0.2m": (10**5 * 2, [*begun]), "1m": (10**6, [*begun]), "4m": (10**7, ["skill .1"])}
    rows = [
        made_up(size, count, arm, begun[base] + 20 * (arm == "STaR"), base=base)
        for size, (count, bases) in sizes.items()
        for base in bases
        for arm in ("base", "STaR")
    ]
    found = {(row["arm"], row["measure"]): row["per_tenfold_parameters"] for row in size_figures.summary(rows)["trends"]}
    assert found["base", "answers right"]["value"] == pytest.approx(0)
    assert found["STaR", "answers right, minus those of its base"]["value"] == pytest.approx(0)
    assert found["STaR", "answers right, minus those of its base"]["n"] == 6


def test_skill_is_the_share_that_greedy_decoding_works_out(tmp_path: Path) -> None:
    from star.sampling import Decoding
    from star.sampling.transformers_sampler import TransformersSampler

    sampler = TransformersSampler(SEEDS / "models" / "addition-0.2m", device="cpu")
    ids, labels = size_bases.encoded(sampler.tokenizer, 2, hinted=False)
    ids, labels = ids[:40], labels[:40]
    starts = [int((row != -100).nonzero()[0]) for row in labels]
    wanted = [row[row != -100].tolist() for row in labels]
    prompts = [row[:start].tolist() for row, start in zip(ids, starts, strict=True)]
    written = [row[0].token_ids for row in sampler.sample(prompts, Decoding(temperature=0.0, max_new_tokens=80))]
    end = sampler.tokenizer.eos_token_id
    right = [[*(token for token in row if token != end), end] == answer for row, answer in zip(written, wanted, strict=True)]
    assert 0 < sum(right) < 40
    assert size_bases.solved(sampler.model, ids, labels) == pytest.approx(sum(right) / 40)


def test_bases_are_saved_when_their_skill_or_tokens_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_bases, "HELD_OUT", 8)
    found = size_bases.make_bases("0.03m", 3, 3e-3, tmp_path, "cpu", same=3e4, most=2.5e4)
    assert found["same tokens"]["reached"] and 3e4 <= found["same tokens"]["tokens"] < 5.2e4
    assert (tmp_path / "same tokens" / "model.safetensors").is_file() and not (tmp_path / "skill .6").exists()
    assert (found["skill .6"]["reached"], found["skill .6"]["tokens"] >= 5e4) == (False, True)
    assert runs.read_json(tmp_path / "same tokens" / "config.json")["hidden_size"] == 24


def test_pretraining_ends_when_it_is_told_that_this_is_enough() -> None:
    tokenizer = pretrain.build_tokenizer()
    model = pretrain.build_model("0.03m", len(tokenizer), 0, tokenizer.eos_token_id, tokenizer.pad_token_id)
    seen: list[int] = []
    trained = pretrain.train(
        model, tokenizer, pretrain.Arguments(size="0.03m", batch_tokens=512), stop=lambda n: seen.append(n) or len(seen) == 3
    )
    assert trained["steps"] == 3 and trained["seen"] == seen[-1]


def test_seeds_are_pooled_by_round_and_paired_by_problem(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=2, problems=60)
    lines, own = arms.pooled_lines([run, run]), runs.Run(run).rounds
    assert [line["round"] for line in lines] == [line["round"] for line in own]
    assert [line["selection"]["correct"] for line in lines] == [2 * line["selection"]["correct"] for line in own]
    assert lines[-1]["selection"]["sound_of_correct"] == pytest.approx(own[-1]["selection"]["sound_of_correct"])
    other = make_run(tmp_path, name="other", rounds=2, problems=60)
    rounds = runs.Run(other).rounds
    lacking = [line["selection"]["slices"].pop("1 digit") for line in rounds]
    (other / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rounds))
    for order in ([run, other], [other, run]):  # a small selection may have no problem of some slice
        for line, alone, gone in zip(arms.pooled_lines(order), own, lacking, strict=True):
            assert line["selection"]["n"] == 2 * alone["selection"]["n"] - gone["n"]
    worse, better = (
        [{"problem_id": str(i), "verdict": "correct" if i < right else "wrong", "sound": i < 5} for i in range(20)]
        for right in (5, 15)
    )
    found = arms.paired({0: worse, 1: worse}, {0: better, 1: better[::-1]})
    assert (found["difference"]["value"], found["by_seed"]) == (0.5, [0.5, 0.5])
    assert found["mcnemar_p_by_seed"] == [pytest.approx(2 / 2**10)] * 2
    assert arms.paired({0: worse}, {0: better}, arms.right_but_unsound)["difference"]["value"] == 0.5
