"""The text of an answer that was not streamed."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

__all__ = ["TEXT_CHARACTERS", "answer_text"]

TEXT_CHARACTERS: Final = 1024 * 1024
"""Characters of an answer in which citations are looked for."""


class _Message(Struct):
    content: Any = None


class _Choice(Struct):
    index: int = 0
    message: _Message | None = None


class _Answer(Struct):
    choices: list[_Choice] = []


_decode: Final = msgspec.json.Decoder(_Answer).decode


def answer_text(response: Raw) -> str:
    """The content of choice 0; empty where there is none, as in an answer that only calls tools."""
    try:
        choices = _decode(response).choices
    except (ValueError, RecursionError):
        return ""
    message = next((each.message for each in choices if each.index == 0), None)
    content = None if message is None else message.content
    parts = content if isinstance(content, list) else [content]
    return "".join(filter(None, map(_text_of, parts)))[:TEXT_CHARACTERS]


def _text_of(part: object) -> str:
    if isinstance(part, dict) and part.get("type", "text") == "text":
        part = part.get("text")
    return part if isinstance(part, str) else ""
