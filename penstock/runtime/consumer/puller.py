"""JetStream's pull protocol: at most one open request per consumer, watched for missing heartbeats.

nats-py's `fetch` returns a list once per call; a mailbox needs each message as it arrives and a request that stays
open. The protocol is ADR-13 (nats-architecture-and-design).
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
from penstock.runtime.consumer.scheduler import PullRequest, Source

__all__ = ["Puller", "withdraw"]

_log: Final = rate_limited_logger(__name__, by="text")
_HEARTBEAT_S: Final = 5.0
"""Seconds between the server's heartbeats for an open request; at most half of the request's duration."""
_SILENCE_S: Final = 2.5 * _HEARTBEAT_S
_CLOSE_S: Final = 2
_NANO: Final = 1_000_000_000
_HEARTBEAT: Final = "100"
_DELIVERED: Final = "$JS.ACK."
"""The start of the reply subject of a delivered message. Status messages of the server have no such subject, while a
publisher could write a `Status` header."""
_ENDED_QUIETLY: Final = frozenset({"404", "408"})
"""Status codes: no messages; the request expired."""


class Puller:
    """Requests messages from a durable consumer and passes each to `receive` as it arrives.

    `ended` is called when a request was fulfilled, has expired or was refused.
    """

    def __init__(
        self, nc: Nats, consumer: Consumer, receive: Callable[[Delivery], None], ended: Callable[[], None]
    ) -> None:
        self._nc = nc
        self._name = f"{consumer.stream}/{consumer.durable}"
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.durable}"
        self._inbox = nc.new_inbox()
        self._receive = receive
        self._ended = ended
        self._subscription: Subscription | None = None
        self._former: list[Subscription] = []
        """Subscriptions of withdrawn requests, through which messages already sent still arrive."""
        self._request_number = 0
        self._open_request = PullRequest(0, 0, 0.0)
        self._requested_s = 0.0
        self._last_message_s = 0.0
        self.source = Source()
        self.refusals = 0
        """Number of consecutive requests that the server refused or did not answer."""
        self.refused = False
        """A request was refused since the mailbox last reset this flag."""

    async def open(self) -> None:
        self._subscription = await self._nc.subscribe(f"{self._inbox}.*", cb=self._on_message)

    async def withdraw(self) -> bool:
        """Request no more messages from the server, with the next flush. Returns whether there is anything to flush.

        Messages already sent may still arrive until `close`. nats-py's `drain` stops listening at the
        server's PONG, which a message being delivered at that moment can miss; it would then come again only after
        ack_wait.
        """
        self.source = Source()
        if self._subscription is None or not self._nc.is_connected:
            return False
        await unsubscribe_at_server(self._nc, self._subscription)
        return True

    async def withdraw_request(self) -> None:
        """Withdraw the open request, if there is one, and prepare for the next.

        The server drops a request whose reply subject has no subscriber; JetStream has no other way to withdraw one.
        """
        former = self._subscription
        if self.source.outstanding == 0 or former is None or not self._nc.is_connected:
            return
        self._reset()
        inbox = self._nc.new_inbox()
        subscription = await self._nc.subscribe(f"{inbox}.*", cb=self._on_message)
        self._inbox, self._subscription = inbox, subscription
        await unsubscribe_at_server(self._nc, former)
        self._reset()
        over, self._former = self._former, [former]
        for each in over:
            await self._end_subscription(each)

    def _reset(self) -> None:
        """Forget the open request; later status messages about it are ignored."""
        self._request_number += 1
        self.source = Source(pending=self.source.pending, batch=self.source.batch)

    async def close(self) -> None:
        """End all subscriptions."""
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

    async def request(self, request: PullRequest) -> None:
        """Request messages, which are passed to `receive`."""
        self._request_number += 1
        self._open_request = request
        self._requested_s = self._last_message_s = asyncio.get_running_loop().time()
        self.source.outstanding = request.batch
        self.source.long_poll = request.waits_s > 0
        await self._nc.publish(
            self._next,
            msgspec.json.encode(_request_body(request)),
            reply=f"{self._inbox}.{self._request_number}",
        )

    def watch(self) -> None:
        """Count an open request without heartbeats as refused, so that it is sent again."""
        silent_s = asyncio.get_running_loop().time() - self._last_message_s
        if self.source.outstanding > 0 and silent_s > _SILENCE_S:
            self._refuse("no heartbeat from the server")

    def forget(self) -> None:
        """Discard the open request and the state of the consumer after a lost connection."""
        self.source = Source()
        self._ended()

    async def _on_message(self, msg: Msg) -> None:
        self._last_message_s = asyncio.get_running_loop().time()
        status = (msg.headers or {}).get("Status")
        if status is None or msg.reply.startswith(_DELIVERED):
            self._take(delivery_of(msg))
        elif status == _HEARTBEAT or not msg.subject.endswith(f".{self._request_number}"):
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
        if source.outstanding > 0:  # otherwise a former request was answered
            source.outstanding -= 1
            if source.outstanding == 0:
                self._end()
        self._receive(delivery)

    def _refuse(self, why: str) -> None:
        _log.warning("%s: the server ended a pull: %s", self._name, why)
        self.refusals += 1
        self.refused = True
        self.source = Source()
        self._ended()

    def _end(self) -> None:
        """Close the request, whether or not it was fulfilled."""
        source, request = self.source, self._open_request
        if source.long_poll:
            age_s = asyncio.get_running_loop().time() - self._requested_s
            source.record_end(request.batch, request.batch - source.outstanding, age_s)
        source.outstanding = 0
        self._ended()


def _request_body(request: PullRequest) -> dict[str, int | bool]:
    if request.waits_s == 0:
        return {"batch": request.batch, "no_wait": True}
    body: dict[str, int | bool] = {"batch": request.batch, "expires": int(request.waits_s * _NANO)}
    if request.waits_s >= 2 * _HEARTBEAT_S:  # a shorter request needs no heartbeat
        body["idle_heartbeat"] = int(_HEARTBEAT_S * _NANO)
    return body


async def withdraw(nc: Nats, pullers: Iterable[Puller]) -> None:
    """Withdraw the requests of all pullers, and wait until the server has processed that."""
    try:
        if any([await puller.withdraw() for puller in pullers]):
            await nc.flush(_CLOSE_S)
    except (nats.errors.Error, TimeoutError) as error:
        _log.warning("could not withdraw pull requests: %r", error)
