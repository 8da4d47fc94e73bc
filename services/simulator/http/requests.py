"""The request bodies, decoded and checked as the providers check them."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from services.simulator.answers import tokens
from services.simulator.http.errors import ApiError, invalid_request

__all__ = [
    "ChatRequest",
    "EmbeddingsRequest",
    "ModelRequest",
    "ModerationsRequest",
    "Prompt",
    "StreamOptions",
    "decode",
    "fingerprint",
    "read_prompt",
    "read_texts",
]

_TOKENS_PER_MESSAGE: Final = 4
_TOKENS_PER_IMAGE: Final = 85
"""OpenAI's figures for the frame around a message and for an image of low detail."""

Positive = Annotated[int, Meta(ge=1)]
Texts = str | Annotated[list[str], Meta(min_length=1, max_length=2048)]


class ModelRequest(Struct, frozen=True, kw_only=True):
    """What every model call has."""

    model: Annotated[str, Meta(min_length=1)]


class StreamOptions(Struct, frozen=True, kw_only=True):
    include_usage: bool = False


class ChatRequest(ModelRequest, frozen=True, kw_only=True):
    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None

    @property
    def token_limit(self) -> int | None:
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens


class EmbeddingsRequest(ModelRequest, frozen=True, kw_only=True):
    input: Texts
    dimensions: Annotated[int, Meta(ge=1, le=8192)] | None = None
    encoding_format: Literal["float", "base64"] | None = None


class ModerationsRequest(ModelRequest, frozen=True, kw_only=True):
    input: Texts
    model: str = "omni-moderation-latest"


class Prompt(Struct, frozen=True):
    """What the simulator reads out of the messages."""

    question: str
    """The text of the last user message, or of the last message when no user spoke."""
    images: int
    tokens: int
    """The true count."""
    estimated_tokens: int
    """What admission charges for it, before anything is counted."""
    answer_tokens: int | None
    """The longest answer that was asked for; None: nothing was said."""


Request = TypeVar("Request", bound=ModelRequest)
_PATH: Final = re.compile(r"`\$\.([^`]+)`")


def decode(decoder: msgspec.json.Decoder[Request], body: bytes) -> Request:
    """The request, or a 400 that names the field."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        place = _PATH.search(str(error))
        raise invalid_request(f"Invalid request: {error}", place.group(1) if place else None) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"We could not parse the JSON body of your request: {error}") from None


def fingerprint(subject: object) -> bytes:
    """SHA-256 of the messages (or the input) as compact JSON with sorted keys, so that it is the same
    however the sender laid out the JSON.
    """
    return hashlib.sha256(msgspec.json.encode(subject, order="deterministic")).digest()


def read_prompt(request: ChatRequest) -> Prompt:
    question = ""
    images = counted = estimated = 0
    for message in request.messages:
        text, seen = _content(message.get("content"))
        if message.get("role") == "user" or not question:
            question = text or question
        images += seen
        counted += tokens.count(text) + _TOKENS_PER_MESSAGE + seen * _TOKENS_PER_IMAGE
        estimated += tokens.estimate(text) + _TOKENS_PER_MESSAGE + seen * _TOKENS_PER_IMAGE
    return Prompt(question, images, counted, estimated, request.token_limit)


def read_texts(texts: str | list[str]) -> Prompt:
    """The prompt of a call that is answered with no tokens."""
    listed = [texts] if isinstance(texts, str) else texts
    if not all(listed):
        raise invalid_request("'input' cannot be an empty string.", "input")
    counted = sum(map(tokens.count, listed))
    return Prompt("", 0, counted, sum(map(tokens.estimate, listed)), 0)


def _content(content: object) -> tuple[str, int]:
    """The text of a message and how many images it has."""
    if isinstance(content, str):
        return content, 0
    if content is None:
        return "", 0
    if not isinstance(content, list):
        raise invalid_request("Invalid type for 'content': expected a string or an array.", "messages")
    texts: list[str] = []
    images = 0
    for part in content:
        if not isinstance(part, dict):
            raise invalid_request("Invalid content part: expected an object.", "messages")
        if part.get("type") == "image_url":
            images += 1
        elif isinstance(part.get("text"), str):
            texts.append(part["text"])
    return "\n".join(texts), images
