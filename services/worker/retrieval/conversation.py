"""The texts of a chat-completions body that retrieval reads, and the body with further messages in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from penstock.contract.guard.places import ContentPlace
from services.worker.providers.raw_json import decode_fields, decode_list, encoded

__all__ = ["Conversation", "PlacedMessage", "read_conversation", "with_messages"]

_SYSTEM: Final = "system"
_INSTRUCTIONS: Final = frozenset((_SYSTEM, "developer"))
_TEXT_PARTS: Final = frozenset(("text", "input_text"))


class PlacedMessage(Struct, frozen=True):
    """A message to insert."""

    index: int
    """Its index in the messages with all that are inserted."""
    message: Raw
    documents: tuple[tuple[int, int, ContentPlace], ...]
    """Start and end in its content of each text that a document wrote, with its passage or turn."""


class Conversation(Struct, frozen=True):
    """What is read of a body."""

    instructions: int
    """Messages of the application with instructions, with which the body begins."""
    role: str
    """Their role, `system` if there are none: OpenAI's models accept no request with both `system` and `developer`."""
    questions: tuple[str, ...]
    """The texts of the user, the oldest first."""
    texts: tuple[str, ...]
    """The texts of the user and of the assistant."""


class _Message(Struct):
    role: str = ""
    content: Any = None


_decode_messages: Final = msgspec.json.Decoder(list[_Message]).decode


def read_conversation(body: Raw | bytes) -> Conversation:
    """Raises ValueError or RecursionError for a body without messages that can be read.

    Images, files and sounds are no text; tool calls and their results are no questions.
    """
    messages = _decode_messages(decode_fields(body).get("messages", Raw(b"[]")))
    instructions = 0
    for message in messages:
        if message.role not in _INSTRUCTIONS:
            break
        instructions += 1
    read = [(message.role, _text_of(message.content)) for message in messages]
    return Conversation(
        instructions,
        messages[0].role if instructions else _SYSTEM,
        tuple(text for role, text in read if role == "user" and text),
        tuple(text for role, text in read if role in {"user", "assistant"} and text),
    )


def with_messages(body: Raw, placed: Sequence[PlacedMessage]) -> Raw:
    """The body with the messages inserted; all others keep their bytes. Raises as `read_conversation`."""
    fields = decode_fields(body)
    messages = decode_list(fields["messages"])
    for each in placed:
        messages.insert(each.index, each.message)
    fields["messages"] = encoded(messages)
    return encoded(fields)


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content.strip()
    parts = content if isinstance(content, list) else []
    texts = (
        part["text"]
        for part in parts
        if isinstance(part, dict) and part.get("type") in _TEXT_PARTS and isinstance(part.get("text"), str)
    )
    return "\n".join(texts).strip()
