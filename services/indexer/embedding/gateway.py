"""What the indexer needs of the gateway: vectors of texts, as embed requests of an account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from penstock.contract.errors import ErrorCode
from penstock.runtime.request_refused import RequestRefused

__all__ = ["Caller", "Embedded", "EmbeddingFailed", "EmbeddingGateway", "Route"]


class Caller(Struct, frozen=True, kw_only=True):
    """For whom texts are embedded: whose budget pays, and in which trace."""

    account: str
    user: str = ""
    key: str = ""
    traceparent: str | None = None
    until_s: float
    """On the loop's clock: vectors that come later are of no use."""
    store: bool = True
    """False for the memory of users: the gateway keeps neither texts' vectors nor their digests, so that nothing is
    left of them when they are forgotten."""


class Route(Struct, frozen=True):
    """How vectors of one kind are requested."""

    role: str = ""
    model: str = ""
    dimensions: int | None = None
    """None: those that the model has by itself."""


class Embedded(Struct, frozen=True):
    vectors: list[bytes]
    """float32, little endian, in the order of the texts."""
    embedded: int = 0
    """Texts that a provider embedded for this request."""
    tokens: int = 0
    cost_microusd: int = 0
    unpriced_attempts: int = 0


class EmbeddingFailed(RequestRefused):
    """There are no vectors for the texts. `refused`: the place of the text that is refused, from 0; None: it is not
    known, or another reason.
    """

    def __init__(
        self, code: ErrorCode, message: str, retry_after_s: float | None = None, refused: int | None = None
    ) -> None:
        super().__init__(code, message, retry_after_s)
        self.refused = refused


class EmbeddingGateway(Protocol):
    async def embed(self, texts: Sequence[str], route: Route, caller: Caller) -> Embedded:
        """One embed request. Raises EmbeddingFailed."""
        ...
