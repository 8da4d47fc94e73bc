"""Publishing the reply events of one request, numbered, so that one terminal event is stored and no more."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Raw, Struct
from nats.aio.client import Client as Nats
from nats.js import JetStreamContext

from penstock.storing import store
from schemas.codec import encode
from schemas.errors import ErrorCode
from schemas.reply import Completed, Delta, Failed, ReplyEvent, Restarted, Started, first_seq
from schemas.subjects import ReplyAddress

__all__ = ["Position", "ReplyPublisher", "publish_terminal"]


class Position(Struct):
    """Where the reply of one request stands."""

    attempt: int = 0
    """The last provider attempt begun by anybody; 0: none."""
    next_seq: int = 1
    """`accepted` was 0."""


class ReplyPublisher:
    """One worker's hand in one reply.

    Events other than the terminal one are published without waiting for an acknowledgement. So when the connection
    was lost meanwhile, the attempt's events are sent again: readers drop those they have.
    """

    def __init__(
        self,
        nc: Nats,
        js: JetStreamContext,
        address: ReplyAddress,
        position: Position,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._nc = nc
        self._js = js
        self._id = address.id
        self._subject = address.subject
        self._headers = dict(headers) if headers else None
        self._position = position
        self._sent: list[bytes] = []
        self._reconnects = nc.stats["reconnects"]

    @property
    def attempt(self) -> int:
        return self._position.attempt

    def begin_attempt(self) -> int:
        """Count one more provider attempt; every event from here on belongs to it."""
        self._position.attempt += 1
        self._position.next_seq = first_seq(self._position.attempt)
        self._sent.clear()
        return self._position.attempt

    async def started(self, *, model: str, provider: str, worker: str, at_ms: int) -> None:
        event = Started(
            id=self._id,
            seq=self._take_seq(),
            attempt=self.attempt,
            model=model,
            provider=provider,
            worker=worker,
            at_ms=at_ms,
        )
        await self._send(event, self._headers)

    async def restarted(self, code: ErrorCode, message: str) -> None:
        event = Restarted(id=self._id, seq=self._take_seq(), attempt=self.attempt, code=code, message=message)
        await self._send(event, self._headers)

    async def delta(self, text: str, choices: tuple[Raw, ...]) -> None:
        event = Delta(id=self._id, seq=self._take_seq(), attempt=self.attempt, text=text, choices=choices)
        await self._send(event)

    def place(self) -> tuple[str, int, int]:
        """`id`, `seq` and `attempt` for the terminal event."""
        return self._id, self._take_seq(), self.attempt

    async def finish(self, event: Completed | Failed) -> None:
        """Store the terminal event; one that is stored already stays, and this one is dropped."""
        await self._repeat_after_loss()
        await publish_terminal(self._js, self._subject, event, self._headers)
        await self._repeat_after_loss()

    async def _send(self, event: ReplyEvent, headers: dict[str, str] | None = None) -> None:
        await self._repeat_after_loss()
        payload = encode(event)
        self._sent.append(payload)
        await self._nc.publish(self._subject, payload, headers=headers)

    async def _repeat_after_loss(self) -> None:
        if self._reconnects == self._nc.stats["reconnects"]:
            return
        self._reconnects = self._nc.stats["reconnects"]
        for payload in self._sent:
            await self._nc.publish(self._subject, payload)

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
