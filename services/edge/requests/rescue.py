"""`x-penstock-rescue`: what a stream does when another attempt begins after text was sent."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from penstock.contract.keys import STREAM_RESCUE
from services.edge.requests.answer_id import StreamRescue

__all__ = ["RescueChoice", "read_rescue"]

_FORMS: Final = "error, hold, hold:1500 (milliseconds) or restart"
_RESCUE: Final = re.compile(STREAM_RESCUE)


class RescueChoice(Struct, frozen=True):
    kind: StreamRescue
    hold_s: float | None = None
    """For `hold_briefly`: how long text is held after the first."""


_PLAIN: Final[dict[str, RescueChoice]] = {
    "error": RescueChoice("error"),
    "hold": RescueChoice("hold"),
    "restart": RescueChoice("restart"),
}


def read_rescue(text: str) -> RescueChoice:
    """Raises ValueError for a text that is no choice."""
    if _RESCUE.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not valid: use {_FORMS}")
    return _PLAIN.get(text) or RescueChoice("hold_briefly", int(text.partition(":")[2]) / 1000)
