"""Epochs of delivery: after each change of epoch, messages published without acknowledgement may have been lost."""

from __future__ import annotations

from typing import Final

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.contract.streams import REPLIES

__all__ = ["DeliveryEpochs"]

_ELECTED: Final = f"$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.{REPLIES.name}"
"""A cluster's advisory. Before it, unacknowledged messages were lost although no connection broke."""


class DeliveryEpochs:
    """Counts reconnections and leader elections of the stream of reply events."""

    def __init__(self, nc: Nats) -> None:
        self._nc = nc
        self._elections = 0

    async def watch(self) -> None:
        await self._nc.subscribe(_ELECTED, cb=self._on_election)

    @property
    def current(self) -> int:
        """The number of the current epoch."""
        return self._nc.stats["reconnects"] + self._elections

    async def _on_election(self, _: Msg) -> None:
        self._elections += 1
