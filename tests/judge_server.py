"""A scripted OpenAI-compatible server on loopback: answers /chat/completions by a function, and keeps what it was asked."""

from __future__ import annotations

import json
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from analysis.soundness.judge import Judge
from analysis.soundness.scorer import Item, StepScores
from analysis.soundness.scorers import Place, ScorerOptions

Answer = tuple[int, Any, dict[str, str]]
"""Status, content (JSON, bytes as they are, or parts that may have no end) and headers."""
STEPS = ("We have 3 apples.", "So apples are pears.", "The answer is \\boxed{7}.")
PARAGRAPH = re.compile(r"<paragraph_(\d+)-([0-9a-f]{8})>\n(.*?)\n</paragraph_\1-\2>", re.DOTALL)


class JudgeServer:
    """`answer(number, body)`: to the request with this number, from 0."""

    def __init__(self, answer: Callable[[int, dict[str, Any]], Answer]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    number = len(outer.bodies)
                    outer.bodies.append(body)
                    outer.keys.append(self.headers["Authorization"])
                status, content, headers = answer(number, body)
                parts = content if isinstance(content, Iterator) else None
                data = content if isinstance(content, bytes) else b"" if parts else json.dumps(content).encode()
                try:
                    self.send_response(status)
                    for name, value in {**headers, **({} if parts else {"Content-Length": str(len(data))})}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    for part in parts or [data]:
                        self.wfile.write(part)
                except OSError:  # the client went away
                    pass

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.bodies]


@contextmanager
def serving(answer: Callable[[int, dict[str, Any]], Answer]) -> Iterator[JudgeServer]:
    one = JudgeServer(answer)
    thread = threading.Thread(target=one.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield one
    finally:
        one.server.shutdown()
        one.server.server_close()


def said(*texts: str | None, finish: str = "stop", tokens: tuple[int, int] | None = (100, 50), **message: Any) -> Answer:
    """A reply with one choice for each text."""
    choices = [{"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish} for text in texts]
    usage = {"usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}} if tokens else {}
    return 200, {"choices": choices, **usage}, {}


def paragraphs(body: dict[str, Any]) -> list[str]:
    """The steps that a prompt shows."""
    return [text for _, _, text in PARAGRAPH.findall(body["messages"][0]["content"])]


def honest(body: dict[str, Any]) -> str:
    """A judge that reads: it thinks aloud, quotes every paragraph, and names the first one that holds "apples are pears"."""
    shown = paragraphs(body)
    wrong = next((place for place, text in enumerate(shown) if "apples are pears" in text), -1)
    quoted = "\n".join(f"Paragraph {place} says: {text}" for place, text in enumerate(shown))
    return f"<think>Let me see. {quoted}</think>\n{quoted}\nVerdict: \\boxed{{{wrong}}}"


def item(place: int = 0, steps: tuple[str, ...] = STEPS, **more: Any) -> Item:
    return Item(f"r{place}", place, f"How many apples are in basket {place}?", steps, **more)


def judged(server: JudgeServer, items: list[Item], folder: Path | None = None, **options: Any) -> list[StepScores]:
    """Scores by one new judge; replies are kept where there is a folder."""
    with tempfile.TemporaryDirectory() as elsewhere:
        place = Place(output=(folder or Path(elsewhere)) / "scores.jsonl")
        judge = Judge("openai:gpt", ScorerOptions(base_url=server.url, **options), place)
        try:
            return judge.score(items)
        finally:
            judge.close()


def records(folder: Path, n: int = 12) -> Path:
    path = folder / "rows.jsonl"
    rows = []
    for place in range(n):
        error = 1 if place % 2 else -1
        steps = ["We have 3.", "So apples are pears." if error == 1 else "That is so.", "The end."]
        row = {"id": f"r{place}", "question": f"What is in basket {place}?", "steps": steps, "label_source": "human"}
        rows.append(json.dumps(row | {"first_error_step": error, "sound": error < 0}))
    path.write_text("\n".join(rows))
    return path


def command(rows: Path, server: JudgeServer, *more: str) -> list[str]:
    scorer = ["--scorer", "judge:openai:gpt", "--base-url", server.url]
    return [str(rows), "-o", str(rows.parent / "scores.jsonl"), *scorer, *more]
