"""The errors that end a command with exit code 1."""

from __future__ import annotations

__all__ = ["CommandError", "LaunchError"]


class LaunchError(Exception):
    """A process cannot be started or does not become ready.

    The text is shown to the user: what happened, the last log lines, the path of the log, and a fix if one is known.
    """


class CommandError(Exception):
    """A command cannot do its work. The text gives the reason, and the fix where one is known."""
