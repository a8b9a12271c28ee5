"""The command line of a run: seeds, --dry-run, and the flags that seeds/recipes/README.md promises."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, cast

import pytest

from star import train as command
from star.loop import Loop
from star.recipe import SEEDS, Recipe
from star.run_summary import arm_name
from star.setup import prepare
from star.train import main, parse
from tests.task_rows import sums, write

RECIPES = SEEDS / "recipes"
README = (RECIPES / "README.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """Cells of the first table below a heading of the recipes' README."""
    lines = README.partition(heading)[2].lstrip().split("\n")
    first = next(index for index, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return rows


PAPER = [(row[0], row[1].strip("`")) for row in table("## The rows of the paper's tables")]
OTHER = [row[0].strip("`") for row in table("## Other choices")]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """The recipes that the command would run, in place of running them."""
    recipes: list[Recipe] = []
    monkeypatch.setattr(command, "train", lambda recipe, argv: recipes.append(recipe))
    return recipes


# ---------------------------------------------------------------------- seeds


@pytest.mark.parametrize(
    ("arguments", "seeds"),
    [
        (["--seeds", "0,1"], [0, 1]),
        (["--seeds=0,1"], [0, 1]),
        (["--seeds", "2,0,2,0"], [2, 0]),
        (["--seeds=7"], [7]),
        ([], [0]),
    ],
)
def test_one_run_for_each_seed(arguments: list[str], seeds: list[int], ran: list[Recipe]) -> None:
    assert main([str(RECIPES / "addition.yaml"), *arguments]) == 0
    assert [recipe.seed for recipe in ran] == seeds


@pytest.mark.parametrize("text", ["0,-1", "0,x", "", "0,", "0,99999999999"])
def test_a_bad_seed_fails_before_anything_is_run(
    text: str, ran: list[Recipe], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--seeds", text]) == main([f"--seeds={text}"]) == 2
    assert not ran and capsys.readouterr().err.count("error: ") == 2


# ---------------------------------------------------------------------- --dry-run


def test_a_dry_run_reads_a_local_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*sums(20), {"question": "No answer?", "answer": None}, *sums(2)]
    path = write(tmp_path / "mine.jsonl", rows)
    flags = ["--task.name", "records", "--task.path", path, "--runs-dir", str(tmp_path / "runs"), "--dry-run"]
    assert main([*flags, "--evaluation.selection-size", "5"]) == 0
    shown = capsys.readouterr().out
    assert "13 train, 5 selection, 2 test problems" in shown
    assert "left out: 1 problem (no answer)" in shown and "left out: 2 problems (repeated question)" in shown
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("kind", ["a file and its test file", "a share of a file", "a pool that grows", "a small pool"])
def test_a_dry_run_counts_what_the_run_has(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = write(tmp_path / "my_train.jsonl", sums(40)), write(tmp_path / "my_test.jsonl", sums(50)[40:])
    own = ["--task.name", "records", "--task.path", train]
    flags = {
        "a file and its test file": [*own, "--task.test-path", test, "--loop.problems", "100"],
        "a share of a file": [*own, "--task.test-share", "0.2", "--loop.problems", "12", "--prompting.shots", "2"],
        "a pool that grows": ["--task.digits", "1", "2", "--task.grow.to", "4", "--task.pool", "400", "--loop.problems", "300"],
        "a small pool": ["--task.digits", "2", "--task.pool", "60", "--evaluation.select-on", "test"],
    }[kind]
    for seed in ("0", "3"):
        given = [*flags, "--seed", seed, "--evaluation.selection-size", "10", "--runs-dir", str(tmp_path)]
        assert main([*given, "--dry-run"]) == 0
        shown, recipe = capsys.readouterr().out, parse(given)[0]
        setup = prepare(recipe, [])
        assert f"{len(setup.train):,} train, {len(setup.selection):,} selection, {len(setup.test):,} test problems" in shown
        assert f"each round      {len(Loop(recipe, setup, cast(Any, None), print).drawn(1)):,} problems of train" in shown
        evaluated = setup.test if recipe.evaluation.select_on == "test" else setup.selection
        assert f"evaluation      {len(evaluated):,} problems of" in shown


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "is empty"), ("[1]\n", "expected an object"), ('{"q": "1?", "answer": 1}\n' * 3, "no column 'question'")],
)
def test_a_dry_run_finds_what_the_run_would_find(
    content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "mine.jsonl", [content])
    flags = ["--task.name", "records", "--task.path", path, "--runs-dir", str(tmp_path / "runs")]
    sentences = []
    for extra in (["--dry-run"], []):
        assert main([*flags, *extra]) == 1
        sentences.append(capsys.readouterr().err)
    assert sentences[0] == sentences[1] and words in sentences[0]


@pytest.mark.parametrize("flag", ["--training.accelerate-config", "--model.path"])
def test_a_dry_run_misses_the_files_that_the_run_would_miss(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    sentences = []
    for extra in (["--dry-run"], []):
        assert main([flag, "./nowhere", *extra]) == 1
        sentences.append(capsys.readouterr().err)
    assert sentences[0] == sentences[1] and "./nowhere is not a" in sentences[0]


# ---------------------------------------------------------------------- permissions


@pytest.mark.parametrize(
    ("file", "run_dir", "words"),
    [
        ("mine.yaml", None, "no permission to read (mine.yaml)"),
        ("mine.jsonl", Path("runs/x-1"), "no permission to read (mine.jsonl)"),
        ("runs/x-1/notes.txt", Path("runs/x-1"), "no permission to write (runs/x-1/notes.txt). Choose another --runs-dir"),
        ("/sys/runs", Path("/sys/runs/x-1"), "no permission to write (/sys/runs). Choose another --runs-dir"),
        (None, Path("runs/x-1"), "no permission to write. Choose another --runs-dir"),
    ],
)
def test_a_missing_permission_is_named_for_what_it_was(file: str | None, run_dir: Path | None, words: str) -> None:
    error = PermissionError(13, "Permission denied", file)
    assert command._os_message(error, run_dir).startswith(words)


# ---------------------------------------------------------------------- seeds/recipes/README.md


@pytest.mark.parametrize("recipe", ["addition-star.yaml", "gsm8k-qwen2.5-0.5b.yaml", "commonsense_qa-qwen2.5-7b-lora.yaml"])
@pytest.mark.parametrize(("row", "flags"), PAPER)
def test_the_papers_rows_resolve_and_are_named_so(row: str, flags: str, recipe: str) -> None:
    arguments = [str(RECIPES / recipe), *shlex.split(flags), "--dry-run"]
    assert main(arguments) == 0
    assert arm_name(parse(arguments)[0].model_dump(mode="json")) == row


def test_the_flags_of_a_row_change_the_run_directory() -> None:
    path = str(RECIPES / "gsm8k-qwen2.5-0.5b.yaml")
    assert len({parse([path, *shlex.split(flags)])[0].run_dir for _, flags in PAPER}) == len(PAPER) == 5


@pytest.mark.parametrize("flags", OTHER)
def test_the_other_choices_resolve(flags: str, tmp_path: Path) -> None:
    file = write(tmp_path / "train.jsonl", sums(20))
    arguments = [file if flag == "FILE" else flag for flag in shlex.split(flags)]
    assert main([str(RECIPES / "gsm8k-qwen2.5-0.5b.yaml"), *arguments, "--dry-run"]) == 0


def test_every_recipe_is_in_the_table_and_resolves() -> None:
    listed = set()
    for name, *_ in table("# Recipes"):
        first, *others = re.findall(r"`([^`]+)`", name)
        listed.add(first.removesuffix(".yaml"))
        if "METHOD" in first:
            tasks = [each.removesuffix("-METHOD") for each in (first, others[0])]
            listed |= {f"{task}-{method}" for task in tasks for method in others if "METHOD" not in method}
            listed.discard(first)
            continue
        listed |= {f"addition{other}" if other.startswith("-") else other.removesuffix(".yaml") for other in others}
    assert listed == {path.stem for path in RECIPES.glob("*.yaml")}
    for name in sorted(listed - {"records-example"}):  # that one names a file of the user's own
        assert main([str(RECIPES / f"{name}.yaml"), "--dry-run"]) == 0
