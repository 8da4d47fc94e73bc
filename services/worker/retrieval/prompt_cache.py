"""The end of the prefix that all requests have in common, for providers that cache only what is marked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Raw, Struct

from services.worker.providers.raw_json import decode_list, encoded

__all__ = ["marking"]

_MARK: Final = {"type": "ephemeral"}
"""OpenRouter, "Prompt Caching": on a content part, as in Anthropic's Messages API."""
_MESSAGES: Final = "messages"


class _Message(Struct):
    role: str
    content: str


_decode_message: Final = msgspec.json.Decoder(_Message).decode


def marking(change: Callable[[dict[str, Raw]], None] | None) -> Callable[[dict[str, Raw]], None]:
    """`change`, and then the mark on the first message of the body, which holds the whole collection."""

    def changed(fields: dict[str, Raw]) -> None:
        if change is not None:
            change(fields)
        messages = decode_list(fields[_MESSAGES])
        first = _decode_message(messages[0])
        part = {"type": "text", "text": first.content, "cache_control": _MARK}
        messages[0] = encoded({"role": first.role, "content": [part]})
        fields[_MESSAGES] = encoded(messages)

    return changed
