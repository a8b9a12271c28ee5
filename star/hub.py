"""What models and data sets on the Hub have in common: is it there, and why does it refuse?"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

from star.errors import first_line
from star.recipe import ModelSettings, RecipeError

TIMEOUT = 10.0
"""Seconds in which the Hub has to answer at all."""
FETCHED = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]
"""What is downloaded of a model; its Python code too where the call trusts it."""


def endpoint() -> str:
    """Address of the Hub."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def offline() -> bool:
    """Whether the user wants only what is in the local cache."""
    names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    return any(os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"} for name in names)


def hub_answers(timeout: float = TIMEOUT) -> bool:
    """True when the Hub answers anything at all within `timeout` seconds, name lookup included.

    The client libraries retry for more than half a minute before they give up on a machine without a network.
    """
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "10")
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "20")
    answered = threading.Event()

    def ask() -> None:
        import urllib.error
        import urllib.request

        try:
            with urllib.request.urlopen(urllib.request.Request(endpoint(), method="HEAD"), timeout=timeout):
                answered.set()
        except urllib.error.HTTPError:
            answered.set()
        except (OSError, ValueError):
            pass
        done.set()

    done = threading.Event()
    threading.Thread(target=ask, daemon=True).start()  # a name lookup obeys no timeout, a thread can be left behind
    done.wait(timeout + 1)
    return answered.is_set()


def refusal(error: BaseException, hub_id: str, kind: str) -> str | None:
    """What to do about a gated, private or absent model or data set, as one message; None for any other error.

    `kind`: "model" or "data set". The libraries wrap the Hub's refusal in errors of their own, so its causes are looked at too.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    texts = " ".join(map(str, causes)).lower()

    def among(type_: type[BaseException], *words: str) -> bool:
        return any(isinstance(cause, type_) for cause in causes) or any(each in texts for each in words)

    page = f"{endpoint()}/{'datasets/' if kind == 'data set' else ''}{hub_id}"
    if among(GatedRepoError, "gated dataset"):
        return f"{kind} {hub_id} is gated: ask for access at {page}, and set HF_TOKEN to a token of the account that has it."
    if among(RevisionNotFoundError):
        return f"{kind} {hub_id} has no such revision; see {page}/commits."
    if among(RepositoryNotFoundError, "doesn't exist on the hub or cannot be accessed"):
        return (
            f"{kind} {hub_id} does not exist on the Hub, or is private: check its name, and for a private one set HF_TOKEN to a "
            f"token that may read it ({endpoint()}/settings/tokens)."
        )
    return None


def download_model(settings: ModelSettings) -> Path:
    """The local copy of a model on the Hub, fetched where there is none. Raises RecipeError."""
    hub_id = settings.path
    patterns = [*FETCHED, "*.py"] if settings.trust_remote_code else FETCHED
    unreachable = not offline() and not hub_answers()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(hub_id, revision=settings.revision, allow_patterns=patterns, local_files_only=unreachable)
        ).resolve()
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        if isinstance(error, PermissionError):
            raise RecipeError(
                f"no permission for {error.filename}, where files from the Hub are kept; set HF_HOME to a folder of your own."
            ) from error
        if refused := refusal(error, hub_id, "model"):
            raise RecipeError(f"model.path: {refused}") from error
        why = "the Hub does not answer" if unreachable else first_line(error)
        wanted = f"{hub_id}{f' ({settings.revision})' if settings.revision else ''}"
        raise RecipeError(
            f"model.path {wanted} is neither a directory here, nor in the local cache, nor to be had from the Hub ({why}). Set "
            "model.path to a local directory; with HF_HUB_OFFLINE=1 only models in the local cache are looked for."
        ) from error
