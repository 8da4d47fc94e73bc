"""A chat completion that came in one body."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.reply import Usage
from services.worker.usage import WireUsage
from services.worker.wire_errors import MalformedReply, ProviderErrorEvent

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
    finish_reason: str
    index: int = 0


class _Groq(Struct, frozen=True):
    usage: WireUsage | None = None


class _Completion(Struct, frozen=True):
    choices: list[_Choice] | None = None
    id: str | None = None
    model: str | None = None
    usage: WireUsage | None = None
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
        raise MalformedReply(f"an error in place of a reply: {ProviderErrorEvent.of(completion.error)}")
    choices = completion.choices
    if not choices:
        raise MalformedReply("a reply without choices")
    if any(choice.finish_reason in {"", "error"} for choice in choices):
        raise MalformedReply("a choice that was not finished")
    first = next((choice for choice in choices if choice.index == 0), choices[0])
    usage = completion.usage or (completion.x_groq.usage if completion.x_groq else None)
    return WholeReply(
        finish_reason=first.finish_reason,
        model=completion.model,
        usage=usage.counted() if usage else None,
        response_id=completion.id,
    )
