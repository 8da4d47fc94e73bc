"""Claims: which of several workers embeds a text. A claim is a message on the subject of the text's vector.

It is stored only if the subject has no other message than the one that was seen (compare-and-set), so one worker gets
it. The vector replaces it. A claim that is not renewed for `EXPIRES_S` is of a worker that is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client as Nats

from penstock.bus.jetstream_answers import decode_ack
from penstock.bus.jetstream_errors import is_conflict
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.headers import EXPECTED_LAST
from penstock.contract.retrieval import subjects
from penstock.contract.retrieval.embeddings import FLOAT_BYTES
from penstock.runtime.aio import CriticalLoop
from services.worker.embedding.vector_store import VectorStore

__all__ = ["EXPIRES_S", "VectorClaims", "is_claim"]

_log: Final = rate_limited_logger(__name__)
EXPIRES_S: Final = 4.0
_RENEW_S: Final = 1.0
_ACK_S: Final = 1.0
"""Seconds to wait for an acknowledgement."""
RELEASED: Final = b"-"
"""The text was not embedded by the worker that had claimed it."""


class _Taken(Exception):
    """The subject has another message than the one that was seen."""


class _NotStored(Exception):
    """JetStream stored nothing, for another reason."""


def is_claim(data: bytes) -> bool:
    """Whether a message is no vector: those have a multiple of the size of a number."""
    return len(data) % FLOAT_BYTES != 0


class VectorClaims:
    """The claims of this worker."""

    def __init__(self, nc: Nats, store: VectorStore, instance: str) -> None:
        self._nc = nc
        self._store = store
        name = b"claimed by " + instance.encode()
        self._payload = name if is_claim(name) else name + b"."
        self._held: dict[str, int] = {}
        """The stream sequence of each claim, by key."""
        self._renewal = CriticalLoop("claims of texts")

    def start(self) -> None:
        self._renewal.start(self._renew())

    async def stop(self) -> None:
        await self._renewal.stop()

    async def take(self, seen: Mapping[str, int]) -> frozenset[str]:
        """Claim texts; `seen`: by key, the stream sequence of its last message, 0: it has none. Returns those that
        another worker has claimed or embedded since.
        """
        results = dict(zip(seen, await self._publish(seen), strict=True))
        failed = [key for key, result in results.items() if not isinstance(result, int)]
        last = await self._last(failed)
        lost: set[str] = set()
        for key, result in results.items():
            if isinstance(result, int):
                self._held[key] = result
            elif self._is_own(key, last):
                self._held[key] = last[key][0]  # the acknowledgement was late
            elif isinstance(result, _Taken):
                lost.add(key)
            else:
                self._held[key] = seen[key]  # it may still be stored: the renewal claims it, or finds it
                _log.warning(
                    "texts are embedded without a claim, as JetStream does not store one: %r", result
                )
        return frozenset(lost)

    def drop_claim(self, key: str) -> None:
        """The vector is about to be stored in place of the claim."""
        self._held.pop(key, None)

    async def release(self, keys: Sequence[str]) -> None:
        """These texts were not embedded: another worker may do it at once."""
        held = {key: sequence for key in keys if (sequence := self._held.pop(key, None)) is not None}
        await self._publish(held, RELEASED)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            await self._renew_once()

    async def _renew_once(self) -> None:
        held = dict(self._held)
        results = dict(zip(held, await self._publish(held), strict=True))
        last = await self._last([key for key, result in results.items() if not isinstance(result, int)])
        for key, result in results.items():
            if key not in self._held:
                continue
            if isinstance(result, int):
                self._held[key] = result
            elif self._is_own(key, last):
                self._held[key] = last[key][0]

    def _is_own(self, key: str, last: Mapping[str, tuple[int, bytes]]) -> bool:
        return key in last and last[key][1] == self._payload

    async def _last(self, keys: Sequence[str]) -> Mapping[str, tuple[int, bytes]]:
        """The last messages of these keys with their sequences; none if they cannot be read."""
        return await self._store.entries(keys) or {}

    async def _publish(self, seen: Mapping[str, int], payload: bytes | None = None) -> list[int | Exception]:
        """The stream sequences of the stored messages, or why one is not stored."""
        return list(
            await asyncio.gather(
                *(
                    self._publish_one(key, sequence, payload or self._payload)
                    for key, sequence in seen.items()
                )
            )
        )

    async def _publish_one(self, key: str, sequence: int, payload: bytes) -> int | Exception:
        headers = {EXPECTED_LAST: str(sequence)}
        try:
            msg = await self._nc.request(subjects.embedding(key), payload, timeout=_ACK_S, headers=headers)
            answer = decode_ack(msg.data)
        except (nats.errors.Error, TimeoutError, msgspec.MsgspecError) as error:
            return error
        if answer.error is None:
            return answer.seq
        return _Taken() if is_conflict(answer.error) else _NotStored(answer.error.description)
