"""Fine-tuning with TRL on tiny models: what carries loss, what is saved, and that batching does not change the result."""

from __future__ import annotations

import ctypes
import importlib.machinery
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from star.recipe import SEEDS, RecipeError, TrainingSettings
from star.training import sft
from star.training.finetuning import AS_JSON, command_of, finetune
from star.training.plan import FinetuningError, Job, count_sequences, with_data
from star.training.sft import count_endings, freed_memory_kept, weights_dtype
from star.training.trackers import check_tracker, send
from tests.tiny_models import tiny_model

pytestmark = pytest.mark.slow

TWO = "seeds/accelerate/cpu2.yaml"
END = 1  # the tiny tokenizer's end token
ROWS = tuple(((5 + i, 6, 7), (*range(20 + i, 24 + i), END)) for i in range(8))


def make_job(base: Path, output: Path, steps: int = 4, rows: Any = ROWS, **settings: Any) -> Job:
    values = {"learning_rate": 1e-2, "warmup_steps": 0, "batch_size": 8, "max_length": 64, **settings}
    made = TrainingSettings.model_validate(values)
    return with_data(Job(base=str(base), output=str(output), steps=steps, seed=1, settings=made), rows)


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def assert_swappable(base: Path, trained: Path) -> None:
    """Same configuration and tokenizer, to the letter: else vLLM's engine is built anew instead of reloaded."""
    assert json.loads((trained / "config.json").read_text()) == json.loads((base / "config.json").read_text())
    for file in base.glob("tokenizer*"):
        assert (trained / file.name).read_bytes() == file.read_bytes()


def test_loss_is_on_the_completion_or_on_all(tmp_path: Path) -> None:
    job = make_job(Path("base"), tmp_path / "out")
    prompt, completion = ROWS[0]
    assert job.data[0] == {"input_ids": [*prompt, *completion], "labels": [-100] * 3 + [*completion]}
    assert (job.rows, job.truncated, job.dropped, job.shown) == (8, 0, 0, ROWS[:4])
    assert make_job(Path("base"), tmp_path / "out", loss_on="all").data[0]["labels"] == [*prompt, *completion]


def test_rows_cut_and_left_out_are_counted_and_only_none_left_is_refused(tmp_path: Path) -> None:
    cut, prompt_alone = (tuple(range(5)), tuple(range(60))), (tuple(range(10)), (1, 2))
    call = {"base": Path("base"), "output": tmp_path / "out", "max_length": 10}
    job = make_job(**call, rows=(prompt_alone, cut))
    assert (job.rows, job.truncated, job.dropped, job.shown) == (1, 1, 1, (cut,)) and len(job.data[0]["input_ids"]) == 10
    job = make_job(**call, rows=(prompt_alone,), loss_on="all")
    assert (job.rows, job.truncated, job.dropped) == (1, 1, 0)
    with pytest.raises(FinetuningError, match=r"the shortest prompt alone is 10 tokens and training\.max_length is 10"):
        make_job(**call, rows=(prompt_alone, ((2,) * 12, (1, 2))))


def test_rows_are_in_a_file_and_not_in_memory(tmp_path: Path) -> None:
    import datasets  # noqa: F401 - what loading it takes is not counted

    count, prompt, completion = 40_000, range(1_000, 1_100), range(2_000, 2_100)
    tracemalloc.start()
    job = make_job(Path("base"), tmp_path / "out", rows=((tuple(prompt), tuple(completion)) for _ in range(count)), max_length=512)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert job.rows == len(job.data) == count and job.data[count - 1]["input_ids"] == [*prompt, *completion]
    assert peak < 2**25 < 8 * 200 * count, "all of them are twice that in pointers alone"
    assert len(AS_JSON.dump_json(job)) < 2**14, "a launch reads them from the file too"


def test_endings_are_counted_within_the_length_of_each_prompt_of_a_batch() -> None:
    import torch

    class Answers:
        device, generation_config = "cpu", SimpleNamespace(eos_token_id=[7, 8])
        config = SimpleNamespace(get_text_config=lambda: None)

        def generate(self, ids: torch.Tensor, *, max_new_tokens: int, **_: Any) -> torch.Tensor:
            assert ids.tolist() == [[0, 0, 5], [4, 5, 6], [0, 7, 5]] and max_new_tokens == 14
            new = torch.full((3, max_new_tokens), 9)
            new[0, 9], new[1, 12], new[2, 13] = 7, 8, 9  # the first at its last place, the second behind its limit, the third never
            return torch.cat([ids, new], dim=1)

    shown = (((5,), (1,)), ((4, 5, 6), (1,)), ((7, 5), (1, 2, 3)))
    assert count_endings(Answers(), SimpleNamespace(shown=shown)) == 1  # type: ignore[arg-type]


def test_endings_are_looked_for_within_the_context(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model(tmp_path / "model", "gpt2", context=64))
    shown = ((tuple(range(5, 35)), tuple(range(5, 35))),)
    assert count_endings(model, SimpleNamespace(shown=shown)) in (0, 1)  # type: ignore[arg-type]


def test_a_model_learns_its_rows_ends_by_itself_and_loads_from_its_directory(base_model: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    result = finetune(make_job(base_model, tmp_path / "model", steps=150))
    assert result["loss"] < 0.2 and result["ended"] == 4 and result["truncated_rows"] == 0
    assert result["tokens"] == 150 * sum(len(p) + len(c) for p, c in ROWS)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    AutoTokenizer.from_pretrained(tmp_path / "model")
    prompt, completion = ROWS[3]
    out = model.generate(torch.tensor([prompt]), max_new_tokens=10, do_sample=False)[0, len(prompt) :]
    assert tuple(out.tolist()) == completion
    assert_swappable(base_model, tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"README.md", "model.safetensors", "config.json"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)


def test_a_row_that_is_too_long_does_not_stop_the_others(base_model: Path, tmp_path: Path) -> None:
    long = ((9,) * 2_000, (10, 11))
    result = finetune(make_job(base_model, tmp_path / "model", rows=(long, *ROWS)))
    assert (result["rows"], result["dropped_rows"], result["truncated_rows"]) == (len(ROWS), 1, 0)
    plain = finetune(make_job(base_model, tmp_path / "plain"))
    assert result["loss_curve"] == plain["loss_curve"] and result["ended"] == plain["ended"]
    assert f"on {len(ROWS)} self-generated rationales" in (tmp_path / "model" / "README.md").read_text()


def test_a_diverged_training_is_refused_and_saves_nothing(base_model: Path, tmp_path: Path, no_gpu: None) -> None:
    with pytest.raises(FinetuningError, match=r"training diverged: .*lower training\.learning_rate \(now 1e\+35\)"):
        finetune(make_job(base_model, tmp_path / "model", steps=20, learning_rate=1e35, max_grad_norm=1e9))
    assert not (tmp_path / "model").exists() and not list(tmp_path.rglob("*.safetensors"))


def test_a_diverged_launch_says_so_in_the_same_words(base_model: Path, tmp_path: Path, no_gpu: None) -> None:
    with pytest.raises(FinetuningError, match=r"training diverged: .*lower training\.learning_rate"):
        finetune(
            make_job(base_model, tmp_path / "out" / "model", learning_rate=1e35, max_grad_norm=1e9, accelerate_config=TWO)
        )
    assert not (tmp_path / "out" / "model").exists() and not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("shape", ["short", "halves", "mixed", "one"])
def test_packed_sequences_are_counted_as_trl_packs_them(shape: str, tmp_path: Path) -> None:
    import datasets
    from trl import pack_dataset

    lengths = {"short": [5, 6, 7] * 40, "halves": [33] * 20, "mixed": [*range(2, 90)] * 3, "one": [4]}[shape]
    rows = tuple(((7,), (9,) * (length - 1)) for length in lengths)
    ids = [[*prompt, *completion][:64] for prompt, completion in rows]
    packed = pack_dataset(datasets.Dataset.from_dict({"input_ids": ids}), 64, "bfd")
    left_out = ((7,) * 64, (9,))
    job = make_job(Path("base"), tmp_path / "out", rows=(*rows, left_out), packing=True)
    assert count_sequences(job) == len(packed) >= sum(map(len, ids)) / 64
    assert count_sequences(make_job(Path("base"), tmp_path / "out", rows=rows)) == len(rows)


def test_the_loss_on_logits_is_trls(base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = finetune(make_job(base_model, tmp_path / "logits", steps=3))
    monkeypatch.setattr(sft, "MOST_LOGITS", 0)
    theirs = finetune(make_job(base_model, tmp_path / "tiles", steps=3))
    assert ours["loss_curve"] == pytest.approx(theirs["loss_curve"], rel=1e-5) and ours["tokens"] == theirs["tokens"]


def test_accumulation_changes_nothing(base_model: Path, tmp_path: Path) -> None:
    import torch

    finetune(make_job(base_model, tmp_path / "whole"))
    finetune(make_job(base_model, tmp_path / "parts", micro_batch_size=1))
    whole, parts, start = weights(tmp_path / "whole"), weights(tmp_path / "parts"), weights(base_model)
    for name, tensor in whole.items():  # Adam blows rounding up where a gradient is nearly 0, so norms are compared
        moved = torch.linalg.vector_norm(tensor - start[name])
        assert moved > 0, name
        assert torch.linalg.vector_norm(tensor - parts[name]) < 0.05 * moved, name


@pytest.mark.parametrize(("batch", "micro", "processes"), [(24, 4, 4), (32, 4, 32), (32, 4, 2), (12, None, 3), (30, 6, 2)])
def test_a_step_sees_the_whole_batch(
    batch: int, micro: int | None, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    settings = TrainingSettings(batch_size=batch, micro_batch_size=micro)
    told = sft.shared_arguments(make_job(Path("base"), tmp_path / "out"), settings)
    assert told["per_device_train_batch_size"] <= (micro or batch)
    assert told["per_device_train_batch_size"] * told["gradient_accumulation_steps"] * processes == batch


def test_lora_is_merged_into_a_full_model(base_model: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    finetune(make_job(base_model, tmp_path / "model", method="lora", learning_rate=5e-2))
    merged, start = weights(tmp_path / "model"), weights(base_model)
    assert merged.keys() == start.keys()
    changed = {name for name, tensor in merged.items() if not torch.equal(tensor, start[name])}
    assert changed and all("proj" in name for name in changed)
    assert_swappable(base_model, tmp_path / "model")
    AutoModelForCausalLM.from_pretrained(tmp_path / "model")


def test_packing_and_loss_on_all_train(base_model: Path, tmp_path: Path) -> None:
    result = finetune(make_job(base_model, tmp_path / "model", steps=2, packing=True, loss_on="all", batch_size=2))
    assert result["loss"] > 0 and not list((tmp_path / "model").glob("*.arrow"))


@pytest.mark.parametrize("machines", [1, 2])
def test_two_processes_have_the_loss_curve_of_one(
    machines: int, base_model: Path, tmp_path: Path, no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = finetune(make_job(base_model, tmp_path / "one" / "model", steps=10))
    monkeypatch.chdir(tmp_path)  # a path that starts with seeds/ is found from anywhere
    launch = {"accelerate_config": TWO}
    if machines == 2:  # two launchers on this machine; srun would start one on each of two
        both = 'for rank in 0 1; do MACHINE_RANK=$rank "$@" & done; wait'
        (tmp_path / "both.sh").write_text(both)
        config = (SEEDS.parent / TWO).read_text().replace("num_machines: 1", "num_machines: 2").replace("29571", "29573")
        (tmp_path / "two.yaml").write_text(config)
        launch = {"accelerate_config": str(tmp_path / "two.yaml"), "launcher": f"bash '{tmp_path}/both.sh'"}
    two = finetune(make_job(base_model, tmp_path / "two" / "model", steps=10, **launch))
    assert (one["num_processes"], two["num_processes"]) == (1, 2)
    assert len(one["loss_curve"]) == 10 and one["ended"] == two["ended"]
    assert two["loss_curve"] == pytest.approx(one["loss_curve"], rel=1e-3)
    assert (tmp_path / "two" / "model" / "model.safetensors").is_file()


def test_a_written_result_outlives_a_launch_that_ends_badly(
    base_model: Path, tmp_path: Path, no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trainer that breaks while its libraries shut down makes the launcher fail after all was saved."""
    launch = subprocess.run

    def broken_afterwards(*command: Any, **options: Any) -> Any:
        done = launch(*command, **options)
        return subprocess.CompletedProcess(done.args, 1)

    monkeypatch.setattr(subprocess, "run", broken_afterwards)
    result = finetune(make_job(base_model, tmp_path / "two" / "model", steps=3, accelerate_config=TWO))
    assert result["num_processes"] == 2 and (tmp_path / "two" / "model" / "model.safetensors").is_file()


def test_a_failing_launch_says_why(tmp_path: Path, no_gpu: None) -> None:
    with pytest.raises(FinetuningError, match="accelerate launch ended with status"):
        finetune(make_job(tmp_path / "nowhere", tmp_path / "out" / "model", accelerate_config=TWO))
    with pytest.raises(RecipeError, match=r"nowhere\.yaml is not a file"):
        finetune(make_job(tmp_path / "nowhere", tmp_path / "out" / "model", accelerate_config="nowhere.yaml"))


def test_a_launcher_goes_in_front_and_gives_each_machine_its_rank(tmp_path: Path) -> None:
    config = tmp_path / "nodes.yaml"
    config.write_text("num_machines: 2\n")
    command = command_of(tmp_path / "job file.json", config, "srun -N 2")
    assert command[:5] == ["srun", "-N", "2", "sh", "-c"] and "--main_process_ip" in command
    for names, rank in (({"SLURM_PROCID": "3"}, 3), ({"SLURM_PROCID": "3", "MACHINE_RANK": "1"}, 1)):
        said = subprocess.check_output([*command[3:7], "echo", "launch"], env={"PATH": "/bin:/usr/bin", **names}, text=True)
        assert said.startswith(f"launch --machine_rank {rank} -m star.training.finetuning {tmp_path}/job file.json")
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.check_output([*command[3:7], "echo"], env={"PATH": "/bin:/usr/bin"}, stderr=subprocess.DEVNULL)


LAUNCHING = """
import sys
from pathlib import Path
from star.training.finetuning import AS_JSON, finetune
finetune(AS_JSON.validate_json(Path(sys.argv[1]).read_bytes()))
"""


def test_the_processes_of_a_launch_end_with_a_killed_run(base_model: Path, tmp_path: Path, no_gpu: None) -> None:
    job = make_job(base_model, tmp_path / "out" / "model", steps=10**6, accelerate_config=TWO)
    (tmp_path / "job.json").write_bytes(AS_JSON.dump_json(job))
    run = subprocess.Popen([sys.executable, "-c", LAUNCHING, str(tmp_path / "job.json")], cwd=SEEDS.parent)
    watched = psutil.Process(run.pid)
    below: list[psutil.Process] = []
    deadline = time.monotonic() + 120
    while len(below) < 3 and time.monotonic() < deadline:  # the launcher and two trainers
        time.sleep(0.5)
        below = watched.children(recursive=True)
    time.sleep(3)  # into their work
    assert len(below) >= 3 and run.poll() is None
    run.send_signal(signal.SIGKILL)
    run.wait()
    _, alive = psutil.wait_procs(below, timeout=60)
    for one in alive:
        one.kill()
    assert not alive


# ---------------------------------------------------------------------- trackers


class Tracker(ModuleType):
    """Stands in for wandb, trackio or TensorBoard's writer, which nobody needs installed to test what is sent."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.logged: list[dict[str, float]] = []
        self.axes: dict[str, str] = {}
        self.broken = False

    def init(self, **settings: Any) -> None:
        assert settings["name"] and settings["resume"] == "allow"
        if self.broken:
            raise ConnectionError("no network")

    def define_metric(self, name: str, step_metric: str) -> None:
        self.axes[name] = step_metric

    def log(self, numbers: dict[str, float]) -> None:
        self.logged.append(numbers)


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Tracker:
    fake = Tracker("trackio")
    monkeypatch.setitem(sys.modules, "trackio", fake)
    return fake


def test_each_round_reaches_the_tracker_once(
    tracker: Tracker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_tracker("trackio")
    lines = [{"round": n, "selection": {"accuracy": n / 4, "slices": {"1 digit": {"n": 3}}}} for n in range(3)]
    send("trackio", tmp_path, lines[0])
    tracker.broken = True
    send("trackio", tmp_path, lines[1])
    assert "note: trackio failed (ConnectionError: no network); the run goes on" in capsys.readouterr().err
    tracker.broken = False
    for line in lines:  # as a resumed run does
        send("trackio", tmp_path, line)
    assert [entry["round/selection/accuracy"] for entry in tracker.logged] == [0.0, 0.25, 0.5]
    assert tracker.logged[0]["round/selection/slices/1 digit/n"] == 3


def test_the_round_is_wandbs_axis_of_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not wandb's step, which must rise: TRL's curves of a round take it past the number of the next."""
    fake = Tracker("wandb")
    monkeypatch.setitem(sys.modules, "wandb", fake)
    send("wandb", tmp_path, {"round": 2, "selection": {"accuracy": 0.5}})
    assert fake.axes == {"round/*": "round/round"}
    assert fake.logged == [{"round/round": 2.0, "round/selection/accuracy": 0.5}]


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(RecipeError, match="pip install wandb"):
        check_tracker("wandb")


@pytest.mark.parametrize("broken", [False, True])
def test_tensorboard_files_stay_out_of_the_model_directory(
    broken: bool,
    base_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from transformers.integrations import integration_utils

    class Writer:
        """As `torch.utils.tensorboard.SummaryWriter`."""

        def __init__(self, log_dir: str) -> None:
            Path(log_dir).mkdir(parents=True)
            self.file = Path(log_dir) / "events"

        def add_text(self, *entry: Any) -> None:
            if broken:
                raise OSError("no such host")

        def add_scalar(self, *entry: Any) -> None:
            with self.file.open("a") as handle:
                print(*entry, file=handle)

        def flush(self) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setattr(integration_utils, "is_tensorboard_available", lambda: True)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    finetune(make_job(base_model, tmp_path / "run" / "round_01" / "model", steps=3, report_to="tensorboard"))
    assert "loss" in (tmp_path / "run" / "tensorboard" / "round_01" / "events").read_text()
    assert not [path for path in (tmp_path / "run" / "round_01").rglob("*") if path.is_dir() and path.name != "model"]
    assert ("note: tensorboard failed (OSError: no such host)" in capsys.readouterr().err) is broken


def test_all_that_makes_up_a_tokenizer_is_saved_with_the_model(base_model: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(base_model, tmp_path / "base"))
    extras = {"vocab.txt": "a", "chat_templates/tools.jinja": "{{ b }}", "modeling_own.py": "c = 1"}
    for name, text in extras.items():
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_text(text)
    finetune(make_job(base, tmp_path / "model", steps=1))
    assert {name: (tmp_path / "model" / name).read_text() for name in extras} == extras


def test_a_tokenizer_without_pad_or_end_token_trains(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base", special=False)
    result = finetune(make_job(base, tmp_path / "model", steps=1))
    assert result["steps"] == 1


def test_full_fine_tuning_keeps_float32_weights_so_that_small_steps_count(tmp_path: Path) -> None:
    assert weights_dtype("full", "auto", cuda=True) == weights_dtype("full", "bfloat16", cuda=True) == "float32"
    assert (
        weights_dtype("lora", "auto", cuda=True) == "bfloat16"
        and weights_dtype("lora", "auto", cuda=False) == "float32"
    )
    base = tiny_model(tmp_path / "base")
    job = replace(make_job(base, tmp_path / "model", steps=3, learning_rate=1e-6), dtype="bfloat16")
    finetune(job)
    after, before = weights(tmp_path / "model"), weights(base)
    moved = [(tensor - before[name]).abs().max().item() for name, tensor in after.items()]
    assert all(0 < distance < 1e-5 for distance in moved)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc can be told to keep freed memory")
def test_freed_memory_is_kept_for_the_next_use_and_given_back_at_the_end():
    numbers, uses, page = 2**24, 40, resource.getpagesize()
    block = 4 * numbers

    def new_pages() -> int:
        """Of many uses of a block, one after the other; a few lie behind what came between."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(uses):
            torch.ones(numbers)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    with freed_memory_kept():
        kept, held = new_pages(), resident()
    assert kept * page < 0.75 * uses * block and held - resident() > 0.9 * block
