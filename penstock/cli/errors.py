"""What can go wrong at the command line, told in plain words."""

from __future__ import annotations

__all__ = ["CommandError", "LaunchError"]


class LaunchError(Exception):
    """A process could not be started or did not become ready.

    The text is for the person at the terminal: what happened, the last log lines, where the log is, and the
    fix where one is known.
    """


class CommandError(Exception):
    """A command cannot do what it was asked to; the text says why, and the fix where one is known."""
