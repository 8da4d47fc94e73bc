"""The catalogue of the demo: the shipped one of the simulator, with a quota of 6 requests/min for one role, and a guard
that blocks prompt injection.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from penstock.runtime.config.load import locate_catalogue

__all__ = ["LIBRARY", "LIMITED_ROLE", "QUOTA", "write_catalogue"]

QUOTA: Final = 6
"""Requests per minute of the limited role, as a token bucket, which gives one back every 10 s."""
LIMITED_ROLE: Final = "safety"
_CHAIN: Final = "[sim-safety-large, sim-safety-small]"
_SMALL: Final = "sim-safety-small: {provider: simulator,"
_LIMITS: Final = f"limits: {{requests_per_minute: {QUOTA}, kind: token_bucket}},"

LIBRARY: Final = "library"
"""The account that asks about documents. Some pages are about prompts and look like attacks: for it, these are reported
and pass."""
_MODE: Final = "  mode: beside "
_FLAGGED, _BLOCKED = "prompt_injection: flag", "prompt_injection: block"


def write_catalogue(directory: Path, env: Mapping[str, str]) -> Path:
    """Write the catalogue into `directory`; returns its path."""
    text = locate_catalogue(Path("simulator"), env).read_text()
    text = text.replace(_CHAIN, "[sim-safety-small]").replace(_SMALL, f"{_SMALL} {_LIMITS}")
    text = text.replace(_FLAGGED, _BLOCKED)
    text = text.replace(_MODE, f"  accounts: {{{LIBRARY}: {{input: {{{_FLAGGED}}}}}}}\n{_MODE}")
    file = directory / "demo.yaml"
    file.write_text(text)
    return file
