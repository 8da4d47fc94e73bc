"""Keeps the known API keys equal to the bucket."""

from __future__ import annotations

from collections.abc import Sequence

from nats.aio.client import Client as Nats

from penstock.bus.bucket import Record
from penstock.bus.connection import ConnectionEvents
from penstock.contract.streams import KEYS
from penstock.runtime.api_keys.bucket import keys_of
from penstock.runtime.buckets.follower import BucketFollower
from services.edge.auth.known_keys import KnownKeys

__all__ = ["KeyStore"]


class KeyStore:
    """Replaces the known keys after each change. While the bucket cannot be read, those that are known stay valid."""

    def __init__(self, nc: Nats, events: ConnectionEvents, known: KnownKeys) -> None:
        self._known = known
        self._follower = BucketFollower(nc, events, KEYS, self._replace)

    async def start(self) -> None:
        """Return when the keys were read, or after some seconds without them."""
        await self._follower.start()

    async def stop(self) -> None:
        await self._follower.stop()

    def _replace(self, records: Sequence[Record]) -> None:
        self._known.replace(keys_of(records))
