"""Step checks of a rationale. `Flag` and `Finding` are what every check returns."""

from analysis.consistency.base import SOUND, Finding, Flag

__all__ = ["SOUND", "Finding", "Flag"]
