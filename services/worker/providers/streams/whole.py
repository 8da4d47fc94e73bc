"""A chat completion that came in one body."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from penstock.runtime.config.catalogue import StreamFormat
from services.worker.providers.errors.read_error import error_in
from services.worker.providers.errors.wire_errors import (
    NO_FINISH_REASON_HINT,
    MalformedReply,
    ProviderErrorEvent,
)
from services.worker.providers.lenient_json import mended
from services.worker.providers.streams.choices import (
    ABSENT,
    error_of,
    fields_of,
    finish_reason_of,
    index_of,
    name_in,
    says,
)
from services.worker.providers.streams.chunks import DEFAULT_FINISH_REASON, too_few
from services.worker.providers.streams.gathering import gathered
from services.worker.providers.usage import NO_USAGE, TokenCounts, read_usage

__all__ = ["MalformedReply", "WholeCompletion", "read_whole"]

_BOM: Final = b"\xef\xbb\xbf"
_SSE: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
_DEFAULT: Final = StreamFormat()


class WholeCompletion(Struct, frozen=True, kw_only=True):
    """What the worker needs to know of a reply, and the reply itself."""

    finish_reason: str
    """Of choice 0."""
    model: str | None
    usage: TokenCounts | None
    response_id: str | None
    body: bytes
    """As it came; mended, where not every JSON decoder would read it."""
    message_bytes: int
    """The length of its messages as they stand in the body."""


_decode_list: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_any: Final = msgspec.json.Decoder().decode


def read_whole(
    body: bytes, stream_format: StreamFormat = _DEFAULT, choices: int | None = None
) -> WholeCompletion:
    """Read the body of a 200. A stream of events, where none was asked for, is put together to a body.

    `choices`: how many were asked for; None: that is not known.

    Raises MalformedReply unless it is a complete chat completion (REQUIREMENTS D6), ProviderErrorEvent for an error
    in its place, and whatever a stream raises.
    """
    body = body.removeprefix(_BOM)
    if body.lstrip().startswith(_SSE):
        body = gathered(body, stream_format, choices)
    try:
        return _read(body, stream_format, choices)
    except (ValueError, RecursionError):
        pass  # whatever it is, it may be read when it is mended
    try:
        return _read(mended(body), stream_format, choices)
    except (ValueError, RecursionError) as error:
        raise MalformedReply(f"not a complete chat completion: {error}") from error


def _read(body: bytes, stream_format: StreamFormat, asked: int | None) -> WholeCompletion:
    fields = fields_of(body)
    # msgspec checks UTF-8 only in what it decodes; the body is passed on as it is.
    body.decode()
    error = error_of(fields.get("error", ABSENT)) if fields else None
    if fields is None or not says(fields.get("choices", ABSENT)):
        error = error or error_in(_decode_any(body))
    if error is not None:
        raise ProviderErrorEvent(error)
    if fields is None or not says(fields.get("choices", ABSENT)):
        raise MalformedReply("a reply without choices")
    reasons: dict[int, str] = {}
    usage = _read_usage(fields)
    message_bytes = 0
    for position, raw in enumerate(_decode_list(fields["choices"])):
        choice = fields_of(raw) or {}
        if error := error_of(choice.get("error", ABSENT)):
            raise ProviderErrorEvent(error)
        reasons[index_of(choice.get("index", ABSENT), position)] = _reason(choice, stream_format)
        message_bytes += len(_message(choice))
        usage = usage or read_usage(choice.get("usage", NO_USAGE))
    if lacking := too_few(len(reasons), asked, proved=True):  # JSON that is whole shows its own end
        raise MalformedReply(f"an answer {lacking}")
    return WholeCompletion(
        finish_reason=reasons[min(reasons)],
        model=name_in(fields.get("model", ABSENT)),
        usage=usage,
        response_id=name_in(fields.get("id", ABSENT)),
        body=body,
        message_bytes=message_bytes,
    )


def _reason(choice: dict[str, Raw], stream_format: StreamFormat) -> str:
    reason = finish_reason_of(choice.get("finish_reason", ABSENT))
    if not reason and stream_format.finish_reason == "optional":
        return DEFAULT_FINISH_REASON
    if reason in {"", "error"}:
        raise MalformedReply(f"a choice that was not finished{'' if reason else NO_FINISH_REASON_HINT}")
    return reason


def _message(choice: dict[str, Raw]) -> Raw:
    message = choice.get("message", ABSENT)
    content = (fields_of(message) or {}).get("content", ABSENT) if message != ABSENT else None
    if content is None or bytes(content)[:1] not in (b'"', b"[", b"n"):
        raise MalformedReply("a choice without a message that can be read")
    return message


def _read_usage(fields: dict[str, Raw]) -> TokenCounts | None:
    usage = read_usage(fields.get("usage", NO_USAGE))
    groq = fields_of(fields["x_groq"]) if usage is None and "x_groq" in fields else None
    return read_usage(groq.get("usage", NO_USAGE)) if groq else usage
