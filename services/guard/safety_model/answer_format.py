"""How one family of guard models is asked and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from services.guard.remote.rater import Piece, Rating

__all__ = ["AnswerFormat"]


class AnswerFormat(Struct, frozen=True):
    parameters: Mapping[str, Any]
    """Of the chat completion."""
    messages: Callable[[Piece, str], list[dict[str, str]]]
    """For a piece and the policy text of the configuration; empty: the policy that the format comes with."""
    read: Callable[[str], Rating]
    """Raises CallFailed for an answer that is no verdict."""
