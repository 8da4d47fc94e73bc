"""The pull protocol of JetStream: one outstanding request to a consumer at a time, watched for silence.

nats-py's `fetch` answers with a list once per call; a mailbox wants each message as it comes and a request that
stays open. The protocol is that of ADR-13 (nats-architecture-and-design).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.nats_patches import unsubscribe_at_server
from penstock.contract.streams import Consumer
from penstock.runtime.consumer.delivery import Delivery, delivery_of
from penstock.runtime.consumer.scheduler import Ask, Source

__all__ = ["Puller", "withdraw"]

_log: Final = rate_limited_logger(__name__, by="text")
_HEARTBEAT_S: Final = 5.0
"""At most half of how long a request waits, or the server refuses it."""
_SILENCE_S: Final = 2.5 * _HEARTBEAT_S
_CLOSE_S: Final = 2
_NANO: Final = 1_000_000_000
_HEARTBEAT: Final = "100"
_DELIVERED: Final = "$JS.ACK."
"""What a message is answered on. The server's own words have no such address, and a publisher may write a header
that looks like one of them."""
_ENDED_QUIETLY: Final = frozenset({"404", "408"})
"""No messages; the request expired."""


class Puller:
    """Asks a durable consumer for messages and hands each to `receive` as it comes.

    `over` is called when a request is used up, has expired or was refused.
    """

    def __init__(
        self, nc: Nats, consumer: Consumer, receive: Callable[[Delivery], None], over: Callable[[], None]
    ) -> None:
        self._nc = nc
        self._name = f"{consumer.stream}/{consumer.durable}"
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.durable}"
        self._inbox = nc.new_inbox()
        self._receive = receive
        self._over = over
        self._subscription: Subscription | None = None
        self._former: list[Subscription] = []
        """Of requests that were withdrawn: what was on its way still comes through them."""
        self._request = 0
        self._asked = Ask(0, 0, 0.0)
        self._asked_s = 0.0
        self._heard_s = 0.0
        self.source = Source()
        self.refusals = 0
        """How many requests one after the other the server ended early."""
        self.refused = False
        """It did since the owner last looked, who sets this back."""

    async def open(self) -> None:
        self._subscription = await self._nc.subscribe(f"{self._inbox}.*", cb=self._on_message)

    async def withdraw(self) -> bool:
        """Ask the server for no more, with the next flush. Returns whether there is anything to flush.

        What is on its way may still arrive, so go on listening until `close`. nats-py's `drain` stops listening at the
        server's PONG, which a message being delivered at that moment can miss; it would then come again only after
        ack_wait.
        """
        self.source = Source()
        if self._subscription is None or not self._nc.is_connected:
            return False
        await unsubscribe_at_server(self._nc, self._subscription)
        return True

    async def withdraw_request(self) -> None:
        """Withdraw the open request, if there is one, and be ready for the next.

        The server drops a request whose reply subject nobody listens to; JetStream knows no other way.
        """
        former = self._subscription
        if self.source.outstanding == 0 or former is None or not self._nc.is_connected:
            return
        self._set_back()
        inbox = self._nc.new_inbox()
        subscription = await self._nc.subscribe(f"{inbox}.*", cb=self._on_message)
        self._inbox, self._subscription = inbox, subscription
        await unsubscribe_at_server(self._nc, former)
        self._set_back()
        over, self._former = self._former, [former]
        for each in over:
            await self._end_subscription(each)

    def _set_back(self) -> None:
        """No request is open; what the server still says of the last one counts no more."""
        self._request += 1
        self.source = Source(pending=self.source.pending, batch=self.source.batch)

    async def close(self) -> None:
        """Stop listening."""
        subscription, self._subscription = self._subscription, None
        former, self._former = self._former, []
        for each in (*former, *([] if subscription is None else [subscription])):
            await self._end_subscription(each)

    async def _end_subscription(self, subscription: Subscription) -> None:
        if self._nc.is_closed:
            return
        try:
            await subscription.unsubscribe()
        except nats.errors.Error as error:
            _log.warning("%s: could not unsubscribe: %r", self._name, error)

    async def ask(self, ask: Ask) -> None:
        """Request messages; they come through `receive`."""
        self._request += 1
        self._asked = ask
        self._asked_s = self._heard_s = asyncio.get_running_loop().time()
        self.source.outstanding = ask.batch
        self.source.standing = ask.waits_s > 0
        await self._nc.publish(
            self._next, msgspec.json.encode(_wish(ask)), reply=f"{self._inbox}.{self._request}"
        )

    def watch(self) -> None:
        """A request whose server fell silent is refused: it is asked again."""
        silent_s = asyncio.get_running_loop().time() - self._heard_s
        if self.source.outstanding > 0 and silent_s > _SILENCE_S:
            self._refuse("no heartbeat from the server")

    def forget(self) -> None:
        """The request is void, and with it what is known of the consumer: the connection was lost."""
        self.source = Source()
        self._over()

    async def _on_message(self, msg: Msg) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        status = (msg.headers or {}).get("Status")
        if status is None or msg.reply.startswith(_DELIVERED):
            self._take(delivery_of(msg))
        elif status == _HEARTBEAT or not msg.subject.endswith(f".{self._request}"):
            return
        elif status in _ENDED_QUIETLY:
            self.refusals = 0
            self.source.pending = 0
            self._end()
        else:
            self._refuse(f"{status} {(msg.headers or {}).get('Description', '')}".strip())

    def _take(self, delivery: Delivery) -> None:
        source = self.source
        source.pending = delivery.pending
        self.refusals = 0
        if source.outstanding > 0:  # else an old request was answered after all
            source.outstanding -= 1
            if source.outstanding == 0:
                self._end()
        self._receive(delivery)

    def _refuse(self, why: str) -> None:
        _log.warning("%s: the server ended a pull: %s", self._name, why)
        self.refusals += 1
        self.refused = True
        self.source = Source()
        self._over()

    def _end(self) -> None:
        """The request is over, be it used up or not."""
        source, asked = self.source, self._asked
        if source.standing:
            age_s = asyncio.get_running_loop().time() - self._asked_s
            source.over(asked.batch, asked.batch - source.outstanding, age_s)
        source.outstanding = 0
        self._over()


def _wish(ask: Ask) -> dict[str, int | bool]:
    if ask.waits_s == 0:
        return {"batch": ask.batch, "no_wait": True}
    wish: dict[str, int | bool] = {"batch": ask.batch, "expires": int(ask.waits_s * _NANO)}
    if ask.waits_s >= 2 * _HEARTBEAT_S:  # a brief request needs none
        wish["idle_heartbeat"] = int(_HEARTBEAT_S * _NANO)
    return wish


async def withdraw(nc: Nats, pullers: Iterable[Puller]) -> None:
    """Withdraw all of them, and wait until the server knows."""
    try:
        if any([await puller.withdraw() for puller in pullers]):
            await nc.flush(_CLOSE_S)
    except (nats.errors.Error, TimeoutError) as error:
        _log.warning("could not withdraw in order: %r", error)
