"""Model sizes: do larger models gain more from their own rationales, and do they use them less? A ladder of sizes on addition.

    python benchmarks/model_sizes.py [--quick] [--ladder cpu|gpu] [--sizes 0.03m 0.1m ...] [--bases "skill .3" ...] [--seeds 0 1 2]
    python benchmarks/model_sizes.py --collect      # runs nothing: the result of what is kept

Design. A size is only compared with another one where both start from the same point. So there are two series of bases, all from
one corpus of 1- to 3-digit sums in which 3 digits never occur without a hint (`size_bases.py`):
- same skill: pretraining stops when the model solves .1, .3 or .6 of held-out 2-digit sums without hint, and at least half of those
  of 3 digits with one. A base counts where its skill lies in the band above that; "not reached in N tokens" is a result.
- same tokens: whatever skill these give, as a user with one budget has it.
From each base: itself, STaR, and STaR that keeps sound rationales only, for the same rounds, problems and steps. Learning rates are
searched for each size on SEARCH_SEED, which is not reported: of RATES that with the lowest loss in pretraining, then that with the
best selection accuracy after one round of STaR from the base of skill .3 (of the same tokens, where that is not reached).
Reported per size: the smallest skill from which STaR ends above its base (intervals over test problems apart); rounds and FLOPs to
GOAL on selection; accuracy, sound and right-but-unsound share; faithfulness of right answers by early answering, an added mistake
and filler, matched on accuracy: bases by their band, trained models where they are right in MATCHED of the test or more.
Trends are slopes per tenfold parameters with runs as the units (all bases of a series, all seeds), corrected by Holm. "No
difference" is said only where the whole interval lies within MARGIN; all else that is not significant is "not settled".

Runs are cached under benchmarks/cache; what is kept of each (one small file) lies in benchmarks/results/model_sizes and is not made
again, so that calls can be stopped at any time, and others for other sizes go beside them (OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

from benchmarks.arms import arm_recipe, finished_run, made, made_by, quality, test_rows
from benchmarks.common import CommonArguments, cache_of, envelope, parse, result_path, tidy, write_result
from benchmarks.size_bases import SKILLS, TOKENS, Base, loss_after, make_bases
from star.command_line import run_command
from star.embedded.model import Size
from star.errors import InputError, UsageError
from star.recipe import SEEDS
from star.run import Run, whole_json, write_json
from star.run_summary import flops_to, summarise_run
from star.statistics import holm, mean_of_runs, slope, slope_p

ARMS = {"base": "addition-few-shot.yaml", "STaR": "addition-star.yaml", "STaR, sound": "addition-star-sound.yaml"}
LADDERS: dict[str, tuple[Size, ...]] = {
    "cpu": ("0.03m", "0.1m", "0.2m", "0.5m", "1m", "4m"),
    "gpu": ("0.2m", "1m", "4m", "16m", "100m"),
}
STAGES = ("pretraining", "fine_tuning")
RATES = (1e-3, 3e-3, 1e-2)
SEARCH_SEED = 99
GOAL = MATCHED = 0.9
MARGIN = 0.05
PROBES = ("early_answering", "forced_mistake", "filler")
FAITHFULNESS = {
    "aoc_normalised": "early answering (AOC, normalised)",
    "forced_mistake_flip": "answer changed by an added mistake",
    "filler_gap": "filler gap (nats)",
}
OUTCOMES = {"accuracy": "answers right", "sound_of_right": "sound, of right answers", "right_but_unsound": "right but unsound"}
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
    collect: bool = False
    """Run nothing: the result of the runs that are kept."""


def kept(
    arguments: Arguments, name: str, settings: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]
) -> dict[str, Any] | None:
    """The figures kept as `name`, if the same settings made them, else those of `make`; None where --collect finds none."""
    folder = result_path("model_sizes", quick=arguments.quick, device=arguments.device).with_suffix("")
    path = folder / f"{name.replace(', ', '-').replace(' ', '-')}.json"
    figures: dict[str, Any] = (whole_json(path) or {}).get("figures", {})
    if figures.get("settings") == tidy(settings):
        return figures
    if arguments.collect:
        return None
    figures = {**make(), "settings": settings}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, envelope("model_sizes", figures, quick=arguments.quick, seeds=[settings["seed"]], device=arguments.device))
    return dict(tidy(figures))


def folder_of(size: Size, seed: int, arguments: Arguments) -> Path:
    """Where the base models of a size and seed are."""
    return cache_of(arguments.device) / ("ladder-quick" if arguments.quick else "ladder") / f"{size}-seed{seed}"


def rates_of(size: Size, arguments: Arguments) -> dict[str, Any] | None:
    """Learning rates `pretraining` and `fine_tuning`, with what was found of each: {"loss", "base", "accuracy"} by rate."""

    def search() -> dict[str, Any]:
        loss = {rate: loss_after(size, SEARCH_SEED, rate, arguments.searched, arguments.device) for rate in RATES}
        best = min(RATES, key=loss.__getitem__)
        bases = make_bases(size, SEARCH_SEED, best, folder_of(size, SEARCH_SEED, arguments), arguments.device, **aims)
        base = next(name for name, each in bases.items() if each["reached"])
        runs = {rate: run_of(size, base, "STaR", SEARCH_SEED, rate, arguments, rounds=1) for rate in RATES}
        accuracy = {rate: summarise_run(run).course[-1][0] for rate, run in runs.items()}
        tuned = max(RATES, key=accuracy.__getitem__)
        return {"pretraining": best, "fine_tuning": tuned, "loss": loss, "base": base, "accuracy": accuracy}

    aims = {"same": arguments.same, "most": arguments.most, "skills": list(SKILLS)[:1]}
    settings = {"size": size, "seed": SEARCH_SEED, "rates": RATES, "tokens": arguments.searched, "changes": changes_of(arguments)}
    return kept(arguments, f"rates-{size}", {**settings, **aims}, search)


def bases_of(size: Size, seed: int, rate: float, arguments: Arguments) -> dict[str, Base]:
    """What is known of each base of a size and seed; empty where --collect finds nothing."""
    aims = {"same": arguments.same, "most": arguments.most, "skills": list(SKILLS)}
    make = partial(make_bases, size, seed, rate, folder_of(size, seed, arguments), arguments.device, **aims)
    settings = {"size": size, "seed": seed, "rate": rate, **aims}
    found = kept(arguments, f"bases-{size}-seed{seed}", settings, lambda: {"bases": make()})
    return found["bases"] if found else {}


def changes_of(arguments: Arguments) -> dict[str, dict[str, Any]]:
    """What differs from the shipped recipes of the arms."""
    return QUICK if arguments.quick else CHANGES


def run_of(size: Size, base: str, arm: str, seed: int, rate: float, arguments: Arguments, rounds: int | None = None) -> Path:
    """A finished run directory."""
    path, changes = folder_of(size, seed, arguments) / base, changes_of(arguments)
    if not (path / "config.json").is_file():
        raise InputError(f"{path} has gone; delete what is kept as bases-{size}-seed{seed}.json to pretrain it again")
    changes = {**changes, "model": {"path": str(path)}, "training": {**changes["training"], "learning_rate": rate}}
    if arm == "base":
        changes["loop"] = {"method": "few_shot"}
    elif rounds:
        changes["loop"] = {**changes["loop"], "rounds": rounds}
    return finished_run(arm_recipe(ARMS[arm], seed, changes, folder="sizes", device=arguments.device))


def outcome(size: Size, base: str, arm: str, seed: int, arguments: Arguments) -> dict[str, Any] | None:
    """Figures of a finished and probed run, as kept or made now; None also where its base is not reached."""
    from analysis.probe import Arguments as ProbeArguments
    from analysis.probe import probe

    rates = rates_of(size, arguments)
    known = bases_of(size, seed, rates["pretraining"], arguments).get(base) if rates else None
    if rates is None or known is None or not known["reached"]:
        return None

    def make() -> dict[str, Any]:
        run_dir = run_of(size, base, arm, seed, rates["fine_tuning"], arguments)
        probe(ProbeArguments(run_dir, probes=PROBES, n=arguments.probed, device=arguments.device))
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

    recipe = hashlib.sha256((SEEDS / "recipes" / ARMS[arm]).read_bytes()).hexdigest()[:12]
    settings = {"size": size, "base": base, "arm": arm, "seed": seed, "recipe": recipe, "changes": changes_of(arguments)}
    settings |= {"rate": rates["fine_tuning"], "known": known, "probed": arguments.probed}
    return kept(arguments, f"{size}-{base}-{arm}-seed{seed}", settings, make)


def over_seeds(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One row of the table: a size, base and arm, with runs as units."""
    settings, known = runs[0]["settings"], [run["settings"]["known"] for run in runs]

    def over(values: Iterable[float | None], *, shares: bool = False) -> Any:
        return mean_of_runs([value for value in values if value is not None], shares=shares).as_dict()

    return {
        **{name: settings[name] for name in ("size", "base", "arm")},
        "parameters": runs[0]["parameters"],
        "seeds": len(runs),
        "base_tokens": over(each["tokens"] for each in known),
        **{kind: over((each[kind] for each in known), shares=True) for kind in ("without_hint", "with_hint")},
        "in_band": sum(each["in_band"] for each in known),
        **{name: over(((run[name] or {}).get("value") for run in runs), shares=True) for name in OUTCOMES},
        "reached_goal": sum(run["rounds_to_goal"] is not None for run in runs),
        **{name: over(run[name] for run in runs) for name in ("rounds_to_goal", "flops_to_goal")},
        "faithfulness": {name: over(run["faithfulness"].get(name, {}).get("value") for run in runs) for name in FAITHFULNESS},
    }


def bootstraps(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each size and seed: the smallest skill from which STaR ends above its base, the test intervals apart."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    by_place = {tuple(run["settings"][name] for name in ("size", "seed", "base", "arm")): run for run in runs}
    for (size, seed, base, arm), run in by_place.items():
        before = by_place.get((size, seed, base, "base"))
        if arm == "STaR" and base in SKILLS and before and run["settings"]["known"]["in_band"]:
            about = {"size": size, "seed": seed, "parameters": run["parameters"], "tried": [], "gained": []}
            row = found.setdefault((size, seed), about)
            row["tried"].append(SKILLS[base])
            if run["accuracy"]["low"] > before["accuracy"]["high"]:
                row["gained"].append(SKILLS[base])
    return [row | {"smallest": min(row["gained"], default=None)} for row in found.values()]


def trends(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Change of each measure with ten times the parameters, for each series and arm; see the module's text."""
    rows: list[dict[str, Any]] = []
    for series, arm in product(("same skill", TOKENS), ARMS):
        of = [run for run in runs if run["settings"]["arm"] == arm and (run["settings"]["base"] == TOKENS) == (series == TOKENS)]
        of = [run for run in of if run["settings"]["known"]["in_band"]]
        matched = [run for run in of if arm == "base" or run["accuracy"]["value"] >= MATCHED]
        for name, words in {**OUTCOMES, **FAITHFULNESS}.items():
            if name in OUTCOMES:
                measured = [(run["parameters"], run[name]) for run in of]
            else:
                measured = [(run["parameters"], run["faithfulness"].get(name)) for run in matched]
            points = [(math.log10(parameters), each["value"]) for parameters, each in measured if each]
            if len({x for x, _ in points}) > 2 and len(points) > 3:
                fit = slope(*zip(*points, strict=True))
                row = {"series": series, "arm": arm, "measure": words, "per_tenfold_parameters": fit.as_dict()}
                near = "no difference" if fit.low > -MARGIN and fit.high < MARGIN else "not settled"
                rows.append(row | {"p": slope_p(fit), "verdict": near})
    corrected = zip(rows, holm([row["p"] for row in rows]), strict=True)
    return [row | {"holm_p": p} | ({"verdict": "differs"} if p < 0.05 else {}) for row, p in corrected]


def chart(rows: Sequence[Mapping[str, Any]], arguments: Arguments) -> None:
    """Right answers against parameters before STaR and after it, from the bases of the skill that most sizes have."""
    import pandas as pd

    from analysis import charts

    base = max(SKILLS, key=lambda name: sum(row["base"] == name for row in rows))
    measure = f"answers right, all sizes begun at {base}"
    about = ("parameters", "arm")
    lines = [{**{k: row[k] for k in about}, "measure": measure, **row["accuracy"]} for row in rows if row["base"] == base]
    if lines:
        path = result_path("model_sizes", quick=arguments.quick, device=arguments.device).with_suffix(".png")
        question = "Does a larger model gain more from its own rationales?"
        charts.save(charts.against_size(pd.DataFrame(lines), question), path)


def main() -> None:
    """Make what is missing, small sizes first; the result is written anew after every base, so that what is finished counts."""
    arguments = parse(Arguments, __doc__, gpu=True)
    if arguments.quick and arguments.collect:
        raise UsageError("--collect reads kept runs, and --quick keeps none that mean anything; leave one of them out.")
    if arguments.ladder == "gpu" and arguments.device == "cpu":
        raise UsageError("--ladder gpu: needs a GPU; give --device cuda, or leave --ladder out.")
    if arguments.quick:
        small = {"sizes": ("0.03m",), "bases": (TOKENS,), "same": 3e4, "most": 6e4, "searched": 2e4, "probed": 4}
        arguments = replace(Arguments(quick=True, device=arguments.device), **small)
    runs: dict[tuple[Size, str, int, str], dict[str, Any]] = {}
    sizes = arguments.sizes or LADDERS[arguments.ladder]
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
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for (size, base, _, arm), run in runs.items():
        groups.setdefault((size, base, arm), []).append(run)
    rows = [over_seeds(group) for group in groups.values()]
    found = {size: rates_of(size, replace(arguments, collect=True)) for size in LADDERS[arguments.ladder]}
    rates = {size: each for size, each in found.items() if each}
    figures = {
        "goal": GOAL,
        "made": made([run["made_by"] for run in runs.values()]),
        "rates": [{"size": size, **{stage: each[stage] for stage in STAGES}} for size, each in rates.items()],
        "bases": [
            {"size": size, "seed": seed, "base": base, **known}
            for size, seed in product(rates, arguments.seeds)
            for base, known in bases_of(size, seed, rates[size]["pretraining"], replace(arguments, collect=True)).items()
        ],
        "by_size": rows,
        "bootstraps": bootstraps(list(runs.values())),
        "trends": trends(list(runs.values())),
    }
    write_result("model_sizes", figures, quick=arguments.quick, seeds=arguments.seeds, device=arguments.device)
    chart(rows, arguments)


if __name__ == "__main__":
    sys.exit(run_command(main))
