"""Request bodies, decoded and validated as the providers do."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, structs

from services.simulator.answers import tokens
from services.simulator.http.errors import ApiError, invalid_request

__all__ = [
    "CompletionRequest",
    "EmbeddingsRequest",
    "ModerationsRequest",
    "Prompt",
    "StreamOptions",
    "decode",
    "fingerprint",
    "text_of",
]

_TOKENS_PER_MESSAGE: Final = 4
"""Tokens of the frame around a message; OpenAI's figure."""
_TOKENS_PER_IMAGE: Final = 85
"""Tokens of an image; OpenAI's figure for low detail."""

Positive = Annotated[int, Meta(ge=1)]
Stop = str | Annotated[list[str], Meta(max_length=4)]


class StreamOptions(Struct, frozen=True, kw_only=True):
    include_usage: bool = False


class CompletionRequest(Struct, frozen=True, kw_only=True):
    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    stop: Stop | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    @property
    def token_limit(self) -> int | None:
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def stops(self) -> list[str]:
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [each for each in stop if each]

    @property
    def content(self) -> object:
        """The part of the request from which the fingerprint is computed."""
        return self.messages

    def texts(self) -> list[str]:
        """The text of each message, the last user message last."""
        last = max((i for i, each in enumerate(self.messages) if each.get("role") == "user"), default=-1)
        order = [*self.messages[last + 1 :], *self.messages[: last + 1]]
        return [_content(message.get("content"))[0] for message in order]

    def system_texts(self) -> list[str]:
        """The text of each message of the system."""
        return [text_of(message) for message in self.messages if message.get("role") == "system"]

    def measure(self) -> Prompt:
        if self.top_logprobs is not None and not self.logprobs:
            raise invalid_request("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
        question = result = ""
        images = counted = estimated = 0
        for message in self.messages:
            text, image_count = _content(message.get("content"))
            if message.get("role") == "tool":
                result = text
            elif message.get("role") == "user":
                result = ""
            if message.get("role") == "user" or not question:
                question = text or question
            images += image_count
            overhead = _TOKENS_PER_MESSAGE + image_count * _TOKENS_PER_IMAGE
            counted += tokens.count(text) + overhead
            estimated += tokens.estimate(text) + overhead
        return Prompt(question, images, counted, estimated, self.token_limit, result)


class EmbeddingsRequest(Struct, frozen=True, kw_only=True):
    model: Annotated[str, Meta(min_length=1)]
    input: str | Annotated[list[str | int | list[int]], Meta(min_length=1, max_length=2048)]
    dimensions: Annotated[int, Meta(ge=1, le=8192)] | None = None
    encoding_format: Literal["float", "base64"] | None = None

    @property
    def content(self) -> object:
        return self.input

    @property
    def texts(self) -> list[str]:
        """The inputs; an array of tokens as a text with a word for each token."""
        if isinstance(self.input, str):
            return [self.input]
        if all(isinstance(each, int) for each in self.input):
            return [_words(self.input)]
        return [each if isinstance(each, str) else _words(each) for each in self.input]

    def measure(self) -> Prompt:
        texts = self.texts
        return structs.replace(_measured(texts), longest=max(map(tokens.count, texts)))


def _words(tokens_: object) -> str:
    """Raises ApiError for a mixture of kinds."""
    if not isinstance(tokens_, list):
        raise invalid_request("'input' cannot mix texts and tokens.", "input")
    return " ".join(f"token{each}" for each in tokens_)


class _ImageUrl(Struct, frozen=True, kw_only=True):
    url: str


class _ModeratedPart(Struct, frozen=True, kw_only=True):
    """A part of one input that has several."""

    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: _ImageUrl | None = None


class ModerationsRequest(Struct, frozen=True, kw_only=True):
    """Each string is an input with a result of its own; parts are one input together."""

    model: Annotated[str, Meta(min_length=1)] = "omni-moderation-latest"
    input: str | Annotated[list[str | _ModeratedPart], Meta(min_length=1, max_length=2048)]

    @property
    def content(self) -> object:
        return self.input

    @property
    def inputs(self) -> list[tuple[str, int]]:
        """The text of each input and its number of images."""
        parts = [each for each in self.input if isinstance(each, _ModeratedPart)]
        if not parts:
            return (
                [(self.input, 0)] if isinstance(self.input, str) else [(str(text), 0) for text in self.input]
            )
        texts = [part.text or "" for part in parts if part.type == "text"]
        return [("\n".join(texts), sum(part.type == "image_url" for part in parts))]

    def measure(self) -> Prompt:
        if not isinstance(self.input, str) and len({type(each) for each in self.input}) > 1:
            raise invalid_request("'input' cannot have both strings and objects.", "input")
        for part in self.input:
            if (
                isinstance(part, _ModeratedPart)
                and (part.text if part.type == "text" else part.image_url) is None
            ):
                raise invalid_request(f"Missing required parameter: '{part.type}'.", "input")
        return _measured([text for text, images in self.inputs if text or not images])


def _measured(texts: list[str]) -> Prompt:
    """The figures of a call whose answer has no tokens."""
    if not all(texts):
        raise invalid_request("'input' cannot be an empty string.", "input")
    return Prompt("", 0, sum(map(tokens.count, texts)), sum(map(tokens.estimate, texts)), 0)


class Prompt(Struct, frozen=True):
    """The figures that the simulator reads out of a request."""

    question: str
    """The text of the last user message, or of the last message if there is no user message."""
    images: int
    tokens: int
    """The exact count."""
    estimated_tokens: int
    """The estimate that is charged at admission."""
    answer_tokens: int | None
    """The maximum answer length of the request; None if it sets none."""
    tool_result: str = ""
    """The last result of a tool after the question."""
    longest: int | None = None
    """Tokens of the longest input of an embeddings call: each has the context for itself."""


Request = TypeVar("Request", bound=CompletionRequest | EmbeddingsRequest | ModerationsRequest)
_PATH: Final = re.compile(r"`\$\.([^`]+)`")


def decode(decoder: msgspec.json.Decoder[Request], body: bytes) -> Request:
    """Decode a request; raises a 400 ApiError that names the invalid field."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        path = _PATH.search(str(error))
        raise invalid_request(f"Invalid request: {error}", path.group(1) if path else None) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"We could not parse the JSON body of your request: {error}") from None


def fingerprint(content: object) -> bytes:
    """SHA-256 of the messages (or the input) as compact JSON with sorted keys, independent of the layout of
    the received JSON.
    """
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).digest()


def text_of(message: dict[str, Any]) -> str:
    """The text of a message."""
    return _content(message.get("content"))[0]


def _content(content: object) -> tuple[str, int]:
    """The text of a message and its number of images."""
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
