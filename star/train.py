"""Runs STaR: `python -m star.train [RECIPE] [--section.key value ...]`: flags, errors, the table of rounds."""

from __future__ import annotations

if __name__ == "__main__":  # above the imports, which take a second: Ctrl-C during them shows no traceback
    try:
        from importlib import import_module

        raise SystemExit(import_module("star.train").main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None

import errno
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from star import command_line
from star.errors import InputError, UsageError, counted
from star.recipe import DEFAULT_RECIPE, TRUST, CurationSettings, Recipe, RecipeError, find_recipe, load_recipe, parse_recipe

DESCRIPTION = """Run STaR: sample rationales, keep those that reach the right answer, retry the others with the answer as a
hint, fine-tune, repeat.

usage: python -m star.train [RECIPE] [--dry-run] [--seeds 0,1,2] [--section.key value ...]

RECIPE is the name of a shipped recipe (addition-star; default: addition) or your own file; flags go on top of it. --dry-run
reads the problems of a local file and prints the settings that are not the default and what each stage would do. --seeds
runs the recipe once for each seed. The same command goes on with an interrupted run."""


def parse(argv: Sequence[str]) -> tuple[Recipe, list[int], bool]:
    """(recipe, seeds, dry run) of a command line. Raises RecipeError for the file, UsageError for the flags."""
    rest = [part for item in argv for part in (item.split("=", 1) if item.startswith("--seeds=") else [item])]
    unnamed = not rest or rest[0].startswith("-")
    path = DEFAULT_RECIPE if unnamed else find_recipe(rest.pop(0))
    dry_run = "--dry-run" in rest
    rest = [item for item in rest if item != "--dry-run"]
    seeds_text = None
    if "--seeds" in rest:
        at = rest.index("--seeds")
        seeds_text = rest[at + 1] if at + 1 < len(rest) else ""
        del rest[at : at + 2]
    default = load_recipe(path, trusted=TRUST in rest)
    recipe = with_flags(default, rest, DESCRIPTION)
    if unnamed and recipe.task.name != default.task.name:  # name and filter of the default recipe are addition's own
        plain = default.model_copy(update={"name": recipe.task.name, "curation": CurationSettings()})
        recipe = with_flags(plain, rest, DESCRIPTION)
    try:
        seeds = [recipe.seed] if seeds_text is None else list(dict.fromkeys(int(part) for part in seeds_text.split(",")))
    except ValueError:
        raise UsageError(f"--seeds {seeds_text!r}: expected whole numbers separated by commas, like 0,1,2") from None
    return recipe, seeds, dry_run


def with_flags(recipe: Recipe, flags: Sequence[str], description: str | None) -> Recipe:
    """The recipe with `--section.key value` on top. Raises UsageError."""
    given = command_line.parse(Recipe, description, flags, default=recipe, registry=_unchecked_sections())
    try:
        return parse_recipe(given.model_dump(warnings=False), "command line", trusted=True)
    except RecipeError as error:
        raise UsageError(str(error)) from error


def _unchecked_sections() -> Any:
    """Lets tyro build recipes without checking values, so that flags and files are refused in the same words."""
    from pydantic import BaseModel
    from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

    registry = ConstructorRegistry()

    @registry.struct_rule
    def section(info: StructTypeInfo) -> StructConstructorSpec | None:
        if not (isinstance(info.type, type) and issubclass(info.type, BaseModel)):
            return None
        fields = tuple(
            StructFieldSpec(
                name=name, type=cast(Any, field.annotation), default=getattr(info.default, name), helptext=field.description
            )
            for name, field in info.type.model_fields.items()
        )
        return StructConstructorSpec(instantiate=info.type.model_construct, fields=fields)

    return registry


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    kept = "Finished stages are kept: the same command goes on from there."
    return command_line.run_command(lambda: run(given), stopped=kept)


def run(argv: Sequence[str]) -> None:
    """Run or explain the recipe of a command line, once for each seed. Raises InputError for all that is not in the code."""
    from pydantic import ValidationError

    run_dir: Path | None = None
    try:
        recipe, seeds, dry_run = parse(argv)
        for one in [Recipe.model_validate({**recipe.model_dump(), "seed": seed}) for seed in seeds]:
            run_dir = one.run_dir
            if dry_run:
                explain(one)
            else:
                train(one, argv)
    except ValidationError as error:
        raise UsageError("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(_os_message(error, run_dir)) from error
    except Exception as error:
        if wrapped := re.search(r"\(os error (\d+)\)", str(error)):  # safetensors wraps the system's error in its own
            raise InputError(_os_message(OSError(int(wrapped[1]), str(error)), run_dir)) from error
        raise


def _os_message(error: OSError, run_dir: Path | None) -> str:
    """`run_dir`: where the run writes; None while the recipe is still being read."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        place, root = Path(str(error.filename)).absolute(), run_dir and run_dir.absolute()
        if error.filename is None or (root and (place.is_relative_to(root) or root.is_relative_to(place))):
            return f"no permission to write{where}. Choose another --runs-dir or change the directory's permissions."
        return f"no permission to read{where}. Change its permissions, or name another file."
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{error.filename} cannot be made: there is a file where a folder is needed. Choose another --runs-dir."
    return command_line.system_error(error)


def explain(recipe: Recipe) -> None:
    """Print the settings that are not the default and what each stage would do, without loading a model or asking the Hub."""
    from star.setup import check_files

    check_files(recipe)
    loop, task = recipe.loop, recipe.task
    print(recipe.to_yaml(defaults=False))
    which = "failed ones again" if loop.first_pass else "all of them"
    hinted = f"{which} with the answer shown, by the {loop.rationalizer} model" if loop.rationalize else "no retry"
    again = f"{counted(loop.retries, 'more sample')} of each failed one, then " if loop.retries else ""
    steps = recipe.training.steps
    growing = f"{counted(steps.first, 'step')}, then x{steps.growth:g} and +{steps.add}"
    schedule = counted(steps.epochs, "epoch") if steps.epochs else growing
    print(f"run directory   {recipe.run_dir}")
    print(f"problems        {task.name}" + (f" from {task.path}" if task.path else ""))
    pool, selection = _show_problems(recipe) if task.path or task.name == "addition" else (None, None)
    drawn = "every problem" if loop.problems is None else counted(min(loop.problems, pool or loop.problems), "problem")
    until = " until the kept rows fill the steps" if loop.enough else ""
    if loop.method == "star":
        print(f"each round      {drawn} of train{until}, {counted(recipe.sampling.samples, 'sample')} each; {again}{hinted}")
        print(f"kept            right answers{' with sound rationales' if recipe.curation.require == 'sound' else ''}")
    if loop.method != "few_shot":
        print(
            f"fine-tuning     {recipe.training.method}, {schedule}, "
            f"{counted(recipe.training.batch_size, 'pair' if recipe.training.objective == 'rpo' else 'row')} a step, {loop.start}"
        )
        print(
            f"evaluation      {counted(recipe.evaluation.selection_size if selection is None else selection, 'problem')} of "
            f"{recipe.evaluation.select_on} after each round"
        )
    ranked = "" if recipe.verifier.kind == "off" else "; a verifier ranks its samples"
    print(f"at the end      the test split, once, with the chosen round's model{ranked}")


def _show_problems(recipe: Recipe) -> tuple[int, int]:
    """Print how many problems there are; returns how many the first round can draw and how many choose the round."""
    from star.splits import cut_selection
    from star.tasks import addition, load_task

    loaded = load_task(recipe.task, recipe.seed).load()
    pool, selection = cut_selection(loaded.train, recipe.evaluation.selection_size, recipe.seed)
    print(f"                {len(pool):,} train, {len(selection):,} selection, {counted(len(loaded.test), 'test problem')}")
    slices = addition.drawable(recipe.task, [])
    first = sum(slices is None or problem.slice in slices for problem in pool)
    if first < len(pool):
        print(f"                {first:,} of the train problems are in the pool at first")
    for reason, count in loaded.skipped.items():
        print(f"left out: {counted(count, 'problem')} ({reason})")
    return first, len(selection if recipe.evaluation.select_on == "selection" else loaded.test)


def train(recipe: Recipe, argv: Sequence[str]) -> None:
    """Run one recipe to its end and print what it reached."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from star.charts import save_run_charts
    from star.console import RoundTable
    from star.loop import Loop
    from star.pool import open_pool
    from star.sampling import choose_backend
    from star.setup import locked, prepare

    setup = prepare(recipe, argv)
    with locked(setup.run_dir):
        backend, why = choose_backend(recipe.sampling, setup.base_dir)
        table = RoundTable(recipe, setup, f"{backend} ({why})")
        pool = open_pool(recipe, setup)
        try:
            result = Loop(recipe, setup, pool, table.row).run()
        finally:
            pool.close()
        table.finish(result, save_run_charts(setup.run_dir))
