"""One provider call under its time limits, from the bytes sent to a proved end of the answer (D1, D6)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Final, NoReturn, Protocol

import msgspec
from msgspec import Raw, Struct, field

from penstock.bus.clock import loop_now_s
from penstock.bus.freezes import AwakeTimeout, frozen_s
from penstock.contract.reply import Usage, answer_bytes
from penstock.runtime.config.catalogue import Timeouts
from services.worker.providers.errors.classify import failure_of_error_event
from services.worker.providers.errors.failures import FailureKind, ProviderFailure
from services.worker.providers.errors.wire_errors import (
    BrokenStream,
    MalformedChunk,
    MalformedReply,
    ProviderErrorEvent,
    SseTooLarge,
    WireError,
)
from services.worker.providers.provider import Provider, Response
from services.worker.providers.size_limits import STREAM_OR_SHORTER, WHOLE_BYTES, read_into
from services.worker.providers.streams.chunks import DEFAULT_FINISH_REASON, ChunkDelta, ChunkReader, StreamEnd
from services.worker.providers.streams.cut_completion import written_bytes
from services.worker.providers.streams.joined_deltas import joined_deltas
from services.worker.providers.streams.sse import SseReader
from services.worker.providers.streams.whole_completion import read_whole
from services.worker.providers.usage import NO_COUNTS, TokenCounts

__all__ = ["CALL_ERRORS", "Answer", "Call", "Progress", "Sink", "make_call", "raise_failure"]

_WORD: Final = re.compile(r"[A-Za-z]{2,24}(?:[_ -][A-Za-z]{2,24}){0,3}")
_OTHER: Final = "other"
"""Reported instead of a finish reason that is not a few words: a provider may put anything there."""
_TIMER_TOLERANCE: Final = 0.1
"""Share of the limit between tokens by which a silence may exceed it before the timer ends the call."""
CALL_ERRORS: Final = (WireError, ProviderFailure)
"""What the call of a provider and its answer raise; see `raise_failure`."""
_AFTER_DONE_S: Final = 0.25
"""Seconds to wait for the end of the response after `[DONE]`."""
_AFTER_DONE_BYTES: Final = 64 * 1024
"""Bytes read until then; a provider that sends more loses the connection."""


class Sink(Protocol):
    """Takes the deltas of a streamed answer."""

    def take_room(self, size: int) -> bool:
        """Take room in the reply stream for a `push`; False where it has to wait."""
        ...

    async def wait_for_room(self, size: int) -> None: ...

    async def push(self, piece: ChunkDelta) -> None: ...

    async def end(self) -> None: ...


class Call(Struct, frozen=True):
    """A request to a provider."""

    provider: Provider
    credential: str
    body: bytes
    timeouts: Timeouts
    label: str
    """Names the call to the provider."""


class Answer(Struct, kw_only=True):
    """A complete answer."""

    finish_reason: str
    response_id: str | None
    model: str | None
    """The model that answered, as the provider names it."""
    counted: TokenCounts = NO_COUNTS
    """Tokens as the provider counted them."""
    usage: Usage = field(default_factory=Usage)
    """`counted`, completed by estimates; set when the attempt is recorded."""
    estimated: bool = False
    """Part of `usage` is an estimate."""
    response: Raw | None = None
    """The body of a call that did not stream."""
    message_bytes: int = 0
    """Bytes of the messages in `response`."""


class Progress(Struct):
    """How far the call has come; also set when it ends in an error."""

    headers: Mapping[str, str] | None = None
    status: int = 200
    first_output_s: float | None = None
    """On the loop's clock."""
    ended_s: float | None = None
    """When the answer was complete, likewise; the guard may hold it back for longer."""
    content_bytes: int = 0
    """Bytes that the model wrote in a streamed answer, or in a whole one that is not complete."""
    events: SseReader | None = None
    """Set for a call that streams."""
    chunks: ChunkReader | None = None
    """Likewise."""


async def make_call(call: Call, sink: Sink | None, progress: Progress) -> Answer:
    """Make the call, streaming if there is a sink. Raises ProviderFailure with a message that contains no key."""
    began_s = loop_now_s()
    limit_s = call.timeouts.non_streaming_s if sink is None else call.timeouts.first_token_s
    try:
        async with AwakeTimeout(limit_s) as timer:
            response = await call.provider.chat(call.credential, call.body, call.label)
            progress.headers, progress.status = response.headers, response.status
            try:
                if part := response.headers.get("content-range"):  # RFC 9110, 15.3.7; no call requests a part
                    raise BrokenStream(f"the response is a part of an answer: {part}")
                if sink is None:
                    return await _whole(call, response, progress)
                return await _streamed(call, response, sink, progress, timer)
            finally:
                await response.close()
    except TimeoutError as error:
        late = _timed_out(call.timeouts, sink, progress)
        late.__cause__ = error
        raise_failure(late, call.provider, progress, began_s)
    except CALL_ERRORS as error:
        raise_failure(error, call.provider, progress, began_s)


def raise_failure(
    error: WireError | ProviderFailure, provider: Provider, progress: Progress, began_s: float
) -> NoReturn:
    """Raise the error of a call that began at `began_s` as a ProviderFailure without the keys of the provider.

    What may be the consequence of a freeze of this process is `interrupted`.
    """
    failure = error if isinstance(error, ProviderFailure) else _failure_in_bytes(error, progress)
    provider.redact_keys(failure)
    if failure.may_follow_freeze and (lost_s := frozen_s(began_s)) > 0.0:
        why = f"this worker was stopped for {lost_s:.1f} s during the call: {failure}"
        raise ProviderFailure("interrupted", why, connected=failure.connected) from failure
    if failure is error:
        raise failure
    raise failure from error


def _failure_in_bytes(error: WireError, progress: Progress) -> ProviderFailure:
    if isinstance(error, ProviderErrorEvent):
        return failure_of_error_event(error)
    if isinstance(error, SseTooLarge):
        return ProviderFailure("oversized", str(error))
    kind: FailureKind = "malformed" if isinstance(error, MalformedChunk | MalformedReply) else "broken_stream"
    status = "" if progress.status == 200 else f"HTTP {progress.status}: "
    return ProviderFailure(kind, f"{status}{error}")


async def _whole(call: Call, response: Response, progress: Progress) -> Answer:
    received, stream_format = bytearray(), call.provider.stream_format
    try:
        await read_into(received, response.pieces(), WHOLE_BYTES, "the answer", STREAM_OR_SHORTER)
        progress.ended_s = loop_now_s()
        read = read_whole(bytes(received), stream_format, _requested_choices(call.body))
    except (*CALL_ERRORS, asyncio.CancelledError):  # the time limit cancels
        progress.content_bytes = written_bytes(bytes(received), stream_format)
        raise
    return Answer(
        finish_reason=_word(read.finish_reason),
        response_id=read.response_id,
        model=read.model,
        counted=read.usage or NO_COUNTS,
        response=Raw(read.body),
        message_bytes=read.message_bytes,
    )


async def _streamed(
    call: Call, response: Response, sink: Sink, progress: Progress, timer: AwakeTimeout
) -> Answer:
    loop = asyncio.get_running_loop()
    between_s = call.timeouts.between_tokens_s
    body_due_s = loop.time() + max(call.timeouts.first_token_s, call.timeouts.non_streaming_s)
    events = progress.events = SseReader(stream_format=call.provider.stream_format)
    chunks = progress.chunks = ChunkReader(call.provider.stream_format, _requested_choices(call.body))
    rearm_s = 0.0
    pieces = response.pieces()
    async for data in pieces:
        for delta in joined_deltas(chunks, events.feed(data)):
            now_s = loop.time()
            if progress.first_output_s is None:
                progress.first_output_s = now_s
            if now_s >= rearm_s:  # moving the timer costs as much as reading a token
                timer.reschedule(now_s + between_s * (1 + _TIMER_TOLERANCE))
                rearm_s = now_s + between_s * _TIMER_TOLERANCE
            size = answer_bytes(delta.text, delta.choices)
            if not sink.take_room(size):  # the provider is not read meanwhile, and its silence not timed
                timer.reschedule(None)
                await sink.wait_for_room(size)
                timer.reschedule(loop.time() + between_s * (1 + _TIMER_TOLERANCE))
            await sink.push(delta)
        if events.done:
            break
        if events.is_body:  # one JSON body instead of a stream, published at its end
            timer.reschedule(body_due_s)
    timer.reschedule(None)
    return await _finish(response, pieces, sink, progress, (events, chunks))


async def _finish(
    response: Response,
    pieces: AsyncIterator[bytes],
    sink: Sink,
    progress: Progress,
    read: tuple[SseReader, ChunkReader],
) -> Answer:
    """The answer of a stream that was read to its end. Raises WireError where that end is none."""
    loop = asyncio.get_running_loop()
    last, end = _ended(*read, framed=_is_framed(response.headers))
    if last and progress.first_output_s is None:
        progress.first_output_s = loop.time()
    progress.ended_s = loop.time()
    for delta in last:
        await sink.push(delta)
    await sink.end()
    await _read_rest(pieces)
    return Answer(
        finish_reason=_word(
            end.finish_reason or next(iter(end.finish_reasons.values()), DEFAULT_FINISH_REASON)
        ),
        response_id=end.response_id,
        model=end.model,
        counted=end.usage or NO_COUNTS,
    )


class _Choices(Struct):
    n: int | float | None = None


_decode_choices: Final = msgspec.json.Decoder(_Choices).decode


def _requested_choices(body: bytes) -> int:
    """How many choices the body requests. Few bodies name `n`, so the others are not decoded."""
    if b'"n"' not in body:
        return 1
    try:
        return max(1, int(_decode_choices(body).n or 1))
    except (ValueError, RecursionError):
        return 1


def _ended(events: SseReader, chunks: ChunkReader, *, framed: bool) -> tuple[list[ChunkDelta], StreamEnd]:
    """The deltas that the end of the body completes, and the result of the stream."""
    last = list(joined_deltas(chunks, events.close()))
    end = chunks.end(events.done, framed=framed)
    return [*last, ChunkDelta(end.rest)] if end.rest else last, end


def _is_framed(headers: Mapping[str, str]) -> bool:
    """Whether the body declares its end (RFC 9112, 6.3); one that ends with the connection may have been cut."""
    values = {name.lower(): value for name, value in headers.items()}
    codings = values.get("transfer-encoding")
    if codings is None:
        return "content-length" in values
    return (
        codings.rpartition(",")[2].strip().lower() == "chunked"
    )  # any other coding ends with the connection


async def _read_rest(pieces: AsyncIterator[bytes]) -> None:
    """Read a complete answer's HTTP body to its end, so that the connection can be used again."""
    with contextlib.suppress(TimeoutError, ProviderFailure):
        async with asyncio.timeout(_AFTER_DONE_S):
            left = _AFTER_DONE_BYTES
            async for piece in pieces:
                left -= len(piece)
                if left < 0:
                    return


def _timed_out(timeouts: Timeouts, sink: Sink | None, progress: Progress) -> ProviderFailure:
    events = progress.events
    if sink is None or (events is not None and events.is_body):
        return ProviderFailure("too_slow", f"no complete answer within {timeouts.non_streaming_s:g} s")
    hint = "" if events is None else events.hint
    if progress.first_output_s is None:
        return ProviderFailure("no_first_token", f"no first token within {timeouts.first_token_s:g} s{hint}")
    return ProviderFailure("stalled", f"no further token within {timeouts.between_tokens_s:g} s{hint}")


def _word(reason: str) -> str:
    word = reason.partition(":")[0]  # Gemini: `content_filter: RECITATION`
    return word if _WORD.fullmatch(word) else _OTHER
