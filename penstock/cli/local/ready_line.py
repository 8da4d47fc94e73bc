"""The line by which a child says that it is ready: one JSON object with `"event": "ready"`."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["ReadyLine"]

_LONGEST_LINE_BYTES = 64 * 1024


class ReadyLine:
    """Finds the ready line in a child's output, whatever the pieces the bytes come in."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, chunk: bytes) -> dict[str, Any] | None:
        """The parsed ready line, once its newline has come; everything else is the child's own log."""
        *lines, rest = (self._partial + chunk).split(b"\n")
        self._partial = (
            rest if len(rest) <= _LONGEST_LINE_BYTES else b""
        )  # too long to be ours: keep no more of it
        return next((ready for line in lines if (ready := _parse(line)) is not None), None)


def _parse(line: bytes) -> dict[str, Any] | None:
    if b'"ready"' not in line:  # most lines are log lines: do not parse each
        return None
    try:
        parsed = msgspec.json.decode(line)
    except msgspec.DecodeError:  # a log line that only mentions the word
        return None
    return parsed if isinstance(parsed, dict) and parsed.get("event") == "ready" else None
