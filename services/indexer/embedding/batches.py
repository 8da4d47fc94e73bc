"""Many texts to vectors: in batches of one embed request each, a few at a time, and each text once.

A text that is refused for its content is left out, and the others of its request are sent again. Where the refusal does
not say which text it is, the request is divided until that is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.contract.errors import ERRORS, ErrorCode
from services.indexer.embedding.gateway import Caller, Embedded, EmbeddingFailed, EmbeddingGateway, Route

__all__ = ["BatchEmbedder", "Costs", "Vectors"]

_BATCH_TEXTS: Final = 256
_BATCH_CHARACTERS: Final = 1_000_000
_IN_FLIGHT: Final = 8
"""Embed requests of this process at once."""
_CONTENT_ERRORS: Final[frozenset[ErrorCode]] = frozenset(
    {"invalid_request", "provider_refused", "context_length_exceeded", "content_filtered", "blocked"}
)
"""Refusals that another text may not meet."""
_LASTING: Final[frozenset[ErrorCode]] = frozenset({"budget_exceeded", "provider_credentials"})
"""Of the errors that may pass later, those that last longer than an index request waits."""
_MOST_REFUSALS: Final = 64
"""Requests that a provider may refuse in one call: a model that refuses everything would be called for each text."""
_MAX_ATTEMPTS: Final = 6
"""Attempts for one batch that meets transient errors."""
_FIRST_WAIT_S: Final = 0.5
"""Seconds before the second attempt; each further wait is twice as long."""
_MAX_WAIT_S: Final = 20.0
"""Seconds; if a provider asks for a longer pause, the index request fails with that pause as `retry_after_s`."""


class Costs(Struct):
    """What providers were paid for."""

    embedded: int = 0
    tokens: int = 0
    cost_microusd: int = 0
    unpriced_attempts: int = 0

    def add(self, done: Embedded) -> None:
        self.embedded += done.embedded
        self.tokens += done.tokens
        self.cost_microusd += done.cost_microusd
        self.unpriced_attempts += done.unpriced_attempts


class Vectors(Struct):
    found: dict[str, bytes] = {}
    refused: dict[str, str] = {}
    """Why there is no vector, by text."""


class _Call(Struct):
    route: Route
    caller: Caller
    costs: Costs
    vectors: Vectors
    refusals: int = 0


class BatchEmbedder:
    def __init__(
        self,
        gateway: EmbeddingGateway,
        *,
        first_wait_s: float = _FIRST_WAIT_S,
    ) -> None:
        self._gateway = gateway
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._first_wait_s = first_wait_s

    async def embed(self, texts: Iterable[str], route: Route, caller: Caller, costs: Costs) -> Vectors:
        """A vector or a refusal for each different text. Raises EmbeddingFailed; `costs` has what was done by then."""
        call = _Call(route, caller, costs, Vectors())
        batches = list(_batches(dict.fromkeys(texts), _BATCH_TEXTS))
        tasks = [asyncio.ensure_future(self._batch(batch, call)) for batch in batches]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return call.vectors

    async def _batch(self, texts: Sequence[str], call: _Call) -> None:
        try:
            done = await self._with_retries(texts, call)
        except EmbeddingFailed as error:
            if error.code not in _CONTENT_ERRORS:
                raise
            await self._without_refused(texts, call, error)
            return
        if len(done.vectors) != len(texts):
            raise EmbeddingFailed("internal", f"{len(texts)} texts got {len(done.vectors)} vectors")
        call.costs.add(done)
        call.vectors.found.update(zip(texts, done.vectors, strict=True))

    async def _without_refused(self, texts: Sequence[str], call: _Call, error: EmbeddingFailed) -> None:
        refused = 0 if len(texts) == 1 else error.refused
        if len(texts) > 1 and error.code != "blocked":  # what the guard blocks is sent to no model
            call.refusals += 1
        if call.refusals > _MOST_REFUSALS:
            raise error
        if refused is None or refused >= len(texts):
            middle = len(texts) // 2
            parts = [texts[:middle], texts[middle:]]
        else:
            by = "safety guard" if error.code == "blocked" else "embedding model"
            call.vectors.refused[texts[refused]] = f"the {by} refuses it: {error}"
            parts = [[*texts[:refused], *texts[refused + 1 :]]]
        for part in parts:
            if part:
                await self._batch(part, call)

    async def _with_retries(self, texts: Sequence[str], call: _Call) -> Embedded:
        wait_s = self._first_wait_s
        for left in reversed(range(_MAX_ATTEMPTS)):
            try:
                async with self._slots:
                    return await self._gateway.embed(texts, call.route, call.caller)
            except EmbeddingFailed as error:
                wait_s = max(wait_s, error.retry_after_s or 0.0)
                late = loop_now_s() + wait_s >= call.caller.until_s
                passes = ERRORS[error.code].retry == "later" and error.code not in _LASTING
                if not passes or not left or wait_s > _MAX_WAIT_S or late:
                    raise
            await asyncio.sleep(wait_s)
            wait_s *= 2
        raise AssertionError("the last attempt returns or raises")


def _batches(texts: Iterable[str], most: int) -> Iterable[list[str]]:
    batch: list[str] = []
    characters = 0
    for text in texts:
        if batch and (len(batch) == most or characters + len(text) > _BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(text)
        characters += len(text)
    if batch:
        yield batch
