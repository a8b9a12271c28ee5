"""Both samplers against transformers' own generate: tokens, log-probabilities, stops, limits, swaps, broken input."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from star.recipe import SamplingSettings
from star.sampling import Decoding, SamplerError, backends, choose_backend, model_files, open_sampler
from star.sampling.decode_loop import choose
from star.sampling.text import StopStrings, finished_completions
from star.sampling.transformers_sampler import TransformersSampler
from star.sampling.vllm_process import WorkerProcess
from tests.tiny_models import tiny_model, tiny_tokenizer

ROOT = Path(__file__).resolve().parent.parent
TEXTS = ["Input:\n6 2 4 + 2 5 9\nTarget:\n", "Question: A box holds", "1 + 1 ="]
needs_vllm = pytest.mark.skipif(backends.vllm_build() is None, reason='vLLM is not installed: pip install -e ".[cpu]"')


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models of one shape and other weights (a, b), with untied and tied embeddings."""
    folder = tmp_path_factory.mktemp("models")
    return {
        name: tiny_model(folder / name, tied=tied, seed=seed, hidden=64, layers=2, context=128)
        for name, tied, seed in (("a", False, 0), ("b", False, 1), ("tied_a", True, 0), ("tied_b", True, 1))
    }


@pytest.fixture(scope="module")
def engine(models: dict[str, Path]) -> Iterator[Any]:
    """One vLLM engine for the module: starting it is most of the time these tests take."""
    from star.sampling.vllm_sampler import VllmSampler

    sampler = VllmSampler(models["a"], cpu=True)
    yield sampler
    sampler.close()


@pytest.fixture(params=["transformers", pytest.param("vllm", marks=[pytest.mark.vllm, needs_vllm])])
def sampler(request: pytest.FixtureRequest, models: dict[str, Path]) -> Iterator[Any]:
    """Each sampler with model a loaded."""
    if request.param == "vllm":
        engine = request.getfixturevalue("engine")
        if engine.model_dir != models["a"]:
            engine.load(models["a"])
        yield engine
    else:
        own = TransformersSampler(models["a"], device="cpu")
        yield own
        own.close()


def prompts_of(sampler: Any) -> list[list[int]]:
    return [sampler.tokenizer.encode(text) for text in TEXTS]


def generated(model_dir: Path, prompt: list[int], steps: int) -> tuple[list[int], list[float]]:
    """transformers' own greedy continuation and its log-probabilities."""
    model = model_files.load_model(model_dir, dtype=torch.float32)
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=steps,
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
    )
    tokens = out.sequences[0, len(prompt) :].tolist()
    return tokens, [float(s[0].log_softmax(-1)[t]) for s, t in zip(out.scores, tokens, strict=True)]


def check_against_generate(sampler: Any, model_dir: Path) -> None:
    prompts = prompts_of(sampler)
    for prompt, (completion,) in zip(prompts, sampler.sample(prompts, Decoding(max_new_tokens=10)), strict=True):
        tokens, logprobs = generated(model_dir, prompt, 10)
        assert list(completion.token_ids) == tokens
        assert completion.logprobs == pytest.approx(logprobs, abs=1e-3)


def test_greedy_is_transformers_own(sampler: Any, models: dict[str, Path]) -> None:
    check_against_generate(sampler, models["a"])


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("tied", [False, True])
def test_transformers_on_each_architecture(tmp_path: Path, architecture: Any, tied: bool) -> None:
    path = tiny_model(tmp_path / "m", architecture, tied, seed=3)
    check_against_generate(TransformersSampler(path, device="cpu"), path)


def test_a_swap_changes_the_weights(sampler: Any, models: dict[str, Path]) -> None:
    before = sampler.sample(prompts_of(sampler), Decoding(max_new_tokens=6))
    sampler.load(models["b"])
    assert sampler.model_dir == models["b"]
    check_against_generate(sampler, models["b"])
    assert sampler.sample(prompts_of(sampler), Decoding(max_new_tokens=6)) != before
    sampler.load(models["a"])
    assert sampler.sample(prompts_of(sampler), Decoding(max_new_tokens=6)) == before


def test_stop_strings_are_cut(sampler: Any) -> None:
    (free,) = sampler.sample([prompts_of(sampler)[0]], Decoding(max_new_tokens=12))[0]
    position = next(i for i in range(3, len(free.text) - 1) if free.text[i : i + 2].isascii())
    stop = free.text[position : position + 2]
    (cut,) = sampler.sample([prompts_of(sampler)[0]], Decoding(max_new_tokens=12, stop=("never seen", stop)))[0]
    assert cut.finish_reason == "stop"
    assert cut.text == free.text[: free.text.find(stop)]
    assert cut.token_ids == free.token_ids[: len(cut.token_ids)]
    assert stop in sampler.tokenizer.decode(cut.token_ids)


def test_length_limit_is_said(sampler: Any) -> None:
    (completion,) = sampler.sample([prompts_of(sampler)[0]], Decoding(max_new_tokens=2))[0]
    assert completion.finish_reason == "length"
    assert len(completion.token_ids) == len(completion.logprobs) == 2


def test_end_of_context_is_a_length_limit(sampler: Any) -> None:
    near, over = [5] * 126, [5] * 128
    (first,), (second,) = sampler.sample([near, over], Decoding(max_new_tokens=10))
    assert (len(first.token_ids), first.finish_reason) == (2, "length") or first.finish_reason == "stop"
    assert (second.token_ids, second.text, second.finish_reason) == ((), "", "length")


def test_no_prompts_no_completions(sampler: Any) -> None:
    assert sampler.sample([], Decoding()) == []


def test_a_thousand_prompts_as_one(sampler: Any) -> None:
    draw = random.Random(0)
    prompts = [[draw.randrange(2, 250) for _ in range(draw.randint(1, 12))] for _ in range(1_000)]
    found = sampler.sample(prompts, Decoding(max_new_tokens=3))
    assert [len(row) for row in found] == [1] * 1_000
    for i in (0, 499, 999):
        assert sampler.sample([prompts[i]], Decoding(max_new_tokens=3))[0][0].token_ids == found[i][0].token_ids


def test_same_call_same_completions(sampler: Any) -> None:
    decoding = Decoding(temperature=1.0, top_p=0.95, samples=4, max_new_tokens=6, seed=7)
    first = sampler.sample(prompts_of(sampler), decoding)
    assert [len(row) for row in first] == [4, 4, 4]
    assert len({c.token_ids for c in first[0]}) > 1
    assert sampler.sample(prompts_of(sampler), decoding) == first
    other = Decoding(temperature=1.0, top_p=0.95, samples=4, max_new_tokens=6, seed=8)
    assert sampler.sample(prompts_of(sampler), other) != first


@pytest.mark.parametrize("temperature", [0.01, 1e-6])
def test_low_temperatures_are_greedy(sampler: Any, temperature: float) -> None:
    greedy = sampler.sample(prompts_of(sampler), Decoding(max_new_tokens=6))
    near = sampler.sample(prompts_of(sampler), Decoding(temperature=temperature, top_p=0.9, max_new_tokens=6))
    assert [row[0].token_ids for row in near] == [row[0].token_ids for row in greedy]
    # Log-probabilities are those of the model, not of the sharpened distribution (which would be 0).
    assert near[0][0].logprobs == pytest.approx(greedy[0][0].logprobs, abs=1e-3)
    assert min(near[0][0].logprobs) < -1e-3


@pytest.mark.parametrize(("prompt", "message"), [([], "no tokens"), ([1, 10**6], "do not belong together")])
def test_unusable_prompts(sampler: Any, prompt: list[int], message: str) -> None:
    with pytest.raises(SamplerError, match=message):
        sampler.sample([prompt], Decoding(max_new_tokens=2))


def test_row_numbers_not_batches_fix_the_draw(models: dict[str, Path]) -> None:
    decoding = Decoding(temperature=1.0, samples=3, max_new_tokens=8, seed=1)
    wide = TransformersSampler(models["a"], device="cpu")
    narrow = TransformersSampler(models["a"], device="cpu", batch_size=2)
    prompts = prompts_of(wide)
    ids = [[c.token_ids for c in row] for row in wide.sample(prompts, decoding)]
    assert [[c.token_ids for c in row] for row in narrow.sample(prompts, decoding)] == ids


def test_memory_runs_out_then_batches_halve(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from star.sampling.decode_loop import DecodeLoop

    sampler = TransformersSampler(models["a"], device="cpu", batch_size=8)
    prompts = [[5 + i] for i in range(8)]
    expected = sampler.sample(prompts, Decoding(max_new_tokens=4))
    run = DecodeLoop.run

    def hungry(self: DecodeLoop, rows: Any) -> None:
        if len(rows) > 2:
            raise torch.OutOfMemoryError("no memory")
        run(self, rows)

    monkeypatch.setattr(DecodeLoop, "run", hungry)
    with pytest.warns(UserWarning, match="Out of memory"):
        found = sampler.sample(prompts, Decoding(max_new_tokens=4))
    assert sampler.batch_size == 2
    assert [r[0].token_ids for r in found] == [r[0].token_ids for r in expected]


def test_nucleus_holds_the_least_tokens_that_reach_top_p() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().repeat(1000, 1)
    uniforms = (torch.arange(1000) + 0.5) / 1000
    tokens, logprobs = choose(logits, Decoding(temperature=1.0, top_p=0.7), uniforms)
    shares = torch.bincount(tokens, minlength=4) / 1000
    assert shares.tolist() == pytest.approx([0.5 / 0.8, 0.3 / 0.8, 0, 0], abs=0.002)
    assert logprobs[0].item() == pytest.approx(torch.tensor(0.5).log().item())


def test_no_pad_and_no_end_token(tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "m", special=False)
    with pytest.warns(UserWarning, match="no end token"):
        sampler = TransformersSampler(path, device="cpu")
    assert sampler.tokenizer.pad_token_id is None
    assert sampler.ends == ()
    check_against_generate(sampler, path)
    assert {row[0].finish_reason for row in sampler.sample(prompts_of(sampler), Decoding(max_new_tokens=5))} == {
        "length"
    }


@pytest.mark.parametrize("tags", ["[THINK] [/THINK]", "<|channel|> <|message|> <|start|> <|end|>"])
def test_tags_of_thoughts_stay_in_the_text(tags: str) -> None:
    """Other special tokens do not."""
    tokenizer = tiny_tokenizer()
    text = "12".join(tags.split()) + "\n#### 3"
    tokenizer.add_special_tokens({"additional_special_tokens": [*tags.split(), "<other>"]})
    ids = tokenizer(f"<other>{text}<eos>")["input_ids"]
    read = finished_completions(tokenizer, StopStrings(tokenizer, ()), (), [(ids, (), "stop"), ((), (), "stop")])
    assert [one.text for one in read] == [text, ""]


def _cut_weights(path: Path) -> None:
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _drop_tensor(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: shutil.rmtree(p), "not a directory"),
        (lambda p: (p / "config.json").unlink(), "no config.json"),
        (lambda p: (p / "config.json").write_text("{"), "cannot be read"),
        (lambda p: (p / "tokenizer.json").unlink(), "no tokenizer"),
        (lambda p: (p / "tokenizer.json").write_text("{}"), "tokenizer in .* cannot be loaded"),
        (lambda p: (p / "model.safetensors").unlink(), "no .safetensors"),
        (_cut_weights, "not a whole safetensors file"),
        (_drop_tensor, "lack 1 tensor of"),
    ],
)
def test_broken_model_directories(tmp_path: Path, damage: Any, message: str) -> None:
    path = tiny_model(tmp_path / "m")
    damage(path)
    with pytest.raises(SamplerError, match=message):
        open_sampler(SamplingSettings(backend="transformers"), path)


def test_close_twice_then_sample_says_so(models: dict[str, Path]) -> None:
    sampler = TransformersSampler(models["a"], device="cpu")
    sampler.close()
    sampler.close()
    with pytest.raises(SamplerError, match="load"):
        sampler.sample([[1]], Decoding())


@pytest.mark.parametrize(
    ("build", "gpu", "parameters", "expected"),
    [
        (None, False, 10**9, "transformers"),
        (backends.VllmBuild("0.32.0", "cpu"), False, 200_000, "transformers"),
        (backends.VllmBuild("0.32.0", "cpu"), False, 4_000_000, "vllm"),
        (backends.VllmBuild("0.32.0", "gpu"), False, 4_000_000, "transformers"),
        (backends.VllmBuild("0.32.0", "gpu"), True, 200_000, "vllm"),
        (backends.VllmBuild("0.32.0", "cpu"), True, 4_000_000, "transformers"),
    ],
)
def test_auto_backend(
    monkeypatch: pytest.MonkeyPatch, models: dict[str, Path], build: Any, gpu: bool, parameters: int, expected: str
) -> None:
    monkeypatch.setattr(backends, "vllm_build", lambda: build)
    monkeypatch.setattr(backends, "has_gpu", lambda: gpu)
    monkeypatch.setattr(model_files, "count_parameters", lambda _: parameters)
    name, reason = choose_backend(SamplingSettings(), models["a"])
    assert name == expected
    assert reason


def test_vllm_asked_for_but_absent(monkeypatch: pytest.MonkeyPatch, models: dict[str, Path]) -> None:
    monkeypatch.setattr(backends, "vllm_build", lambda: None)
    with pytest.raises(SamplerError, match="not installed"):
        choose_backend(SamplingSettings(backend="vllm"), models["a"])


def test_heads_that_vllm_cannot_do_on_a_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "m", hidden=32)  # two heads of size 16
    monkeypatch.setattr(backends, "vllm_build", lambda: backends.VllmBuild("0.32.0", "cpu"))
    with pytest.raises(SamplerError, match=r"m has attention heads of size 16, which vLLM 0\.32\.0 cannot do on a CPU; use"):
        open_sampler(SamplingSettings(backend="vllm"), path)


def test_an_error_of_a_living_worker_is_said_at_once_with_its_log_and_without_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the worker prints on its standard output, from its very start on, is log and nothing else."""
    (tmp_path / "sitecustomize.py").write_text("import os; os.write(1, bytes(8) + b' printed by a library')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = WorkerProcess(cpu=True)
    started = time.monotonic()
    with pytest.raises(SamplerError, match="vLLM failed during `nothing`: AttributeError") as caught:
        worker.ask("nothing")
    assert "exit status" not in str(caught.value) and "printed by a library" in str(caught.value)
    assert time.monotonic() - started < 60, "starting Python is all that it waits for"


def test_parameters_are_counted_from_the_header(models: dict[str, Path]) -> None:
    for path in models.values():
        model = model_files.load_model(path, dtype=torch.float32)
        assert model_files.count_parameters(path) == sum(p.numel() for p in model.parameters())


def test_weights_that_the_index_does_not_name_are_not_counted(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for name in ("model-00001-of-00001", "consolidated"):
        save_file({"x": torch.zeros(10, 10)}, tmp_path / f"{name}.safetensors")
    (tmp_path / model_files.INDEX).write_text('{"weight_map": {"x": "model-00001-of-00001.safetensors"}}')
    assert model_files.count_parameters(tmp_path) == 100


def test_probe_sees_other_weights(models: dict[str, Path]) -> None:
    """The comparison itself, with transformers in the place of an engine: right weights pass, stale ones do not."""
    from star.sampling.swap_proof import Reference

    fresh, stale = (TransformersSampler(models[name], device="cpu") for name in ("a", "b"))
    reference = Reference(models["a"], "float32", False, 64)
    for sampler, passes in ((fresh, True), (stale, False)):
        sampler.ends = ()
        ((completion,),) = sampler.sample([reference.prompt], Decoding(max_new_tokens=8))
        assert (reference.difference(completion.token_ids, completion.logprobs) is None) is passes


def nudged(path: Path, folder: Path, size: float) -> Path:
    """A copy of a model with normal noise of this size on each weight: what one small step does."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(path, folder)
    generator = torch.Generator().manual_seed(0)
    tensors = load_file(folder / "model.safetensors")
    moved = {name: t + size * torch.randn(t.shape, generator=generator) for name, t in tensors.items()}
    save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("size", [1e-6, 1e-5])
def test_probe_sees_weights_that_differ_by_less_than_the_tolerance(
    models: dict[str, Path], tmp_path: Path, size: float
) -> None:
    from star.sampling.swap_proof import TOLERANCE, Reference

    moved = nudged(models["a"], tmp_path / "moved", size)
    answers = {}
    for path in (models["a"], moved):
        engine = TransformersSampler(path, device="cpu")
        engine.ends = ()
        ((answers[path],),) = engine.sample([Reference(path, "float32", False, 64).prompt], Decoding(max_new_tokens=8))
    old, new = (Reference(path, "float32", False, 64) for path in (models["a"], moved))
    assert old.difference(answers[models["a"]].token_ids, answers[models["a"]].logprobs) is None
    for path, stale in ((moved, False), (models["a"], True)):
        ids, logprobs = answers[path].token_ids, answers[path].logprobs
        assert new.difference(ids, logprobs) is None, "within the tolerance"
        assert (new.staleness(old, logprobs) is not None) is stale
    noisy = [value + 0.9 * TOLERANCE["float32"] * (-1) ** i for i, value in enumerate(answers[moved].logprobs)]
    with pytest.warns(UserWarning, match="could not be told"):
        assert new.staleness(old, noisy) is None


@pytest.mark.vllm
@needs_vllm
def test_vllm_that_ignores_a_small_swap_is_rebuilt(
    engine: Any, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.load(models["a"])
    before, moved = engine.rebuilds, nudged(models["a"], tmp_path / "moved", 1e-5)
    engine.load(moved)
    engine.load(models["a"])
    assert engine.rebuilds == before, "small swaps that work are seen to work"
    ask = engine.worker.ask
    monkeypatch.setattr(engine.worker, "ask", lambda do, **rest: None if do == "reload" else ask(do, **rest))
    with pytest.warns(UserWarning, match="kept stale weights .* those of the weights before"):
        engine.load(moved)
    assert engine.rebuilds == before + 1
    engine.reload_works = True  # the engine is shared by the module's tests


@pytest.mark.vllm
@needs_vllm
def test_vllm_swap_with_tied_embeddings(engine: Any, models: dict[str, Path]) -> None:
    """The measured trap: a plain reload keeps the old output head. Another shape before, so the engine is new."""
    before = engine.rebuilds
    engine.load(models["tied_a"])
    assert engine.rebuilds == before + 1
    check_against_generate(engine, models["tied_a"])
    engine.load(models["tied_b"])
    check_against_generate(engine, models["tied_b"])
    assert engine.rebuilds == before + 1, "the swap needed a new engine, which costs a start each round"


@pytest.mark.vllm
@needs_vllm
def test_vllm_worker_crash_is_an_error_with_its_log(engine: Any) -> None:
    engine.worker.process.kill()
    with pytest.raises(SamplerError, match="worker died"):
        engine.sample([[5, 6]], Decoding(max_new_tokens=2))
    engine.close()
    engine.close()
    with pytest.raises(SamplerError, match="load"):
        engine.sample([[5, 6]], Decoding(max_new_tokens=2))


PARENT = """
import os, sys, time
from star.sampling.vllm_process import WorkerProcess
worker = WorkerProcess(cpu=True)
if os.fork() == 0:  # a fork keeps the connection open, as a data loader's workers would
    time.sleep(60)
print(worker.process.pid, flush=True)
time.sleep(60)
"""


def test_worker_dies_with_a_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    time.sleep(2)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    try:
        deadline = time.monotonic() + 20
        while _alive(worker) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not _alive(worker)
    finally:
        os.killpg(parent.pid, signal.SIGKILL)


def _alive(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_config_of_another_shape_is_noticed(models: dict[str, Path], tmp_path: Path) -> None:
    from star.sampling.swap_proof import shape_of

    assert shape_of(models["a"]) == shape_of(models["b"]) != shape_of(models["tied_a"])
    copy = tmp_path / "copy"
    shutil.copytree(models["a"], copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "transformers_version": "0"}))
    assert shape_of(copy) == shape_of(models["a"])
