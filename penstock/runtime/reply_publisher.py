"""Publishes the numbered reply events of one request, so that exactly one terminal event is stored."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, Protocol

import nats.errors
from msgspec import Raw, Struct
from nats.aio.client import Client as Nats
from nats.js import JetStreamContext
from nats.js.errors import APIError

from penstock.bus.clock import loop_now_s
from penstock.bus.direct_get import first_from
from penstock.bus.jetstream_errors import is_conflict
from penstock.bus.publish import LONGEST_STORING_S, store, store_or_refuse
from penstock.bus.retry import read_from_leader
from penstock.bus.stored_replies import acknowledged_replies
from penstock.bus.wire.sending import has_room, send
from penstock.contract.codec import REPLY, encode
from penstock.contract.errors import ErrorCode
from penstock.contract.headers import EXPECTED_LAST, MESSAGE_ID
from penstock.contract.reply import (
    TERMINAL,
    Adapted,
    Completed,
    Degraded,
    Delta,
    Failed,
    IndexProgress,
    ReplyEvent,
    Restarted,
    Started,
    first_seq,
)
from penstock.contract.streams import REPLIES, REPLIES_LEAST_AGE_S
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.service import Bus

__all__ = [
    "KEPT_BYTES",
    "AnnouncedAttempt",
    "Position",
    "ReplyPublisher",
    "Superseded",
    "publish_after",
    "publish_terminal",
    "publish_terminal_live",
]

_MESSAGE_BYTES: Final = 64
"""What JetStream stores of a message beside its subject and payload, about."""
_SURELY_STORED_S: Final = REPLIES_LEAST_AGE_S - 1.0
"""Seconds for which an event is stored, however many others are; the margin is for the way to the server."""
KEPT_BYTES: Final = 1024 * 1024
"""Bytes of events kept for repetition: far more than a socket buffers, so older events have arrived."""


_AT_ONCE_BYTES: Final = 512 * 1024
"""Bytes of messages that are sent without waiting: half of what a server accepts as one message by default."""


class Superseded(Exception):
    """Another worker has continued or ended this reply; this one must publish nothing more."""

    def __init__(self, end: Completed | Failed | None = None) -> None:
        """`end`: the stored terminal event, if there is one."""
        super().__init__()
        self.end = end


class Position(Struct):
    """The state of a request's reply."""

    attempt: int = 0
    """The number of the last provider attempt begun by any worker; 0: none."""
    next_seq: int = 1
    """The next sequence number; `accepted` has 0."""


class AnnouncedAttempt(Struct, frozen=True, kw_only=True):
    """What `started` says of an attempt."""

    model: str
    provider: str
    worker: str
    at_ms: int
    degraded: tuple[Degraded, ...] = ()
    adapted: tuple[Adapted, ...] = ()
    estimated_tokens: int | None = None
    """Of an attempt at a part of the request."""


class _Space(Protocol):
    """How many bytes of one reply may be stored."""

    waits: bool
    """It waits for more."""

    def take(self, size: int) -> bool:
        """Take room for `size` more bytes if that needs no wait."""
        ...

    async def extend(self, size: int) -> bool:
        """As `take`, with waiting. Returns whether the bytes before may have been deleted since."""
        ...

    def add(self, size: int) -> None:
        """So many bytes are stored."""
        ...


class ReplyPublisher:
    """Publishes one worker's part of one reply.

    Events other than the terminal one are published without waiting for an acknowledgement. When the delivery epoch
    changes, the last `KEPT_BYTES` of the attempt are sent again; readers drop the events they already have.
    """

    def __init__(
        self,
        bus: Bus,
        address: ReplyAddress,
        position: Position,
        headers: Mapping[str, str] | None = None,
        *,
        space: _Space | None = None,
    ) -> None:
        """`space`: None for a reply that is always small."""
        self._space = space
        self._nc = bus.nc
        self._js = bus.js
        self._id = address.id
        self._subject = address.subject
        self._headers = dict(headers) if headers else None
        self._position = position
        self._sent: deque[bytes] = deque()
        self._sent_bytes = 0
        self._epochs = bus.epochs
        self._last_epoch = self._epoch_at_start = self._epochs.current
        self._began_s = loop_now_s()

    @property
    def attempt(self) -> int:
        return self._position.attempt

    def take_room(self, size: int) -> bool:
        """Take room for the next `size` bytes; False where `wait_for_room` has to do it."""
        return self._space is None or self._space.take(size)

    @property
    def waits_for_room(self) -> bool:
        return self._space is not None and self._space.waits

    async def wait_for_room(self, size: int) -> None:
        """Wait until `size` bytes may be published. The reply may have to wait for others to end."""
        if self._space is not None and not self._space.take(size) and await self._space.extend(size):
            await self._repeat()

    async def begin_attempt(self, announced: AnnouncedAttempt, *, yields: bool = False) -> bool:
        """Claim the next attempt number by storing `started` under it, which only one worker can.

        Returns whether a number was skipped because another worker had claimed it: that worker may have published
        text. Raises Superseded when the reply has ended, and where another worker has begun an attempt meanwhile if
        this one `yields`, because the other has the message too.
        """
        passed_over = False
        while True:
            number = self._position.attempt + 1
            event = Started(
                id=self._id,
                seq=first_seq(number),
                attempt=number,
                model=announced.model,
                provider=announced.provider,
                worker=announced.worker,
                at_ms=announced.at_ms,
                degraded=announced.degraded,
                adapted=announced.adapted,
                estimated_tokens=announced.estimated_tokens,
            )
            payload = encode(event)
            self._position.attempt = number
            self._position.next_seq = first_seq(number) + 1
            claim = f"{self._subject}.a{number}"
            if await store(
                self._js,
                self._subject,
                payload,
                message_id=claim,
                headers=self._headers,
                timeout_s=LONGEST_STORING_S,
            ):
                break
            if await self._is_stored(event):  # stored by this worker: only the acknowledgement was lost
                break
            if yields:
                raise Superseded
            passed_over = True
        self._last_epoch = self._epoch_at_start = self._epochs.current
        self._began_s = loop_now_s()
        self._sent.clear()
        self._sent_bytes = 0
        self._keep(payload)
        return passed_over

    async def restarted(self, code: ErrorCode, message: str) -> None:
        event = Restarted(
            id=self._id, seq=self._take_seq(), attempt=self._position.attempt, code=code, message=message
        )
        await self._send(event, self._headers)

    async def delta(self, text: str, choices: tuple[Raw, ...]) -> None:
        await self._send(self._delta(text, choices))

    def sends_at_once(self) -> bool:
        """Whether `delta_at_once` may be called: nothing is to be repeated, and the connection takes more."""
        return self._last_epoch == self._epochs.current and has_room(self._nc, _AT_ONCE_BYTES)

    def delta_at_once(self, text: str, choices: tuple[Raw, ...]) -> None:
        """As `delta`, without waiting: while `sends_at_once`, for what takes at most `_AT_ONCE_BYTES` as messages.

        Raises nats.errors.OutboundBufferLimitError where the connection does not take it.
        """
        payload = encode(self._delta(text, choices))
        self._keep(payload)
        self._count(len(payload))
        if not send(self._nc, self._subject, payload):
            raise nats.errors.OutboundBufferLimitError

    def _delta(self, text: str, choices: tuple[Raw, ...]) -> Delta:
        return Delta(
            id=self._id, seq=self._take_seq(), attempt=self._position.attempt, text=text, choices=choices
        )

    async def index_progress(
        self, *, documents: int, done: int, chunks: int, embedded: int, from_cache: int
    ) -> None:
        event = IndexProgress(
            id=self._id,
            seq=self._take_seq(),
            attempt=self._position.attempt,
            documents=documents,
            done=done,
            chunks=chunks,
            embedded=embedded,
            from_cache=from_cache,
        )
        await self._send(event)

    def terminal_position(self) -> tuple[str, int, int]:
        """The `id`, `seq` and `attempt` of the terminal event."""
        return self._id, self._take_seq(), self._position.attempt

    async def finish(self, event: Completed | Failed) -> None:
        """Store the terminal event; if another one is stored already, this one is dropped.

        Once it is stored, later messages are stored too. Events repeated before may have been lost again, because a new
        leader is announced a moment before it stores, so they are repeated once more.
        """
        await self._repeat_after_loss()
        if loop_now_s() - self._began_s > _SURELY_STORED_S and not await self._begin_is_stored():
            await self._repeat()
        self._count(len(event.response) if isinstance(event, Completed) else 0)
        await publish_terminal(self._js, self._subject, event, self._headers)
        if self._epochs.current != self._epoch_at_start:
            await self._repeat()

    async def _send(self, event: ReplyEvent, headers: dict[str, str] | None = None) -> None:
        await self._repeat_after_loss()
        payload = encode(event)
        self._keep(payload)
        self._count(len(payload))
        await self._nc.publish(self._subject, payload, headers=headers)

    def _count(self, size: int) -> None:
        if self._space is not None:
            self._space.add(size + len(self._subject) + _MESSAGE_BYTES)

    def _keep(self, payload: bytes) -> None:
        self._sent.append(payload)
        self._sent_bytes += len(payload)
        while self._sent_bytes > KEPT_BYTES and len(self._sent) > 1:
            self._sent_bytes -= len(self._sent.popleft())

    async def _repeat_after_loss(self) -> None:
        if self._last_epoch != self._epochs.current:
            self._last_epoch = self._epochs.current
            await self._repeat()

    async def _repeat(self) -> None:
        for payload in tuple(self._sent):
            self._count(len(payload))
            await self._nc.publish(self._subject, payload)

    async def _begin_is_stored(self) -> bool:
        """Whether the attempt is stored from its first event on: much may have been stored, and deleted, since."""
        first = await read_from_leader(
            lambda: first_from(self._nc, REPLIES.name, self._subject, 1),
            self._subject,
            timeout_s=LONGEST_STORING_S,
        )
        return first is not None and REPLY.decode(first.data).seq <= first_seq(self._position.attempt)

    async def confirm(self) -> None:
        """Raise Superseded when another worker has begun a later attempt, or the reply has ended."""
        for event in await acknowledged_replies(self._nc, self._subject, LONGEST_STORING_S):
            if isinstance(event, TERMINAL):
                raise Superseded(event)
            if event.attempt > self._position.attempt:
                raise Superseded

    async def _is_stored(self, event: Started) -> bool:
        stored = await acknowledged_replies(self._nc, self._subject, LONGEST_STORING_S)
        for each in stored:
            if isinstance(each, TERMINAL):
                raise Superseded(each)
        return event in stored

    async def repeat(self, end: Completed | Failed) -> None:
        """Publish the stored end again, for the sender of a request whose id was used before."""
        await publish_terminal(self._js, self._subject, end, self._headers)

    def _take_seq(self) -> int:
        seq = self._position.next_seq
        self._position.next_seq += 1
        return seq


async def publish_terminal(
    js: JetStreamContext,
    subject: str,
    event: ReplyEvent,
    headers: Mapping[str, str] | None = None,
    *,
    gives_up: bool = False,
) -> bool:
    """Store a terminal event under the message id that all senders use for the end of a request.

    Returns False if one was stored before. Raises what `store` raises. `gives_up`: raises StreamNotWritable within 2 s
    where the stream cannot be written; a reader of the live events has received the end all the same.
    """
    payload, message_id = encode(event), _end_id(subject)
    if gives_up:
        stored = await store_or_refuse(
            js, subject, payload, message_id=message_id, headers=headers, timeout_s=LONGEST_STORING_S
        )
        return stored.new
    return await store(
        js, subject, payload, message_id=message_id, headers=headers, timeout_s=LONGEST_STORING_S
    )


async def publish_after(
    js: JetStreamContext,
    subject: str,
    event: ReplyEvent,
    last: int,
    headers: Mapping[str, str] | None = None,
    *,
    gives_up: bool = False,
) -> bool:
    """The same if `last` is the stream sequence of the last message of this reply (0: it has none).

    The server checks this atomically. Returns False if the last message is another one; an end that is stored already
    counts as stored.
    """
    try:
        expecting = {**(headers or {}), EXPECTED_LAST: str(last)}
        await publish_terminal(js, subject, event, expecting, gives_up=gives_up)
    except APIError as error:
        if not is_conflict(error):
            raise
        return False
    return True


async def publish_terminal_live(
    nc: Nats, subject: str, event: ReplyEvent, last: int, headers: Mapping[str, str] | None = None
) -> None:
    """As `publish_after`, without an acknowledgement: readers of the live events receive it, stored or not."""
    written = {**(headers or {}), EXPECTED_LAST: str(last), MESSAGE_ID: _end_id(subject)}
    await nc.publish(subject, encode(event), headers=written)


def _end_id(subject: str) -> str:
    return f"{subject}.end"
