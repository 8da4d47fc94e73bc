"""Whether a stream refuses to write.

nats-server (2.15) answers nothing to a message that it could not write, and from then on refuses every message of that
stream until it is restarted. A slow disk, a busy server and a lost connection look the same to the publisher, but then
the stream goes on, or the server does not answer questions about it either. In a cluster a message is also lost with
the server that led its stream, and nothing is stored until it is sent again: what counts is whether the server that
leads the stream now led it already when the message was sent.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import APIError, NoStreamResponseError

from penstock.bus.clock import loop_now_s
from penstock.bus.freezes import AwakeTimeout, extended_s
from penstock.bus.jetstream_answers import AnswerError, PublishAck, decode_ack
from penstock.bus.wire.sending import publish_for_answer

__all__ = ["StreamNotWritable", "not_writable", "publish_checked", "store_probe", "written_s"]

# ruff: noqa: SLF001 - the connection of a context: contexts are made by the call

_PROBE_S: Final = 2.0
"""Seconds to wait for the acknowledgement of a probe message."""
_CHECK_AFTER_S: Final = 0.7
"""Seconds without an acknowledgement after which the stream is checked."""
_ANSWER_S: Final = 1.0
"""Seconds to wait for the answer of the server to one of these looks."""
_AGAIN_S: Final = 0.05
_NO_RESPONDERS: Final = "503"
_BETWEEN_S: Final = (0.4, 0.15)
"""Seconds between three looks at the stream. The last one is apart from the second, so that a server that was frozen
has stored what it received before."""


class _Streams:
    """What is known of the streams of one connection, by their names."""

    def __init__(self) -> None:
        self.checks: dict[str, asyncio.Task[float | None]] = {}
        """The checks that run."""
        self.refused: set[str] = set()
        """The streams to which the last message could not be written."""
        self.written_s: dict[str, float] = {}
        """When each stream last acknowledged a new message, on the loop's clock."""


_known: Final[WeakKeyDictionary[Nats, _Streams]] = WeakKeyDictionary()


class _State(Struct, frozen=True):
    last_seq: int = 0


class _Cluster(Struct, frozen=True):
    leader_since: datetime | None = None
    """Only the node that leads the stream says it."""
    replicas: tuple[msgspec.Raw, ...] = ()
    """The other nodes that keep the stream."""


class _Info(Struct, frozen=True):
    """What the leader of a stream answers about it, or a node that knows of no leader."""

    state: _State = _State()
    cluster: _Cluster | None = None
    ts: datetime | None = None
    """The time by which `leader_since` counts."""
    error: AnswerError | None = None


_decode_info: Final = msgspec.json.Decoder(_Info).decode


class _Sent(NamedTuple):
    """When a message was sent, and over which connection."""

    at_s: float
    """On the loop's clock."""
    reconnects: int


class StreamNotWritable(nats.errors.Error):
    """The server answers, and does not store what it is sent for this stream."""

    def __init__(self, stream: str) -> None:
        super().__init__(f"the NATS server cannot write to {stream}")


async def publish_checked(
    js: JetStreamContext,
    subject: str,
    payload: bytes,
    *,
    stream: str,
    headers: dict[str, str],
    timeout_s: float,
) -> PublishAck:
    """Publish to `stream`, and wait for the acknowledgement.

    Raises StreamNotWritable within 2 s where the stream stands still, and what `publish` of nats-py's JetStreamContext
    raises; its TimeoutError as early where the message may be lost with the former leader of the stream.
    """
    connection: Nats = js._nc
    began_s = loop_now_s()
    sent = _Sent(began_s, connection.stats["reconnects"])
    answer = await publish_for_answer(connection, subject, payload, headers, min(timeout_s, _CHECK_AFTER_S))
    if isinstance(answer, asyncio.Future):
        left_s = extended_s(began_s + timeout_s, began_s) - loop_now_s()
        answer = await _wait_checking(js, stream, answer, sent, left_s)
    ack = _acknowledgement(answer)
    if ack.duplicate:  # found before anything is written, as an error is, such as a wrong last sequence
        return ack
    streams = _streams_of(connection)
    streams.refused.discard(stream)
    streams.written_s[stream] = loop_now_s()
    return ack


async def store_probe(js: JetStreamContext, stream: str, subject: str) -> PublishAck:
    """Store an empty message, which the caller deletes. Raises as `publish_checked`."""
    return await publish_checked(js, subject, b"", stream=stream, headers={}, timeout_s=_PROBE_S)


async def _wait_checking(
    js: JetStreamContext, stream: str, answer: asyncio.Future[Msg], sent: _Sent, timeout_s: float
) -> Msg:
    """The result of `answer`; checks the stream meanwhile."""
    if timeout_s <= 0.0 and not answer.done():
        answer.cancel()
        raise nats.errors.TimeoutError

    async def until_it_stands_still() -> float:
        while (led_s := await _stands_still(js, stream)) is None:  # noqa: ASYNC110 - the server sends no event
            await asyncio.sleep(_AGAIN_S)
        return led_s

    check = asyncio.create_task(until_it_stands_still())
    try:
        async with AwakeTimeout(timeout_s):
            await asyncio.wait((answer, check), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                _raise_if_refused(js, stream, sent, led_since_s=check.result())
                await asyncio.wait((answer,))  # the message may be lost with its connection
        return answer.result()
    except TimeoutError as error:
        raise nats.errors.TimeoutError from error
    finally:
        check.cancel()
        answer.cancel()


def _raise_if_refused(js: JetStreamContext, stream: str, sent: _Sent, led_since_s: float) -> None:
    """Raises StreamNotWritable, or TimeoutError where the message may be lost with the former leader of the stream."""
    if led_since_s > sent.at_s:
        raise TimeoutError
    if js._nc.stats["reconnects"] == sent.reconnects:
        _streams_of(js._nc).refused.add(stream)
        raise StreamNotWritable(stream)


def _acknowledgement(msg: Msg) -> PublishAck:
    if msg.headers is not None and msg.headers.get("Status") == _NO_RESPONDERS:
        raise NoStreamResponseError
    ack = decode_ack(msg.data)
    if ack.error is not None:
        raise APIError.from_error(json.loads(msg.data)["error"])
    return ack


def not_writable(js: JetStreamContext) -> frozenset[str]:
    """The names of the streams that refused the last message which was sent to them over this connection."""
    return frozenset(_streams_of(js._nc).refused)


def written_s(js: JetStreamContext, stream: str) -> float:
    """When `stream` last acknowledged a new message of this connection, on the loop's clock; 0: never."""
    return _streams_of(js._nc).written_s.get(stream, 0.0)


def _streams_of(connection: Nats) -> _Streams:
    streams = _known.get(connection)
    if streams is None:
        streams = _known[connection] = _Streams()
    return streams


async def _stands_still(js: JetStreamContext, stream: str) -> float | None:
    """Since when on the loop's clock the server that leads `stream` has led it, if it answers and the stream stores
    nothing for half a second, while it has a message to store that this process sent before the call. None if it
    stores, or its leader does not answer; minus infinity for a stream that is not replicated.

    Calls at the same time share one check.
    """
    checks = _streams_of(js._nc).checks
    check = checks.get(stream)
    if check is None:
        check = checks[stream] = asyncio.create_task(_observe(js, stream))
        check.add_done_callback(lambda _: checks.pop(stream, None))
    return await asyncio.shield(check)


async def _observe(js: JetStreamContext, stream: str) -> float | None:
    try:
        info = await _info(js, stream)
        before = info.state.last_seq
        for seconds in _BETWEEN_S:
            await asyncio.sleep(seconds)
            info = await _info(js, stream)
            if info.state.last_seq != before:
                return None
    except (nats.errors.Error, TimeoutError):
        return None
    return _led_since_s(info)


async def _info(js: JetStreamContext, stream: str) -> _Info:
    answer = await js._nc.request(f"$JS.API.STREAM.INFO.{stream}", timeout=_ANSWER_S)
    info = _decode_info(answer.data)
    if info.error is not None:
        raise nats.errors.Error(f"{stream}: {info.error.description}")
    return info


def _led_since_s(info: _Info) -> float | None:
    """By the clock of the leader, which has answered just now."""
    cluster = info.cluster or _Cluster()
    if cluster.leader_since is not None and info.ts is not None:
        return loop_now_s() - (info.ts - cluster.leader_since).total_seconds()
    return None if cluster.replicas else float("-inf")
