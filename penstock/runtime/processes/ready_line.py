"""The line on stdout by which a supervisor recognises a ready process."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import msgspec

from penstock.runtime.telemetry.line_writer import LineWriter

__all__ = ["print_ready_line"]


def print_ready_line(fields: Mapping[str, str]) -> None:
    """Print a JSON object with `"event": "ready"` and `fields`, also where stdout is not read."""
    writer = LineWriter(sys.stdout, dropped_text=lambda count: f"{count} lines were dropped")
    writer.write(msgspec.json.encode({"event": "ready", **fields}).decode())
