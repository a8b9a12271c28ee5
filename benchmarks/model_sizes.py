"""Model sizes: the embedded ladder x {few-shot, STaR, STaR sound} x seeds on addition. Solutions that real models of two sizes
wrote are in `recorded_sizes.py`.

    python benchmarks/model_sizes.py [--quick] [--ladder cpu|gpu] [--sizes 0.03m 0.1m ...] [--tokens 4e6]

Every size is pretrained on the same number of tokens of the same corpus. Asked: below which size does nothing bootstrap
(the paper's GPT-2 remark)? Do larger models use their rationales less (Lanham et al. 2023) or more? Base models, runs
and probes are cached under benchmarks/cache, so an interrupted call goes on, and calls for other sizes or seeds can run beside
it (with OMP_NUM_THREADS=1) before one call reads them all; what is not finished is not in the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from benchmarks.arms import arm_recipe, cost, finished_run, quality, test_rows
from benchmarks.common import CACHE, CommonFlags, parse, result_path, write_result
from star import runs
from star.pretrain import Options, Size

ARMS = {
    "few-shot": "addition-few-shot.yaml",
    "STaR": "addition-star.yaml",
    "STaR, sound": "addition-star-sound.yaml",
}
LADDERS: dict[str, tuple[Size, ...]] = {
    "cpu": ("0.03m", "0.1m", "0.2m", "0.5m", "1m", "4m"),
    "gpu": ("0.2m", "1m", "4m", "16m", "100m"),
}
PROBES = ("early_answering", "forced_mistake", "filler")
LEAST_RIGHT = 20
MEASURES = {
    "aoc_normalised": "early answering (AOC, normalised)",
    "forced_mistake_flip": "answer changed by an added mistake",
    "filler_gap": "filler gap (nats)",
    "reliance": "reliance",
}


@dataclass(frozen=True)
class Flags(CommonFlags):
    """Flags of this benchmark."""

    ladder: Literal["cpu", "gpu"] = "cpu"
    """Sizes: cpu up to 4M parameters, gpu up to 100M."""
    sizes: tuple[Size, ...] = ()
    """Only these sizes."""
    tokens: float = 4e6
    """Pretraining tokens of every size."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds, of every size."""
    rounds: int = 3
    """STaR rounds."""
    probed: int = 200
    """Rationales probed per run."""


def base_model(size: Size, seed: int, flags: Flags) -> Path:
    """The pretrained base of a size, from the cache or made now. One base per size and seed: pretraining varies too."""
    from star import pretrain

    out = CACHE / "ladder" / f"addition-{size}-{flags.tokens:.0f}-seed{seed}"
    if not (out / "README.md").is_file():
        options = Options(size=size, out=out, tokens=flags.tokens, seed=seed, device=flags.device, overwrite=True)
        pretrain.run(options)
    return out


def run_arm(size: Size, arm: str, seed: int, flags: Flags) -> Path:
    """A finished and probed run directory."""
    from analysis.probe import Flags as ProbeFlags
    from analysis.probe import run_probes

    changes: dict[str, Any] = {"model": {"path": str(base_model(size, seed, flags))}, "loop": {"rounds": flags.rounds}}
    if flags.quick:
        changes["task"] = {"digits": [1, 2], "pool": 200, "test_size": 30}
        changes["loop"] = {"rounds": 1, "problems": 30}
        changes["training"] = {"steps": {"first": 3}}
        changes["evaluation"] = {"selection_size": 16}
    run_dir = finished_run(arm_recipe(ARMS[arm], seed, changes, folder="sizes"))
    if not (run_dir / "analysis" / "probes.json").is_file():
        run_probes(ProbeFlags(source=run_dir, probes=PROBES, n=8 if flags.quick else flags.probed, device=flags.device))
    return run_dir


def figures_of(runs_of: dict[tuple[Size, str], list[Path]]) -> list[dict[str, Any]]:
    """One entry per size and arm: quality, faithfulness of all and of right answers, cost; all over the seeds."""
    entries = []
    for (size, arm), folders in runs_of.items():
        rows = [row for folder in folders for row in test_rows(folder)]
        parameters = runs.read_json(folders[0] / "result.json")["parameters"]
        entries.append(
            {
                "size": size,
                "parameters": parameters,
                "arm": arm,
                "seeds": len(folders),
                **quality(rows),
                **faithfulness(tuple(folders)),
                "cost": cost(folders) if arm != "few-shot" else None,
            }
        )
    return entries


@cache
def faithfulness(folders: tuple[Path, ...]) -> dict[str, Any]:
    """Measures of the probed rationales of all seeds, and of those with a right answer; questions are the units."""
    from analysis.probes.measures import all_measures

    rows, right = [], set()
    for place, folder in enumerate(folders):
        probed = [row | {"attempt_id": f"{place}-{row['attempt_id']}"} for row in read_probes(folder)]
        rows += probed
        for number in {row["round"] for row in probed}:
            evaluated = runs.read_rows(folder / f"round_{number:02d}" / "evaluation.parquet", ["attempt_id", "verdict"])
            right |= {f"{place}-{row['attempt_id']}" for row in evaluated if row["verdict"] == "correct"}
    found = {
        "faithfulness": all_measures(rows),
        "faithfulness_right": all_measures([row for row in rows if row["attempt_id"] in right]),
    }
    return {part: {name: each[name] for name in MEASURES if name in each} for part, each in found.items()}


def read_probes(folder: Path) -> list[dict[str, Any]]:
    """Rows of a run's probes."""
    return runs.read_rows(folder / "analysis" / "probes.parquet")


def trends(runs_of: dict[tuple[Size, str], list[Path]]) -> list[dict[str, Any]]:
    """Change of each measure with ten times the parameters, for each arm: slope over the runs, Student's 95 % interval.

    Runs are the units: questions resampled within a run say nothing about another model of the same size. `of` says which
    rationales; runs with fewer than LEAST_RIGHT probed right answers do not count for those of right answers.
    """
    import numpy as np

    from star.statistics import slope

    found = []
    for arm in ARMS:
        folders = [folder for (_, name), each in runs_of.items() if name == arm for folder in each]
        size = {folder: runs.read_json(folder / "result.json")["parameters"] for folder in folders}
        for part, of in (("faithfulness", "all"), ("faithfulness_right", "right answers")):
            for name in MEASURES:
                measured = {folder: faithfulness((folder,))[part].get(name) for folder in folders}
                points = [
                    (np.log10(size[folder]), value["value"])
                    for folder, value in measured.items()
                    if value and value["value"] is not None and (of == "all" or value["n"] >= LEAST_RIGHT)
                ]
                if len({x for x, _ in points}) > 2:
                    change = slope(*zip(*points, strict=True)).as_dict()
                    found.append({"arm": arm, "measure": MEASURES[name], "of": of, "per_tenfold_parameters": change})
    return found


def bootstraps(runs_of: dict[tuple[Size, str], list[Path]]) -> dict[str, Any]:
    """For each size and arm, in how many seeds STaR ends above few-shot, interval clear of interval; the smallest such size.

    Seed by seed: one that takes off among three that do not would vanish in a mean, or carry it.
    """
    counted = []
    for (size, arm), folders in runs_of.items():
        if arm != "few-shot":
            pairs = [(accuracy(before), accuracy(after)) for before, after in zip(runs_of[size, "few-shot"], folders, strict=True)]
            counted.append(
                {
                    "size": size,
                    "parameters": runs.read_json(folders[0] / "result.json")["parameters"],
                    "arm": arm,
                    "seeds": len(pairs),
                    "bootstrapped": sum(after["low"] > before["high"] for before, after in pairs),
                    "few_shot_by_seed": [before["value"] for before, _ in pairs],
                    "by_seed": [after["value"] for _, after in pairs],
                }
            )
    return {"by_size": counted, "smallest": next((row["size"] for row in counted if row["bootstrapped"]), None)}


@cache
def accuracy(folder: Path) -> dict[str, Any]:
    """Share of right test answers of one run, with its 95 % interval."""
    found: dict[str, Any] = quality(test_rows(folder))["accuracy"]
    return found


def chart(entries: list[dict[str, Any]], flags: Flags) -> None:
    """Accuracy, soundness and faithfulness against parameters."""
    import pandas as pd

    from analysis import charts

    lines = []
    for entry in entries:
        shown = {"accuracy": entry["accuracy"], "sound, of right answers": entry["sound_of_right"]}
        shown |= {MEASURES[name]: value for name, value in entry["faithfulness"].items()}
        for measure, value in shown.items():
            if value:
                bounds = {key: value[key] for key in ("value", "low", "high", "n")}
                unit = "nats" if measure == MEASURES["filler_gap"] else "share"
                known = {"parameters": entry["parameters"], "arm": entry["arm"], "measure": measure, "unit": unit}
                lines.append(known | bounds)
    path = result_path("model_sizes", quick=flags.quick, device=flags.device).with_suffix(".png")
    charts.save(charts.against_size(pd.DataFrame(lines), "Does size change how models reason?"), path)


def main() -> None:
    """Run what is not cached yet, small sizes first; write the result after every base model, so that what is finished counts."""
    flags = parse(Flags, __doc__)
    if flags.quick:
        flags = Flags(quick=True, device=flags.device, sizes=("0.03m", "0.1m"), tokens=6e4, seeds=(0,), rounds=1)
    runs_of: dict[tuple[Size, str], list[Path]] = {}
    for size in flags.sizes or LADDERS[flags.ladder]:
        for seed in flags.seeds:
            for arm in ARMS:
                runs_of.setdefault((size, arm), []).append(run_arm(size, arm, seed, flags))
            write(runs_of, flags)


def write(runs_of: dict[tuple[Size, str], list[Path]], flags: Flags) -> None:
    """Result and chart of the runs so far."""
    entries = figures_of(runs_of)
    figures = {
        "pretraining_tokens": flags.tokens,
        "ladder": entries,
        "bootstraps": bootstraps(runs_of),
        "trends": trends(runs_of),
    }
    write_result("model_sizes", figures, quick=flags.quick, seeds=flags.seeds, device=flags.device)
    chart(entries, flags)


if __name__ == "__main__":
    main()
