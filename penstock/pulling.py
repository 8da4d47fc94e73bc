"""The pull protocol of JetStream: one outstanding request for messages at a time, watched for silence.

nats-py's `fetch` answers with a list once per call; a mailbox wants each message as it comes and one request that
stays open. The protocol is that of ADR-13 (nats-architecture-and-design).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.delivery import Delivery, delivery_of

__all__ = ["Puller"]

_log: Final = logging.getLogger(__name__)
_EXPIRES_S: Final = 10.0
"""So long a process that was frozen still draws messages to itself: a few would lie there for ack_wait once more, and a
delivery of each would be used up."""
_HEARTBEAT_S: Final = 5.0
"""At most half of that, or the server refuses."""
_CLOSE_S: Final = 2
_NANO: Final = 1_000_000_000
_HEARTBEAT: Final = "100"
_DELIVERED: Final = "$JS.ACK."
"""What a message is answered on. The server's own words have no such address, and a publisher may write a header
that looks like one of them."""
_ENDED_QUIETLY: Final = frozenset({"404", "408"})
"""No messages; the request expired."""


class Puller:
    """Asks a durable consumer for messages and hands each to `receive` as it comes."""

    def __init__(self, nc: Nats, stream: str, durable: str, receive: Callable[[Delivery], None]) -> None:
        self._nc = nc
        self._name = f"{stream}/{durable}"
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._inbox = nc.new_inbox()
        self._receive = receive
        self._subscription: Subscription | None = None
        self._request = 0
        self._outstanding = 0
        self._heard_s = 0.0
        self._changed = asyncio.Event()
        self.refused: str | None = None
        """Why the server ended the last request early; None when it did not."""

    async def open(self) -> None:
        self._subscription = await self._nc.subscribe(f"{self._inbox}.*", cb=self._on_message)

    async def withdraw(self) -> None:
        """Ask the server for no more. What is on its way may still arrive, so go on listening until `close`.

        nats-py's `drain` stops listening at the server's PONG, which a message being delivered at that moment can
        miss; it would then come again only after ack_wait.
        """
        self.forget()
        if self._subscription is None or not self._nc.is_connected:
            return
        try:
            await self._nc._send_unsubscribe(self._subscription._id)  # noqa: SLF001 - see above
            await self._nc.flush(_CLOSE_S)
        except (nats.errors.Error, TimeoutError) as error:
            _log.warning("%s: could not withdraw in order: %r", self._name, error)

    async def close(self) -> None:
        """Stop listening."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None and not self._nc.is_closed:
            try:
                await subscription.unsubscribe()
            except nats.errors.Error as error:
                _log.warning("%s: could not unsubscribe: %r", self._name, error)

    async def ask(self, batch: int) -> None:
        """Request up to `batch` messages; they come through `receive`."""
        self._request += 1
        self._outstanding = batch
        self.refused = None
        self._heard_s = asyncio.get_running_loop().time()
        wish = {
            "batch": batch,
            "expires": int(_EXPIRES_S * _NANO),
            "idle_heartbeat": int(_HEARTBEAT_S * _NANO),
        }
        await self._nc.publish(self._next, msgspec.json.encode(wish), reply=f"{self._inbox}.{self._request}")

    async def answered(self) -> None:
        """Wait until the request is used up, has expired, was refused, or its server fell silent."""
        while self._outstanding > 0:
            self._changed.clear()
            silence_s = asyncio.get_running_loop().time() - self._heard_s
            if silence_s > 2.5 * _HEARTBEAT_S:
                self._outstanding = 0
                self.refused = "no heartbeat from the server"
                return
            try:
                async with asyncio.timeout(_HEARTBEAT_S):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def forget(self) -> None:
        """The request is void: the connection was lost, or the owner stops."""
        self._outstanding = 0
        self._changed.set()

    async def _on_message(self, msg: Msg) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        status = (msg.headers or {}).get("Status")
        if status is None or msg.reply.startswith(_DELIVERED):
            self._outstanding -= 1
            if self._outstanding <= 0:
                self._changed.set()
            self._receive(delivery_of(msg))
            return
        if status == _HEARTBEAT or not msg.subject.endswith(f".{self._request}"):
            return
        if status not in _ENDED_QUIETLY:
            self.refused = f"{status} {(msg.headers or {}).get('Description', '')}".strip()
            _log.warning("%s: the server ended a pull: %s", self._name, self.refused)
        self.forget()
