"""The events of a streamed answer from those of its reply, also where another attempt begins after text was sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from zlib import crc32

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.errors import ERRORS
from penstock.contract.reply import (
    Accepted,
    Completed,
    Delta,
    Failed,
    ReplyEvent,
    Restarted,
    Started,
)
from services.edge.dialects.dialect import AnswerError, SseEvent, StreamWriter
from services.edge.requests.rescue import StreamRescue

__all__ = ["RescuedStream", "StreamPart"]

_RESTARTED: Final = "penstock.restarted"
"""The `event` field by which `x-penstock-rescue: restart` tells a client to discard the answer so far."""

_END_OF_DELTA: Final = b"\xff"
"""Makes the checksum depend on the number of deltas too, some of which are empty. It is in no text in UTF-8."""

_encode: Final = msgspec.json.Encoder().encode


class StreamPart(Struct, frozen=True):
    """Events that are sent together."""

    events: list[SseEvent]
    digest: int
    """A checksum of the deltas up to here: a resumed stream is the same as the first as long as they agree."""


class RescuedStream:
    """Deterministic: the same reply events give the same parts, whenever `release` is called in one attempt. Text that
    was held and discarded is in no part.
    """

    def __init__(
        self,
        new_writer: Callable[[], StreamWriter],
        rescue: StreamRescue,
        *,
        hold_s: float | None = None,
        release_attempt: int | None = None,
    ) -> None:
        """`hold_s` and `release_attempt` are for a stream that holds text briefly: how long after the first text
        `release` is to be called (None: never), and the attempt whose text is not held.
        """
        self.hold_s = hold_s
        self._new_writer = new_writer
        self._rescue = rescue
        self._release_attempt = release_attempt
        self._writer = new_writer()
        self._started: Started | None = None
        self._accepted = False
        self._begun = False
        self._sent = bytearray()
        """The text in UTF-8: as many strings it would take fifteen times the memory."""
        self._sent_choices = False
        self._expected = ""
        """Text that was sent and that the current attempt has to repeat."""
        self._repeated_size = 0
        """Characters of it that were repeated."""
        self._holds = rescue in {"hold", "hold_briefly"}
        self._held: list[Delta] = []
        self._restarted: Restarted | None = None
        self._digest = 0
        self.ended = False
        self.has_failed = False
        """The answer ended with an error event."""

    def add(self, event: ReplyEvent) -> list[StreamPart]:  # noqa: PLR0911 - one for each event
        """The parts to send now. After `ended` there are no more."""
        match event:
            case Delta():
                return self._delta(event)
            case Accepted():
                return self._accept(event.role)
            case Started():
                self._started = event
                self._held.clear()
                return self._accept(event.model)
            case Restarted():
                return self._restart(event)
            case Completed():
                return self._complete(event)
            case Failed():
                return self.fail(AnswerError.of(event.error))
            case _:
                return []  # `index_progress`, which no request of the edge causes

    @property
    def holds_text(self) -> bool:
        return bool(self._held)

    def release(self) -> list[StreamPart]:
        """Stop holding: the parts that were held."""
        self._holds = False
        held, self._held = self._held, []
        return [part for delta in held for part in self._send(delta)]

    def fail(self, error: AnswerError) -> list[StreamPart]:
        """End the stream with an error."""
        self.ended = self.has_failed = True
        return self._part(self._writer.fail(error))

    def _part(self, events: list[SseEvent]) -> list[StreamPart]:
        return [StreamPart(events, self._digest)] if events else []

    def _accept(self, model: str) -> list[StreamPart]:
        """`accepted` may not be stored any more when `started` is."""
        if self._accepted:
            return []
        self._accepted = True
        return self._part(self._writer.accept(model))

    def _delta(self, delta: Delta) -> list[StreamPart]:
        if self._holds:
            return self._hold(delta)
        if self._expected:
            return self._repeated(delta)
        return self._send(delta)

    def _hold(self, delta: Delta) -> list[StreamPart]:
        self._held.append(delta)
        return self.release() if delta.attempt == self._release_attempt else []

    def _send(self, delta: Delta) -> list[StreamPart]:
        text = delta.text.encode()
        if self._rescue != "restart" and not self.ended:
            self._sent_choices = self._sent_choices or bool(delta.choices)
            self._sent += text
        for part in (text, *delta.choices, _END_OF_DELTA):
            self._digest = crc32(part, self._digest)
        return self._part([*self._begin(), *self._writer.delta(delta)])

    def _begin(self) -> list[SseEvent]:
        if self._begun or self._started is None:
            return []
        self._begun = True
        return self._writer.begin(self._started)

    def _repeated(self, delta: Delta) -> list[StreamPart]:
        """Text of a further attempt, of which the client has the beginning."""
        size = min(len(delta.text), len(self._expected) - self._repeated_size)
        if delta.choices or not self._expected.startswith(delta.text[:size], self._repeated_size):
            return self._break()
        self._repeated_size += size
        if self._repeated_size == len(self._expected):
            self._expected = ""
        rest = delta.text[size:]
        return self._send(replace(delta, text=rest)) if rest else []

    def _restart(self, event: Restarted) -> list[StreamPart]:
        self._restarted = event
        self._held.clear()
        if not self._begun:
            return []
        if self._rescue == "restart":
            self._writer, self._begun = self._new_writer(), False
            data = {"code": event.code, "message": event.message, "attempt": event.attempt}
            return self._part([SseEvent(_encode(data), _RESTARTED)])
        if self._sent_choices:
            return self._break()
        self._expected, self._repeated_size = self._sent.decode(), 0
        return []

    def _complete(self, completed: Completed) -> list[StreamPart]:
        if self._expected:
            return self._break()
        self.ended = True
        if self._started is None:
            self._started = _started(completed)
        return [*self.release(), *self._part([*self._begin(), *self._writer.complete(completed)])]

    def _break(self) -> list[StreamPart]:
        why = self._restarted.message if self._restarted is not None else ""
        message = (
            f"the answer broke after a part of it was sent ({why}), and another attempt answers differently: what was "
            "sent is incomplete. Send the request again; with the header x-penstock-rescue: hold nothing is sent "
            "before the answer is complete"
        )
        return self.fail(
            AnswerError("provider_unavailable", message, ERRORS["provider_unavailable"].http_status)
        )


def _started(completed: Completed) -> Started:
    return Started(
        id=completed.id,
        seq=completed.seq,
        attempt=completed.attempt,
        model=completed.model,
        provider=completed.provider,
        worker="",
        at_ms=0,
    )
