"""Errors that are meant for the person at the keyboard: every command prints their text and ends with their status."""

from __future__ import annotations


class InputError(Exception):
    """What was given cannot be used. The text says what was given, what was expected and what to do."""

    status = 1


class UsageError(InputError):
    """The command line itself is wrong: an unknown flag, a missing argument, a value that a flag cannot have."""

    status = 2
