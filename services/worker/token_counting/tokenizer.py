"""Counts tokens with the vocabulary of a model, and charges for what surrounds the text as OpenAI does.

The vocabularies are those of the package `quicktok`, exact for the models named here and a good estimate for others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from penstock.runtime.tokens import (
    TOKENS_PER_ATTACHMENT,
    TOKENS_PER_JSON_BYTE,
    TOKENS_PER_MESSAGE,
    TOKENS_PER_REQUEST,
)
from services.worker.providers.json_repair import repair_json

__all__ = ["Count", "input_tokens", "output_tokens", "vocabulary_of"]

Count = Callable[[str], int]
"""The number of tokens in a text."""
_DEFAULT: Final = "o200k_base"
_VOCABULARIES: Final = (
    (re.compile(r"gpt-oss"), "o200k_harmony"),
    (re.compile(r"gpt-4(?!o|\.|\d)|gpt-3\.5|text-embedding-(3|ada)"), "cl100k_base"),
    (re.compile(r"llama-?3"), "llama3"),
    (re.compile(r"qwen-?[23]|qwq"), "qwen3"),
)
"""By a part of the model's name in lower case; the first that is found counts."""
_NO_RAW: Final = Raw(b"")
_TEXT_TYPES: Final = frozenset({"text", "refusal", ""})
_LABELS: Final = frozenset({"id", "type", "index", "format", "role", "signature"})
"""Keys of a delta whose values are not written by the model."""
_REASONING: Final = ("reasoning", "reasoning_content", "reasoning_details")
"""Names under which one delta may repeat the same reasoning."""


def vocabulary_of(model: str) -> str:
    """The vocabulary of a model by its provider's name for it; that of OpenAI's current models for an unknown one."""
    name = model.lower()
    return next((vocabulary for pattern, vocabulary in _VOCABULARIES if pattern.search(name)), _DEFAULT)


class _Part(Struct, gc=False):
    type: str = ""
    text: str | None = None


class _Message(Struct):
    content: str | list[_Part] | None = None
    name: str | None = None
    tool_calls: Raw = _NO_RAW


class _Body(Struct):
    messages: list[_Message] = []
    tools: list[Raw] | None = None
    functions: list[Raw] | None = None
    response_format: Raw = _NO_RAW


_decode_body: Final = msgspec.json.Decoder(_Body).decode


def input_tokens(body: bytes, count: Count) -> int:
    """The input tokens of a chat-completions body; definitions and attachments are estimated.

    Raises ValueError or RecursionError for a body that cannot be read.
    """
    try:
        decoded = _decode_body(body)
    except ValueError:
        decoded = _decode_body(repair_json(body))
    tokens = TOKENS_PER_REQUEST + TOKENS_PER_MESSAGE * len(decoded.messages)
    json_bytes = len(decoded.response_format)
    for message in decoded.messages:
        content = message.content
        if isinstance(content, list):
            tokens += TOKENS_PER_ATTACHMENT * sum(
                part.text is None and part.type not in _TEXT_TYPES for part in content
            )
            content = "\n".join(part.text for part in content if part.text)
        tokens += count(_encodable(content or ""))
        json_bytes += len(message.tool_calls)
    json_bytes += sum(map(len, [*(decoded.tools or ()), *(decoded.functions or ())]))
    return round(tokens + json_bytes * TOKENS_PER_JSON_BYTE)


class _Choice(Struct):
    delta: dict[str, Any] | None = None
    message: dict[str, Any] | None = None


_decode_choice: Final = msgspec.json.Decoder(_Choice).decode


def output_tokens(text: bytes, choices: list[bytes], count: Count) -> int:
    """The tokens of an answer: its text, and choice objects of a stream or of a whole answer."""
    pieces: dict[str, list[str]] = {"text": [text.decode(errors="replace")]}
    for choice in choices:
        try:
            decoded = _decode_choice(repair_json(choice))
        except (ValueError, RecursionError):
            continue
        _collect(decoded.delta or decoded.message or {}, pieces)
    return sum(count(_encodable("".join(each))) for each in pieces.values())


def _collect(delta: dict[str, Any], pieces: dict[str, list[str]]) -> None:
    """Add what the model wrote in one delta, in one text per key: tokens do not end with a chunk."""
    reasoning = next((name for name in _REASONING if delta.get(name)), None)
    for name, value in delta.items():
        if name not in _LABELS and (name not in _REASONING or name == reasoning):
            pieces.setdefault(name, []).extend(_texts(value))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    if isinstance(value, dict):
        return [text for name, each in value.items() if name not in _LABELS for text in _texts(each)]
    return []


def _encodable(text: str) -> str:
    """Without half surrogate pairs, which a JSON escape can produce and no tokenizer accepts."""
    return text if text.isascii() else text.encode(errors="replace").decode()
