"""Features of a chat-completions body that routing depends on, extracted in one pass.

Images and tool definitions are skipped, never decoded.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct

from penstock.runtime.json_values import MAX_BODY_VALUES
from penstock.runtime.tokens import (
    TOKENS_PER_ATTACHMENT,
    TOKENS_PER_JSON_BYTE,
    TOKENS_PER_MESSAGE,
    TOKENS_PER_REQUEST,
    text_tokens,
)
from services.router.classification.evidence import Evidence
from services.router.routing.body_errors import BODY_ERRORS, BodyProblems, InvalidBody, check_values

__all__ = ["Features", "extract_features"]

_WINDOW_CHARACTERS: Final = 4 * 1024
"""Characters of the beginning and of the end of a text that are classified; of the rest only the length counts."""
_IMAGE_TYPES: Final = frozenset({"image_url", "input_image"})
_TEXT_TYPES: Final = frozenset({"text", "refusal", ""})
_COUNT_LIMIT: Final = 2**31
_NO_RAW: Final = Raw(b"")
_MESSAGE_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_PROBLEMS: Final = BodyProblems(
    {
        "body": "an object",
        "messages": "a list of messages",
        "messages[]": "an object",
        "messages[].role": f"one of {', '.join(_MESSAGE_ROLES)}",
        "messages[].content": "text or a list of parts",
        "messages[].content[]": "an object",
        "messages[].content[].type": "text",
        "messages[].content[].text": "text",
        "stream": "true or false",
        "max_tokens": "a positive integer",
        "max_completion_tokens": "a positive integer",
        "n": "a positive integer",
        "model": "text",
        "tools": "a list",
        "functions": "a list",
    }
)


class Features(Struct, frozen=True, kw_only=True, dict=True):
    """The properties of a request that decide its role and its complexity."""

    text: str = ""
    """The last user message; of a long one, its beginning and its end."""
    text_characters: int = 0
    """Full length of the last user message."""
    images: int = 0
    estimated_tokens: int = 0
    """Input tokens: text, tool definitions and calls, and a flat charge per image or other attachment."""
    stream: bool = False
    max_tokens: int | None = None
    """The output limit; the higher one of a body with two, because a provider may ignore either."""
    choices: int = 1
    """The number of answers, `n` in the body."""

    @cached_property
    def evidence(self) -> Evidence:
        """Topics of `text`."""
        return Evidence(self.text)


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
    response_format: Raw = _NO_RAW


_DECODER: Final = msgspec.json.Decoder(_Body)


def extract_features(body: Raw | bytes | bytearray) -> Features:
    """Extract the features of an OpenAI chat-completions body. Raises InvalidBody for a body no provider would take."""
    decoded = _decode(body)
    tokens: float = TOKENS_PER_REQUEST + TOKENS_PER_MESSAGE * len(decoded.messages)
    images, json_bytes = 0, len(decoded.response_format)
    last_user_text = ""
    for message in decoded.messages:
        content = message.content
        if isinstance(content, list):
            images += sum(part.type in _IMAGE_TYPES for part in content)
            tokens += TOKENS_PER_ATTACHMENT * sum(map(_is_attachment, content))
            content = "\n".join([part.text for part in content if part.text])
        if content:
            tokens += text_tokens(content)
        if message.role == "user":
            last_user_text = content or ""
        json_bytes += len(message.tool_calls)
    json_bytes += sum(map(len, [*(decoded.tools or ()), *(decoded.functions or ())]))
    text = last_user_text if len(last_user_text) <= 2 * _WINDOW_CHARACTERS else _window(last_user_text)
    return Features(
        text=text,
        text_characters=len(last_user_text),
        images=images,
        estimated_tokens=round(tokens + json_bytes * TOKENS_PER_JSON_BYTE),
        stream=decoded.stream is True,
        max_tokens=max(decoded.max_completion_tokens or 0, decoded.max_tokens or 0) or None,
        choices=decoded.n or 1,
    )


def _is_attachment(part: _Part) -> bool:
    return part.text is None and part.type not in _TEXT_TYPES


def _decode(body: Raw | bytes | bytearray) -> _Body:
    if len(body) > MAX_BODY_VALUES:
        check_values(body, MAX_BODY_VALUES)
    try:
        decoded = _DECODER.decode(body)
    except BODY_ERRORS as error:
        raise _PROBLEMS.of(error) from error
    if not decoded.messages:
        raise InvalidBody("messages", "messages is empty: there is nothing to answer")
    for name, value in (
        ("max_tokens", decoded.max_tokens),
        ("max_completion_tokens", decoded.max_completion_tokens),
        ("n", decoded.n),
    ):
        if value is not None and not 0 < value < _COUNT_LIMIT:
            raise _PROBLEMS.wrong(name, f"{value:,}")
    return decoded


def _window(text: str) -> str:
    """The part of a long text that is classified."""
    return f"{text[:_WINDOW_CHARACTERS]}\n{text[-_WINDOW_CHARACTERS:]}"
