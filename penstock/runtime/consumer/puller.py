"""JetStream's pull protocol: at most one open request per consumer, sent again if the server does not end it.

nats-py's `fetch` returns a list once per call; a mailbox needs each message as it arrives and a request that stays
open. The protocol is ADR-13 (nats-architecture-and-design).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.bus.clock import loop_now_s
from penstock.bus.freezes import frozen_s, waiting_since_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.nats_patches import unsubscribe_at_server
from penstock.bus.wire.receiving import subscribe_directly
from penstock.contract.streams import Consumer
from penstock.runtime.consumer.delivery import Delivery, delivery_of
from penstock.runtime.consumer.scheduler import LONG_POLL_S, PullRequest, Source

__all__ = ["Puller", "withdraw"]

_log: Final = rate_limited_logger(__name__, by="text")
_SILENCE_S: Final = LONG_POLL_S + 5.0
"""Seconds without a message after which an open request is taken for lost. The server ends every one within
LONG_POLL_S, so none needs its heartbeats, which would be most of the messages of an idle system. A cluster reports a
lost leader (`_ELECTED`)."""
_CLOSE_S: Final = 2
_MAX_BYTES: Final = 32 * 1024 * 1024
"""Bytes that one request may be answered with: half of what nats-server by default holds for a connection
(max_pending) before it closes it as that of a slow consumer."""
_NANO: Final = 1_000_000_000
_DELIVERED: Final = "$JS.ACK."
"""The start of the reply subject of a delivered message. Status messages of the server have no such subject, while a
publisher could write a `Status` header."""
_TOO_LARGE: Final = "Message Size Exceeds MaxBytes"
"""Description of the end of a request whose bytes do not suffice for the next message."""
_NOT_COMING: Final = "Nats-Pending-Messages"
"""How many of the requested messages such a request will not be answered with."""
_FULFILLED: Final = "Batch Completed"
"""Description of the end of a request with `max_bytes` that is answered with all its messages. A replicated consumer
sends both descriptions before the messages, which wait for the other replicas."""
_ELECTED: Final = "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED"
"""The start of the subject of a cluster's advisory, before the stream and the consumer."""
_OVERHEAD_BYTES: Final = 64 * 1024
"""Bytes of a delivered message, as the server counts them, beyond its headers and body: its subjects."""
_ENDED_QUIETLY: Final = frozenset({"404", "408"})
"""Status codes: no messages; the request expired."""


class Puller:
    """Requests messages from a durable consumer and passes each to `receive` as it arrives, with whether its request
    had been withdrawn.

    `ended` is called when a request was fulfilled, has expired or was refused.
    """

    def __init__(
        self,
        nc: Nats,
        consumer: Consumer,
        receive: Callable[[Delivery, bool], None],
        ended: Callable[[], None],
        *,
        bounded: bool = False,
    ) -> None:
        """`bounded`: a request ends after as many bytes as the largest message has."""
        self._bounded = bounded
        self._nc = nc
        self._name = f"{consumer.stream}/{consumer.durable}"
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.durable}"
        self._elected = f"{_ELECTED}.{consumer.stream}.{consumer.durable}"
        self._inbox = nc.new_inbox()
        self._receive = receive
        self._ended = ended
        self._subscription: Subscription | None = None
        self._elections: Subscription | None = None
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
        self._subscription = await self._subscribed(self._inbox)
        self._elections = await subscribe_directly(self._nc, self._elected, self._on_election)

    async def _subscribed(self, inbox: str) -> Subscription:
        return await subscribe_directly(self._nc, f"{inbox}.*", partial(self._on_message, inbox))

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
        subscription = await self._subscribed(inbox)
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
        ended = *self._former, self._subscription, self._elections
        self._former, self._subscription, self._elections = [], None, None
        for each in ended:
            if each is not None:
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
        self._requested_s = self._last_message_s = loop_now_s()
        self.source.outstanding = request.batch
        self.source.long_poll = request.waits_s > 0
        await self._nc.publish(
            self._next,
            msgspec.json.encode(self._request_body(request)),
            reply=f"{self._inbox}.{self._request_number}",
        )

    def watch(self) -> None:
        """Count an open request that the server did not end as refused, so that it is sent again."""
        silent_s = loop_now_s() - self._last_message_s
        if self.source.outstanding == 0 or silent_s <= _SILENCE_S:
            return
        if silent_s - frozen_s(self._last_message_s) > _SILENCE_S:
            self._refuse("no answer from the server")

    def forget(self) -> None:
        """Discard the open request and the state of the consumer after a lost connection or leader."""
        self.source = Source()
        self._ended()

    def _on_election(self, _: Msg) -> None:
        """The new leader ends the requests that it knows with a 409; one that came just before the former was killed it
        does not know, and nothing would end it.
        """
        if self.source.outstanding > 0:
            self.forget()

    def _on_message(self, inbox: str, msg: Msg) -> None:
        self._last_message_s = loop_now_s()
        status = (msg.headers or {}).get("Status")
        if status is None or msg.reply.startswith(_DELIVERED):
            self._take(delivery_of(msg), withdrawn=inbox != self._inbox)
        elif not self._is_open(msg) or _description(msg) == _FULFILLED:
            return
        elif status in _ENDED_QUIETLY:
            self.refusals = 0
            self.source.pending, self.source.is_known = 0, True
            self._end()
        elif _description(msg) == _TOO_LARGE:
            self._end_at_byte_limit(int((msg.headers or {}).get(_NOT_COMING, self.source.outstanding)))
        else:
            self._refuse(f"{status} {_description(msg)}".strip())

    def _is_open(self, status: Msg) -> bool:
        """Whether the request that `status` is about is open: neither withdrawn nor fulfilled."""
        return self.source.outstanding > 0 and status.subject.endswith(f".{self._request_number}")

    def _end_at_byte_limit(self, not_coming: int) -> None:
        self.source.pending = max(1, self.source.pending)
        coming = self.source.outstanding - not_coming
        if coming <= 0:
            self._end()
            return
        self.source.outstanding, self.source.long_poll = coming, False

    def _request_body(self, request: PullRequest) -> dict[str, int | bool]:
        body: dict[str, int | bool] = {"batch": request.batch}
        if self._bounded:
            body["max_bytes"] = self._nc.max_payload + _OVERHEAD_BYTES
        elif request.batch * self._nc.max_payload > _MAX_BYTES:
            body["max_bytes"] = _MAX_BYTES
        if request.waits_s == 0:
            body["no_wait"] = True
            return body
        body["expires"] = int(request.waits_s * _NANO)
        return body

    def _take(self, delivery: Delivery, *, withdrawn: bool) -> None:
        source = self.source
        source.pending, source.is_known = delivery.pending, True
        delivery.arrived_s = waiting_since_s()
        self.refusals = 0
        if source.outstanding > 0 and not withdrawn:
            source.outstanding -= 1
            if source.outstanding == 0:
                self._end()
        self._receive(delivery, withdrawn)

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
            age_s = loop_now_s() - self._requested_s
            source.record_end(request.batch, request.batch - source.outstanding, age_s)
        source.outstanding = 0
        self._ended()


def _description(msg: Msg) -> str:
    return (msg.headers or {}).get("Description", "")


async def withdraw(nc: Nats, pullers: Iterable[Puller]) -> None:
    """Withdraw the requests of all pullers, and wait until the server has processed that."""
    try:
        if any([await puller.withdraw() for puller in pullers]):
            await nc.flush(_CLOSE_S)
    except (nats.errors.Error, TimeoutError) as error:
        _log.warning("could not withdraw pull requests: %r", error)
