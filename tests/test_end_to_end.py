"""Two rounds on GSM8K and CommonsenseQA through the command: real samplers, real training, a model as it comes from the Hub."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from star import loop as train
from star import report, sampling
from star import run as runs
from star.attempts import summarise
from star.problem import Verdict
from star.prompting import PromptBuilder, prompt_hash
from star.recipe import Recipe, load_recipe
from star.sampling.base import Sampler
from star.sampling.model_files import load_tokenizer
from star.tasks import load_task
from star.train import main
from tests.scripted_answers import ScriptedAnswers
from tests.scripted_loop import scripted_finetune
from tests.tiny_models import tiny_model

open_real = sampling.open_sampler
Run = tuple[Path, ScriptedAnswers]


@pytest.fixture(scope="module")
def hub_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a chat model from the Hub is on disk: Qwen2 weights in safetensors, byte-level BPE, a chat template."""
    folder = tmp_path_factory.mktemp("hub") / "model"
    return tiny_model(folder, architecture="qwen2", chat_template=True, hidden=64, context=4096)


@pytest.fixture(scope="module")
def bos_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a beginning-of-sequence token that the tokenizer puts in front and the chat template writes too."""
    from tokenizers.processors import TemplateProcessing

    folder = tmp_path_factory.mktemp("bos") / "model"
    tiny_model(folder, architecture="qwen2", chat_template=True, hidden=64, context=4096)
    tokenizer = load_tokenizer(folder)
    bos = "\u0100"  # in the vocabulary: the byte-level alphabet's name for byte 0, which no problem holds
    tokenizer.add_special_tokens({"bos_token": bos})
    single = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)])
    tokenizer.backend_tokenizer.post_processor = single
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    tokenizer.save_pretrained(folder)
    again = load_tokenizer(folder)
    assert again("a")["input_ids"][0] == again.bos_token_id is not None
    return folder


@pytest.fixture(scope="module")
def engines() -> Iterator[Callable[..., Sampler]]:
    """Opens each real sampler once for all tests: a vLLM engine takes most of a minute to start."""
    opened: dict[str, Sampler] = {}

    def open_once(settings: Any, model_dir: Path, **options: Any) -> Sampler:
        if settings.backend in opened:
            opened[settings.backend].load(model_dir)
        else:
            opened[settings.backend] = open_real(settings, model_dir, **options)
        return opened[settings.backend]

    yield open_once
    for sampler in opened.values():
        sampler.close()


def write_recipe(folder: Path, data_dir: Path, model: Path, task: str, **sections: Any) -> Path:
    content: dict[str, Any] = {
        "name": f"{task}-e2e",
        "runs_dir": str(folder / "runs"),
        "task": {"name": task, "path": str(data_dir / f"{task}_train.jsonl.gz"), "limit": 48, "test_limit": 12},
        "model": {"path": str(model)},
        "prompting": {"shots": 1},
        "sampling": {"max_new_tokens": 12},
        "loop": {"rounds": 2},
        "training": {
            "learning_rate": 1e-3,
            "warmup_steps": 0,
            "batch_size": 4,
            "max_length": 2048,
            "steps": {"first": 2},
        },
        "evaluation": {"selection_size": 8},
    }
    for name, values in sections.items():
        content[name] = {**content.get(name, {}), **values}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def run(path: Path, monkeypatch: pytest.MonkeyPatch, *, skill: float = 0.4, engine: Any = None) -> Run:
    """`python -m star.train PATH` with a sampler that is scripted, or a real one whose answers are partly scripted."""
    used: list[ScriptedAnswers] = []

    def open_scripted(settings: Any, model_dir: Path, **options: Any) -> ScriptedAnswers:
        recipe = load_recipe(path)
        task = load_task(recipe.task, recipe.seed)
        loaded = task.load()
        inner = engine(settings, model_dir, **options) if engine else None
        problems = [*loaded.train, *loaded.test]
        used.append(ScriptedAnswers(load_tokenizer(model_dir), model_dir, task, problems, skill=skill, inner=inner))
        return used[0]

    monkeypatch.setattr(sampling, "open_sampler", open_scripted)
    assert main([str(path)]) == 0
    return load_recipe(path).run_dir, used[0]


def check_contents(run_dir: Path, rounds: int = 2) -> None:
    expected = {
        "recipe.yaml",
        "run.json",
        "problems.parquet",
        "metrics.jsonl",
        "result.json",
        "test/evaluation.parquet",
    }
    expected |= {"round_00/evaluation.parquet", "charts/accuracy.png"}
    for number in range(1, rounds + 1):
        folder = f"round_{number:02d}"
        expected |= {f"{folder}/{name}.parquet" for name in ("attempts", "training", "evaluation")}
    found = {str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if path.is_file()}
    assert expected <= found and not any(name.endswith(".tmp") for name in found)
    assert load_recipe(run_dir / "recipe.yaml").run_dir.name == run_dir.name
    assert set(runs.read_json(run_dir / "run.json")) >= {"versions", "hardware", "seed", "argv", "schema_version"}


def check_attempts(run_dir: Path, number: int, pool: int) -> list[dict[str, Any]]:
    """Algorithm 1's accounts of a round hold; returns its attempts."""
    folder = run_dir / f"round_{number:02d}"
    rows, training = runs.read_rows(folder / "attempts.parquet"), runs.read_rows(folder / "training.parquet")
    generated = [row for row in rows if row["mode"] == "generated"]
    solved = {row["problem_id"] for row in generated if row["verdict"] == Verdict.correct}
    assert len({row["problem_id"] for row in generated}) == pool
    assert {row["problem_id"] for row in rows if row["mode"] == "rationalized"} == {
        row["problem_id"] for row in generated
    } - solved
    assert {row["attempt_id"] for row in training} == {row["attempt_id"] for row in rows if row["kept"]}
    assert all(row["verdict"] == Verdict.correct for row in rows if row["kept"])
    data = runs.Run(run_dir).rounds[number]["data"]
    assert data["generated"] + data["rationalized"] == len(training) > 0
    assert data["dropped"] == dict(sorted(Counter(row["drop_reason"] for row in rows if not row["kept"]).items()))
    assert sum(data["dropped"].values()) + len(training) == len(rows)
    return rows


def check_prompts(run_dir: Path, recipe: Recipe, model: Path, asked: list[tuple[int, ...]]) -> None:
    """Every prompt that was sampled is recorded by its hash, every training prompt is the builder's, without a hint."""
    recorded = {
        row["prompt_hash"] for path in run_dir.rglob("*.parquet") for row in runs.read_rows(path) if "seed" in row
    }
    assert recorded == {prompt_hash(ids) for ids in asked}
    tokenizer = load_tokenizer(model)
    task = load_task(recipe.task, recipe.seed)
    builder = PromptBuilder(task, tokenizer, recipe.prompting)
    problems = {problem.id: problem for problem in task.load().train}
    bos = tokenizer.bos_token_id
    assert all(ids.count(bos) == int(bos is not None) for ids in asked)
    for row in runs.read_rows(run_dir / "round_01" / "training.parquet"):
        problem = problems[row["problem_id"]]
        assert row["prompt"] == builder.text(problem, shots=False) and not row["hinted"]
        assert task.hinted_prompt(problem) not in row["prompt"] and task.prompt(problem) in row["prompt"]
        assert task.completion("", problem.gold).split()[-1] in row["completion"]


def check_report(run_dir: Path, capsys: pytest.CaptureFixture[str], arm: str) -> None:
    capsys.readouterr()
    assert report.main([str(run_dir), "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert arm in json.dumps(shown)
    assert report.main([str(run_dir), "--format", "markdown"]) == 0
    assert run_dir.name in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "task", "method"),
    [
        ("transformers", "gsm8k", "full"),
        ("transformers", "commonsense_qa", "lora"),
        pytest.param("vllm", "gsm8k", "lora", marks=pytest.mark.vllm),
        pytest.param("vllm", "commonsense_qa", "full", marks=pytest.mark.vllm),
    ],
)
def test_two_rounds_with_a_real_sampler_and_real_training(
    backend: str,
    task: str,
    method: str,
    hub_model: Path,
    engines: Callable[..., Sampler],
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    settings = {"sampling": {"backend": backend}, "training": {"method": method}}
    path = write_recipe(tmp_path, data_dir, hub_model, task, **settings)
    run_dir, sampler = run(path, monkeypatch, engine=engines)
    check_contents(run_dir)
    for number in (1, 2):
        rows = check_attempts(run_dir, number, pool=40)
        assert any(row["verdict"] != Verdict.correct for row in rows), "what the random model itself says is wrong"
        folder = run_dir / f"round_{number:02d}" / "model"
        assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= {
            file.name for file in folder.iterdir()
        }
        assert type(AutoModelForCausalLM.from_pretrained(folder)).__name__ == "Qwen2ForCausalLM"
    base, trained = load_file(hub_model / "model.safetensors"), load_file(folder / "model.safetensors")
    assert base.keys() == trained.keys() and any(not base[name].equal(trained[name]) for name in base)
    assert [loaded.parent.name for loaded in sampler.loads[:2]] == ["round_01", "round_02"]
    if backend == "vllm":
        assert getattr(sampler.inner, "rebuilds", None) == 0, "new weights went into the running engine each round"
    check_prompts(run_dir, load_recipe(path), hub_model, sampler.prompts)
    check_report(run_dir, capsys, "STaR")


@pytest.mark.parametrize("task", ["gsm8k", "commonsense_qa"])
@pytest.mark.parametrize("mode", ["few_shot", "chat"])
def test_a_scripted_sampler_reaches_what_a_random_model_cannot(
    task: str,
    mode: str,
    bos_model: Path,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(train, "finetune", scripted_finetune)
    settings: dict[str, Any] = {"prompting": {"mode": mode}, "sampling": {"samples": 2}, "evaluation": {"samples": 4}}
    settings["curation"] = {"accept": "strict"}
    path = write_recipe(tmp_path, data_dir, bos_model, task, **settings)
    run_dir, sampler = run(path, monkeypatch)
    check_contents(run_dir)
    rows = check_attempts(run_dir, 1, pool=40) + check_attempts(run_dir, 2, pool=40)
    assert {row["strict_verdict"] for row in rows} == {"correct", "incorrect", "no_answer", "truncated"}
    assert {row["mode"] for row in rows if row["kept"]} == {"generated", "rationalized"}
    assert {"mentions_hint", "duplicate"} <= {row["drop_reason"] for row in rows}
    check_prompts(run_dir, load_recipe(path), bos_model, sampler.prompts)
    check_ties(run_dir)
    check_report(run_dir, capsys, "STaR")


def check_ties(run_dir: Path) -> None:
    """Rounds of equal accuracy: the first is chosen. Votes of equal number: they count as a share."""
    result = runs.read_json(run_dir / "result.json")
    accuracies = [line["selection"]["accuracy"] for line in runs.Run(run_dir).rounds]
    assert len(set(accuracies)) == 1 and result["chosen_round"] == 1
    # Counted by hand from the 12 x 4 answers; the truncated and the silent do not vote.
    right, ties = {"gsm8k": (3, 6), "commonsense_qa": (7, 4)}[load_recipe(run_dir / "recipe.yaml").task.name]
    assert result["test"]["maj_at_k"]["4"] == pytest.approx((right + ties / 2) / 12)
    assert result["test"]["maj_at_k"]["1"] == pytest.approx(result["test"]["pass_at_k"]["1"])
    assert (
        result["test"]["n"] == 12
        and result["test"]["accuracy"] == summarise(runs.read_rows(run_dir / "test" / "evaluation.parquet"))["accuracy"]
    )


@pytest.mark.parametrize(
    ("arm", "sections"),
    [
        ("few-shot direct", {"loop": {"method": "few_shot"}, "prompting": {"shots": 1, "answer_only": True}}),
        ("few-shot chain of thought", {"loop": {"method": "few_shot"}}),
        ("direct fine-tuning", {"loop": {"method": "direct"}, "prompting": {"shots": 1, "answer_only": True}}),
        ("STaR without rationalization", {"loop": {"rounds": 1, "rationalize": False}}),
    ],
)
def test_the_other_rows_of_the_papers_tables(
    arm: str,
    sections: dict[str, Any],
    hub_model: Path,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(train, "finetune", scripted_finetune)
    run_dir, sampler = run(write_recipe(tmp_path, data_dir, hub_model, "commonsense_qa", **sections), monkeypatch)
    result = runs.read_json(run_dir / "result.json")
    assert result["chosen_round"] == (0 if arm.startswith("few-shot") else 1) and result["test"]["n"] == 12
    assert not any("(CORRECT)" in sampler.tokenizer.decode(ids) for ids in sampler.prompts), (
        "none of these shows a hint"
    )
    if arm == "direct fine-tuning":
        rows = runs.read_rows(run_dir / "round_01" / "training.parquet")
        assert len(rows) == 40 and all(row["completion"].startswith("The answer is (") for row in rows)
    check_report(run_dir, capsys, arm)
