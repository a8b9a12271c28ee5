"""The wheel: installed without the checkout on its path, every command works from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("star", "analysis", "seeds", ".streamlit", "pyproject.toml", "README.md", "LICENSE")
COMMANDS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: what an earlier build left in build/ would be packed too."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        whole = (ROOT / name).is_dir()
        if whole:
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    code = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(out)], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel unpacked."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    return folder


def run(installed: Path, folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in `folder` with nothing on the path but the standard library, `installed`, and the dependencies: without the
    module `site` nobody reads the path files of an editable install, which lie beside them.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    path = [str(installed), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:1] = {path!r}\n{code}", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def call(command: str) -> str:
    """The code of a console command, as an installer writes it."""
    module, _, function = COMMANDS[command].partition(":")
    return f"import importlib\nsys.argv[0] = {command!r}\nsys.exit(importlib.import_module({module!r}).{function}())"


def test_nothing_but_the_two_packages_lands_in_site_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"star", "analysis"}
    inside = {name.removeprefix("star/") for name in names}
    shipped = [path for path in (ROOT / "seeds").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {str(path.relative_to(ROOT)) for path in shipped} <= inside
    modules = {
        str(path.relative_to(ROOT)) for package in ("star", "analysis") for path in (ROOT / package).rglob("*.py")
    }
    assert modules <= set(names) and {"star/py.typed", "analysis/py.typed", "analysis/settings/config.toml"} <= set(
        names
    )
    data = {str(path.relative_to(ROOT)) for path in (ROOT / "analysis").rglob("*.json")}
    assert data <= set(names)


HELP = """
import contextlib, importlib, io, json
for command, place in json.loads(sys.argv[1]).items():
    module, _, function = place.partition(":")
    sys.argv = [command, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        try:
            status = getattr(importlib.import_module(module), function)()
        except SystemExit as end:
            status = end.code
    print(json.dumps([command, status or 0, shown.getvalue()]))
"""


def test_every_command_shows_its_help_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, HELP, json.dumps(COMMANDS))
    assert done.returncode == 0, done.stderr[-3_000:]
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [command for command, *_ in said] == list(COMMANDS)
    for command, status, shown in said:
        assert status == 0 and command.partition("-")[2] in shown, command
    assert not list(tmp_path.iterdir())


def test_a_shipped_recipe_is_found_by_name(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, call("star-train"), "addition-star", "--dry-run")
    assert done.returncode == 0, done.stderr[-3_000:]
    assert "run directory   runs/addition-star-" in done.stdout and not list(tmp_path.iterdir())
    code = "import star.recipe, star.setup\nprint(star.recipe.__file__, star.setup.resolve_model(star.recipe.Recipe().model))"
    found = run(installed, tmp_path, code).stdout.split()
    assert found == [
        str(installed / "star" / "recipe.py"),
        str(installed / "star" / "seeds" / "models" / "addition-0.2m"),
    ]


def test_records_are_scored(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(
        '{"question": "2 + 2 * 3?", "steps": ["2 * 3 = 6", "2 + 6 = 9"], "answer": "9"}\n'
    )
    done = run(installed, tmp_path, call("rationale-score"), "mine.jsonl", "-o", "scores.jsonl")
    assert done.returncode == 0 and (tmp_path / "scores.jsonl").is_file(), done.stderr[-3_000:]


def test_the_app_brings_its_settings_along(installed: Path, tmp_path: Path) -> None:
    code = "import json\nfrom analysis.app import command_line\nprint(json.dumps(command_line(sys.argv[1:])))"
    done = run(installed, tmp_path, code, "--root", "elsewhere", "--server.port", "8600")
    assert done.returncode == 0, done.stderr[-3_000:]
    for flag in (
        "--server.address=127.0.0.1",
        "--browser.gatherUsageStats=false",
        "--theme.light.primaryColor=#0072B2",
    ):
        assert flag in done.stdout
    assert '"--server.port", "8600", "--", "--root", "elsewhere"]' in done.stdout
    assert str(installed / "analysis" / "pages" / "main.py") in done.stdout
