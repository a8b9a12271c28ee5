"""The process that runs math-verify: pairs of short answers in, one word out, through the connection on an inherited descriptor.

It imports nothing of this project, so that it starts fast; its parent (star/grading/math_process.py) kills it when a
pair takes too long.
"""

from __future__ import annotations

import logging
import re
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

CPU_LIMIT = 0.5
"""Seconds of computing for one pair; the parent's limit is for what does not stop by itself."""
MEMORY_LIMIT = 4 * 2**30  # bytes: a tower of powers must not take the machine with it
_FUNCTION = re.compile(r"(?<![\\a-zA-Z])(sqrt|pi|infty|infinity|theta|sin|cos|tan|log|ln|alpha|beta)(?![a-zA-Z])")
_ROOT = re.compile(r"(?<!\\)sqrt\s*\(([^()]{1,200})\)")
_POWER = re.compile(r"\^\s*(-?\d{2,}|-\d)|\^\s*\(([^()]{1,100})\)")


def latex(text: str) -> str:
    r"""Calculator spelling as LaTeX: sqrt(2) -> \sqrt{2}, x**10 -> x^{10}, 2*pi -> 2 \cdot \pi."""
    text = _ROOT.sub(r"\\sqrt{\1}", text.replace("**", "^").replace("π", " pi ").replace("√", "\\sqrt "))
    text = _POWER.sub(lambda match: "^{" + (match[1] or match[2]) + "}", text)
    text = _FUNCTION.sub(lambda match: "\\" + match[1].replace("infinity", "infty") + " ", text)
    return text.replace("*", " \\cdot ").replace("−", "-")


def equal(gold: str, answer: str) -> str:
    """correct, incorrect, or ungradable when one of the two cannot be read."""
    from math_verify import LatexExtractionConfig, parse, verify

    def read(text: str) -> Any:
        # LaTeX only: math-verify's reader of plain expressions goes through Python's eval
        return parse(
            f"${latex(text)}$", extraction_config=[LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None
        )

    reference, candidate = read(gold), read(answer)
    if not reference or not candidate:
        return "ungradable"
    same = verify(reference, candidate, timeout_seconds=None) and exactly(reference[0], candidate[0])
    return "correct" if same else "incorrect"


def exactly(one: Any, other: Any) -> bool:
    """Whether two numbers that math-verify rounds to six decimals are the same ones; True for all else."""
    import sympy

    if not all(isinstance(value, sympy.Expr) and value.is_number for value in (one, other)):
        return True
    one, other = (
        sympy.N(value.replace(lambda part: part.is_Float, lambda part: sympy.Rational(str(part))), 60) for value in (one, other)
    )
    return bool(abs(one - other) <= sympy.Float("1e-40") * max(abs(one), abs(other)))


class OutOfTimeError(BaseException):
    """No Exception, so that no parser takes it for one of its own."""


def _out_of_time(*_: object) -> None:
    raise OutOfTimeError


def main() -> None:
    """Serve until the input ends."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    except (ImportError, ValueError, OSError):  # not on this system, or a lower limit is set already
        pass
    logging.disable(logging.CRITICAL)
    equal("2x+1", "3x+1")  # imports for seconds, which the parent waits for with a limit of its own: no pair's time pays for it

    parent: Connection[Any, Any] = Connection(int(sys.argv[1]))
    parent.send("ready")
    timed = hasattr(signal, "setitimer")  # not on every system
    if timed:
        signal.signal(signal.SIGPROF, _out_of_time)
    while True:
        try:
            gold, answer = parent.recv()
        except EOFError:
            return
        try:
            if timed:
                signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT)
            reply = equal(gold, answer)
        except (Exception, OutOfTimeError):  # hostile text: whatever the parser raises, the pair could not be graded
            reply = "ungradable"
        finally:
            if timed:
                signal.setitimer(signal.ITIMER_PROF, 0)
        parent.send(reply)


if __name__ == "__main__":
    main()
