"""Deletes the cached vectors of texts that are forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

import msgspec
import nats.errors

from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.retry import RetryPolicy, retry
from penstock.contract.retrieval import subjects
from penstock.contract.retrieval.collections import Generation
from penstock.contract.streams import EMBEDDINGS
from penstock.runtime.retrieval.embedding_key import EmbeddingKeys
from penstock.runtime.service import Bus

__all__ = ["CachedVectors"]

_log: Final = rate_limited_logger(__name__)
_TIMEOUT_S: Final = 2.0
_RETRY: Final = RetryPolicy(timeout_s=20.0)
_PURGE: Final = f"$JS.API.STREAM.PURGE.{EMBEDDINGS.name}"


class CachedVectors:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def forget(self, texts: Iterable[str], generation: Generation) -> None:
        """Raises nats.errors.Error or TimeoutError where JetStream does not answer: forgetting is repeated then."""
        keys = EmbeddingKeys(generation.space, generation.dimensions)
        for key in keys.of_all(list(dict.fromkeys(texts))):
            purged = msgspec.json.encode({"filter": subjects.embedding(key)})
            await retry(
                partial(self._bus.nc.request, _PURGE, purged, timeout=_TIMEOUT_S),
                on=(nats.errors.Error, TimeoutError),
                report=lambda error: _log.warning("a cached vector cannot be deleted yet: %r", error),
                policy=_RETRY,
            )
