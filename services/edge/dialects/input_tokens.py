"""The estimated input tokens of a chat-completions body, as the router estimates them."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from penstock.runtime.tokens import (
    TOKENS_PER_ATTACHMENT,
    TOKENS_PER_JSON_BYTE,
    TOKENS_PER_MESSAGE,
    TOKENS_PER_REQUEST,
    text_tokens,
)

__all__ = ["estimate_input_tokens"]

_NO_RAW: Final = Raw(b"")


class _Part(Struct, gc=False):
    text: str | None = None


class _Message(Struct):
    content: str | list[_Part] | None = None
    tool_calls: Raw = _NO_RAW


class _Body(Struct):
    messages: list[_Message]
    tools: Raw = _NO_RAW
    response_format: Raw = _NO_RAW


_decode: Final = msgspec.json.Decoder(_Body).decode


def estimate_input_tokens(chat_body: Raw) -> int:
    """`chat_body`: a body that a dialect has made."""
    body = _decode(chat_body)
    tokens: float = TOKENS_PER_REQUEST + TOKENS_PER_MESSAGE * len(body.messages)
    json_bytes = len(body.tools) + len(body.response_format)
    for message in body.messages:
        content = message.content
        if isinstance(content, list):
            tokens += TOKENS_PER_ATTACHMENT * sum(part.text is None for part in content)
            content = "\n".join([part.text for part in content if part.text])
        tokens += text_tokens(content) if content else 0
        json_bytes += len(message.tool_calls)
    return round(tokens + TOKENS_PER_JSON_BYTE * json_bytes)
