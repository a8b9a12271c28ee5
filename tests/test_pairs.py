"""Training on pairs and the verifier: their rows, their objective against TRL's own, the loop with them, kills included."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from analysis.score import main as score
from star import loop as star_loop
from star import run as runs
from star.curation import soundness_of
from star.preferences import drawn, pair_rows, walked
from star.prompting import PromptBuilder
from star.recipe import CurationSettings, Recipe, TrainingSettings
from star.report import table
from star.report_data import all_values
from star.run_summary import accuracy_at, flops_to, summarise_run
from star.setup import prepare
from star.training import sft
from star.training.finetuning import finetune
from star.training.jobs import pair_job
from star.training.plan import Job, with_data
from star.training.sft import shared_arguments
from star.verifier import completion_scores
from tests.scripted import ScriptedSampler
from tests.scripted_loop import Killed, contents, make_recipe
from tests.scripted_loop import run as run_loop
from tests.test_methods import PAIRED, attempt, attempts, run


def test_pairs_are_walked_together_and_never_come_twice() -> None:
    right, wrong = [attempt("a", True, sample=k) for k in range(2)], [attempt("a", False, sample=k) for k in range(3)]
    pairs = [(w["sample"], x["sample"]) for w, x in walked(right, wrong, 4)]
    assert pairs == [(0, 0), (1, 1), (0, 2), (1, 0)]
    assert len(walked(right, wrong, 10)) == 6 == len(set(map(str, walked(right, wrong, 10))))
    some = drawn(0)(right, wrong, 4)
    assert len(some) == 4 == len({(w["sample"], x["sample"]) for w, x in some}) and some == drawn(0)(right, wrong, 4)


def preference_job(base: Path, folder: Path, **changes: Any) -> Job:
    """Pairs whose winner ends in token 6 and whose loser ends in token 7."""
    pairs = changes.pop("pairs", [((3, 4, k), (5, 6, 1), (5, 7, 1)) for k in range(2, 10)])
    settings = TrainingSettings.model_validate(
        {"learning_rate": 0.003, "batch_size": 8, "warmup_steps": 0, "max_length": 16, **changes.pop("training", {})}
    )
    content: dict[str, Any] = {
        "base": str(base), "output": str(folder / "model"), "steps": 12, "seed": 0, "settings": settings,
        "preference": {"beta": 0.1, "nll": 1.0},
    }  # fmt: skip
    return with_data(Job(**(content | changes)), pairs)


def test_preference_training_moves_the_right_way_and_the_likelihood_keeps_winners_up(base_model: Path, tmp_path: Path) -> None:
    both = finetune(preference_job(base_model, tmp_path / "rpo"))
    plain = finetune(preference_job(base_model, tmp_path / "dpo", preference={"beta": 0.1, "nll": 0.0}))
    assert both["reference_tokens"] == 8 * 2 * 6 and both["tokens"] == 12 * both["reference_tokens"]
    assert both["pairs_right"][-1] == plain["pairs_right"][-1] == 1.0
    assert both["chosen_logprob"][-1] > both["rejected_logprob"][-1]
    assert both["chosen_logprob"][-1] > plain["chosen_logprob"][-1]
    rows = [((3, 4, 2), (5, 6, 1)), ((3, 4, 2), (5, 7, 1))]
    winner, loser = completion_scores(tmp_path / "rpo" / "model", rows)
    before = completion_scores(base_model, rows)
    assert winner > loser and winner - loser > before[0] - before[1]


def test_two_processes_and_lora_train_on_pairs_too(base_model: Path, tmp_path: Path, no_gpu: None) -> None:
    alone = finetune(preference_job(base_model, tmp_path / "one"))
    both = finetune(preference_job(base_model, tmp_path / "two", training={"accelerate_config": "seeds/accelerate/cpu2.yaml"}))
    assert both["num_processes"] == 2 and both["loss_curve"] == pytest.approx(alone["loss_curve"], rel=1e-3)
    adapted = finetune(preference_job(base_model, tmp_path / "lora", training={"method": "lora", "learning_rate": 0.05}))
    assert adapted["loss_curve"][-1] < adapted["loss_curve"][0]
    assert not [file for file in tmp_path.rglob("model/*") if file.suffix == ".arrow"]


def test_without_the_likelihood_pairs_on_ids_train_as_trls_own_dpo_on_text(base_model: Path, tmp_path: Path) -> None:
    """Where both tokenise alike; TRL's own asks the reference while it trains."""
    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(base_model)
    texts = [{"prompt": f"{k} + {k}\n", "chosen": f", {2 * k} .", "rejected": f", {k} ?"} for k in range(8)]
    ids = [{name: tuple(tokenizer(text)["input_ids"]) for name, text in row.items()} for row in texts]
    end = (tokenizer.eos_token_id,)
    pairs = [(row["prompt"], row["chosen"] + end, row["rejected"] + end) for row in ids]
    ours = preference_job(
        base_model, tmp_path, pairs=pairs, preference={"beta": 0.1, "nll": 0.0}, training={"max_length": 64}
    )
    found = finetune(ours)
    settings = TrainingSettings.model_validate(ours.settings)
    trainer = DPOTrainer(
        AutoModelForCausalLM.from_pretrained(base_model), processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_list(texts), args=DPOConfig(**shared_arguments(ours, settings)),
    )  # fmt: skip
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert found["loss_curve"] == pytest.approx(losses, rel=1e-4) and losses[-1] < 0.9 * losses[0]


def test_rpo_trains_on_pairs_and_counts_the_reference(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = {"sampling": {"samples": 4, "temperature": 1.0}, "loop": {"rounds": 1}, "training": {"objective": "rpo"}}
    setup, _, jobs = run(make_recipe(base_model, tmp_path, **sections), monkeypatch)
    pairs, rows = attempts(setup, 1, "pairs"), {row["attempt_id"]: row for row in attempts(setup, 1)}
    assert pairs and jobs[0].rows == len(pairs)
    for pair in pairs:
        winner, loser = rows[pair["chosen_id"]], rows[pair["rejected_id"]]
        assert winner["kept"] and loser["verdict"] != "correct"
        assert winner["problem_id"] == loser["problem_id"] == pair["problem_id"]
    line = runs.Run(setup.run_dir).rounds[1]
    assert line["flops"]["training"] == (6 * 10 + 2 * 7) * setup.parameters


def test_the_verifier_is_trained_once_on_all_rounds_and_ranks_the_test_answers(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections: dict[str, Any] = {
        "sampling": {"samples": 4, "temperature": 1.0}, "loop": {"rounds": 2, "rationalize": False},
        "evaluation": {"samples": 4}, "verifier": {"kind": "dpo", "pairs": 3, "steps": 7},
    }  # fmt: skip
    recipe = make_recipe(base_model, tmp_path, **sections)
    setup, result, jobs = run(recipe, monkeypatch)
    (verifier,) = [job for job in jobs if job.preference]
    assert verifier.steps == 7 and verifier.preference == {"beta": 0.1, "nll": 0.0} and verifier.base.endswith("round_01/model")
    pairs = runs.read_rows(setup.run_dir / "verifier" / "pairs.parquet")
    assert {pair["from_round"] for pair in pairs} == {1, 2}
    assert max(sum(p["problem_id"] == pair["problem_id"] for p in pairs) for pair in pairs) <= 3
    rows = runs.read_rows(setup.run_dir / "test" / "evaluation.parquet")
    test, cost = result["test"], result["cost"]
    assert cost["flops"]["training"] == (6 * 10 + 2 * 7) * setup.parameters
    builder, asked = PromptBuilder(setup.task, setup.tokenizer, recipe.prompting), {each.id: each for each in setup.test}
    read = [
        builder.encoded(asked[row["problem_id"]], row["completion"], shots=False, ended=row["verdict"] != "truncated")
        for row in rows
        if row["sample"]
    ]
    tokens = cost["sampled_tokens"] + cost["prompt_tokens"] + sum(len(prompt) + len(completion) for prompt, completion in read)
    assert cost["flops"]["sampling"] == 2 * setup.parameters * tokens
    assert test["best_of_k"].keys() == test["weighted_at_k"].keys() == test["pass_at_k"].keys()
    assert test["best_of_k"]["1"] == pytest.approx(test["pass_at_k"]["1"])


def test_pair_rows_take_each_completion_once(base_model: Path, tmp_path: Path) -> None:
    recipe = make_recipe(base_model, tmp_path)
    setup = prepare(recipe, ["test"])
    problem = setup.train[0]
    rows = [
        attempt(problem.id, True, sample=0, completion="same"), attempt(problem.id, True, sample=1, completion="same "),
        attempt(problem.id, False, sample=2, completion="x"), attempt(problem.id, False, sample=3, completion="x"),
        attempt(problem.id, False, sample=4, completion="y", verdict="ungradable"),
    ]  # fmt: skip
    builder = PromptBuilder(setup.task, setup.tokenizer, recipe.prompting)
    (row,) = pair_rows(rows, {problem.id: problem}, builder, walked, 10, itemgetter("completion"), shots=False)
    assert (row["chosen_id"], row["rejected_id"], row["rejected_ended"]) == (f"{problem.id}-0", f"{problem.id}-2", True)


def test_a_loser_that_was_cut_off_is_trained_on_without_an_end(base_model: Path, tmp_path: Path) -> None:
    recipe = make_recipe(base_model, tmp_path)
    setup = prepare(recipe, ["test"])
    problem, builder = setup.train[0], PromptBuilder(setup.task, setup.tokenizer, recipe.prompting)
    for verdict, ended in (("incorrect", True), ("truncated", False)):
        rows = [attempt(problem.id, True, completion="8"), attempt(problem.id, False, completion="7", verdict=verdict)]
        pairs = pair_rows(rows, {problem.id: problem}, builder, walked, 1, itemgetter("completion"), shots=False)
        job = pair_job(recipe, builder, {problem.id: problem}, 1, pairs, setup.base_dir, tmp_path / "model")
        end = setup.tokenizer.eos_token_id
        assert job.data[0]["chosen_ids"][-1] == end and (job.data[0]["rejected_ids"][-1] == end) is ended


def test_the_verifier_reads_what_was_sampled_and_the_policy_the_asked_form(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections: dict[str, Any] = PAIRED | {"curation": {"accept": "lenient"}}
    setup, _, _ = run(make_recipe(base_model, tmp_path, **sections), monkeypatch, before="The sum is:\n")
    told = {row["attempt_id"]: row["completion"] for row in attempts(setup, 1)}
    judged = runs.read_rows(setup.run_dir / "verifier" / "pairs.parquet")
    assert judged and all(pair["chosen"] == told[pair["chosen_id"]] for pair in judged)
    assert not any("The sum is" in pair["chosen"] for pair in attempts(setup, 1, "pairs"))


def test_without_a_pair_there_is_no_verifier_and_pairs_train_nothing(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every first answer is right there is no loser."""
    sections: dict[str, Any] = PAIRED | {"training": {}}
    setup, result, jobs = run(make_recipe(base_model, tmp_path / "verifier", **sections), monkeypatch, skill=1.0)
    assert len(jobs) == 1 and result["chosen_round"] == 1 and not {"best_of_k"} & result["test"].keys()
    assert "there is no verifier" in (setup.run_dir / "notes.txt").read_text()
    setup, result, jobs = run(make_recipe(base_model, tmp_path / "rpo", **PAIRED), monkeypatch, skill=1.0)
    assert not jobs and result["chosen_round"] == 0 and result["round_without_model"]["round"] == 1
    assert "no pair of a right and a wrong" in (setup.run_dir / "notes.txt").read_text()


@pytest.mark.parametrize("max_length", [20, 64])
def test_pairs_that_are_the_same_within_max_length_are_left_out_and_counted(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_length: int
) -> None:
    """All of them, or some: then the others are trained on and their steps are counted from those."""
    training = {"objective": "rpo", "max_length": max_length, "batch_size": 1, "steps": {"epochs": 1}}
    setup, result, jobs = run(make_recipe(base_model, tmp_path, **PAIRED | {"training": training}), monkeypatch)
    pairs, notes = attempts(setup, 1, "pairs"), (setup.run_dir / "notes.txt").read_text()
    if max_length == 20:
        assert not jobs and result["round_without_model"]["round"] == 1 and "no pair of a right and a wrong" in notes
        return
    job = jobs[0]
    assert 0 < job.dropped == len(pairs) - job.rows and job.steps == job.rows
    assert f"{job.dropped:,} of {len(pairs):,} training pairs were left out: they do not differ within" in notes


def test_torn_pairs_are_made_again(base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_recipe(base_model, tmp_path, **PAIRED)
    setup, _, _ = run(recipe, monkeypatch)
    files = [setup.run_dir / folder / "pairs.parquet" for folder in ("round_01", "verifier")]
    whole = [runs.read_rows(file) for file in files]
    (setup.run_dir / "result.json").unlink()
    for file in files:
        file.write_bytes(file.read_bytes()[:-9])
    _, _, jobs = run(recipe, monkeypatch)
    assert [runs.read_rows(file) for file in files] == whole and not jobs, "the models were whole"


def test_the_report_shows_the_verifier_and_equal_costs(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections: dict[str, Any] = {
        "sampling": {"samples": 2, "temperature": 1.0}, "loop": {"rounds": 2},
        "evaluation": {"samples": 2}, "verifier": {"kind": "dpo", "steps": 1},
    }  # fmt: skip
    setup, _, _ = run(make_recipe(base_model, tmp_path, **sections), monkeypatch)
    summary = summarise_run(setup.run_dir)
    assert len(summary.course) == 3 and [flops for _, _, flops in summary.course] == sorted(f for _, _, f in summary.course)
    (row,) = table(all_values([summary], reach=summary.course[1][0], tokens=summary.course[1][1]))
    assert row["method"] == "STaR, verifier" and row["best of 2 %"] != "-" and row["weighted@2 %"] != "-"
    first = next(flops for accuracy, _, flops in summary.course if accuracy >= summary.course[1][0])
    assert flops_to(summary, summary.course[1][0]) == first and flops_to(summary, 1.01) is None
    assert accuracy_at(summary, summary.course[1][1]) == max(accuracy for accuracy, _, _ in summary.course[:2])
    assert accuracy_at(summary, 0) is None
    file = setup.run_dir / f"round_{summary.round:02d}" / "training.parquet"
    rows = runs.read_rows(file)
    runs.write_parquet(file, [*rows, rows[0] | {"mode": "gold"}], runs.TRAINING)
    assert summarise_run(setup.run_dir).generated == summary.generated is not None, "no direct fine-tuning"


SMALLEST: dict[str, Any] = PAIRED | {
    "task": {"digits": [1], "test_size": 4}, "loop": {"rounds": 1, "problems": 8, "rationalize": False},
    "training": {"objective": "rpo", "steps": {"first": 2}, "batch_size": 2, "max_length": 128, "preference": {"pairs": 1}},
    "verifier": {"kind": "dpo", "steps": 2, "pairs": 1}, "evaluation": {"selection_size": 4, "samples": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def really_trained(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A run whose pairs and verifier were trained on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sft, "count_endings", lambda *_: 4)  # a random model never ends
        yield run_loop(make_recipe(base_model, tmp_path_factory.mktemp("runs"), **SMALLEST))[0]


def test_cards_and_facts_say_what_pairs_are_trained_with(really_trained: Any) -> None:
    for folder, ended in (("round_01", True), ("verifier", False)):
        card = (really_trained.run_dir / folder / "model" / "README.md").read_text()
        assert "2 steps of 2 pairs" in card and "loss on" not in card
        facts = runs.read_json(really_trained.run_dir / folder / "model" / "finetuning.json")
        assert ("ended" in facts) is ended, "a verifier is not there to generate"


def test_a_runs_verifier_is_a_scorer(really_trained: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = really_trained.run_dir
    assert score([str(folder), "-o", str(folder.parent / "scores.jsonl"), "--scorer", f"verifier:{folder}"]) == 0
    told = [json.loads(line) for line in (folder.parent / "scores.jsonl").read_text().splitlines()]
    rows = [row for name in runs.Run(folder).attempt_files() for row in runs.Run(folder).table(name).to_pylist()]
    place = next(k for k, row in enumerate(rows) if row["verdict"] == "correct")
    asked = {each.id: each for each in really_trained.all_problems}[rows[place]["problem_id"]]
    builder = PromptBuilder(really_trained.task, really_trained.tokenizer, Recipe().prompting.model_copy(update={"shots": 0}))
    both = [completion_scores(folder / name / "model", [builder.encoded(asked, rows[place]["completion"], shots=False)])[0]
            for name in ("verifier", "round_01")]  # fmt: skip
    name = f"verifier-{folder.name}"
    assert told[place][f"{name}_p_unsound"] == pytest.approx(1 / (1 + math.exp(0.1 * (both[0] - both[1]))), abs=1e-6)
    assert told[place][f"{name}_p_unsound"] != 0.5 and told[place][f"{name}_step_ok"] is None
    assert {row[f"{name}_status"] for row, given in zip(told, rows, strict=True) if given["answer"] is None} == {"unparsed"}
    for above, expected in ((1e-4, True), (-1e-4, False)):
        most = told[place][f"{name}_p_unsound"] + above
        settings = CurationSettings(require="sound", scorer=f"verifier:{folder}", max_unsound=most)
        soundness = soundness_of(really_trained.task, settings, {each.id: each for each in really_trained.all_problems})
        assert soundness is not None and soundness(rows[place : place + 1]) == [expected]
    shutil.copytree(folder, folder.parent / "without", ignore=shutil.ignore_patterns("verifier"))
    assert score([str(folder), "-o", "x.jsonl", "--scorer", f"verifier:{folder.parent / 'without'}"]) == 1
    assert "has no verifier: train one" in capsys.readouterr().err


def test_killed_in_training_on_pairs_and_in_the_verifier_and_resumed_equals_uninterrupted(
    really_trained: Any, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real trainings: killed within the round's, after the verifier's was done and before it was kept, and while it ranks. Whoever
    asks the verifier has the sampler give its memory back first, also where its training was done before the kill.
    """
    from trl import DPOTrainer

    recipe = make_recipe(base_model, tmp_path, **SMALLEST)
    stages = [(DPOTrainer, "training_step", 2), (sft, "publish", 1), (star_loop, "completion_scores", 1), (sft, "publish", 99)]
    asleep: list[Any] = []
    monkeypatch.setattr(ScriptedSampler, "sleep", lambda sampler: asleep.append(sampler))

    def ended(place: Any, name: str, nth: int) -> Any:
        """A run that is killed at the nth call of a function; None where it was."""
        real, calls = getattr(place, name), itertools.count(1)

        def called(*args: Any, **more: Any) -> Any:
            if next(calls) == nth:
                raise Killed
            return real(*args, **more)

        asleep.clear()
        with monkeypatch.context() as patch:
            patch.setattr(place, name, called)
            try:
                setup, _, _ = run_loop(recipe)
            except Killed:
                return None
            assert asleep
            return setup

    killed = [ended(*stage) for stage in stages]
    assert killed[:3] == [None] * 3
    assert contents(killed[3]) == contents(really_trained)
    for model in ("round_01", "verifier"):
        files = [each.run_dir / model / "model" / "model.safetensors" for each in (really_trained, killed[3])]
        assert files[0].read_bytes() == files[1].read_bytes()
