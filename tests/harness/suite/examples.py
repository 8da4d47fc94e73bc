"""How many hypothesis examples a property test runs: a third in `make test`, all in `make prove`."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["examples"]

_ALL: Final = os.environ.get("PENSTOCK_EXAMPLES") == "all"


def examples(number: int) -> int:
    return number if _ALL else max(1, number // 3)
