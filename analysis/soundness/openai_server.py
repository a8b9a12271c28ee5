"""An OpenAI-compatible server as judge: one POST a call, in threads, with the patience and the suspicion that servers need.

The key is read from OPENAI_API_KEY, sent to the server and written nowhere.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from analysis.soundness.replies import Failure, Keep, Reply
from analysis.soundness.scorer import Status
from analysis.soundness.scorers import ScorerOptions
from star.errors import InputError, UsageError

if TYPE_CHECKING:
    import httpx

OPENAI = "https://api.openai.com/v1"
RETRIES = 6
BACK_OFF = 1.0
"""Seconds before the first retry; doubled for each further one, to at most LONGEST."""
LONGEST = 60.0
PATIENCE = 300.0
"""Seconds that a server may ask to wait by Retry-After."""
TIMEOUT = 600.0
"""Seconds that a reply may take: it comes as a whole."""
CHARACTERS_A_TOKEN = 3.3
"""Of English with formulas; for estimates and for servers that do not count."""
OPTIONAL = ("max_tokens", "max_completion_tokens", "temperature", "top_p", "n")
TOO_LONG = re.compile(r"context_length|context length|too many tokens|prompt is too long", re.IGNORECASE)


class RowError(Exception):
    """One rationale that the server does not judge."""

    def __init__(self, status: Status, why: str) -> None:
        super().__init__(why)
        self.status: Status = status


class OpenAIServer:
    """`replies.Model` over POST /chat/completions. `sampling`: temperature and top_p of a request."""

    reserved: Sequence[str] = ()

    def __init__(self, model: str, options: ScorerOptions, sampling: Mapping[str, float]) -> None:
        import httpx

        self.key = os.environ.get("OPENAI_API_KEY", "").strip()
        base = httpx.URL((options.base_url or OPENAI).rstrip("/"))
        if base.scheme not in ("http", "https") or not base.host:
            raise UsageError(f"--base-url {options.base_url}: expected an address such as http://localhost:8000/v1.")
        if options.base_url is None and not self.key:
            raise UsageError("set OPENAI_API_KEY to the key of your account, or name another server with --base-url.")
        self.url, self.host = f"{base}/chat/completions", base.netloc.decode()
        self.body = {"model": model, "max_tokens": options.max_tokens, **sampling}
        self.dropped: set[str] = set()
        """Parameters that the server has refused."""
        self.options = options
        self.client = httpx.Client(
            timeout=httpx.Timeout(TIMEOUT, connect=min(TIMEOUT, 30)),
            limits=httpx.Limits(max_connections=options.concurrency),
            headers={"Authorization": f"Bearer {self.key}"} if self.key else {},
        )
        self.spent = 0.0
        self.lock = threading.Lock()
        self.stopped = threading.Event()

    @property
    def identity(self) -> list[str]:
        """Host and model: who serves which weights under a name, nobody can see."""
        return [self.host, str(self.body["model"])]

    def close(self) -> None:
        """End the connections."""
        self.client.close()

    def ask(self, missing: Mapping[str, Sequence[int]], keep: Keep) -> dict[str, Failure]:
        """See `replies.Model`. Raises InputError where the server is away, or refuses the key, the model or the account."""
        pool = ThreadPoolExecutor(self.options.concurrency)
        try:
            waiting = {prompt: pool.submit(self._ask, prompt, votes, keep) for prompt, votes in missing.items()}
            ended = {prompt: each.result() for prompt, each in waiting.items()}
        except BaseException:
            self.stopped.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        return {prompt: failure for prompt, failure in ended.items() if failure is not None}

    def _ask(self, prompt: str, votes: Sequence[int], keep: Keep) -> Failure | None:
        limit = self.options.max_cost
        while votes:
            if limit is not None and self.spent >= limit:
                return "not_asked", f"--max-cost {limit:g} was reached"
            try:
                replies = self._call(prompt, len(votes))
            except RowError as error:
                return error.status, str(error)
            keep(prompt, votes[: len(replies)], replies)
            with self.lock:
                self.spent += sum(price(reply, self.options.prices) for reply in replies)
            votes = votes[len(replies) :]
        return None

    def _call(self, prompt: str, n: int) -> list[Reply]:
        """At least one reply and at most n. Raises RowError, InputError."""
        import httpx

        unlimited = False
        for attempt in range(RETRIES + len(OPTIONAL) + 1):
            body = self._body(prompt, n, unlimited)
            started = time.monotonic()
            response, why = None, ""
            try:
                response = self.client.post(self.url, json=body)
            except httpx.RequestError as error:
                if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) and attempt >= RETRIES:
                    raise InputError(f"{self.host} does not answer ({self._said(error)}). Start it and run this again.") from error
                why = f"{self.host}: {self._said(error)}"
            if response is not None and response.status_code == 200:
                if replies := _replies(response, prompt, n, time.monotonic() - started):
                    return replies
                why = f"{self.host} sent no reply that can be read: {self._said(response)}"
            elif response is not None:
                why = f"{self.host} answers {response.status_code}: {self._said(response)}"
                if self._repaired(response, body):
                    continue
                if TOO_LONG.search(response.text) and not unlimited:
                    unlimited = True  # the limit on the reply may be what is too long
                    continue
                self._refused(response, why)
            if attempt >= RETRIES or self.stopped.wait(_delay(response, attempt)):
                break
        raise RowError("error", why)

    def _body(self, prompt: str, n: int, unlimited: bool) -> dict[str, Any]:
        body = {**self.body, "messages": [{"role": "user", "content": prompt}], **({"n": n} if n > 1 else {})}
        if "max_tokens" in self.dropped:
            body["max_completion_tokens"] = body["max_tokens"]
        dropped = self.dropped | (set(OPTIONAL[:2]) if unlimited else set())
        return {name: value for name, value in body.items() if name not in dropped}

    def _repaired(self, response: httpx.Response, body: Mapping[str, Any]) -> bool:
        """Whether the request is refused for a parameter that can be left out; it is from now on."""
        if response.status_code not in (400, 422):
            return False
        named = [name for name in OPTIONAL if name in body and re.search(rf"(?<![\w\\]){name}\b", response.text)]
        self.dropped.update(named[:1])
        return bool(named)

    def _refused(self, response: httpx.Response, why: str) -> None:
        """Raise for an answer that will not change."""
        code = response.status_code
        if code in (401, 402, 404) or (code == 429 and "insufficient_quota" in response.text):
            raise InputError(f"{why}. Check OPENAI_API_KEY, the model's name, --base-url and the account, then run this again.")
        if TOO_LONG.search(response.text):
            raise RowError("too_long", why)
        if code == 403 or "content_filter" in response.text or "content_policy" in response.text:
            raise RowError("refused", why)
        if code not in (408, 409, 425, 429) and code < 500:
            raise RowError("error", why)

    def _said(self, what: httpx.Response | Exception) -> str:
        """The beginning of a message, without the key."""
        text = str(what) or type(what).__name__ if isinstance(what, Exception) else what.text
        text = " ".join(text.split())[:200]
        return text.replace(self.key, "...") if self.key else text


def price(reply: Reply, prices: tuple[float, float] | None) -> float:
    """What a reply cost; 0 without a price list."""
    return (reply["prompt_tokens"] * prices[0] + reply["generated_tokens"] * prices[1]) / 1e6 if prices else 0.0


def _replies(response: httpx.Response, prompt: str, n: int, seconds: float) -> list[Reply]:
    """The replies of a response; none where it is garbage. What a server does not count is estimated."""
    try:
        content = response.json()
        choices = [each for each in content["choices"] if isinstance(each["message"], dict)][:n]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    usage = content.get("usage") if isinstance(content.get("usage"), dict) else {}
    letters = sum(len(str(each["message"])) for each in choices)
    tokens = [
        count if isinstance(count := usage.get(name), int) and count >= 0 else round(length / CHARACTERS_A_TOKEN)
        for name, length in (("prompt_tokens", len(prompt)), ("completion_tokens", letters))
    ]
    first = Reply(choice={}, prompt_tokens=tokens[0], generated_tokens=tokens[1], calls=1, seconds=round(seconds, 3))
    more = Reply(choice={}, prompt_tokens=0, generated_tokens=0, calls=0, seconds=0.0)
    return [Reply(**{**(more if k else first), "choice": choice}) for k, choice in enumerate(choices)]  # type: ignore[typeddict-item]


def _delay(response: httpx.Response | None, attempt: int) -> float:
    """Seconds to wait: what the server asks for, else ever longer."""
    asked = response.headers.get("retry-after", "") if response is not None else ""
    try:
        return min(PATIENCE, max(0.0, float(asked)))
    except ValueError:
        pass
    try:
        return min(PATIENCE, max(0.0, parsedate_to_datetime(asked).timestamp() - time.time()))
    except (ValueError, TypeError):
        return min(LONGEST, BACK_OFF * 2**attempt) * random.uniform(0.5, 1)
