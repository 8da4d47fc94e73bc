"""What the router needs to know of a chat-completions body, read in one pass.

The decoder builds only what is asked about: images and tool definitions are skipped over, never decoded.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct, field

from services.router.refusal import BodyRefused, explain
from services.router.signs import Signs, look

__all__ = ["Features", "read"]

_WINDOW_CHARACTERS: Final = 16 * 1024
"""How much of the beginning and of the end of a text is looked at; of the rest only the length counts."""
_SAMPLE_CHARACTERS: Final = 2 * 1024
_TOKENS_PER_CHARACTER: Final = 0.25
"""About four characters a token in Latin text (OpenAI's rule of thumb)."""
_TOKENS_PER_EXTRA_BYTE: Final = 0.15
"""What each UTF-8 byte beyond the first adds: a Cyrillic letter, two bytes, comes to 1/2.5 of a token."""
_TOKENS_PER_IMAGE: Final = 1_000
_IMAGE_TYPES: Final = frozenset({"image_url", "input_image"})
_COUNT_LIMIT: Final = 2**31
_NO_RAW: Final = Raw(b"")


class Features(Struct, frozen=True, kw_only=True):
    """What a request asks for, as far as choosing a role, a complexity and a hold goes."""

    messages: int = 1
    text: str = ""
    """The last user message; of a long one its beginning and its end."""
    text_characters: int = 0
    """The whole length of the last user message."""
    characters: int = 0
    """The text of all messages together."""
    images: int = 0
    estimated_tokens: int = 0
    """Input tokens: text, tool definitions and calls, and a flat 1,000 per image."""
    tools: bool = False
    stream: bool = False
    max_tokens: int | None = None
    n: int = 1
    model: str | None = None
    """What the application wrote in `body.model`."""
    signs: Signs = field(default_factory=Signs)
    """What `text` gives away of its subject."""


class _Part(Struct, gc=False):
    type: str = ""
    text: str | None = None


class _Message(Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_Part] | None = None
    tool_calls: Raw = _NO_RAW


class _Body(Struct):
    messages: list[_Message]
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    model: str | None = None
    tools: list[Raw] | None = None
    functions: list[Raw] | None = None


_DECODER: Final = msgspec.json.Decoder(_Body)


def read(body: Raw | bytes) -> Features:
    """The features of an OpenAI chat-completions body. Raises BodyRefused for what no provider would take."""
    decoded = _decode(body)
    characters, images, tokens = 0, 0, 0.0
    asked = ""
    for message in decoded.messages:
        content = message.content
        if isinstance(content, list):
            images += sum(part.type in _IMAGE_TYPES for part in content)
            content = "\n".join([part.text for part in content if part.text])
        if content:
            characters += len(content)
            tokens += _tokens(content)
        if message.role == "user":
            asked = content or ""
        tokens += len(message.tool_calls) * _TOKENS_PER_CHARACTER
    tools = [*(decoded.tools or ()), *(decoded.functions or ())]
    tokens += sum(map(len, tools)) * _TOKENS_PER_CHARACTER
    text = _window(asked)
    return Features(
        messages=len(decoded.messages),
        text=text,
        text_characters=len(asked),
        characters=characters,
        images=images,
        estimated_tokens=round(tokens) + images * _TOKENS_PER_IMAGE,
        tools=bool(tools),
        stream=decoded.stream is True,
        max_tokens=decoded.max_completion_tokens or decoded.max_tokens,
        n=decoded.n or 1,
        model=decoded.model,
        signs=look(text),
    )


def _decode(body: Raw | bytes) -> _Body:
    try:
        decoded = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise explain(error) from error
    if not decoded.messages:
        raise BodyRefused("messages", "messages is empty: there is nothing to answer")
    _positive("max_tokens", decoded.max_tokens)
    _positive("max_completion_tokens", decoded.max_completion_tokens)
    _positive("n", decoded.n)
    return decoded


def _positive(name: str, value: int | None) -> None:
    if value is not None and not 0 < value < _COUNT_LIMIT:
        raise BodyRefused.wrong(name, f"{value:,}")


def _window(text: str) -> str:
    if len(text) <= 2 * _WINDOW_CHARACTERS:
        return text
    return f"{text[:_WINDOW_CHARACTERS]}\n{text[-_WINDOW_CHARACTERS:]}"


def _tokens(text: str) -> float:
    if text.isascii():
        return len(text) * _TOKENS_PER_CHARACTER
    sample = text
    if len(text) > 2 * _SAMPLE_CHARACTERS:
        sample = text[:_SAMPLE_CHARACTERS] + text[-_SAMPLE_CHARACTERS:]
    # A JSON escape can smuggle in half a surrogate pair, which has no UTF-8 form.
    extra = len(sample.encode("utf-8", "replace")) - len(sample)
    return len(text) * (_TOKENS_PER_CHARACTER + _TOKENS_PER_EXTRA_BYTE * extra / len(sample))
