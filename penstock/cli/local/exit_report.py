"""The parts of an error about a process that died: how it ended, and the end of its log."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

__all__ = ["exit_text", "last_lines"]

_LONGEST_TAIL_BYTES: Final = 64 * 1024


def exit_text(returncode: int) -> str:
    """`exited with code 3`, or `was killed by SIGKILL` for the negative codes of `subprocess`."""
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:  # real-time signals have numbers and no names
        return f"was killed by signal {-returncode}"


def last_lines(path: Path, *, count: int = 20, since_byte: int = 0) -> str:
    """The last lines of a log written after `since_byte`, at most `count` of them and 64 KB, indented."""
    with path.open("rb") as log:
        size_bytes = log.seek(0, 2)
        log.seek(max(since_byte, size_bytes - _LONGEST_TAIL_BYTES))
        text = log.read().decode("utf-8", "replace")
    lines = text.splitlines()[-count:]
    return "\n".join(f"    {line}" for line in lines) if lines else "    (the log is empty)"
