"""The last lines of a log file, for the error that says why a process did not start."""

from __future__ import annotations

from pathlib import Path

__all__ = ["last_lines"]

_LONGEST_TAIL_BYTES = 64 * 1024


def last_lines(path: Path, *, count: int = 20, since_byte: int = 0) -> str:
    """At most `count` last lines of what was written after `since_byte`, indented; reads 64 KB at most."""
    with path.open("rb") as log:
        size_bytes = log.seek(0, 2)
        log.seek(max(since_byte, size_bytes - _LONGEST_TAIL_BYTES))
        text = log.read().decode("utf-8", "replace")
    lines = text.splitlines()[-count:]
    return "\n".join(f"    {line}" for line in lines) if lines else "    (it wrote nothing)"
