"""How a process ended, in words."""

from __future__ import annotations

import signal

__all__ = ["exit_text"]


def exit_text(returncode: int) -> str:
    """`exited with code 3`, or `was killed by SIGKILL` for the negative codes that `subprocess` reports."""
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:  # real-time signals have numbers and no names
        return f"was killed by signal {-returncode}"
