"""Delivery of received messages to callbacks at once, without a coroutine, a queue and a task for each.

nats-py puts each message into the queue of its subscription, of which a task calls the callback. A callback that never
waits needs neither: nothing is pending, so no limit of pending messages applies, and a drain has nothing to wait for.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final, cast

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.bus.wire.headers import decode_headers

__all__ = ["HMSG", "MSG", "build_message", "read_messages", "subscribe_directly"]

# ruff: noqa: SLF001 - private parts of nats-py; tests/unit/bus/wire/test_receiving.py tells when they change

MSG: Final = re.compile(rb"MSG[ \t]+([^ \t\r\n]+)[ \t]+(\d+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)\r\n")
HMSG: Final = re.compile(
    rb"HMSG[ \t]+([^ \t\r\n]+)[ \t]+(\d+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)[ \t]+(\d+)\r\n"
)
"""nats-py's expressions with the server's definition of a space: a subject may hold vertical tab and form feed."""
_CRLF_SIZE: Final = 2
_FAILURES: Final = (Exception, asyncio.CancelledError)
"""Errors of a callback. A CancelledError would end the task that reads, and with it every subscription."""

Receive = Callable[[Msg], None]

_reporting: Final[set[asyncio.Future[None]]] = set()


class _Receiver:
    """Takes the place of the future of a nats-py subscription, whose result is set for each message."""

    def __init__(self, nc: Nats, receive: Receive) -> None:
        self._nc = nc
        self.receive = receive

    def cancelled(self) -> bool:
        return False

    def set_result(self, msg: Msg) -> None:
        try:
            self.receive(msg)
        except _FAILURES as error:
            self.report(error)

    def report(self, error: BaseException) -> None:
        """As nats-py reports the error of a callback."""
        task = asyncio.ensure_future(self._nc._error_cb(cast("Exception", error)))
        _reporting.add(task)
        task.add_done_callback(_reporting.discard)


async def subscribe_directly(nc: Nats, subject: str, receive: Receive) -> Subscription:
    """Subscribe with a callback that is called while the message is read: it must return at once.

    An error that it raises is passed to the error callback of the connection. Raises what `subscribe` raises.
    """
    return await nc.subscribe(subject, future=cast("asyncio.Future[Any]", _Receiver(nc, receive)))


def read_messages(nc: Nats, data: bytes) -> int:
    """Deliver the whole messages at the start of `data` up to the first that nats-py has to deliver, because its
    subscription has a queue or its headers are not ordinary. Returns how many bytes they have.
    """
    at, size = 0, len(data)
    while at < size:
        found = HMSG.match(data, at)
        if found is not None:
            subject, sid, _, reply, block_size, total = found.groups()
            begin = found.end()
            body = begin + int(block_size)
        else:
            found = MSG.match(data, at)
            if found is None:
                break
            subject, sid, _, reply, total = found.groups()
            begin = body = found.end()
        end = begin + int(total)
        if end + _CRLF_SIZE > size:
            break
        subscription = nc._subs.get(int(sid))
        receiver: Any = None if subscription is None else subscription._future
        if subscription is None or type(receiver) is not _Receiver or subscription._max_msgs:
            break
        headers = None
        if body > begin:
            headers = decode_headers(data[begin:body])
            if headers is None:
                break
        at = end + _CRLF_SIZE
        payload = data[body:end]
        subscription._received += 1
        nc.stats["in_msgs"] += 1
        nc.stats["in_bytes"] += len(payload)
        message = build_message(nc, subscription._id, subject, reply or b"", payload, headers)
        try:
            receiver.receive(message)
        except _FAILURES as error:
            receiver.report(error)
    return at


def build_message(
    nc: Nats, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
) -> Msg:
    """nats-py's own, with bytes that are not UTF-8 written as escapes."""
    return Msg(
        nc,
        subject.decode(errors="backslashreplace"),
        reply.decode(errors="backslashreplace"),
        data,
        headers,
        _sid=sid,
    )
