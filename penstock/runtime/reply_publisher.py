"""Publishes the numbered reply events of one request, so that exactly one terminal event is stored."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from msgspec import Raw, Struct
from nats.aio.client import Client as Nats
from nats.js import JetStreamContext
from nats.js.errors import APIError

from penstock.bus.publish import WRONG_LAST_SEQUENCE, store
from penstock.bus.stored_replies import acknowledged_replies
from penstock.contract.codec import encode
from penstock.contract.errors import ErrorCode
from penstock.contract.headers import EXPECTED_LAST
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
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.epochs import DeliveryEpochs

__all__ = [
    "AnnouncedAttempt",
    "Position",
    "ReplyPublisher",
    "Superseded",
    "publish_after",
    "publish_terminal",
]

_KEPT_BYTES: Final = 1024 * 1024
"""Bytes of events kept for repetition: far more than a socket buffers, so older events have arrived."""


class Superseded(Exception):
    """Another worker has continued or ended this reply; this one must publish nothing more."""


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


class ReplyPublisher:
    """Publishes one worker's part of one reply.

    Events other than the terminal one are published without waiting for an acknowledgement. When the delivery epoch
    changes, the last `_KEPT_BYTES` of the attempt are sent again; readers drop the events they already have.
    """

    def __init__(
        self,
        nc: Nats,
        js: JetStreamContext,
        address: ReplyAddress,
        position: Position,
        headers: Mapping[str, str] | None = None,
        *,
        epochs: DeliveryEpochs | None = None,
    ) -> None:
        self._nc = nc
        self._js = js
        self._id = address.id
        self._subject = address.subject
        self._headers = dict(headers) if headers else None
        self._position = position
        self._sent: deque[bytes] = deque()
        self._sent_bytes = 0
        self._epochs = epochs or DeliveryEpochs(nc)
        self._last_epoch = self._epoch_at_start = self._epochs.current

    @property
    def attempt(self) -> int:
        return self._position.attempt

    async def begin_attempt(self, announced: AnnouncedAttempt) -> bool:
        """Claim the next attempt number by storing `started` under it, which only one worker can.

        Returns whether a number was skipped because another worker had claimed it: that worker may have published
        text. Raises Superseded when the reply has ended.
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
            if await store(self._js, self._subject, payload, message_id=claim, headers=self._headers):
                break
            if await self._is_stored(event):  # stored by this worker: only the acknowledgement was lost
                break
            passed_over = True
        self._last_epoch = self._epoch_at_start = self._epochs.current
        self._sent.clear()
        self._sent_bytes = 0
        self._keep(payload)
        return passed_over

    async def restarted(self, code: ErrorCode, message: str) -> None:
        event = Restarted(id=self._id, seq=self._take_seq(), attempt=self.attempt, code=code, message=message)
        await self._send(event, self._headers)

    async def delta(self, text: str, choices: tuple[Raw, ...]) -> None:
        event = Delta(id=self._id, seq=self._take_seq(), attempt=self.attempt, text=text, choices=choices)
        await self._send(event)

    async def index_progress(
        self, *, documents: int, done: int, chunks: int, embedded: int, from_cache: int
    ) -> None:
        event = IndexProgress(
            id=self._id,
            seq=self._take_seq(),
            attempt=self.attempt,
            documents=documents,
            done=done,
            chunks=chunks,
            embedded=embedded,
            from_cache=from_cache,
        )
        await self._send(event)

    def terminal_position(self) -> tuple[str, int, int]:
        """The `id`, `seq` and `attempt` of the terminal event."""
        return self._id, self._take_seq(), self.attempt

    async def finish(self, event: Completed | Failed) -> None:
        """Store the terminal event; if another one is stored already, this one is dropped.

        Once it is stored, later messages are stored too. Events repeated before may have been lost again, because a new
        leader is announced a moment before it stores, so they are repeated once more.
        """
        await self._repeat_after_loss()
        await publish_terminal(self._js, self._subject, event, self._headers)
        if self._epochs.current != self._epoch_at_start:
            await self._repeat()

    async def _send(self, event: ReplyEvent, headers: dict[str, str] | None = None) -> None:
        await self._repeat_after_loss()
        payload = encode(event)
        self._keep(payload)
        await self._nc.publish(self._subject, payload, headers=headers)

    def _keep(self, payload: bytes) -> None:
        self._sent.append(payload)
        self._sent_bytes += len(payload)
        while self._sent_bytes > _KEPT_BYTES and len(self._sent) > 1:
            self._sent_bytes -= len(self._sent.popleft())

    async def _repeat_after_loss(self) -> None:
        if self._last_epoch != self._epochs.current:
            self._last_epoch = self._epochs.current
            await self._repeat()

    async def _repeat(self) -> None:
        for payload in tuple(self._sent):
            await self._nc.publish(self._subject, payload)

    async def confirm(self) -> None:
        """Raise Superseded when another worker has begun a later attempt, or the reply has ended."""
        for event in await acknowledged_replies(self._nc, self._subject):
            if event.attempt > self.attempt or isinstance(event, TERMINAL):
                raise Superseded

    async def _is_stored(self, event: Started) -> bool:
        stored = await acknowledged_replies(self._nc, self._subject)
        if any(isinstance(each, TERMINAL) for each in stored):
            raise Superseded
        return event in stored

    def _take_seq(self) -> int:
        seq = self._position.next_seq
        self._position.next_seq += 1
        return seq


async def publish_terminal(
    js: JetStreamContext, subject: str, event: ReplyEvent, headers: Mapping[str, str] | None = None
) -> bool:
    """Store a terminal event under the message id that all senders use for the end of a request.

    Returns False if one was stored before. Raises what `store` raises.
    """
    return await store(js, subject, encode(event), message_id=f"{subject}.end", headers=headers)


async def publish_after(
    js: JetStreamContext,
    subject: str,
    event: ReplyEvent,
    last: int,
    headers: Mapping[str, str] | None = None,
) -> bool:
    """The same if `last` is the stream sequence of the last message of this reply (0: it has none).

    The server checks this atomically. Returns False if the last message is another one; an end that is stored already
    counts as stored.
    """
    try:
        await publish_terminal(js, subject, event, {**(headers or {}), EXPECTED_LAST: str(last)})
    except APIError as error:
        if error.err_code != WRONG_LAST_SEQUENCE:
            raise
        return False
    return True
