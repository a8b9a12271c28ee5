"""Errors that are meant for the person at the keyboard: every command prints their text and ends with their status. And how
such texts count."""

from __future__ import annotations


def counted(number: float, noun: str) -> str:
    """ "1 row", "1,200 rows"."""
    return f"{number:,.12g} {noun}{'' if number == 1 else 's'}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message that is not blank, cut to 200 characters; its class where it has none."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()[:200]


class InputError(Exception):
    """What was given cannot be used. The text says what was given, what was expected and what to do."""

    status = 1


class UsageError(InputError):
    """The command line itself is wrong: an unknown flag, a missing argument, a value that a flag cannot have."""

    status = 2
