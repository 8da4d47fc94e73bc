"""Reply events of one request, by attempt."""

from __future__ import annotations

from msgspec import Raw

from penstock.contract import codec
from penstock.contract.reply import (
    NO_RESPONSE,
    Accepted,
    Completed,
    Delta,
    Failed,
    Failure,
    IndexProgress,
    ReplyEvent,
    Restarted,
    Started,
    first_seq,
)
from penstock.contract.retrieval.embeddings import VectorBlock

_SERVER_MS = 1_700_000_000_000


class Events:
    """Numbers the events as a worker does."""

    def __init__(self, request_id: str, left_ms: int = 3_600_000) -> None:
        """`left_ms`: until the deadline, by a server whose clock is far from that of this machine."""
        self._id = request_id
        self._left_ms = left_ms
        self._attempt = 0
        self._next_seq = 1

    def accepted(self) -> Accepted:
        return Accepted(
            id=self._id,
            seq=0,
            role="chat",
            complexity="simple",
            why="nothing else fits",
            lane="interactive",
            deadline_ms=_SERVER_MS + self._left_ms,
            at_ms=_SERVER_MS,
        )

    def begin(self, *, restarted: bool = False) -> list[ReplyEvent]:
        self._attempt += 1
        self._next_seq = first_seq(self._attempt)
        events: list[ReplyEvent] = []
        if restarted:
            events.append(
                Restarted(**self._position(), code="provider_unavailable", message="the stream was cut")
            )
        events.append(Started(**self._position(), model="m", provider="p", worker="w", at_ms=0))
        return events

    def deltas(self, *texts: str) -> list[Delta]:
        return [Delta(**self._position(), text=text) for text in texts]

    def vectors(self, *blocks: VectorBlock) -> list[Delta]:
        return [Delta(**self._position(), choices=(Raw(codec.encode(block)),)) for block in blocks]

    def progress(self, done: int, documents: int) -> IndexProgress:
        return IndexProgress(**self._position(), documents=documents, done=done)

    def completed(self, response: bytes | None = None) -> Completed:
        whole = NO_RESPONSE if response is None else Raw(response)
        return Completed(
            **self._position(), role="chat", model="m", provider="p", finish_reason="stop", response=whole
        )

    def failed(self) -> Failed:
        failure = Failure(
            code="provider_unavailable", message="no provider answers", retry="later", retry_after_s=2.0
        )
        return Failed(**self._position(), error=failure)

    def _position(self) -> dict[str, object]:
        seq = self._next_seq
        self._next_seq += 1
        return {"id": self._id, "seq": seq, "attempt": self._attempt}
