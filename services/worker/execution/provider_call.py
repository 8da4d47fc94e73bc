"""One provider call, from the request's bytes to an honest end, under its time limits (REQUIREMENTS D1, D6)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct, field

from penstock.contract.reply import Usage
from penstock.runtime.config.catalogue import Timeouts
from services.worker.execution.delta_sink import DeltaSink
from services.worker.providers.bounds import WHOLE_BYTES, read_into
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.errors.status_errors import failure_of_error_event
from services.worker.providers.errors.wire_errors import (
    MalformedChunk,
    MalformedReply,
    ProviderErrorEvent,
    SseTooLarge,
    WireError,
)
from services.worker.providers.protocol import Provider, Response
from services.worker.providers.streams.chunks import UNSAID, ChunkReader, Piece, StreamEnd
from services.worker.providers.streams.sse import SseReader
from services.worker.providers.streams.whole import read_whole
from services.worker.providers.usage import NOTHING_COUNTED, Counted

__all__ = ["Answer", "Call", "Progress", "attempt"]

_WORD: Final = re.compile(r"[A-Za-z]{2,24}(?:[_ -][A-Za-z]{2,24}){0,3}")
_OTHER: Final = "other"
"""Told in the place of a finish reason that is no word or two: a provider may put anything there."""
_SLACK: Final = 0.1
"""Silence between tokens is noticed between its limit and this share above it."""

_AFTER_DONE_S: Final = 0.25
"""How long the end of the response is waited for after `[DONE]`."""
_AFTER_DONE_BYTES: Final = 64 * 1024
"""How much is read until then; who sends more does not want the connection to be used again."""


class Call(Struct, frozen=True):
    """What is sent where."""

    provider: Provider
    credential: str
    body: bytes
    timeouts: Timeouts
    label: str
    """What the provider is told that this call is."""


class Answer(Struct, kw_only=True):
    """A complete answer."""

    finish_reason: str
    response_id: str | None
    model: str | None
    """As the provider names what answered."""
    counted: Counted = NOTHING_COUNTED
    """What the provider counted."""
    usage: Usage = field(default_factory=Usage)
    """The same with estimates for what is missing; set when the attempt is recorded."""
    estimated: bool = False
    """Some of `usage` is an estimate."""
    response: Raw | None = None
    """The body, of a call that did not stream."""
    message_bytes: int = 0
    """Of the messages in it."""


class Progress(Struct):
    """What became of the call so far, also when it ends in an error."""

    headers: Mapping[str, str] | None = None
    first_output_s: float | None = None
    """On the loop's clock."""
    bytes_out: int = 0
    content_bytes: int = 0
    """Of what the model wrote, of a streamed answer."""
    events: SseReader | None = None
    """Of a call that streams."""


async def attempt(call: Call, sink: DeltaSink | None, progress: Progress) -> Answer:
    """Make the call; with a sink it streams, without one it does not. Raises ProviderFailure, in words without keys."""
    try:
        return await _under_limits(call, sink, progress)
    except ProviderFailure as failure:
        call.provider.hide_keys(failure)
        raise


async def _under_limits(call: Call, sink: DeltaSink | None, progress: Progress) -> Answer:
    limit_s = call.timeouts.whole_s if sink is None else call.timeouts.first_token_s
    try:
        async with asyncio.timeout(limit_s) as timer:
            response = await call.provider.chat(call.credential, call.body, call.label)
            progress.headers = response.headers
            try:
                if sink is None:
                    return await _whole(call, response, progress)
                return await _streamed(call, response, sink, progress, timer)
            finally:
                await response.close()
    except TimeoutError as error:
        raise _timed_out(call.timeouts, sink, progress) from error
    except ProviderErrorEvent as error:
        raise failure_of_error_event(error) from error
    except SseTooLarge as error:
        raise ProviderFailure("oversized", str(error)) from error
    except (MalformedChunk, MalformedReply) as error:
        raise ProviderFailure("malformed", str(error)) from error
    except WireError as error:
        raise ProviderFailure("broken_stream", str(error)) from error


async def _whole(call: Call, response: Response, progress: Progress) -> Answer:
    received = bytearray()
    try:
        await read_into(received, response.pieces(), WHOLE_BYTES, "the answer")
    finally:
        progress.bytes_out = len(received)
    read = read_whole(bytes(received), call.provider.stream_format, _choices_asked(call.body))
    return Answer(
        finish_reason=_word(read.finish_reason),
        response_id=read.response_id,
        model=read.model,
        counted=read.usage or NOTHING_COUNTED,
        response=Raw(read.body),
        message_bytes=read.message_bytes,
    )


async def _streamed(
    call: Call, response: Response, sink: DeltaSink, progress: Progress, timer: asyncio.Timeout
) -> Answer:
    loop = asyncio.get_running_loop()
    between_s = call.timeouts.between_tokens_s
    body_due_s = loop.time() + max(call.timeouts.first_token_s, call.timeouts.whole_s)
    events = progress.events = SseReader(stream_format=call.provider.stream_format)
    chunks = ChunkReader(call.provider.stream_format, _choices_asked(call.body))
    rearm_s = 0.0
    pieces = response.pieces()
    async for data in pieces:
        for payload in events.feed(data):
            piece = chunks.read(payload)
            if piece is None:
                continue
            now_s = loop.time()
            if progress.first_output_s is None:
                progress.first_output_s = now_s
            if now_s >= rearm_s:  # a timer moved at every token costs as much as reading the token
                timer.reschedule(now_s + between_s * (1 + _SLACK))
                rearm_s = now_s + between_s * _SLACK
            await sink.push(piece)
        progress.bytes_out = sink.bytes_out
        if events.done:
            break
        if events.is_body:  # nothing of it can be shown before its end
            timer.reschedule(body_due_s)
    last, end = _ended(events, chunks, framed=_is_framed(response.headers))
    if last and progress.first_output_s is None:
        progress.first_output_s = loop.time()
    timer.reschedule(None)
    for piece in last:
        await sink.push(piece)
    await sink.end()
    await _read_rest(pieces)
    progress.bytes_out = sink.bytes_out
    return Answer(
        finish_reason=_word(end.finish_reason or next(iter(end.finish_reasons.values()), UNSAID)),
        response_id=end.response_id,
        model=end.model,
        counted=end.usage or NOTHING_COUNTED,
    )


class _Asked(Struct):
    n: int | float | None = None


_decode_asked: Final = msgspec.json.Decoder(_Asked).decode


def _choices_asked(body: bytes) -> int:
    """How many choices the body asks for. Nearly none says; a long one is not decoded for it."""
    if b'"n"' not in body:
        return 1
    try:
        return max(1, int(_decode_asked(body).n or 1))
    except (ValueError, RecursionError):
        return 1


def _ended(events: SseReader, chunks: ChunkReader, *, framed: bool) -> tuple[list[Piece], StreamEnd]:
    """What the end of the body completes, and the verdict on the stream."""
    last = [piece for payload in events.close() if (piece := chunks.read(payload)) is not None]
    end = chunks.end(events.done, framed=framed)
    return [*last, Piece(end.rest)] if end.rest else last, end


def _is_framed(headers: Mapping[str, str]) -> bool:
    """Whether the body says where it ends (RFC 9112, 6.3): one that is ended by the connection may have been cut."""
    names = {name.lower() for name in headers}
    return "content-length" in names or "transfer-encoding" in names


async def _read_rest(pieces: AsyncIterator[bytes]) -> None:
    """The answer is whole; only the end of the HTTP body is missing, and with it the connection can be used again."""
    with contextlib.suppress(TimeoutError, ProviderFailure):
        async with asyncio.timeout(_AFTER_DONE_S):
            left = _AFTER_DONE_BYTES
            async for piece in pieces:
                left -= len(piece)
                if left < 0:
                    return


def _timed_out(timeouts: Timeouts, sink: DeltaSink | None, progress: Progress) -> ProviderFailure:
    events = progress.events
    if sink is None or (events is not None and events.is_body):
        return ProviderFailure("too_slow", f"no whole answer within {timeouts.whole_s:g} s")
    hint = "" if events is None else events.hint
    if progress.first_output_s is None:
        return ProviderFailure("no_first_token", f"no first token within {timeouts.first_token_s:g} s{hint}")
    return ProviderFailure("stalled", f"no further token within {timeouts.between_tokens_s:g} s{hint}")


def _word(reason: str) -> str:
    return reason if _WORD.fullmatch(reason) else _OTHER
