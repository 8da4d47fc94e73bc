"""How much of a test runs: in `make test` a fifth of the hypothesis examples and the short cases, else all."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any, Final

import pytest

__all__ = ["cases", "examples"]

_ALL: Final = os.environ.get("PENSTOCK_EXAMPLES") == "all"


def examples(number: int) -> int:
    return number if _ALL else max(1, number // 5)


def cases(names: Iterable[Any], *, long: Collection[Any]) -> list[Any]:
    """Parameters of a test, of which `make prove` runs all and `make test` those that are not `long`."""
    return [
        pytest.param(*(name if isinstance(name, tuple) else (name,)), marks=pytest.mark.prove)
        if name in long
        else name
        for name in names
    ]
