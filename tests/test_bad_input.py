"""What goes wrong outside the code, through the command: one clear sentence, a status other than zero, nothing finished lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from star import loop as train
from star import run as runs
from star import sampling
from star.errors import counted
from star.recipe import SEEDS, Recipe, load_recipe
from star.sampling.model_files import load_tokenizer
from star.setup import prepare
from star.tasks import load_task
from star.train import main
from tests.scripted import ScriptedSampler
from tests.scripted_answers import ScriptedAnswers
from tests.scripted_loop import scripted_finetune
from tests.tiny_models import tiny_model

ROOT = SEEDS.parent
Command = Callable[..., str]


@pytest.fixture
def own_model(base_model: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(base_model, tmp_path / "own"))


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command, which must end with `status` and a single sentence, and returns that sentence."""

    def command(*arguments: object, status: int = 1) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == status
        shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(shown) == 1
        return shown[0]

    return command


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampler by script, and no training."""
    monkeypatch.setattr(sampling, "open_sampler", open_scripted)
    monkeypatch.setattr(train, "finetune", scripted_finetune)


def open_scripted(settings: Any, model_dir: Path, **options: Any) -> ScriptedSampler:
    return ScriptedSampler(load_tokenizer(model_dir), model_dir)


def write_recipe(folder: Path, model: Path, **sections: Any) -> Path:
    content: dict[str, Any] = {
        "name": "bad-input",
        "runs_dir": str(folder / "runs"),
        "task": {"name": "addition", "digits": [1, 2], "pool": 100, "test_size": 10},
        "model": {"path": str(model)},
        "prompting": {"shots": 0},
        "sampling": {"max_new_tokens": 8, "backend": "transformers"},
        "loop": {"rounds": 2, "problems": 20},
        "training": {"batch_size": 4, "steps": {"first": 1}},
        "evaluation": {"selection_size": 6},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**content, **sections}))
    return path


# ---------------------------------------------------------------------- the model


def without_tokenizer(model: Path) -> None:
    for file in model.glob("tokenizer*"):
        file.unlink()


def cut_off(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def no_safetensors(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"\xff" * 200)


def broken_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").write_text('{"model": ')


def writes(name: str, text: str) -> Callable[[Path], None]:
    return lambda model: (model / name).write_text(text) and None


def with_key(file: str, key: str, value: Any) -> Callable[[Path], None]:
    def damage(model: Path) -> None:
        content = json.loads((model / file).read_text())
        (model / file).write_text(json.dumps({**content, key: value}))

    return damage


def header(text: str) -> Callable[[Path], None]:
    return lambda model: (model / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text.encode()) and None


def with_weight(value: float) -> Callable[[Path], None]:
    def damage(model: Path) -> None:
        from safetensors.torch import load_file, save_file

        weights = load_file(model / "model.safetensors")
        weights["model.layers.1.mlp.up_proj.weight"][3, 5] = value
        save_file(weights, model / "model.safetensors", metadata={"format": "pt"})

    return damage


INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without_tokenizer, "has no tokenizer"),
        (cut_off, "model.safetensors is not a whole safetensors file"),
        (no_safetensors, "model.safetensors is not a whole safetensors file"),
        (broken_tokenizer, "tokenizer"),
        (writes("config.json", "[]"), "config.json holds list"),
        (writes("tokenizer_config.json", "[]"), "tokenizer_config.json holds list"),
        (writes("tokenizer_config.json", '{"a":' * 20_000), "tokenizer_config.json cannot be read"),
        (with_key("config.json", "vocab_size", "many"), "vocab_size is 'many', expected a whole number"),
        (with_key("config.json", "eos_token_id", "x"), "eos_token_id is 'x'"),
        (with_key("config.json", "eos_token_id", [1, "x"]), "eos_token_id is [1, 'x']"),
        (with_key("generation_config.json", "eos_token_id", {"a": 1}), "eos_token_id is {'a': 1}"),
        (with_key("config.json", "hidden_size", "wide"), "cannot be loaded"),
        (with_key("config.json", "num_attention_heads", 0), "cannot be loaded"),
        (with_key("config.json", "num_hidden_layers", -1), "num_hidden_layers is -1"),
        (with_key("config.json", "model_type", "nobody-knows"), "cannot be loaded"),
        (with_key("tokenizer_config.json", "tokenizer_class", 5), "cannot be loaded"),
        (with_key("tokenizer_config.json", "model_max_length", "x"), "cannot be loaded"),
        (writes(INDEX, '{"weight_map": {"x": "../outside.safetensors"}}'), "../outside.safetensors"),
        (writes(INDEX, '{"weight_map": [1]}'), INDEX),
        (writes(INDEX, "[" * 20_000), INDEX),
        (header('{"a":' * 20_000), "is not a whole safetensors file"),
        (header('{"a": {"data_offsets": [0, 0], "shape": "wide"}}'), "is not a whole safetensors file"),
        (header('{"a": {"data_offsets": [], "shape": []}}'), "is not a whole safetensors file"),
        (with_weight(float("nan")), "model.layers.1.mlp.up_proj.weight"),
        (with_weight(float("-inf")), "model.layers.1.mlp.up_proj.weight"),
    ],
)
def test_a_broken_model_directory(
    damage: Callable[[Path], None], words: str, own_model: Path, tmp_path: Path, fails: Command
) -> None:
    damage(own_model)
    sentence = fails(write_recipe(tmp_path, own_model))
    assert words in sentence and str(own_model) in sentence
    assert not list((tmp_path / "runs").glob("*/round_*"))


def test_weights_and_configuration_that_do_not_belong_together(own_model: Path, tmp_path: Path, fails: Command) -> None:
    config = json.loads((own_model / "config.json").read_text())
    (own_model / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    assert "do not belong together" in fails(write_recipe(tmp_path, own_model))


@pytest.mark.slow
def test_a_tokenizer_without_pad_or_end_token_runs_to_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_model(tmp_path / "model", special=False)
    path = write_recipe(tmp_path, model, loop={"method": "direct", "problems": 20})
    with pytest.warns(UserWarning, match="no end token"):
        assert main([str(path)]) == 0
    assert "none of the trained model's sample completions ends by itself" in capsys.readouterr().err
    assert (load_recipe(path).run_dir / "result.json").is_file()


# ---------------------------------------------------------------------- the disk


def snapshot(folder: Path) -> dict[str, int]:
    """Finished files; the parts of an unfinished one are removed once it is whole."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*.parquet") if path.parent.suffix != ".parts"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here: Linux's device whose disk is always full")
@pytest.mark.parametrize("name", ["problems", "round_01/attempts", "round_02/evaluation", "test/evaluation"])
def test_a_full_disk_while_rows_are_written(
    name: str, base_model: Path, tmp_path: Path, scripted: None, fails: Command
) -> None:
    path = write_recipe(tmp_path, base_model)
    run_dir = load_recipe(path).run_dir
    full = run_dir / f"{name}.parquet.tmp"
    full.parent.mkdir(parents=True)
    full.symlink_to("/dev/full")
    sentence = fails(path)
    assert "the disk is full" in sentence and "run the same command again" in sentence
    full.unlink(missing_ok=True)
    finished = snapshot(run_dir)
    assert not any(file.endswith(f"{name}.parquet") for file in finished)
    assert main([str(path)]) == 0
    assert finished.items() <= snapshot(run_dir).items(), "finished files are kept as they are"
    assert (run_dir / "result.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_full_disk_while_a_model_is_saved(
    wrapped: bool, base_model: Path, tmp_path: Path, fails: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError
    from transformers import PreTrainedModel

    def full(self: Any, folder: Any, **options: Any) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "model.safetensors").write_bytes(b"half a file")
        if wrapped:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    path = write_recipe(tmp_path, base_model, loop={"method": "direct", "problems": 20})
    run_dir = load_recipe(path).run_dir
    with monkeypatch.context() as patch:
        patch.setattr(PreTrainedModel, "save_pretrained", full)
        assert "the disk is full" in fails(path)
    assert not (run_dir / "round_01" / "model").exists() and (run_dir / "round_00" / "evaluation.parquet").is_file()
    finished = snapshot(run_dir)
    assert main([str(path)]) == 0
    assert finished.items() <= snapshot(run_dir).items() and (run_dir / "round_01" / "model").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [4, 40, 200])
def test_a_limit_on_the_size_of_files(blocks: int, base_model: Path, tmp_path: Path) -> None:
    """`ulimit -f`: the base model's weights are 75 kB, the tables a few."""
    path = write_recipe(tmp_path, base_model, loop={"method": "direct", "problems": 20})
    command = f"ulimit -f {blocks}; exec {sys.executable} -m star.train {path}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.stderr.count("error: ") == 1 and "ulimit -f" in done.stderr
    assert (done.returncode == 0) == (load_recipe(path).run_dir / "result.json").is_file() == (blocks == 200)


def test_a_second_start_is_told_of_the_first(base_model: Path, tmp_path: Path) -> None:
    """Every loser of ten at once, at whatever point they meet."""
    path = write_recipe(tmp_path, base_model)
    barrier, outcomes = threading.Barrier(10), []

    def start() -> None:
        recipe = load_recipe(path)
        barrier.wait()
        try:
            prepare(recipe, [])
            outcomes.append("prepared")
        except runs.RunError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=start) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 10 and "prepared" in outcomes
    assert all("another process is working on" in each for each in outcomes if each != "prepared")


def test_a_runs_directory_below_a_file(base_model: Path, tmp_path: Path, fails: Command) -> None:
    (tmp_path / "file").write_text("not a folder")
    path = write_recipe(tmp_path, base_model)
    for folder in (tmp_path / "file", tmp_path / "file" / "runs"):
        sentence = fails(path, "--runs-dir", folder)
        assert "--runs-dir" in sentence and str(tmp_path / "file") in sentence
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_runs_directory_without_permission(base_model: Path, tmp_path: Path, fails: Command) -> None:
    # Root ignores the permission bits of ordinary folders, so this is a folder where nobody can make one.
    sentence = fails(write_recipe(tmp_path, base_model), "--runs-dir", "/sys/star-runs")
    assert "no permission to write" in sentence and "--runs-dir" in sentence


# ---------------------------------------------------------------------- Ctrl-C

INTERRUPTED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with SIGINT ignored
from star import sampling, train
from star.train import main
from tests.scripted import ScriptedSampler
from tests.test_bad_input import open_scripted
from tests.scripted_loop import scripted_finetune

real = ScriptedSampler.sample
def slow(self, *arguments, **options):
    time.sleep(0.5)
    return real(self, *arguments, **options)

ScriptedSampler.sample, sampling.open_sampler, train.finetune = slow, open_scripted, scripted_finetune
sys.exit(main(sys.argv[1:]))
"""


IMPORTING = """
import runpy, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
awaited = sys.argv.pop(1)
class Slow:
    def find_spec(self, name, path, target=None):
        if name == awaited:
            print(flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
runpy.run_module("star.train", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["star.recipe", "tyro"])
def test_ctrl_c_while_python_still_imports(module: str) -> None:
    command = [sys.executable, "-c", IMPORTING, module]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in shown


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_run_says_so_and_the_same_command_goes_on(
    number: signal.Signals, status: int, base_model: Path, tmp_path: Path, scripted: None
) -> None:
    path = write_recipe(tmp_path, base_model)
    run_dir = load_recipe(path).run_dir
    command = [sys.executable, "-c", INTERRUPTED, str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 240
    while not (run_dir / "round_01" / "attempts.parquet").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(number)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == status
    assert "the same command goes on from there" in shown and "Traceback" not in shown
    assert not (run_dir / "result.json").exists()
    finished = snapshot(run_dir)
    assert main([str(path)]) == 0
    assert finished.items() <= snapshot(run_dir).items() and (run_dir / "result.json").is_file()


# ---------------------------------------------------------------------- the network


@pytest.fixture(params=["refuses", "is silent"])
def dead_hub(request: pytest.FixtureRequest) -> Iterator[str]:
    """An address that refuses connections, or accepts them and never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if request.param == "is silent":
            silent.listen(50)
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


NO_NETWORK = """
import sys, time
import huggingface_hub, datasets, transformers  # what is timed below is the waiting for the network alone
from star.train import main
for arguments in (["--task.name", "gsm8k"], ["--model.path", "someone/some-model"]):
    started = time.monotonic()
    status = main([*arguments, "--runs-dir", sys.argv[1]])
    print(status, time.monotonic() - started)
"""


def test_no_network_for_data_set_and_model(dead_hub: str, tmp_path: Path) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {**plain, "HF_ENDPOINT": dead_hub, "HF_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", NO_NETWORK, str(tmp_path / "runs")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=True)
    outcomes = [line.split() for line in done.stdout.splitlines()]
    assert [status for status, _ in outcomes] == ["1", "1"]
    assert all(float(seconds) < 30 for _, seconds in outcomes), outcomes
    for_data, for_model = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "openai/gsm8k" in for_data and "HF_HUB_OFFLINE" in for_data and "task.path" in for_data
    assert "someone/some-model" in for_model and "HF_HUB_OFFLINE" in for_model and "model.path" in for_model
    assert "Traceback" not in done.stderr and not (tmp_path / "runs").exists()


# ---------------------------------------------------------------------- the data

GOOD = [{"question": f"What is {n} plus one?", "answer": str(n + 1), "options": ["one", str(n + 1)]} for n in range(30)]


def write_rows(folder: Path, rows: list[Any], name: str = "rows.jsonl") -> Path:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    (folder / name).write_bytes(b"".join(line + b"\n" for line in lines))
    return folder / name


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"query": "What is 1 plus one?", "answer": "2"}] * 3, ["row 1", "no column 'question'"]),
        ([], ["is empty"]),
        ([*GOOD[:3], b'{"question": "caf\xff", "answer": "1"}'], ["row 4", "not UTF-8"]),
        ([*GOOD[:2], b'{"question": '], ["row 3", "not JSON"]),
        ([*GOOD[:2], [1, 2]], ["row 3", "expected an object"]),
        ([{"question": "Which?", "answer": ""}] * 2, ["no usable training row", "2 x no answer"]),
    ],
    ids=["missing column", "empty file", "invalid UTF-8", "not JSON", "not an object", "no answers"],
)
def test_a_bad_file_is_named_with_its_row(
    rows: list[Any], words: list[str], base_model: Path, tmp_path: Path, fails: Command
) -> None:
    file = write_rows(tmp_path, rows)
    sentence = fails(write_recipe(tmp_path, base_model, task={"name": "records", "path": str(file)}))
    assert all(word in sentence for word in [*words, str(file)])
    assert not (tmp_path / "runs").exists()


def test_bad_rows_are_left_out_counted_and_reported(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [
        {"question": "What is an answer?", "answer": None, "options": ["a", "b"]},
        GOOD[0],
        GOOD[1],
        {"question": "x" * 100_000, "answer": "1", "options": ["1", "2"]},
        {"question": "What is in no option?", "answer": "three", "options": ["1", "2"]},
    ]
    settings = {"name": "records", "path": str(write_rows(tmp_path, [*GOOD, *bad])), "answer_type": "choice"}
    path = write_recipe(tmp_path, base_model, task={**settings, "choices": "options"}, loop={"method": "few_shot"})

    def open_answers(settings: Any, model_dir: Path, **options: Any) -> ScriptedAnswers:
        recipe: Recipe = load_recipe(path)
        task = load_task(recipe.task, recipe.seed)
        loaded = task.load()
        return ScriptedAnswers(load_tokenizer(model_dir), model_dir, task, [*loaded.train, *loaded.test])

    monkeypatch.setattr(sampling, "open_sampler", open_answers)
    assert main([str(path)]) == 0
    run_dir = load_recipe(path).run_dir
    skipped = runs.read_json(run_dir / "run.json")["skipped_rows"]
    assert skipped == {
        "no answer": 1,
        "repeated question": 2,
        "question longer than 20,000 characters": 1,
        "answer is not one of the choices": 1,
    }
    shown = capsys.readouterr().out
    assert all(f"left out: {counted(count, 'problem')} ({reason})" in shown for reason, count in skipped.items())
    assert len(runs.read_rows(run_dir / "problems.parquet")) == len(GOOD)
