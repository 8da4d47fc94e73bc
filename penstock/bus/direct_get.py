"""Read stored messages without a consumer: many of one subject from any node (ADR-31), or the last one by the
leader; delete one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.bus.clock import ServerTime
from penstock.bus.freezes import AwakeTimeout
from penstock.bus.jetstream_answers import AnswerError
from penstock.bus.jetstream_errors import is_absent
from penstock.bus.wire.receiving import subscribe_directly

__all__ = [
    "LastMessage",
    "LastReader",
    "NoSuchStream",
    "Page",
    "PageReader",
    "StreamPosition",
    "delete_message",
    "first_from",
    "first_since",
    "last_sequence",
    "read_all",
    "read_last",
    "read_page",
    "read_server_time",
    "sequence_of",
    "stream_position",
]

_TIMEOUT_S: Final = 2.0
"""Seconds to wait for each message of a response; a request may be lost with its connection."""
_DELETION_TIMEOUT_S: Final = 5.0
_NO_RESPONDERS: Final = "503"
_MAX_BYTES: Final = 16 * 1024 * 1024
_LARGEST_PAGE: Final = 8_000
"""For each page of a subject with wildcards the server counts what follows, which takes 0.2 s with 100,000 subjects."""


class NoSuchStream(nats.errors.Error):
    """No server responds for the stream: it does not exist, or JetStream is not enabled."""


class _Stored(Struct, frozen=True):
    """A message as the leader of its stream has it."""

    seq: int = 0
    data: bytes = b""
    time: datetime | None = None


class _LeaderAnswer(Struct):
    """The fields of a response to STREAM.MSG.GET that are used here."""

    message: _Stored | None = None
    error: AnswerError | None = None


class _State(Struct):
    last_seq: int = 0
    first_seq: int = 0
    bytes: int = 0
    messages: int = 0
    first_ts: datetime | None = None


class _Config(Struct, frozen=True):
    max_bytes: int = -1


class _Deletion(Struct):
    """The fields of a response to STREAM.MSG.DELETE that are used here."""

    error: AnswerError | None = None


class _Info(Struct):
    """The fields of a response to STREAM.INFO that are used here."""

    state: _State | None = None
    config: _Config = _Config()
    ts: datetime | None = None
    error: AnswerError | None = None


_decode_info: Final = msgspec.json.Decoder(_Info).decode
_decode_leader: Final = msgspec.json.Decoder(_LeaderAnswer).decode
_decode_deletion: Final = msgspec.json.Decoder(_Deletion).decode


class StreamPosition(Struct, frozen=True):
    """The end of a stream, and the time, as reported by its leader."""

    last_sequence: int
    unix_ns: int
    """The clock of the leader, which also stamps the messages."""
    first_sequence: int = 1
    bytes: int = 0
    max_bytes: int = -1
    """-1: there is no limit."""
    messages: int = 0
    oldest_s: float = 0.0
    """Age of the first message; 0: there is none."""

    @property
    def fill(self) -> float:
        """The share of its bytes that is used; 0 without a limit."""
        return self.bytes / self.max_bytes if self.max_bytes > 0 else 0.0


class Page(Struct, frozen=True):
    """A part of the messages of one subject, in stream order."""

    messages: tuple[Msg, ...]
    pending: int
    """Number of further messages when the page was read."""

    @property
    def next_sequence(self) -> int:
        """The stream sequence at which the next page begins. Raises IndexError for an empty page."""
        return sequence_of(self.messages[-1]) + 1


def sequence_of(msg: Msg) -> int:
    """The stream sequence of a message that was read directly."""
    return int((msg.headers or {})["Nats-Sequence"])


async def read_page(
    nc: Nats, stream: str, subject: str, *, sequence: int = 1, batch: int = 500, max_bytes: int = _MAX_BYTES
) -> Page:
    """Up to `batch` messages of `subject`, which may contain wildcards, from stream sequence `sequence` on.

    The page ends with the message that exceeds `max_bytes`.

    Raises NoSuchStream, and nats.errors.Error or TimeoutError when the stream does not answer.
    """
    return await _read(nc, stream, _page(sequence, subject, batch, max_bytes))


def _page(sequence: int, subject: str, batch: int, max_bytes: int) -> dict[str, object]:
    return {"seq": sequence, "next_by_subj": subject, "batch": batch, "max_bytes": max_bytes}


async def read_last(nc: Nats, stream: str, subjects: Sequence[str]) -> list[Msg]:
    """The last message of each of these subjects (at most 1,000), without those that have none. Raises as
    `read_page`.
    """
    reader = _Reader(nc, stream)
    try:
        return await _read_last(reader, subjects)
    finally:
        await reader.close()


async def _read_last(reader: _Reader, subjects: Sequence[str]) -> list[Msg]:
    found: list[Msg] = []
    missing = list(subjects)
    while missing:
        request = {"multi_last": missing, "batch": len(missing), "max_bytes": _MAX_BYTES}
        page = await reader.read(request)
        found += page.messages
        if not page.messages or page.pending == 0:
            break
        read = {(msg.headers or {})["Nats-Subject"] for msg in page.messages}
        missing = [subject for subject in missing if subject not in read]
    return found


async def _read(nc: Nats, stream: str, request: Mapping[str, object]) -> Page:
    reader = _Reader(nc, stream)
    try:
        return await reader.read(request)
    finally:
        await reader.close()


class _Reader:
    """Sends one request at a time, and collects the messages of its response."""

    def __init__(self, nc: Nats, stream: str) -> None:
        self._nc = nc
        self._stream = stream
        self._inbox = nc.new_inbox()
        self._requests = 0
        self._reply = ""
        self._answers: list[Msg] = []
        self._ended = asyncio.Event()
        self._subscription: Subscription | None = None

    async def read(self, request: Mapping[str, object]) -> Page:
        if self._subscription is None:
            self._subscription = await subscribe_directly(self._nc, f"{self._inbox}.*", self._on_answer)
        self._requests += 1
        self._reply = f"{self._inbox}.{self._requests}"
        self._answers = []
        self._ended.clear()
        subject = f"$JS.API.DIRECT.GET.{self._stream}"
        await self._nc.publish(subject, msgspec.json.encode(request), reply=self._reply)
        await self._end()
        *found, end = self._answers
        headers = end.headers or {}
        status = headers.get("Status")
        if status == "404":
            return Page(tuple(found), 0)
        if status == "204":
            return Page(tuple(found), int(headers.get("Nats-Num-Pending", "0")))
        if status == _NO_RESPONDERS:
            raise NoSuchStream(f"{self._stream}: no responders")
        raise nats.errors.Error(f"{self._stream}: {status} {headers.get('Description', '')}".rstrip())

    async def close(self) -> None:
        """Raises nats.errors.Error if the connection is closed."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.unsubscribe()

    def _on_answer(self, msg: Msg) -> None:
        if msg.subject != self._reply:
            return  # the answer to a request that was given up
        self._answers.append(msg)
        if "Nats-Sequence" not in (
            msg.headers or {}
        ):  # else a stored message, whatever status it says it has
            self._ended.set()

    async def _end(self) -> None:
        """Return at the end of the response. Raises TimeoutError when nothing of it comes for `_TIMEOUT_S`."""
        while True:
            count = len(self._answers)
            try:
                async with AwakeTimeout(_TIMEOUT_S):
                    await self._ended.wait()
            except TimeoutError:
                if len(self._answers) == count:
                    raise
            else:
                return


class PageReader:
    """Reads one page after the other with one subscription for all of them."""

    def __init__(self, nc: Nats, stream: str) -> None:
        self._reader = _Reader(nc, stream)

    async def read(self, subject: str, *, sequence: int, batch: int) -> Page:
        """As `read_page`. Not to be called twice at once."""
        return await self._reader.read(_page(sequence, subject, batch, _MAX_BYTES))

    async def close(self) -> None:
        """Raises nats.errors.Error if the connection is closed."""
        await self._reader.close()


class LastMessage(NamedTuple):
    subject: str
    sequence: int
    """In the stream."""
    data: bytes


class LastReader:
    """Reads the last messages of many subjects again and again, with one subscription."""

    def __init__(self, nc: Nats, stream: str) -> None:
        self._reader = _Reader(nc, stream)

    async def read(self, subjects: Sequence[str]) -> list[LastMessage]:
        """As `read_last`. Not to be called twice at once."""
        messages = await _read_last(self._reader, subjects)
        return [
            LastMessage((msg.headers or {})["Nats-Subject"], sequence_of(msg), msg.data) for msg in messages
        ]

    async def close(self) -> None:
        """Raises nats.errors.Error if the connection is closed."""
        await self._reader.close()


async def read_all(nc: Nats, stream: str, subject: str, *, batch: int = 500) -> AsyncGenerator[Msg, None]:
    """Every message of `subject`; the first page has `batch` messages, each further one twice as many as the one
    before, up to `_LARGEST_PAGE`. Raises as `read_page`.
    """
    sequence = 1
    while True:
        page = await read_page(nc, stream, subject, sequence=sequence, batch=batch)
        batch = max(batch, min(2 * batch, _LARGEST_PAGE))
        for msg in page.messages:
            yield msg
        if not page.messages or page.pending == 0:
            return
        sequence = page.next_sequence


async def last_sequence(nc: Nats, stream: str, subject: str) -> int:
    """The stream sequence of the last message of `subject`, read from the stream leader; 0: there is none.

    (Any node of a cluster answers a direct get, including one that lags.) Raises nats.errors.Error or TimeoutError
    while there is no leader.
    """
    found = await _read_from_leader(nc, stream, {"last_by_subj": subject}, _TIMEOUT_S)
    return 0 if found is None else found.seq


async def first_from(
    nc: Nats, stream: str, subject: str, sequence: int, *, timeout_s: float = _TIMEOUT_S
) -> _Stored | None:
    """The first message of `subject` with this stream sequence or a later one. Raises as `last_sequence`."""
    return await _read_from_leader(nc, stream, {"seq": sequence, "next_by_subj": subject}, timeout_s)


async def first_since(nc: Nats, stream: str, subject: str, unix_ns: int) -> _Stored | None:
    """The first message of `subject`, which may contain wildcards, that was stored at this time of the server's clock
    or later. Raises as `last_sequence`.
    """
    since = datetime.fromtimestamp(unix_ns / 1e9, UTC).isoformat()
    request = {"next_by_subj": subject, "start_time": since}
    return await _read_from_leader(nc, stream, request, _TIMEOUT_S)


async def _read_from_leader(
    nc: Nats, stream: str, request: Mapping[str, object], timeout_s: float
) -> _Stored | None:
    subject = f"$JS.API.STREAM.MSG.GET.{stream}"
    answer = _decode_leader((await nc.request(subject, msgspec.json.encode(request), timeout=timeout_s)).data)
    if answer.message is None and (answer.error is None or not is_absent(answer.error)):
        description = "no response" if answer.error is None else answer.error.description
        raise nats.errors.Error(f"{stream}: {description}")
    return answer.message


async def delete_message(nc: Nats, stream: str, sequence: int, *, erase: bool) -> bool:
    """Delete one stored message; False when it does not exist any more. Raises nats.errors.Error or TimeoutError.

    `erase` overwrites it on the disk, which takes 11 ms instead of 0.05.
    """
    request = msgspec.json.encode({"seq": sequence, "no_erase": not erase})
    msg = await nc.request(f"$JS.API.STREAM.MSG.DELETE.{stream}", request, timeout=_DELETION_TIMEOUT_S)
    error = _decode_deletion(msg.data).error
    if error is not None and not is_absent(error):
        raise nats.errors.Error(f"{stream}: {error.description}")
    return error is None


async def stream_position(nc: Nats, stream: str) -> StreamPosition:
    """Read from the stream leader. Raises nats.errors.Error or TimeoutError while there is none."""
    answer = _decode_info((await nc.request(f"$JS.API.STREAM.INFO.{stream}", timeout=_TIMEOUT_S)).data)
    if answer.state is None or answer.ts is None:
        description = "no response" if answer.error is None else answer.error.description
        raise nats.errors.Error(f"{stream}: {description}")
    state = answer.state
    return StreamPosition(
        last_sequence=state.last_seq,
        unix_ns=int(answer.ts.timestamp() * 1e6) * 1000,
        first_sequence=state.first_seq,
        bytes=state.bytes,
        max_bytes=answer.config.max_bytes,
        messages=state.messages,
        oldest_s=(answer.ts - state.first_ts).total_seconds() if state.messages and state.first_ts else 0.0,
    )


async def read_server_time(nc: Nats, server_time: ServerTime, stream: str) -> tuple[StreamPosition, float]:
    """Ask the leader of `stream`, which also stamps its messages; returns its answer, and what `observe` does.

    Raises nats.errors.Error or TimeoutError while there is none.
    """
    asked_ns = server_time.now_ns()
    position = await stream_position(nc, stream)
    return position, server_time.observe(position.unix_ns, asked_ns, server_time.now_ns())
