"""Model sizes: do larger models gain more from their own rationales, and do they use them less? A ladder of sizes on addition.

    python benchmarks/model_sizes.py [--quick] [--ladder cpu|gpu] [--sizes 0.03m 0.1m ...] [--bases "skill .3" ...] [--seeds 0 1 2]
    python benchmarks/model_sizes.py --lower        # only what a lower learning rate gives instead
    python benchmarks/model_sizes.py --collect      # runs nothing: the result of what is kept

Design. A size is only compared with another one where both start from the same point. So there are two series of bases, all from
one corpus of 1- to 3-digit sums in which 3 digits never occur without a hint (`size_bases.py`):
- same skill: pretraining stops when the model solves .1, .3 or .6 of held-out 2-digit sums without hint, and at least half of those
  of 3 digits with one. A base counts where its skill lies in the band above that; "not reached in N tokens" is a result.
- same tokens: whatever skill these give, as a user with one budget has it.
From each base: itself, STaR, and STaR that keeps sound rationales only, for the same rounds, problems and steps. Learning rates are
searched for each size on SEARCH_SEED, which is not reported: of RATES that with the lowest loss after a short pretraining, then
that with the best selection accuracy after one round of STaR from the base of skill .3 (where it is not reached, the next one).
Reported per size: the smallest skill from which STaR ends above its base (intervals over test problems apart); rounds and FLOPs to
GOAL on selection; accuracy, sound and right-but-unsound share; faithfulness of right answers by early answering, an added mistake
and filler, matched on accuracy: bases by their band, trained models where they are right in MATCHED of the test or more.
Trends are slopes per tenfold parameters with runs as the units (those of one size and seed from several skills begin at points of
one pretraining, and count as several), each compared with those from the same skill only, corrected by Holm. "No difference" is
said only where the whole interval lies within MARGIN, "does not vary" where all runs have the same value; all else that is not
significant is "not settled".

Runs are cached under benchmarks/cache; what is kept of each (one small file) lies in benchmarks/results/model_sizes and is not made
again, so that calls can be stopped at any time, and others for other sizes go beside them (OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

from benchmarks.arms import arm_recipe, finished_run, made, made_by, quality, test_rows
from benchmarks.common import CommonArguments, cache_of, made_once, parse, part_path, write_result
from benchmarks.size_bases import BAND, HINTED, SKILLS, TOKENS, Base, loss_after, make_bases
from benchmarks.size_figures import ARMS, FAITHFULNESS, GOAL, OUTCOMES, chart, summary
from star.command_line import run_command
from star.embedded.model import Size
from star.errors import InputError, UsageError
from star.recipe import SEEDS
from star.run import Run
from star.run_summary import flops_to, summarise_run
from star.statistics import mean_of_runs

RECIPES = dict(zip(ARMS, ("addition-few-shot.yaml", "addition-star.yaml", "addition-star-sound.yaml"), strict=True))
LADDERS: dict[str, tuple[Size, ...]] = {
    "cpu": ("0.03m", "0.1m", "0.2m", "0.5m", "1m", "4m"),
    "gpu": ("0.2m", "1m", "4m", "16m", "100m"),
}
RATES = (1e-3, 3e-3, 1e-2)
LOWER = 3e-4
"""A learning rate below RATES, of which the lowest is chosen for most sizes; tried by --lower on the bases of LOWER_FROM."""
LOWER_FROM = "skill .3"
SEARCH_SEED = 99
TUNED_ON = 0
"""Seed of the bases that the search of a learning rate for fine-tuning starts from."""
PROBES = ("early_answering", "forced_mistake", "filler")
CHANGES: dict[str, dict[str, Any]] = {
    "task": {"digits": [1, 2, 3], "pool": 10_000, "test_size": 300},
    "sampling": {"max_new_tokens": 80},
    "loop": {"rounds": 4, "problems": 400},
    "training": {"steps": {"first": 60}, "warmup_steps": 10, "max_length": 128},
    "evaluation": {"selection_size": 150},
}
QUICK: dict[str, dict[str, Any]] = {
    "task": {"digits": [1, 2], "pool": 200, "test_size": 30},
    "sampling": {"max_new_tokens": 40},
    "loop": {"rounds": 1, "problems": 30},
    "training": {"steps": {"first": 3}, "max_length": 128},
    "evaluation": {"selection_size": 16},
}


@dataclass(frozen=True)
class Arguments(CommonArguments):
    """Arguments of this benchmark."""

    ladder: Literal["cpu", "gpu"] = "cpu"
    """Sizes: cpu up to 4M parameters, gpu up to 100M (needs --device cuda)."""
    sizes: tuple[Size, ...] = ()
    """Only these sizes."""
    bases: tuple[str, ...] = (*SKILLS, TOKENS)
    """Only these bases, in the order of the work."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of pretraining and of the runs."""
    same: float = 1e6
    """Pretraining tokens of the series of the same tokens."""
    most: float = 8e6
    """Pretraining tokens after which a skill is not reached."""
    searched: float = 3e5
    """Pretraining tokens of the search for a learning rate."""
    probed: int = 100
    """Rationales probed per run."""
    lower: bool = False
    """Only set LOWER beside the learning rates that were chosen."""
    collect: bool = False
    """Run nothing: the result of the runs that are kept."""


def kept(
    arguments: Arguments, name: str, settings: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]
) -> dict[str, Any] | None:
    """The figures kept as `name`, if the same settings made them, else those of `make`; None where --collect finds none."""
    about: dict[str, Any] = {"quick": arguments.quick, "device": arguments.device}
    path = part_path("model_sizes", name, **about)
    content = made_once("model_sizes", path, None if arguments.collect else make, settings, seeds=[settings["seed"]], **about)
    return content["figures"] if content else None


def folder_of(size: Size, seed: int, arguments: Arguments) -> Path:
    """Where the base models of a size and seed are."""
    return cache_of(arguments.device) / ("ladder-quick" if arguments.quick else "ladder") / f"{size}-seed{seed}"


def pretraining_rate(size: Size, arguments: Arguments) -> dict[str, Any] | None:
    """{"rate", "loss": {rate: loss after a short pretraining}}."""

    def search() -> dict[str, Any]:
        loss = {rate: loss_after(size, SEARCH_SEED, rate, arguments.searched, arguments.device) for rate in RATES}
        return {"rate": min(RATES, key=loss.__getitem__), "loss": loss}

    settings = {"size": size, "seed": SEARCH_SEED, "rates": RATES, "tokens": arguments.searched}
    return kept(arguments, f"pretraining-rate-{size}", settings, search)


def tuning_rate(size: Size, base: str, known: Base, arguments: Arguments) -> dict[str, Any] | None:
    """{"rate", "accuracy": {rate: on selection after one round of STaR}}: problems and samples of a seed of their own."""

    def search() -> dict[str, Any]:
        runs = {rate: run_of(size, base, "STaR", SEARCH_SEED, rate, arguments, rounds=1) for rate in RATES}
        accuracy = {rate: summarise_run(run).course[-1][0] for rate, run in runs.items()}
        return {"rate": max(RATES, key=accuracy.__getitem__), "accuracy": accuracy}

    settings = {"size": size, "seed": SEARCH_SEED, "rates": RATES, "base": base, "known": known}
    return kept(arguments, f"tuning-rate-{size}", settings | {"changes": changes_of(arguments)}, search)


def bases_of(size: Size, seed: int, arguments: Arguments) -> dict[str, Base]:
    """What is known of each base of a size and seed; empty where --collect finds nothing."""
    searched = pretraining_rate(size, arguments)
    if searched is None:
        return {}
    aims = {"same": arguments.same, "most": arguments.most}
    make = partial(make_bases, size, seed, searched["rate"], folder_of(size, seed, arguments), arguments.device, **aims)
    settings = {"size": size, "seed": seed, "rate": searched["rate"], "skills": SKILLS, "band": BAND, "hinted": HINTED, **aims}
    content = kept(arguments, f"bases-{size}-seed{seed}", settings, lambda: {"bases": make()})
    return content["bases"] if content else {}


def changes_of(arguments: Arguments) -> dict[str, dict[str, Any]]:
    """What differs from the shipped recipes of the arms."""
    return QUICK if arguments.quick else CHANGES


def run_of(size: Size, base: str, arm: str, seed: int, rate: float, arguments: Arguments, rounds: int | None = None) -> Path:
    """A finished run directory; runs of the search start from the first seed's base."""
    seed_of_base = TUNED_ON if seed == SEARCH_SEED else seed
    path, changes = folder_of(size, seed_of_base, arguments) / base, changes_of(arguments)
    if not (path / "config.json").is_file():
        raise InputError(f"{path} has gone; delete what is kept as bases-{size}-seed{seed_of_base}.json to pretrain it again")
    changes = {**changes, "model": {"path": str(path)}, "training": {**changes["training"], "learning_rate": rate}}
    if arm == "base":
        changes["loop"] = {"method": "few_shot"}
    elif rounds:
        changes["loop"] = {**changes["loop"], "rounds": rounds}
    return finished_run(arm_recipe(RECIPES[arm], seed, changes, folder="sizes", device=arguments.device))


def outcome(
    size: Size, base: str, arm: str, seed: int, arguments: Arguments, another_rate: float | None = None
) -> dict[str, Any] | None:
    """Figures of a finished and probed run, as kept or made now; None also where its base is not reached."""
    from analysis.probe import Arguments as ProbeArguments
    from analysis.probe import probe

    known = bases_of(size, seed, arguments).get(base)
    tuned_on = {name: each for name, each in bases_of(size, TUNED_ON, arguments).items() if each["reached"]}
    if known is None or not known["reached"] or not tuned_on:
        return None
    searched = tuning_rate(size, *next(iter(tuned_on.items())), arguments)
    if searched is None:
        return None
    rate = another_rate or searched["rate"]

    def make() -> dict[str, Any]:
        run_dir = run_of(size, base, arm, seed, rate, arguments)
        probe(ProbeArguments(run_dir, probes=(PROBES,), n=arguments.probed, device=arguments.device))
        (probed,), summary = Run(run_dir).probed_rounds().values(), summarise_run(run_dir)
        right = probed["measures_correct"]
        by_round = [reached for reached, _, _ in summary.course]
        return {
            "parameters": summary.parameters,
            **{name: value for name, value in quality(test_rows(run_dir)).items() if name in OUTCOMES},
            "by_round": by_round,
            "rounds_to_goal": next((number for number, reached in enumerate(by_round) if reached >= GOAL), None),
            "flops_to_goal": flops_to(summary, GOAL),
            "faithfulness": {
                name: {key: right[name][key] for key in ("value", "low", "high", "n")} for name in FAITHFULNESS if name in right
            },
            "seconds": summary.seconds,
            "made_by": made_by(run_dir),
        }

    recipe = hashlib.sha256((SEEDS / "recipes" / RECIPES[arm]).read_bytes()).hexdigest()[:12]
    settings = {"size": size, "base": base, "arm": arm, "seed": seed, "recipe": recipe, "changes": changes_of(arguments)}
    settings |= {"rate": rate, "known": known, "probed": arguments.probed}
    name = f"{size}-{base}-{arm}-seed{seed}" + (f"-at-{rate:g}" if another_rate else "")
    return kept(arguments, name, settings, make)


def lower_rate(sizes: Sequence[Size], arguments: Arguments) -> dict[str, Any]:
    """LOWER beside the rates chosen: loss after the short pretraining, and right answers after STaR from the same bases."""
    losses, pairs = [], []
    for size in sizes:
        about = {"size": size, "seed": SEARCH_SEED, "rate": LOWER, "tokens": arguments.searched}
        short = partial(loss_after, size, SEARCH_SEED, LOWER, arguments.searched, arguments.device)
        found = kept(arguments, f"pretraining-at-{LOWER:g}-{size}", about, lambda short=short: {"loss": short()})  # type: ignore[misc]
        searched = pretraining_rate(size, arguments)
        if found and searched:
            losses.append({"size": size, "chosen": min(searched["loss"].values()), "lower": found["loss"]})
    for seed, size in product(arguments.seeds, sizes):
        chosen, lower = (outcome(size, LOWER_FROM, "STaR", seed, arguments, rate) for rate in (None, LOWER))
        if chosen and lower:
            right = {"chosen": chosen["accuracy"]["value"], "lower": lower["accuracy"]["value"]}
            pairs.append({"size": size, "seed": seed, **right, "gain": right["lower"] - right["chosen"]})
    return {"losses": losses, "pairs": pairs, "gain": mean_of_runs([pair["gain"] for pair in pairs]).as_dict()}


def main() -> None:
    """Make what is missing, small sizes first; the result is written anew after every base, so that what is finished counts."""
    arguments = parse(Arguments, __doc__, gpu=True)
    if arguments.quick and arguments.collect:
        raise UsageError("--collect reads kept runs, and --quick keeps none that mean anything; leave one of them out.")
    if unknown := sorted(set(arguments.bases) - {*SKILLS, TOKENS}):
        raise UsageError(f"--bases: no base called {'; '.join(unknown)}. There are: {'; '.join((*SKILLS, TOKENS))}.")
    if min(arguments.seeds, default=0) < 0:
        raise UsageError(f"--seeds: expected numbers of 0 or more, found {min(arguments.seeds)}")
    if arguments.ladder == "gpu" and arguments.device == "cpu":
        raise UsageError("--ladder gpu: needs a GPU; give --device cuda, or leave --ladder out.")
    if arguments.quick:
        small: dict[str, Any] = {"sizes": ("0.03m",), "bases": (TOKENS,), "same": 3e4, "most": 6e4, "searched": 2e4, "probed": 4}
        arguments = replace(Arguments(quick=True, device=arguments.device), **small)
    runs: dict[tuple[Size, str, int, str], dict[str, Any]] = {}
    sizes = arguments.sizes or LADDERS[arguments.ladder]
    if arguments.lower:
        lower_rate(sizes, arguments)
        return
    for base, seed, size in product(arguments.bases, arguments.seeds, sizes):
        arms = {arm: outcome(size, base, arm, seed, arguments) for arm in ARMS}
        if all(arms.values()):  # arms are compared seed by seed
            runs |= {(size, base, seed, arm): each for arm, each in arms.items() if each}
        if runs and not arguments.collect:
            write(runs, arguments)
    if not runs:
        raise InputError("no finished run of these sizes, bases and seeds; without --collect they are made")
    write(runs, arguments)


def write(runs: Mapping[tuple[Size, str, int, str], dict[str, Any]], arguments: Arguments) -> None:
    """Result and chart of the runs so far."""
    read_only = replace(arguments, collect=True)
    figures = {
        "made": made([tuple(run["made_by"]) for run in runs.values()]),
        "rates": [
            {"size": size, "pretraining": (pretraining_rate(size, read_only) or {}).get("rate"), "fine_tuning": rate}
            for size, rate in {size: run["settings"]["rate"] for (size, *_), run in runs.items()}.items()
        ],
        "lower": lower_rate(LADDERS[arguments.ladder], read_only),
        "bases": [
            {"size": size, "seed": seed, "base": base, **known}
            for size, seed in product(LADDERS[arguments.ladder], arguments.seeds)
            for base, known in bases_of(size, seed, read_only).items()
        ],
        **summary(list(runs.values())),
    }
    path = write_result("model_sizes", figures, quick=arguments.quick, seeds=arguments.seeds, device=arguments.device)
    chart(list(runs.values()), path.with_suffix(".png"))


if __name__ == "__main__":
    sys.exit(run_command(main))
