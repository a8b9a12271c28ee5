"""What all commands share: arguments read from a typed class, errors in one style, and the exit status.

    @dataclass(frozen=True)
    class Arguments:
        runs: tuple[Path, ...]
        # Run directories.

    def main(argv: Sequence[str] | None = None) -> int:
        return run_command(lambda: report(parse(Arguments, __doc__, argv)))

Exit status: 0 done; 1 the input is wrong, or a check that the command makes fails; 2 the command line is wrong; 130 after
Ctrl-C; 143 after SIGTERM; 141 when the reader of the output went away, as `head` does.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from star.errors import InputError, UsageError

ArgumentsT = TypeVar("ArgumentsT")
SPINS = ("GOMP_SPINCOUNT", "1000")
"""How long torch's threads wait for each other at full speed. By default it is so long that training beside another job, which has
one of two cores, runs at a twentieth of its speed; so it runs at half, and alone a few percent slower (benchmarks/notes.md)."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a command as Ctrl-C does, so that whatever is open is closed."""


def parse(
    arguments: type[ArgumentsT],
    description: str | None,
    argv: Sequence[str] | None = None,
    *,
    prog: str | None = None,
    **more: Any,
) -> ArgumentsT:
    """Arguments from the command line (default: this process's). Raises UsageError; --help prints and ends with status 0.

    A field without a default is positional. `prog`: how the program is called, if not as `program` says. `more` goes to
    `tyro.cli`.
    """
    import tyro

    boxed = io.StringIO()
    kind: Any = tyro.conf.configure(tyro.conf.PositionalRequiredArgs)(arguments)
    try:
        with contextlib.redirect_stderr(boxed):
            return tyro.cli(kind, description=description, args=argv, prog=prog or program(), **more)
    except SystemExit as ended:
        if ended.code != 2:
            raise
        raise UsageError(f"{_unboxed(boxed.getvalue())}. For all arguments: {prog or program()} --help") from None


def program() -> str:
    """How this process was called: "python -m star.report", or the name of the installed command."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name}" if spec else Path(sys.argv[0]).name


def _unboxed(text: str) -> str:
    """In one line: what stands first in the box that tyro draws around an error, and the flags that it suggests."""
    lines = [line.strip("│ ") for line in text.splitlines()]
    rules = [i for i, line in enumerate(lines) if re.match("╭|[─-]+$", line)]  # hyphens where the terminal has no UTF-8
    said = " ".join(line for line in lines[rules[0] + 1 : rules[1] if rules[1:] else -1] if line).rstrip(".")
    similar = lines[lines.index("Perhaps you meant:") + 1 :] if "Perhaps you meant:" in lines else []
    flags = [line.split()[0] for line in similar if re.match(r"--\w", line)]
    said = re.sub(r"^Unrecognized options: (?=[^-])", "One at a time; not expected: ", said)
    return f"{said}. Perhaps you meant {' or '.join(flags[:3])}" if flags else said


def run_command(body: Callable[[], int | None], *, stopped: str = "") -> int:
    """Run a command and return its exit status; what is wrong with its input is one line on standard error.

    `stopped`: what a person is told after Ctrl-C or SIGTERM, such as that the same command goes on.
    """
    os.environ.setdefault(*SPINS)
    if not sys.stderr.isatty():  # their bars would fill a log file
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        with _terminable():
            try:
                return body() or 0
            finally:
                sys.stdout.flush()
    except InputError as error:
        return fail(str(error), error.status)
    except KeyboardInterrupt as stop:
        print(f"\nstopped. {stopped}".rstrip(), file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    except BrokenPipeError:
        with contextlib.suppress(OSError):  # what is left in the buffer would raise again when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return fail(system_error(error))


def fail(message: str, status: int = 1) -> int:
    """Print an error as every command does; returns the status."""
    print(f"error: {message}", file=sys.stderr)
    return status


def system_error(error: OSError) -> str:
    """What the system refused, and what to do."""
    place = error.filename or "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({place}). Free some space and run the same command again: what is finished is kept."
    if error.errno == errno.EFBIG:
        return f"{place} would be larger than files may be here. Raise the limit (ulimit -f) and run the same command again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission for {place}. Change its permissions, or name another one."
    return f"{place} cannot be read or written: {error.strerror or error}"


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises Terminated here, and in no process forked from this one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            raise Terminated
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
