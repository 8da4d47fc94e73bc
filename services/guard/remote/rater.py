"""What rates pieces of text for harmful content, one call at a time, and how a call fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

from penstock.contract.guard.policies import DetectorName

__all__ = ["UNNAMED", "CallFailed", "FailureKind", "Piece", "Rater", "Rating"]

UNNAMED: Final = "illicit"
"""The category of content that a model calls unsafe in no category that has a counterpart here."""

FailureKind = Literal["quota", "outage", "request"]
"""`quota`: come back later. `outage`: the service does not work, or its answer is none. `request`: this one request is
not accepted, which says nothing about others."""


class Piece(Struct, frozen=True):
    text: str
    by_model: bool = False
    """Written by a model, not to one."""


class Rating(Struct, frozen=True):
    """Of one piece."""

    flagged: dict[str, float] = {}
    """Category to confidence."""
    scores: dict[str, float] = {}
    """Each category that was rated, flagged or not."""


class CallFailed(Exception):
    """The message is without content."""

    def __init__(self, kind: FailureKind, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.kind = kind
        self.retry_after_s = retry_after_s


class Rater(Protocol):
    @property
    def name(self) -> DetectorName: ...

    @property
    def piece_characters(self) -> int:
        """The most of one piece."""
        ...

    @property
    def call_pieces(self) -> int:
        """The most pieces of one call."""
        ...

    async def rate(self, pieces: Sequence[Piece]) -> Sequence[Rating]:
        """One call; a rating for each piece, in order. Raises CallFailed."""
        ...
