"""An OpenAI-compatible server as judge: one POST a call, in threads, with the patience that servers need.

The key is read from OPENAI_API_KEY, sent to the server and written nowhere.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypedDict

from analysis.soundness.scorer import StepScores, Usage, tokens_of
from analysis.soundness.scorers import ScorerOptions
from star.errors import InputError, UsageError

if TYPE_CHECKING:
    import httpx

OPENAI = "https://api.openai.com/v1"
RETRIES = 6
BACK_OFF, LONGEST, PATIENCE = 1.0, 60.0, 300.0
"""Seconds before the first retry, doubled for each further one up to LONGEST; a server may ask for PATIENCE by Retry-After."""
TIMEOUT = 600.0
"""Seconds that a reply may take: it comes as a whole."""
MOST_BYTES = 1 << 26
"""Of one response."""
OPTIONAL = ("max_tokens", "max_completion_tokens", "temperature", "top_p", "n")
"""What can be left out of a request where a server refuses it by name."""
TOO_LONG = re.compile(r"context_length|context length|too many tokens|too large|too long", re.IGNORECASE)
MOST_TOKENS = 1e9
"""Of one call: what a server counts beyond this is no count."""


class Reply(TypedDict):
    """One reply, with what it took; further replies of one call took nothing."""

    choice: dict[str, Any]
    """{"message": {"content": text}, "finish_reason": "stop"}, as OpenAI-compatible servers give it; nothing in it is certain."""
    usage: dict[str, Any]
    """The fields of a `Usage`."""


Keep = Callable[[str, Sequence[int], Sequence[Reply]], None]
"""Takes a prompt, votes and their replies as soon as they are there, from any thread."""


class OpenAIServer:
    """Asks POST /chat/completions. `sampling`: temperature and top_p of a request."""

    reserved: Sequence[str] = ()

    def __init__(self, model: str, options: ScorerOptions, sampling: Mapping[str, float]) -> None:
        import httpx

        self.key = os.environ.get("OPENAI_API_KEY", "").strip()
        base = httpx.URL((options.base_url or OPENAI).rstrip("/"))
        if base.scheme not in ("http", "https") or not base.host:
            raise UsageError(f"--base-url {options.base_url}: expected an address such as http://localhost:8000/v1.")
        if options.base_url is None and not self.key:
            raise UsageError("set OPENAI_API_KEY to the key of your account, or name another server with --base-url.")
        self.options, self.url, self.host = options, f"{base}/chat/completions", base.netloc.decode()
        self.identity = [self.host + base.path, model]
        self.body = {"model": model, "max_tokens": options.max_tokens, **sampling}
        self.dropped: set[str] = set()
        """Parameters that the server has refused."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        self.client = httpx.Client(timeout=httpx.Timeout(TIMEOUT, connect=min(TIMEOUT, 30)), headers=headers)
        self.spent = 0.0
        self.lock = threading.Lock()
        self.stopped = threading.Event()

    def close(self) -> None:
        self.client.close()

    def ask(self, missing: Mapping[str, Sequence[int]], keep: Keep) -> dict[str, StepScores]:
        """Ask each prompt for the votes that are missing; returns what failed. Raises InputError where the server is away, or
        refuses the key, the model or the account. Whatever ends this, calls under way are waited for: they are paid."""
        pool = ThreadPoolExecutor(self.options.concurrency)
        try:
            waiting = {prompt: pool.submit(self._ask, prompt, votes, keep) for prompt, votes in missing.items()}
            ended = {prompt: each.result() for prompt, each in waiting.items()}
        finally:
            self.stopped.set()  # nothing waits for a retry any more
            pool.shutdown(cancel_futures=True)
            self.stopped.clear()
        return {prompt: failure for prompt, failure in ended.items() if failure is not None}

    def _ask(self, prompt: str, votes: Sequence[int], keep: Keep) -> StepScores | None:
        limit = self.options.max_cost
        try:
            while votes:
                if limit is not None and self.spent >= limit:
                    return StepScores("not_asked", why=f"--max-cost {limit:g} was reached")
                replies = self._call(prompt, len(votes))
                if isinstance(replies, StepScores):
                    return replies
                keep(prompt, votes[: len(replies)], replies)
                with self.lock:
                    self.spent += sum(price(Usage(**reply["usage"]), self.options.prices) for reply in replies)
                votes = votes[len(replies) :]
        except InputError:
            self.stopped.set()
            raise
        return None

    def _call(self, prompt: str, n: int) -> list[Reply] | StepScores:
        """At least one reply and at most n, or why there is none. Raises InputError."""
        import httpx

        attempt, why = 0, "the command ends"
        left_out: set[str] = set()
        while not self.stopped.is_set():
            body = self._body(prompt, n, self.dropped | left_out)
            started, response = time.monotonic(), None
            try:
                response = self._post(body)
            except httpx.RequestError as error:
                why = f"{self.host}: {self._plain(str(error) or type(error).__name__)}"
                if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) and attempt >= RETRIES:
                    raise InputError(f"{why}. Start the server and run this again.") from error
            if response is not None:
                if replies := _replies(response, prompt, n, time.monotonic() - started):
                    return replies
                why = f"{self.host} answers {response.status_code}: {self._plain(response.text)}"
                named = (name for name in OPTIONAL if name in body and re.search(rf"(?<![\w\\]){name}\b", response.text))
                if response.status_code in (400, 422) and (refused := next(named, None)):
                    # A rationale that leaves no room for a reply of --max-tokens says nothing of the others.
                    (left_out if TOO_LONG.search(response.text) else self.dropped).add(refused)
                    continue
                if failure := _lasting(response, why):
                    return failure
            if attempt >= RETRIES:
                break
            self.stopped.wait(_delay(response, attempt))
            attempt += 1
        return StepScores("error", why=why)

    def _post(self, body: Mapping[str, Any]) -> httpx.Response:
        """A whole response. Raises RequestError, for one without an end too."""
        import httpx

        content, latest = bytearray(), time.monotonic() + TIMEOUT
        with self.client.stream("POST", self.url, json=body) as response:
            for part in response.iter_bytes():
                content += part
                if len(content) > MOST_BYTES or time.monotonic() > latest:
                    raise httpx.ReadTimeout("its reply does not end")
        asked = {name: value for name, value in response.headers.items() if name == "retry-after"}
        return httpx.Response(response.status_code, headers=asked, content=bytes(content))

    def _body(self, prompt: str, n: int, left_out: set[str]) -> dict[str, Any]:
        body = {**self.body, "messages": [{"role": "user", "content": prompt}], **({"n": n} if n > 1 else {})}
        if "max_tokens" in left_out:
            body["max_completion_tokens"] = body["max_tokens"]
        return {name: value for name, value in body.items() if name not in left_out}

    def _plain(self, text: str) -> str:
        """The beginning of a message, without the key."""
        text = text.replace(self.key, "...") if self.key else text
        return " ".join(text.split())[:200]


def price(usage: Usage, prices: tuple[float, float] | None) -> float:
    """What a call cost; 0 without a price list."""
    return (usage.prompt_tokens * prices[0] + usage.generated_tokens * prices[1]) / 1e6 if prices else 0.0


def _lasting(response: httpx.Response, why: str) -> StepScores | None:
    """What an answer that will not change means for its rationale; raises InputError where every one will be answered so."""
    code, text = response.status_code, response.text
    if code in (401, 402, 404) or (code == 429 and "insufficient_quota" in text):
        raise InputError(f"{why}. Check OPENAI_API_KEY, the model's name, --base-url and the account, then run this again.")
    if TOO_LONG.search(text) and code < 500:
        return StepScores("too_long", why=why)
    if code == 403 or "content_filter" in text:
        return StepScores("refused", why=why)
    return StepScores("error", why=why) if 300 <= code < 500 and code not in (408, 409, 425, 429) else None


def _replies(response: httpx.Response, prompt: str, n: int, seconds: float) -> list[Reply]:
    """The replies of a response; none where it is garbage. What a server does not count is estimated."""
    try:
        content: Any = response.json() if response.status_code == 200 else {}
        choices = [each for each in content["choices"] if isinstance(each["message"], dict)][:n]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    counted: Any = content.get("usage") if isinstance(content.get("usage"), dict) else {}
    texts = {"prompt_tokens": prompt, "completion_tokens": "".join(str(each["message"]) for each in choices)}
    read, written = (_count(counted.get(name), text) for name, text in texts.items())
    took = [Usage(read, written, 1, round(seconds, 3)), *[Usage()] * (len(choices) - 1)]
    return [Reply(choice=choice, usage=asdict(usage)) for choice, usage in zip(choices, took, strict=False)]


def _count(counted: Any, text: str) -> int:
    """Tokens as the server counts them, else as the length of the text has them."""
    return counted if type(counted) is int and 0 <= counted <= MOST_TOKENS else tokens_of(text)


def _delay(response: httpx.Response | None, attempt: int) -> float:
    """Seconds to wait: what the server asks for, else ever longer."""
    try:
        return min(PATIENCE, max(0.0, float(response.headers["retry-after"])))  # type: ignore[union-attr]
    except (AttributeError, KeyError, ValueError):  # a date is as rare as a clock that is right
        return min(LONGEST, BACK_OFF * 2**attempt) * random.uniform(0.5, 1)
