"""Moments at which what was published without an acknowledgement may have been lost."""

from __future__ import annotations

from typing import Final

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.contract.streams import REPLIES

__all__ = ["DeliveryEpochs"]

_ELECTED: Final = f"$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.{REPLIES.name}"
"""A cluster says so; until then nobody stored anything, though every connection held."""


class DeliveryEpochs:
    """Counts them: the connection was lost and is back, or the reply events' stream has a new leader."""

    def __init__(self, nc: Nats) -> None:
        self._nc = nc
        self._elections = 0

    async def watch(self) -> None:
        await self._nc.subscribe(_ELECTED, cb=self._elected)

    @property
    def count(self) -> int:
        """So far."""
        return self._nc.stats["reconnects"] + self._elections

    async def _elected(self, _: Msg) -> None:
        self._elections += 1
