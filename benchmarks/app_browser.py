"""The app's server and Debian's Chromium, for the benchmarks and the browser tests: `apt-get install chromium`."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT

ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
INSTALL = "no Chromium was found; to install it, type  sudo apt-get install chromium"
DRAWN = """() => new Promise(resolve => {
    let changed = performance.now();
    const watch = new MutationObserver(() => { changed = performance.now(); });
    watch.observe(document, {childList: true, subtree: true, characterData: true});
    const look = setInterval(() => {
        const done = document.querySelector('[data-testid="stApp"][data-test-script-state="notRunning"]')
            && document.querySelector('h1') && document.querySelector('[class*="st-key-navigation"] a')
            && !document.querySelector('[data-stale="true"], [data-testid="stSkeleton"]');
        if (done && performance.now() - changed > 300) { clearInterval(look); watch.disconnect(); resolve(true); }
    }, 50);
})"""
"""Holds once the script has ended and nothing has changed for 0.3 s: parts of Streamlit load, and draw, after the script."""
PATIENCE = 30_000
"""Milliseconds; a busy machine needs them, an idle one a tenth."""


def find_chromium() -> str | None:
    """Path of Debian's Chromium, or None."""
    candidates = ("/usr/bin/chromium", shutil.which("chromium"), shutil.which("chromium-browser"))
    return next((path for path in candidates if path and Path(path).is_file()), None)


class Server:
    """`streamlit run app.py` in a process of its own; `restart` ends it and starts another on the same port."""

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        with socket.socket() as probe:  # a port of this machine that nobody listens on
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.start_seconds = 0.0
        self.process = self._start()

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port), "--"]
        began = time.perf_counter()
        process = subprocess.Popen([*command, *self.arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
        while time.perf_counter() - began < 180:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2):
                    self.start_seconds = time.perf_counter() - began
                    return process
            except OSError:
                if process.poll() is not None:
                    break
                time.sleep(0.05)
        process.kill()
        raise RuntimeError("the app's server did not start; try  streamlit run app.py  to see why")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def restart(self) -> None:
        self.stop()
        self.process = self._start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def settle(page: Any) -> None:
    """Wait until the app has drawn the view and nothing on it changes any more."""
    page.wait_for_function(DRAWN, timeout=2 * PATIENCE)  # the whole of a first view on a machine that has other work


def visit(page: Any, url: str) -> None:
    """Open an address and wait until it is drawn."""
    page.goto(url)
    settle(page)
