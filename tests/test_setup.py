"""What a run directory belongs to, and which problems fit into the model's context."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from star import run as runs
from star import setup
from star.problem import Task
from star.prompting import PromptBuilder
from star.recipe import Recipe, RecipeError
from star.run_summary import summarise_run
from star.sampling.model_files import context_length
from star.setup import prepare
from tests.task_rows import sums, write
from tests.tiny_models import tiny_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "model", chat_template=True)


def records(folder: Path, model: Path, **sections: Any) -> Recipe:
    content: dict[str, Any] = {
        "runs_dir": str(folder / "runs"),
        "task": {"name": "records", "path": str(folder / "mine.jsonl")},
        "model": {"path": str(model)},
        "prompting": {"shots": 1, "mode": "few_shot"},
        "sampling": {"max_new_tokens": 8},
        "evaluation": {"selection_size": 5},
    }
    return Recipe.model_validate({**content, **sections})


# ---------------------------------------------------------------------- whose run directory it is


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[::-1],
        lambda rows: [rows[1], rows[0], *rows[2:]],
        lambda rows: [{**rows[0], "question": rows[0]["question"].upper()}, *rows[1:]],
        lambda rows: [{**rows[0], "answer": "77"}, *rows[1:]],
        lambda rows: rows[:-1],
    ],
    ids=["reversed", "two exchanged", "another wording under the same id", "another answer", "one fewer"],
)
@pytest.mark.parametrize("manifest", ["whole", "torn", "gone"])
def test_a_run_is_not_resumed_on_other_data(change: Any, manifest: str, model: Path, tmp_path: Path) -> None:
    """Splits follow the order of the rows: reordered ones would put test problems into training."""
    rows = sums(20)
    write(tmp_path / "mine.jsonl", rows)
    recipe = records(tmp_path, model)
    run_dir = prepare(recipe, []).run_dir
    prepare(recipe, [])
    (run_dir / "round_00").mkdir()
    if manifest == "torn":
        (run_dir / "run.json").write_text('{"schema_')
    elif manifest == "gone":
        (run_dir / "run.json").unlink()
    write(tmp_path / "mine.jsonl", change(rows))
    with pytest.raises(runs.RunError, match=r"other data than this recipe finds now\. Move that directory away"):
        prepare(recipe, [])
    write(tmp_path / "mine.jsonl", rows)
    prepare(recipe, [])


def test_a_run_is_not_resumed_with_other_examples(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mine.jsonl", sums(20))
    shown, hidden = records(tmp_path, model), records(tmp_path, model, prompting={"shots": 0, "mode": "few_shot"})
    for recipe in (shown, hidden):
        prepare(recipe, [])
    load = setup.load_task

    def reworded(*arguments: Any) -> Task:
        task = load(*arguments)
        first, *others = task.examples
        return replace(task, examples=(replace(first, rationale=first.rationale + " So."), *others))

    monkeypatch.setattr(setup, "load_task", reworded)
    prepare(hidden, [])
    with pytest.raises(runs.RunError, match="other data"):
        prepare(shown, [])


@pytest.mark.parametrize("name", ["chat_template.jinja", "chat_templates/tools.jinja", "merges.txt", "tokenizer.model"])
def test_a_run_is_not_resumed_with_another_tokenizer(name: str, model: Path, tmp_path: Path) -> None:
    write(tmp_path / "mine.jsonl", sums(20))
    recipe = records(tmp_path, model)
    prepare(recipe, [])
    (model / name).parent.mkdir(exist_ok=True)
    with (model / name).open("a") as file:
        file.write("\n")
    with pytest.raises(runs.RunError, match="other model than"):
        prepare(recipe, [])


def test_a_run_of_an_earlier_version_says_what_to_do_and_is_still_read(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "mine.jsonl", sums(20))
    recipe = records(tmp_path, model)
    run_dir = prepare(recipe, []).run_dir
    manifest = runs.read_json(run_dir / "run.json")
    manifest["fingerprints"] = {"problems": "0123456789abcdef", "model": manifest["fingerprints"]["model"]}
    runs.write_json(run_dir / "run.json", manifest)
    with pytest.raises(runs.RunError, match=r"earlier version .* Move that directory away, or give this run another --name"):
        prepare(recipe, [])
    test = {"n": 4, "correct": 3, "no_answer": 0, "truncated": 0, "sound_of_correct": None, "slices": {}}
    (run_dir / "result.json").write_text(json.dumps({"chosen_round": 0, "select_on": "selection", "test": test}))
    assert summarise_run(run_dir).accuracy.value == 0.75


# ---------------------------------------------------------------------- the model's context


def few_shot_sums(folder: Path, **sampling: int) -> Recipe:
    task = {"name": "addition", "digits": [*range(1, 11)], "pool": 200, "test_size": 50}
    content = {"task": task, "prompting": {"shots": 20}, "sampling": sampling, "evaluation": {"selection_size": 20}}
    return Recipe.model_validate({**content, "runs_dir": str(folder)})


def test_examples_that_fill_the_context_are_refused(tmp_path: Path) -> None:
    """Few characters of addition share a token: 20 examples of 1 to 10 digits are 2,350 tokens, and 4,490 bytes."""
    with pytest.raises(RecipeError, match=r"no problem fits: .* and 20 prompting\.shots leave 0 of the model's context"):
        prepare(few_shot_sums(tmp_path, max_new_tokens=160), [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("chat", [False, True])
def test_problems_are_left_out_by_the_tokens_of_their_whole_prompt(chat: bool, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model", chat_template=True, context=2_048)
    write(tmp_path / "mine.jsonl", [*sums(20), {"question": "What is " + "1 + " * 40 + "1?", "answer": 41}])
    prompting = {"shots": 3, "mode": "chat" if chat else "few_shot"}

    def found(room: int) -> tuple[Any, int]:
        found = prepare(records(tmp_path / str(room), model, sampling={"max_new_tokens": room}, **shared), [])
        return found, len([*found.all_problems])

    shared = {"prompting": prompting, "task": {"name": "records", "path": str(tmp_path / "mine.jsonl")}}
    whole, count = found(8)
    builder = PromptBuilder(whole.task, whole.tokenizer, records(tmp_path, model, **shared).prompting)
    longest = max(len(builder.ids(problem, shots=True, hinted=True)) for problem in whole.all_problems)
    room = (context_length(model) or 0) - longest
    assert count == 21 and found(room)[1] == 21 and found(room + 2)[1] == 20
    assert not whole.skipped and sum(found(room + 2)[0].skipped.values()) == 1
