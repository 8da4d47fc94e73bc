"""`x-penstock-rescue`: what a stream does when another attempt begins after text was sent."""

from __future__ import annotations

import re
from typing import Final, Literal

from msgspec import Struct

from penstock.contract.keys import STREAM_RESCUE_FORMS, STREAM_RESCUE_PATTERN

__all__ = ["RescueChoice", "StreamRescue", "read_rescue"]

StreamRescue = Literal["error", "hold", "restart", "hold_briefly"]
"""What a streamed answer does when another attempt begins after text was sent. `error`: it continues only if the new
text begins with what was sent. `hold`: it sends no text before the end. `restart`: it tells the client to discard.
`hold_briefly`: it holds text for some time, and then goes on as `error`."""

_PATTERN: Final = re.compile(STREAM_RESCUE_PATTERN)


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
    if _PATTERN.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not valid: use {STREAM_RESCUE_FORMS}")
    return _PLAIN.get(text) or RescueChoice("hold_briefly", int(text.partition(":")[2]) / 1000)
