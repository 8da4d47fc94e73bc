"""Deletes the cached vectors of texts that are forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import msgspec
import nats.errors
from msgspec import Struct

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
_IN_FLIGHT: Final = 32
"""Requests to JetStream at once."""
_NO_STREAM: Final = 10059
"""JetStream error code: stream not found. Nothing is cached then."""


class _Error(Struct):
    err_code: int = 0
    description: str = ""


class _Answer(Struct):
    """The fields of a response to STREAM.PURGE that are used here."""

    success: bool = False
    error: _Error | None = None


_decode: Final = msgspec.json.Decoder(_Answer).decode


class CachedVectors:
    def __init__(self, bus: Bus, policy: RetryPolicy = _RETRY) -> None:
        self._bus = bus
        self._policy = policy

    async def forget(self, texts: Iterable[str], generation: Generation) -> None:
        """Raises nats.errors.Error or TimeoutError where JetStream does not delete them: the caller repeats it."""
        keys = EmbeddingKeys(generation.space, generation.dimensions).of_all(list(dict.fromkeys(texts)))
        slots = asyncio.Semaphore(_IN_FLIGHT)
        tasks = [asyncio.ensure_future(self._forget(key, slots)) for key in keys]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _forget(self, key: str, slots: asyncio.Semaphore) -> None:
        async with slots:
            await retry(
                lambda: self._purge(subjects.embedding(key)),
                on=(nats.errors.Error, TimeoutError),
                report=lambda error: _log.warning("a cached vector cannot be deleted yet: %r", error),
                policy=self._policy,
            )

    async def _purge(self, subject: str) -> None:
        msg = await self._bus.nc.request(_PURGE, msgspec.json.encode({"filter": subject}), timeout=_TIMEOUT_S)
        try:
            answer = _decode(msg.data)
        except msgspec.MsgspecError as error:
            raise nats.errors.Error(f"the answer to a purge cannot be read: {error}") from error
        if answer.success or (answer.error is not None and answer.error.err_code == _NO_STREAM):
            return
        description = "no success" if answer.error is None else answer.error.description
        raise nats.errors.Error(f"{EMBEDDINGS.name}: {description}")
