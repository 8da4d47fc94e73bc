"""Whether another attempt may begin for a request, by what it says itself (`rescue`)."""

from __future__ import annotations

from penstock.contract.names import Rescue

__all__ = ["why_no_other_attempt"]


def why_no_other_attempt(rescue: Rescue, *, begun: bool, text_sent: bool) -> str | None:
    """Why no other attempt may begin, in words; None: one may.

    `begun`: an attempt was begun, here or by another worker. `text_sent`: some of an answer was sent.
    """
    if rescue == "none" and begun:
        return "no other attempt was made: the request says rescue: none"
    if rescue == "before_output" and text_sent:
        return "no other attempt was made: text was sent, and the request says rescue: before_output"
    return None
