"""A chat completion that came in one body."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from schemas.reply import Usage
from services.worker.calls.bounds import Word, clipped
from services.worker.calls.errors import ProviderError, error_in
from services.worker.calls.wire_errors import MalformedReply, ProviderErrorEvent
from services.worker.usage import NO_USAGE, read_usage

__all__ = ["MalformedReply", "WholeReply", "read_whole"]


class WholeReply(Struct, frozen=True, kw_only=True):
    """What the worker needs to know of a reply; the body itself is passed on as it came."""

    finish_reason: str
    """Of choice 0."""
    model: str | None
    usage: Usage | None
    response_id: str | None


class _Message(Struct, frozen=True):
    content: str | list[Any] | None = None


class _Choice(Struct, frozen=True):
    message: _Message
    finish_reason: Word
    index: int = 0


class _Groq(Struct, frozen=True):
    usage: Raw = NO_USAGE


class _Completion(Struct, frozen=True):
    choices: list[_Choice] | None = None
    id: str | None = None
    model: str | None = None
    usage: Raw = NO_USAGE
    x_groq: _Groq | None = None
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Completion).decode


def read_whole(body: bytes) -> WholeReply:
    """Read the body of a 200.

    Raises MalformedReply unless it is a complete chat completion (REQUIREMENTS D6).
    """
    try:
        completion = _decode(body)
        # msgspec checks UTF-8 only in what it decodes; the body is passed on as it is.
        body.decode()
    except (ValueError, RecursionError) as error:
        raise MalformedReply(f"not a complete chat completion: {error}") from error
    if completion.error:
        raise ProviderErrorEvent(error_in(completion.error) or ProviderError(message=str(completion.error)))
    choices = completion.choices
    if not choices:
        raise MalformedReply("a reply without choices")
    if any(choice.finish_reason in {"", "error"} for choice in choices):
        raise MalformedReply("a choice that was not finished")
    first = next((choice for choice in choices if choice.index == 0), choices[0])
    usage = read_usage(completion.usage)
    if usage is None and completion.x_groq is not None:
        usage = read_usage(completion.x_groq.usage)
    return WholeReply(
        finish_reason=first.finish_reason,
        model=clipped(completion.model),
        usage=usage,
        response_id=clipped(completion.id),
    )
