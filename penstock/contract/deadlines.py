"""The longest time a request may wait. Streams that keep or mark waiting requests must keep them longer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from penstock.contract.names import Lane

__all__ = ["LONGEST_S", "LONGEST_WAIT_S"]

LONGEST_S: Final[Mapping[Lane, int]] = {"interactive": 3_600, "batch": 86_400}
"""The latest possible deadline of each lane, in seconds after JetStream stored the request."""
LONGEST_WAIT_S: Final = max(LONGEST_S.values())
