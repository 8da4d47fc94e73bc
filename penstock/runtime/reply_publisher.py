"""Publishing the reply events of one request, numbered, so that one terminal event is stored and no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from msgspec import Raw, Struct
from nats.aio.client import Client as Nats
from nats.js import JetStreamContext
from nats.js.errors import APIError

from penstock.bus.publish import WRONG_LAST_SEQUENCE, store
from penstock.bus.stored_replies import settled_replies
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
    ReplyEvent,
    Restarted,
    Started,
    first_seq,
)
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.epochs import DeliveryEpochs

__all__ = ["Position", "ReplyPublisher", "Superseded", "publish_behind", "publish_first", "publish_terminal"]

_KEPT_BYTES: Final = 1024 * 1024
"""Far more than a socket holds; what went out before it has arrived."""


class Superseded(Exception):
    """Another sender has gone on with this reply, or has ended it; nothing more is to be said here."""


class Position(Struct):
    """Where the reply of one request stands."""

    attempt: int = 0
    """The last provider attempt begun by anybody; 0: none."""
    next_seq: int = 1
    """`accepted` was 0."""


class ReplyPublisher:
    """One worker's hand in one reply.

    Events other than the terminal one are published without waiting for an acknowledgement. So when there was an
    interruption meanwhile, the attempt's last `_KEPT_BYTES` are sent again: readers drop what they have.
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
        self._known = self._undisturbed = self._epochs.count

    @property
    def attempt(self) -> int:
        return self._position.attempt

    async def begin_attempt(
        self,
        *,
        model: str,
        provider: str,
        worker: str,
        at_ms: int,
        degraded: tuple[Degraded, ...] = (),
        adapted: tuple[Adapted, ...] = (),
    ) -> bool:
        """Take the next attempt number by storing `started` under it, which only one sender can.

        Returns whether a number was taken by somebody else and passed over: text may be out that this sender knows
        nothing of. Raises Superseded when the reply has ended.
        """
        passed_over = False
        while True:
            number = self._position.attempt + 1
            event = Started(
                id=self._id,
                seq=first_seq(number),
                attempt=number,
                model=model,
                provider=provider,
                worker=worker,
                at_ms=at_ms,
                degraded=degraded,
                adapted=adapted,
            )
            payload = encode(event)
            self._position.attempt = number
            self._position.next_seq = first_seq(number) + 1
            claim = f"{self._subject}.a{number}"
            if await store(self._js, self._subject, payload, message_id=claim, headers=self._headers):
                break
            if await self._is_stored(event):  # it is ours: only the acknowledgement was lost
                break
            passed_over = True
        self._known = self._undisturbed = self._epochs.count
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

    def terminal_position(self) -> tuple[str, int, int]:
        """`id`, `seq` and `attempt` for the terminal event."""
        return self._id, self._take_seq(), self.attempt

    async def finish(self, event: Completed | Failed) -> None:
        """Store the terminal event; one that is stored already stays, and this one is dropped.

        Once it is stored, so is all that is published after it. What was repeated before may have come too early: a new
        leader is announced a moment before it stores.
        """
        await self._repeat_after_loss()
        await publish_terminal(self._js, self._subject, event, self._headers)
        if self._epochs.count != self._undisturbed:
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
        if self._known != self._epochs.count:
            self._known = self._epochs.count
            await self._repeat()

    async def _repeat(self) -> None:
        for payload in tuple(self._sent):
            await self._nc.publish(self._subject, payload)

    async def confirm(self) -> None:
        """Raises Superseded when somebody has begun a later attempt, or the reply has ended: it is theirs to tell."""
        for event in await settled_replies(self._nc, self._subject):
            if event.attempt > self.attempt or isinstance(event, TERMINAL):
                raise Superseded

    async def _is_stored(self, event: Started) -> bool:
        stored = await settled_replies(self._nc, self._subject)
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
    """Store a terminal event under the one id that all senders of a request's end use.

    Returns False when another one was stored before. Raises what `store` raises.
    """
    return await store(js, subject, encode(event), message_id=f"{subject}.end", headers=headers)


async def publish_behind(
    js: JetStreamContext,
    subject: str,
    event: ReplyEvent,
    last: int,
    headers: Mapping[str, str] | None = None,
) -> bool:
    """The same, on the condition that the message `last` of the stream is the last one of this reply; 0: none is.

    The server looks as it stores. Returns False when it is another one; another end that is stored counts as ours.
    """
    try:
        await publish_terminal(js, subject, event, {**(headers or {}), EXPECTED_LAST: str(last)})
    except APIError as error:
        if error.err_code != WRONG_LAST_SEQUENCE:
            raise
        return False
    return True


async def publish_first(
    js: JetStreamContext, subject: str, event: ReplyEvent, headers: Mapping[str, str] | None = None
) -> bool:
    """The same, for an end before which nothing was told, and nobody is asked before."""
    return await publish_behind(js, subject, event, 0, headers)
