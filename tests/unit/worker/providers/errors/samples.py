"""Loads the sample errors of providers from `tests/data/provider_errors/`: one file per provider group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct, convert

__all__ = ["SAMPLES", "Sample"]

_DATA = Path(__file__).parents[5] / "tests/data/provider_errors"


class Sample(Struct, frozen=True, forbid_unknown_fields=True):
    kind: str
    """The expected failure kind."""
    source: str
    """Where the error was seen."""
    status: int
    body: Any
    parameter: str | None = None
    """The expected refused parameter."""


SAMPLES = tuple(
    convert({"kind": kind, **sample}, Sample)
    for path in sorted(_DATA.glob("*.yaml"))
    for kind, samples in yaml.safe_load(path.read_text()).items()
    for sample in samples
)
