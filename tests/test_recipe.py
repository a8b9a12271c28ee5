"""Recipes and the command line: what is accepted, and how what is not is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from star.recipe import (
    DEFAULT_RECIPE,
    SEEDS,
    Recipe,
    RecipeError,
    load_recipe,
    parse_recipe,
)
from star.run_summary import ARMS, arm_name
from star.settings import StepSchedule, TaskSettings
from star.train import main, parse
from star.training.plan import steps_of_round

ROOT = SEEDS.parent


@pytest.mark.parametrize("path", sorted((SEEDS / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_and_survives_a_round_trip(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    (tmp_path / "again.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "again.yaml") == recipe


def test_differing_keys_are_those_that_the_digest_follows() -> None:
    recipe = load_recipe(DEFAULT_RECIPE)
    other = parse_recipe({**recipe.model_dump(), "runs_dir": "x", "seed": 1, "loop": {"rounds": 99}}, "test")
    assert recipe.differing_keys(recipe) == [] and {"seed", "loop.rounds"} <= set(recipe.differing_keys(other))
    assert "runs_dir" not in recipe.differing_keys(other)


def test_a_key_at_its_default_does_not_count_in_the_digest() -> None:
    class Older(TaskSettings):
        """As before or after one more key was thought of."""

        one_more_key: int = 7

    class OlderRecipe(Recipe):
        task: Older = Older()

    assert OlderRecipe().digest() == Recipe().digest() == Recipe(task=TaskSettings(pool=50_000)).digest()
    assert OlderRecipe(task=Older(one_more_key=8)).digest() != Recipe().digest()


@pytest.mark.parametrize("given", ["addition-star", "addition-star.yaml", "seeds/recipes/addition-star.yaml"])
def test_shipped_recipes_are_found_by_name_from_anywhere(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse([given])[0] == load_recipe(SEEDS / "recipes" / "addition-star.yaml")
    (tmp_path / given).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / given).write_text("name: mine")
    assert parse([given])[0].name == "mine"


def test_the_digest_follows_what_is_computed_and_not_where() -> None:
    recipe = load_recipe(DEFAULT_RECIPE)
    assert recipe.model_copy(update={"runs_dir": "elsewhere"}).digest() == recipe.digest()
    assert recipe.model_copy(update={"seed": 1}).digest() != recipe.digest()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"loop": {"roundz": 3}}, "did you mean rounds"),
        ({"lop": {}}, "did you mean loop"),
        ({"loop": {"rounds": 0}}, "greater than or equal to 1"),
        ({"sampling": {"samples": 0}}, "greater than or equal to 1"),
        ({"training": {"steps": {"first": -4}}}, "greater than or equal to 1"),
        ({"training": {"batch_size": 10, "micro_batch_size": 4}}, "not a multiple"),
        ({"task": {"name": "sums"}}, "addition"),
        ({"task": {"digits": []}}, "at least 1 item"),
        ({"name": "../../etc"}, "pattern"),
        ({"sampling": {"top_p": 1.5}}, "less than or equal to 1"),
        ({"sampling": {"temperature": float("inf")}}, "temperature: Input should be a finite number"),
        ({"training": {"learning_rate": float("nan")}}, "learning_rate: Input should be a finite number"),
        ({"task": {"name": "gsm8k", "grow": {"to": 7}}}, "task.grow.to is for task.name addition, not gsm8k"),
        (
            {"task": {"name": "addition", "digits": [1, 2], "grow": {"to": 7}}, "evaluation": {"selection_size": 6}},
            "evaluation.selection_size 6: expected 7 or more, since a growing pool needs",
        ),
        ({"training": {"steps": {"growth": float("inf"), "cap": None}}}, "growth: Input should be a finite number"),
        ({"training": {"steps": {"growth": 1e200, "cap": None}}}, "growth: Input should be less than or equal to 3"),
        ({"sampling": {"temperature": 0, "samples": 2}}, "at temperature 0 would all be the same"),
        ({"task": {"name": "gsm8k", "index_hints": True}}, "task.index_hints is for task.name addition, not gsm8k"),
        ({"loop": {"retries": 2, "first_pass": False}}, "set loop.first_pass to true"),
        ({"loop": {"retries": 2}, "sampling": {"temperature": 0}}, "samples 1 and loop.retries 2 at temperature 0 would all be"),
        ({"sampling": {"temperature": [1, 0], "samples": 2}}, "at temperature 0 would all be the same"),
        ({"sampling": {"try_temperatures": [1, 0], "samples": 2}}, "at temperature 0 would all be the same"),
        ({"loop": {"method": "direct"}, "sampling": {"try_temperatures": [1]}}, "need attempts: loop.method direct has none"),
        ({"loop": {"method": "few_shot"}, "training": {"objective": "rpo"}}, "need attempts: loop.method few_shot has none"),
        ({"loop": {"method": "few_shot"}, "verifier": {"kind": "dpo"}, "evaluation": {"samples": 2}}, "few_shot has none"),
        ({"sampling": {"try_temperatures": [1], "temperature": 0.5}}, "leave one of the two out"),
        ({"training": {"objective": "rpo"}, "curation": {"gold": True}}, "are for rows: leave them out"),
        ({"training": {"objective": "rpo"}, "curation": {"replay": 1}}, "are for rows: leave them out"),
        ({"training": {"objective": "rpo"}, "curation": {"hint_share": 0.5}}, "are for rows: leave them out"),
        ({"training": {"objective": "rpo", "packing": True}}, "are for rows: leave them out"),
        ({"training": {"objective": "rpo", "loss_on": "all"}}, "are for rows: leave them out"),
        ({"curation": {"problems": "mixed"}}, "set sampling.samples to 2 or more"),
        ({"curation": {"problems": "mixed"}, "sampling": {"samples": 2}, "loop": {"first_pass": False}}, "loop.first_pass to true"),
        ({"curation": {"problems": "mixed"}, "sampling": {"samples": 2}, "loop": {"retries": 2}}, "leave one of the two out"),
        ({"loop": {"enough": True}, "training": {"steps": {"epochs": 1}}}, "leave training.steps.epochs out"),
        ({"loop": {"gate": True}}, "gate: Input should be 'warn', 'stop' or 'off'"),
    ],
)
def test_impossible_recipes_are_refused_with_the_key_and_the_reason(content: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        parse_recipe(content, "test")


def test_a_bad_entry_of_a_list_is_named_once() -> None:
    with pytest.raises(RecipeError) as raised:
        parse_recipe({"task": {"digits": [0]}}, "r.yaml")
    assert str(raised.value) == "r.yaml: task.digits.0: Input should be greater than or equal to 1 (found 0)"


def test_recipes_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Recipe().seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nowhere.yaml"], 1, "there is no recipe"),
        (["seeds/recipes/adition.yaml"], 1, "Did you mean addition?"),
        (["--loop.roundz", "3"], 2, "--loop.rounds"),
        (["--loop.rounds", "0"], 2, "loop.rounds: Input should be greater than or equal to 1 (found 0)"),
        (["--sampling.samples", "0"], 2, "sampling.samples: Input should be greater"),
        (["--training.steps.first", "-5"], 2, "training.steps.first: Input should be greater"),
        (["--task.digits", "0"], 2, "line: task.digits.0: Input should be greater than or equal to 1 (found 0)"),
        (["--task.digits"], 2, "task.digits: Tuple should have at least 1 item"),
        (["nope.yaml"], 1, "no recipe nope.yaml. Shipped recipes: addition,"),
        (["--seeds", "0,x"], 2, "whole numbers"),
        (["--training.accelerate-config", "nope.yaml", "--runs-dir", "{tmp}"], 1, "accelerate_config nope.yaml is not"),
        (["--sampling.max-new-tokens", "5000", "--runs-dir", "{tmp}"], 1, "max_new_tokens 5000 and"),
        (["--prompting.mode", "chat", "--runs-dir", "{tmp}"], 1, "has no chat template"),
        (["--model.path", "/nowhere/model", "--runs-dir", "{tmp}"], 1, "not a directory"),
    ],
)
def test_bad_command_lines_end_in_a_sentence(
    arguments: list[str], status: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main([argument.format(tmp=tmp_path) for argument in arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    shown = capsys.readouterr()
    assert code == status and words in " ".join((shown.out + shown.err).split()) and "Traceback" not in shown.err
    assert "pydantic.dev" not in shown.err
    assert not list(tmp_path.iterdir())


def test_flags_reach_every_kind_of_value() -> None:
    flags = (
        "--loop.no-rationalize --task.digits 1 2 --training.lora.targets q v --loop.problems None --model.dtype float32"
    )
    recipe, _, _ = parse(flags.split())
    assert (recipe.loop.rationalize, recipe.task.digits, recipe.loop.problems) == (False, (1, 2), None)
    assert recipe.training.lora.targets == ("q", "v") and recipe.model.dtype == "float32"


def test_bad_yaml_is_refused(tmp_path: Path) -> None:
    for name, text in (("list.yaml", "- 1\n- 2\n"), ("broken.yaml", "a: [1\n"), ("bytes.yaml", "\udcff")):
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(RecipeError, match=name):
            load_recipe(tmp_path / name)


@pytest.mark.parametrize("text", ["name: 2025-02-30\n", "name: x\nseed: 0b_\n", "seed: 0x" + "f" * 4_000])
def test_yaml_that_looks_like_an_impossible_value_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    assert main([str(tmp_path / "mine.yaml"), "--dry-run"]) == 1
    assert "mine.yaml is not readable YAML: " in capsys.readouterr().err


def test_a_recipe_that_may_not_be_read_is_not_a_problem_of_the_runs_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.touch()

    def refuse(self: Path, *_: object, **__: object) -> bytes:  # root may read everything
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert main([str(path)]) == 1
    shown = capsys.readouterr().err
    assert "mine.yaml cannot be read (Permission denied)" in shown and "runs-dir" not in shown


def test_a_bare_off_is_a_word(tmp_path: Path) -> None:
    (tmp_path / "off.yaml").write_text("loop: {gate: off, rationalize: off}\ncuration: {deduplicate: off}\n")
    recipe = load_recipe(tmp_path / "off.yaml")
    assert (recipe.loop.gate, recipe.curation.deduplicate, recipe.loop.rationalize) == ("off", "off", False)
    (tmp_path / "again.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "again.yaml") == recipe


def test_a_runs_directory_below_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = Recipe(runs_dir="~/myruns")
    assert recipe.run_dir == tmp_path / "myruns" / f"addition-{Recipe().digest()}"


def test_direct_fine_tuning_never_asks_for_rationales() -> None:
    recipe, _, _ = parse(["--loop.method", "direct", "--dry-run"])
    assert recipe.loop.method == "direct" and recipe.prompting.answer_only
    assert parse_recipe({"loop": {"method": "direct"}, "prompting": {"shots": 3}}, "test").prompting.shots == 3
    assert not Recipe().prompting.answer_only


def test_a_dry_run_explains_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dry-run", "--runs-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "rationalizer: base" in shown and "run directory" in shown and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("addition-pps", "all of them with the answer shown"), ("addition-adastar", "of train until the kept rows fill the steps"),
        ("addition-rpo", "32 pairs a step"), ("addition-v-star", "a verifier ranks its samples"),
        ("addition-star", "each; failed ones again with the answer shown, by the base model"),
    ],
)  # fmt: skip
def test_a_dry_run_says_what_a_method_does(name: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--dry-run"]) == 0
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (StepSchedule(), [40, 48, 57, 69, 82]),  # the paper's 40 x 1.2^(n-1)
        (StepSchedule(first=300, growth=1.0, add=20), [300, 320, 340, 360, 380]),  # arithmetic with rationalization
        (StepSchedule(first=40, cap=50), [40, 48, 50, 50, 50]),
        (StepSchedule(epochs=2), [25, 25, 25, 25, 25]),
    ],
)
def test_step_schedules(schedule: StepSchedule, expected: list[int]) -> None:
    assert [steps_of_round(schedule, n, sequences=100, batch_size=8) for n in range(1, 6)] == expected


@pytest.mark.parametrize(
    ("epochs", "rows", "steps"),
    [(1.1, 100, 11), (1.1, 101, 12), (0.1, 3, 1), (2, 100, 20), (0.7, 30, 3), (3, 100_000, 30_000)],  # more than the cap
)
def test_epochs_are_rounded_up_and_no_further(epochs: float, rows: int, steps: int) -> None:
    assert steps_of_round(StepSchedule(epochs=epochs), 1, sequences=rows, batch_size=10) == steps


def test_the_papers_cap_is_loop_30() -> None:
    assert steps_of_round(StepSchedule(), 30, sequences=1, batch_size=1) == 7_912
    assert steps_of_round(StepSchedule(cap=None), 30, sequences=1, batch_size=1) == 7_912


def paper_rows() -> list[tuple[str, list[str]]]:
    """(row of the paper's tables, flags) as the recipes' README gives them."""
    text = (SEEDS / "recipes" / "README.md").read_text(encoding="utf-8")
    lines = text.partition("| row | flags |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    return [(row.strip(), flags.strip(" `").split()) for _, row, flags, _ in (line.split("|") for line in lines)]


@pytest.mark.parametrize(
    "name", ["gsm8k-qwen2.5-0.5b", "gsm8k-gptj-6b", "commonsense_qa-qwen2.5-7b-lora", "commonsense_qa-gptj-6b"]
)
def test_the_flags_of_the_papers_rows_make_runs_of_that_name(name: str) -> None:
    rows = paper_rows()
    assert [row for row, _ in rows] == list(ARMS)
    recipes = [parse([str(SEEDS / "recipes" / f"{name}.yaml"), *flags])[0] for _, flags in rows]
    assert [arm_name(recipe.model_dump()) for recipe in recipes] == list(ARMS)
    assert len({recipe.digest() for recipe in recipes}) == len(ARMS)


def test_the_recipe_table_names_every_file_and_no_other() -> None:
    text = (SEEDS / "recipes" / "README.md").read_text(encoding="utf-8")
    files = {path.stem for path in (SEEDS / "recipes").glob("*.yaml")}
    arms = {f"addition-{arm}" for arm in ("few-shot", "direct", "star-no-rationalization", "star", "star-sound")}
    methods = ("rft", "tpt", "rest-em", "pps", "adastar", "b-star", "v-star", "rpo", "reinforce-rej")
    assert all(f"`{method}`" in text for method in methods)
    successors = {f"{task}-{method}" for task in ("addition", "gsm8k") for method in methods}
    assert files == set(re.findall(r"`([\w.-]+)\.yaml`", text)) | arms | successors
