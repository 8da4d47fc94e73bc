"""How long a request may wait at most; what keeps or marks waiting requests must outlive it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from penstock.contract.names import Lane

__all__ = ["LONGEST_S", "LONGEST_WAIT_S"]

LONGEST_S: Final[Mapping[Lane, int]] = {"interactive": 3_600, "batch": 86_400}
"""After JetStream stored a request of the lane, no wish for a later deadline counts."""
LONGEST_WAIT_S: Final = max(LONGEST_S.values())
