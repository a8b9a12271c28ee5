"""All commands alike: help, errors in one style, exit status, Ctrl-C and SIGTERM, output that nobody reads to its end."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from star.command_line import SPINS, run_command
from star.errors import InputError, UsageError, counted
from star.recipe import SEEDS
from star.sampling.vllm_process import worker_environment
from tests.timing import slowness

ROOT = SEEDS.parent

COMMANDS = {
    "star.train": ["nowhere.yaml"],
    "star.regrade": ["nowhere"],
    "star.report": ["nowhere"],
    "star.validate": ["records", "--task.path", "nowhere.jsonl"],
    "star.doctor": ["--model", "nowhere"],
    "star.pretrain": ["--out", "star"],
    "analysis.score": ["-o", "scores.jsonl", "nowhere.jsonl"],
    "analysis.probe": ["--model", "nowhere", "nowhere"],
    "analysis.calibrate": ["nowhere.jsonl"],
    "analysis.compare": ["nowhere"],
    "analysis.export": ["nowhere"],
    "benchmarks.screenshots": ["nowhere"],
}
"""Command -> arguments that are well-formed and cannot work."""
BENCHMARKS = sorted(
    f"benchmarks.{path.stem}" for path in (ROOT / "benchmarks").glob("*.py") if "\nclass Arguments" in path.read_text("utf-8")
)


def call(module: str, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit status and standard error of a command, called as its file calls it."""
    main = import_module(module).main
    capsys.readouterr()
    if module.startswith("benchmarks."):
        monkeypatch.setattr("sys.argv", [module, *arguments])
        return run_command(main), capsys.readouterr().err
    return main(arguments), capsys.readouterr().err


@pytest.mark.parametrize("module", [*COMMANDS, *BENCHMARKS])
def test_an_unknown_flag_is_wrong_usage(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, said = call(module, ["--no-such-flag", "1"], capsys, monkeypatch)
    assert status == 2
    assert said.startswith("error: ") and said.count("\n") == 1 and "--help" in said and "│" not in said


def test_threads_do_not_wait_at_full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside another job on one of two cores torch trained at a twentieth of its speed. vLLM's threads are left alone."""
    monkeypatch.delenv(SPINS[0], raising=False)
    assert run_command(lambda: int(os.environ[SPINS[0]] != SPINS[1])) == 0
    assert SPINS[0] not in worker_environment(cpu=True)
    monkeypatch.setenv(SPINS[0], "7")
    assert run_command(lambda: int(os.environ[SPINS[0]])) == 7 and worker_environment(cpu=True)[SPINS[0]] == "7"


def test_a_second_run_is_no_option(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    status, said = call("analysis.score", ["runs/a", "runs/b"], capsys, monkeypatch)
    assert status == 2 and said.startswith("error: One at a time; not expected: runs/b. For all")


@pytest.mark.parametrize("module", COMMANDS)
def test_input_that_cannot_be_used_is_named(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    status, said = call(module, COMMANDS[module], capsys, monkeypatch)
    assert status == 1
    assert "error: " in said and COMMANDS[module][-1] in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("star.report", ["runs", "--format", "xml"]),
        ("star.report", []),
        ("star.train", ["--loop.rounds", "0"]),
        ("star.validate", []),
        ("star.validate", ["no-such-task"]),
        ("star.doctor", ["--dtype", "float8"]),
        ("star.pretrain", ["--tokens", "0"]),
        ("analysis.score", []),
        ("analysis.score", ["records.jsonl"]),
        ("analysis.probe", ["runs", "--n", "0"]),
        ("analysis.probe", ["runs", "--probes", "no_such_probe"]),
        ("analysis.compare", ["--by", "colour"]),
        ("analysis.export", ["runs", "--cases", "-1"]),
        ("analysis.export", ["runs", "--cases", "seven"]),
    ],
)
def test_a_missing_argument_or_an_impossible_value_is_wrong_usage(
    module: str, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, said = call(module, arguments, capsys, monkeypatch)
    assert status == 2 and said.startswith("error: ") and said.count("\n") == 1


HEAVY = {"torch", "transformers", "vllm", "trl", "datasets", "pandas", "scipy", "altair", "statsmodels", "sklearn", "sympy"}
FLAGS = {"star.train": "--loop.rounds", "star.validate": "--task.path", "star.doctor": "--model", "analysis.score": "--use-gold"}


@pytest.mark.parametrize("module", [name for name in COMMANDS if not name.startswith("benchmarks.")])
def test_help_is_quick_and_shows_how_the_command_is_called(module: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", module, "--help"]
    before = os.times().children_user
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert os.times().children_user - before < 1.5 * slowness()  # alone 0.4 to 0.9 seconds
    assert f"usage: python -m {module}" in done.stdout and FLAGS.get(module, "--help") in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & (HEAVY | ({"pyarrow"} if module == "star.validate" else set()))


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("x.jsonl is empty"), 1, "error: x.jsonl is empty\n"),
        (UsageError("--n 0: expected 1 or more"), 2, "error: --n 0: expected 1 or more\n"),
        (OSError(28, "No space left on device", "x"), 1, "error: the disk is full (x). Free some space"),
        (PermissionError(13, "Permission denied", "x"), 1, "error: no permission for x. Change its permissions"),
        (FileNotFoundError(2, "No such file or directory", "x"), 1, "error: x cannot be read or written: No such file"),
        (KeyboardInterrupt(), 130, "\nstopped. Answers are kept.\n"),
    ],
)
def test_errors_end_in_a_sentence_and_a_status(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def body() -> None:
        raise error

    assert run_command(body, stopped="Answers are kept.") == status
    assert capsys.readouterr().err.startswith(said)


def test_things_are_counted() -> None:
    numbers = (0, 1, 1.0, np.int64(1_200), 2.5, 37_466_123)
    assert [counted(n, "row") for n in numbers] == ["0 rows", "1 row", "1 row", "1,200 rows", "2.5 rows", "37,466,123 rows"]


def test_what_is_not_expected_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0)


SLEEPER = """
import sys, time
from star.command_line import SPINS, run_command
def body():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("closed", flush=True)
sys.exit(run_command(body, stopped="The same command goes on."))
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_closes_what_is_open(number: int, status: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)" + SLEEPER],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(20) == status
        assert process.stdout.read() == "closed\n"
        assert process.stderr.read() == "\nstopped. The same command goes on.\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = "import sys\nfrom star.command_line import run_command\nsys.exit(run_command(lambda: print('line\\n' * 100_000)))"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 141 and process.stderr.read() == b""


# ---------------------------------------------------------------------- output that is not a terminal


BARS = """
import time
from star.progress import bar
with bar("round 1: generated", 3000, "prompt") as shown:
    for _ in range(3000):
        time.sleep(0.0005)
        shown.update()
        shown.set_postfix(loss="0.5", refresh=False)
for _ in bar("rows", over=range(7)):
    pass
with bar(None, 5) as shown:
    shown.update(5)
"""


def test_a_log_file_gets_one_line_for_a_stage(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with log.open("wb") as file:
        subprocess.run([sys.executable, "-c", BARS], cwd=ROOT, stderr=file, check=True)
    lines = log.read_text().splitlines()
    assert b"\r" not in log.read_bytes() and len(lines) == 2
    assert lines[0].startswith("round 1: generated: 3,000 prompts in ") and lines[0].endswith(" s, loss 0.5")
    assert lines[1].startswith("rows: 7 rows in ")


def test_a_terminal_gets_bars() -> None:
    above, below = pty.openpty()
    fcntl.ioctl(below, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    with subprocess.Popen([sys.executable, "-c", BARS], cwd=ROOT, stderr=below) as process:
        os.close(below)
        text = b""
        while True:
            try:
                part = os.read(above, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            text += part
        process.wait(20)
    os.close(above)
    assert b"\r" in text and b"%|" in text


def test_scoring_into_a_log_file_says_one_line(tmp_path: Path) -> None:
    from analysis.rationales.records import Record, write_records

    records = [Record(f"r{i}", question=f"{i} + 1?", steps=(f"{i} + 1 = {i + 1}",), answer=str(i + 1)) for i in range(2_500)]
    write_records(tmp_path / "records.jsonl", records)
    command = [sys.executable, "-m", "analysis.score", str(tmp_path / "records.jsonl"), "-o", str(tmp_path / "scores.jsonl")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.count("\n") == 1 and "\r" not in done.stderr
    assert done.stderr.startswith("scoring: 2,500 records in ")
