"""How the app starts: what it imports, its arguments, whom it serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from analysis.pages import main
from tests.app_factory import ROOT


def test_the_app_never_imports_torch(whole: Path) -> None:
    code = (
        "import sys, runpy; sys.argv = ['app.py', '--root', sys.argv[1]]\n"
        "import app, asyncio\n"
        "async def start():\n"
        "    async with app.loaded(app.app): pass\n"
        "asyncio.run(start())\n"
        "from analysis.pages.main import preparing; preparing.join()\n"
        "at_start = set(sys.modules)\n"
        "from streamlit.testing.v1 import AppTest\n"
        "at = AppTest.from_file('app.py', default_timeout=120).run()\n"
        "for page in ('rationales', 'faithfulness', 'compare', 'label'):\n"
        "    at.switch_page(f'analysis/pages/{page}.py').run()\n"
        "    assert not at.exception, at.exception\n"
        "heavy = {'torch', 'transformers', 'vllm', 'trl', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "late = {name for name in set(sys.modules) - at_start if name.startswith(('statsmodels', 'scipy.stats'))}\n"
        "assert not late, late\n"  # imported before the server answers, not while somebody waits for a view
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(whole.parent)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2_000:]


def test_bad_arguments_end_in_a_sentence() -> None:
    code = (
        "import runpy, sys\n"
        "for arguments in (['--records', 'absent.jsonl'], ['--root', 'app.py'], ['--nonsense']):\n"
        "    sys.argv = ['app.py', *arguments]\n"
        "    try: runpy.run_path('app.py')\n"
        "    except SystemExit as end: print(end.code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["2"] * 3
    assert "Traceback" not in done.stderr and done.stderr.count("error: ") == 3


def test_a_folder_without_runs_is_named_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["app.py", "--root", str(tmp_path / "nope")])
    monkeypatch.setattr(main, "FIRST_VIEWS", 0)
    main.prepare()
    assert f"There is no run in {tmp_path / 'nope'} yet" in capsys.readouterr().err


def test_only_local_addresses_are_served_by_default() -> None:
    import tomllib

    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["server"]["address"] == "127.0.0.1"
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"
    for file in [ROOT / "app.py", *(ROOT / "analysis" / "pages").glob("*.py")]:
        assert "unsafe_allow" not in file.read_text(encoding="utf-8")
        assert "pickle" not in file.read_text(encoding="utf-8")
