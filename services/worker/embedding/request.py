"""Embed requests and their texts while these are embedded: what is found already, and what the attempts cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec import Struct, field

from penstock.runtime.pricing import PriceTable
from penstock.runtime.retrieval.embedding_key import EmbeddingText
from services.worker.execution.state import CallState, Execution
from services.worker.rate_limit.quota import QuotaKey

__all__ = ["OpenAttempt", "Text", "VectorCounts", "WaitingRequest"]


class OpenAttempt(Struct, frozen=True):
    """An announced attempt of a request whose provider call has not ended."""

    number: int
    key: QuotaKey
    tokens: int
    """Estimated, of the texts for which the request pays in this call."""
    began_s: float
    prices: PriceTable | None


class VectorCounts(Struct):
    """Where the vectors of a request came from, in texts; and the tokens that it paid for."""

    embedded: int = 0
    memory: int = 0
    stored: int = 0
    tokens: int = 0
    estimated: bool = False
    """The provider did not count some of the tokens."""


class Text(Struct, eq=False):
    """One distinct text that is to be embedded, and the requests that wait for its vector. Identical texts of a vector
    space and number of dimensions are one `Text`, whichever requests they are of.
    """

    key: str
    """See EmbeddingKeys."""
    content: EmbeddingText
    tokens: int
    """Estimated."""
    kept: bool = True
    """Its vector is stored and remembered for other requests."""
    requests: list[WaitingRequest] = field(default_factory=list)
    """In the order in which they came: the first pays for it. Empty: the vector is not wanted any more."""
    sent: bool = False
    """It is part of a batch, and waits in no queue any more."""
    batch: CallState | None = None
    """The batch that it is part of: its failures, and what it waits for."""
    last_sequence: int = 0
    """Of the last message that was seen on the subject of its vector, for its next claim; 0: none was seen."""


class WaitingRequest(Struct, eq=False, kw_only=True):
    """All vectors of a request are published together, once none is missing."""

    execution: Execution
    keys: Sequence[str]
    """Of its texts, in their order; a text may occur several times."""
    texts: Sequence[EmbeddingText]
    distinct: int
    """How many different texts it has."""
    dimensions: int
    done: asyncio.Future[None]
    """Set when no vector is missing, or with the error that ends the request."""
    missing: list[Text] = field(default_factory=list)
    """That it waited for at first, also those that are found now."""
    found: dict[str, bytes] = field(default_factory=dict)
    """Vectors by key."""
    counts: VectorCounts = field(default_factory=VectorCounts)
    open_attempts: dict[int, OpenAttempt] = field(default_factory=dict)
    announcing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Attempts of one request are numbered one after the other."""
    model: str = ""
    """That answered last; empty: none was called."""
    hold_ended: bool = False
    """The usage of an attempt that completed the request has ended its hold."""

    @property
    def is_complete(self) -> bool:
        return len(self.found) == self.distinct

    @property
    def waits(self) -> bool:
        """False: it has all its vectors, has failed, or was given up."""
        return not self.done.done()

    def finish_if_complete(self) -> None:
        if self.is_complete and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def note_cause(self) -> None:
        """Have the execution show why the request has waited until now: the failures of a batch with one of its texts,
        and what this waits for.
        """
        batches = (text.batch for text in self.missing if text.key not in self.found)
        for batch in batches:
            if batch is not None and batch.history.last_failure is not None:
                self.execution.history.last_failure = batch.history.last_failure
                self.execution.history.failed[:] = batch.history.failed
                self.execution.waits_for = batch.waits_for
                return

    def leave(self) -> None:
        """Wait for no text any more."""
        for text in self.missing:
            if self in text.requests:
                text.requests.remove(self)

    def index_of(self, key: str) -> int:
        """The place of the first text with this key."""
        return self.keys.index(key)
