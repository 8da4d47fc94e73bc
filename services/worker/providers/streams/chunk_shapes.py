"""What nearly all chunks look like, as types that one decoder reads at once.

Unknown keys in a choice or its delta are refused: they may add something, so such a chunk is not of these shapes.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from services.worker.providers.size_limits import Word
from services.worker.providers.streams.choices import ABSENT
from services.worker.providers.usage import NO_USAGE

__all__ = ["ApartChunk", "PlainChunk", "decode_apart", "decode_plain", "decode_raw"]

_Empty = Annotated[list[Any], Meta(max_length=0)] | None
_NoText = Annotated[str, Meta(max_length=0)] | None


class _Groq(Struct, frozen=True, gc=False):
    usage: Raw = NO_USAGE
    error: Raw = ABSENT


class _PlainDelta(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    content: str | None = None
    role: str | None = None
    # What servers send empty beside text. A value in one of them, like any other key, makes it not plain.
    reasoning: _NoText = None
    reasoning_content: _NoText = None
    reasoning_details: _Empty = None
    tool_calls: _Empty = None
    refusal: _NoText = None
    function_call: None = None
    audio: None = None
    annotations: _Empty = None
    images: _Empty = None


class _PlainChoice(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    delta: _PlainDelta
    index: Annotated[int, Meta(ge=0, le=0)] = 0
    finish_reason: Word | None = None
    logprobs: None = None
    native_finish_reason: None = None
    content_filter_results: Raw = ABSENT
    stop_reason: None = None
    token_ids: None = None
    matched_stop: None = None


class PlainChunk(Struct, frozen=True, gc=False):
    choices: Annotated[list[_PlainChoice], Meta(max_length=1)]
    id: str | None = None
    model: str | None = None
    usage: Raw = NO_USAGE
    x_groq: _Groq | None = None
    error: None = None


class _ApartDelta(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What streams of reasoning and of tool calls have instead of text."""

    content: _NoText = None
    role: str | None = None
    reasoning: Raw = ABSENT
    reasoning_content: Raw = ABSENT
    tool_calls: Raw = ABSENT
    reasoning_details: Raw = ABSENT
    refusal: _NoText = None
    function_call: None = None
    audio: None = None


class _ApartChoice(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    delta: _ApartDelta
    index: Annotated[int, Meta(ge=0, le=0)] = 0
    finish_reason: None = None
    logprobs: None = None
    native_finish_reason: None = None
    stop_reason: None = None
    token_ids: None = None
    matched_stop: None = None


class ApartChunk(Struct, frozen=True, gc=False):
    choices: Annotated[list[_ApartChoice], Meta(min_length=1, max_length=1)]
    id: str | None = None
    model: str | None = None
    usage: Raw = NO_USAGE
    x_groq: _Groq | None = None
    error: None = None


class _RawChunk(Struct, frozen=True, gc=False):
    choices: list[Raw]


decode_plain: Final = msgspec.json.Decoder(PlainChunk).decode
decode_apart: Final = msgspec.json.Decoder(ApartChunk).decode
decode_raw: Final = msgspec.json.Decoder(_RawChunk).decode
