"""What can go wrong while starting processes."""

from __future__ import annotations

__all__ = ["LaunchError"]


class LaunchError(Exception):
    """A process could not be started or did not become ready.

    The text is for the person at the terminal: what happened, the last log lines, where the log is, and the
    mend where one is known.
    """
