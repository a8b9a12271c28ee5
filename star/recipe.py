"""The recipe: every choice of a run, frozen and checked before anything heavy is imported.

A YAML file, `--section.key value` on top, one resolved recipe out. The digest of the resolved recipe names the run
directory, so two different recipes can never share one.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from star.errors import InputError
from star.parsing import ParseError, parse_yaml
from star.settings import (
    LIST,
    NUMBER,
    CurationSettings,
    EvaluationSettings,
    LoopSettings,
    ModelSettings,
    PromptingSettings,
    SamplingSettings,
    Section,
    TaskSettings,
    TrainingSettings,
    VerifierSettings,
)

_HERE = Path(__file__).resolve().parent
SEEDS = next(place for place in (_HERE / "seeds", _HERE.parent / "seeds") if place.is_dir())
"""Recipes, few-shot examples, the embedded model: part of `star` once installed (see pyproject.toml), else beside it."""
DEFAULT_RECIPE = SEEDS / "recipes" / "addition.yaml"
TRUST = "--model.trust-remote-code"
"""The flag of every command that may run Python code of a model: trust is given in the call, never by a file."""


class RecipeError(InputError):
    """A recipe that cannot be used; the message says what was found, what was expected and what to do."""


PLACES: dict[str, Any] = {
    "runs_dir": True,
    "keep_models": True,
    "sampling": {"workers": True, "gpus_per_worker": True},
    "training": {"launcher": True},
}
"""Keys that say where a run is stored and who computes it, not what."""


class Recipe(Section):
    """Everything a run depends on."""

    name: str = Field("addition", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")
    """Names the run directory."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seeds the splits, the draws, the sampler and the trainer."""
    runs_dir: str = "runs"
    """Where run directories are made. Not part of the digest."""
    keep_models: Literal["all", "last_and_best"] = "all"
    """Which rounds' model directories stay on disk. Not part of the digest."""
    task: TaskSettings = TaskSettings()
    """Which problems."""
    model: ModelSettings = ModelSettings()
    """Which base model."""
    prompting: PromptingSettings = PromptingSettings()
    """How a problem becomes a prompt."""
    sampling: SamplingSettings = SamplingSettings()
    """How completions are drawn."""
    loop: LoopSettings = LoopSettings()
    """The outer loop."""
    curation: CurationSettings = CurationSettings()
    """Which rationales are kept."""
    training: TrainingSettings = TrainingSettings()
    """How the model is fine-tuned."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """How rounds are chosen and reported."""
    verifier: VerifierSettings = VerifierSettings()
    """What ranks the sampled test answers."""

    @model_validator(mode="after")
    def _direct_has_no_rationales(self) -> Recipe:
        """A model that was trained on answers alone is not asked for rationales, nor shown any."""
        if self.loop.method == "direct":  # past the frozen attributes: pydantic wants this very object back
            self.__dict__["prompting"] = self.prompting.model_copy(update={"answer_only": True})
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        training, micro = self.training, self.training.micro_batch_size
        if micro is not None and training.batch_size % micro:
            raise ValueError(f"training.batch_size {training.batch_size} is not a multiple of training.micro_batch_size {micro}")
        if self.curation.scorer is not None and self.curation.require == "answer":
            raise ValueError("curation.scorer is asked for curation.require: sound alone: set that, or leave the scorer out")
        for key, given in (("grow.to", self.task.grow.to is not None), ("index_hints", self.task.index_hints)):
            if given and self.task.name != "addition":
                raise ValueError(f"task.{key} is for task.name addition, not {self.task.name}: leave it out")
        if self.task.grow.to is not None and self.task.grow.to <= max(self.task.digits):
            raise ValueError(f"task.grow.to {self.task.grow.to}: expected more than the longest of task.digits {self.task.digits}")
        if self.evaluation.selection_size < (self.task.grow.to or 0):
            raise ValueError(
                f"evaluation.selection_size {self.evaluation.selection_size}: expected {self.task.grow.to} or more, since a "
                "growing pool needs a selection problem of each length"
            )
        if training.launcher is not None and training.accelerate_config is None:
            raise ValueError("training.launcher needs training.accelerate_config, whose num_machines are its machines")
        if not (self.loop.first_pass or self.loop.rationalize):
            raise ValueError("loop.first_pass and loop.rationalize are both false: nothing would be sampled")
        if self.loop.retries and not self.loop.first_pass:
            raise ValueError("loop.retries samples again what the first pass fails: set loop.first_pass to true, or leave it out")
        sampling, method = self.sampling, self.loop.method
        temperatures = sampling.temperature if isinstance(sampling.temperature, tuple) else (sampling.temperature,)
        if (sampling.samples > 1 or self.loop.retries) and 0 in (*temperatures, *sampling.try_temperatures):
            count = f"sampling.samples {sampling.samples}" + (f" and loop.retries {self.loop.retries}" if self.loop.retries else "")
            raise ValueError(f"{count} at temperature 0 would all be the same: change one of the two")
        if sampling.try_temperatures and sampling.temperature != SamplingSettings().temperature:
            raise ValueError("sampling.temperature is not used where sampling.try_temperatures chooses: leave one of the two out")
        if method != "star" and (sampling.try_temperatures or training.objective == "rpo" or self.verifier.kind != "off"):
            raise ValueError(
                "sampling.try_temperatures, training.objective rpo and verifier.kind dpo need attempts: loop.method "
                f"{method} has none"
            )
        curation = self.curation
        for_rows = (training.packing, training.loss_on == "all", curation.gold, curation.replay, curation.hint_share)
        if training.objective == "rpo" and any(for_rows):
            raise ValueError(
                "training.packing, training.loss_on all, curation.gold, curation.replay and curation.hint_share are for rows: "
                "leave them out with training.objective rpo, which trains on pairs"
            )
        if curation.problems == "mixed" and (sampling.samples == 1 or not self.loop.first_pass):
            raise ValueError(
                "curation.problems mixed needs several attempts without a hint: set sampling.samples to 2 or more, and "
                "loop.first_pass to true"
            )
        if curation.problems == "mixed" and self.loop.retries:
            raise ValueError("curation.problems mixed asks the first pass alone, without loop.retries: leave one of the two out")
        if self.loop.enough and training.steps.epochs is not None:
            raise ValueError("loop.enough needs a number of optimizer steps: leave training.steps.epochs out")
        if self.verifier.kind != "off" and self.evaluation.samples < 2:
            raise ValueError("verifier.kind ranks the sampled test answers: set evaluation.samples to 2 or more")
        return self

    def differing_keys(self, other: Recipe) -> list[str]:
        """Dotted keys by which the two compute different runs: all keys but where they are stored."""
        mine, others = (flat(one.model_dump(mode="json", exclude=PLACES)) for one in (self, other))
        return [key for key in mine if mine[key] != others[key]]

    def digest(self) -> str:
        """Six hex digits of what the run computes. Keys at their default do not count, so that new keys rename no run."""
        content = self.model_dump(mode="json", exclude=PLACES, exclude_defaults=True)
        content = {key: value for key, value in content.items() if value != {}}  # sections with nothing but places
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:6]

    @property
    def run_dir(self) -> Path:
        """`<runs_dir>/<name>-<digest6>`, a leading ~ expanded."""
        return Path(self.runs_dir).expanduser() / f"{self.name}-{self.digest()}"

    def to_yaml(self, *, defaults: bool = True) -> str:
        """The recipe as YAML that `load` reads back to an equal recipe; without `defaults` only what differs from them."""
        content = self.model_dump(mode="json", exclude_defaults=not defaults)
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def flat(content: dict[str, Any], separator: str = ".") -> dict[str, Any]:
    """{"loop": {"rounds": 3}} -> {"loop.rounds": 3}."""
    flattened: dict[str, Any] = {}
    for key, value in content.items():
        nested = isinstance(value, dict)
        flattened |= {f"{key}{separator}{k}": item for k, item in flat(value, separator).items()} if nested else {key: value}
    return flattened


def find_recipe(given: str) -> Path:
    """The file that a path or the name of a shipped recipe (addition-star) means."""
    path = Path(given).expanduser()
    shipped = SEEDS / "recipes" / f"{path.name.removesuffix('.yaml')}.yaml"
    if path.is_file() or not (shipped.is_file() and path.parent in (Path(), Path("seeds/recipes"))):
        return path
    return shipped


def load_recipe(path: Path, *, trusted: bool = False) -> Recipe:
    """Read a recipe file. Raises RecipeError for a missing or unreadable file, bad YAML, unknown keys (with a suggestion), bad
    values, and for a file that asks for trust which the command line (`trusted`) does not give.
    """
    if not path.is_file():
        known = sorted(file.stem for file in (SEEDS / "recipes").glob("*.yaml"))
        near = difflib.get_close_matches(path.stem, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Shipped recipes: {', '.join(known)}."
        raise RecipeError(f"there is no recipe {path}. {hint}")
    try:
        content = parse_yaml(path.read_bytes())
    except OSError as error:
        raise RecipeError(f"{path} cannot be read ({error.strerror}). Change its permissions, or copy it.") from error
    except ParseError as error:
        raise RecipeError(f"{path} is not readable YAML: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path} holds {type(content).__name__}, expected keys like name, task, model, loop")
    return parse_recipe(content, str(path), trusted=trusted)


def parse_recipe(content: dict[str, Any], source: str, *, trusted: bool = False) -> Recipe:
    """A recipe from plain data; RecipeError names the source and the key. `trusted`: the call itself has the flag TRUST."""
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{source}: " + "; ".join(map(_message, _innermost(error.errors())))) from error
    if recipe.model.trust_remote_code and not trusted:
        raise RecipeError(
            f"{source} asks for model.trust_remote_code, which runs Python code that comes with the model. No file can give that "
            f"trust: if you trust the model, add {TRUST} to the command line."
        )
    return recipe


def _innermost(entries: Sequence[Any]) -> list[Any]:
    """Errors without those that only follow from one inside the same value: a list that lacks what could not be read."""
    places = [entry["loc"] for entry in entries]
    return [one for one in entries if not any(place != one["loc"] == place[: len(one["loc"])] for place in places)]


def _message(entry: Any) -> str:
    place = ".".join(str(part) for part in entry["loc"] if part not in (NUMBER, LIST))
    if entry["type"] != "extra_forbidden":
        message = str(entry["msg"]).removeprefix("Value error, ")
        return f"{place}: {message} (found {entry['input']!r:.80})" if place else message
    section: Any = Recipe
    for part in entry["loc"][:-1]:
        section = section.model_fields[str(part)].annotation
    key = str(entry["loc"][-1])
    near = difflib.get_close_matches(key, list(section.model_fields), n=1)
    return f"unknown key {place}" + (f"; did you mean {near[0]}?" if near else f"; known: {', '.join(section.model_fields)}")
