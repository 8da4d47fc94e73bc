"""Removes the oldest turns of a conversation without breaking it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

__all__ = ["Trimmed", "trim"]

_INSTRUCTIONS: Final = ("system", "developer")


class _Call(Struct):
    id: str = ""


class _Message(Struct):
    role: str
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    function_call: Raw | None = None


class Trimmed(Struct, frozen=True):
    messages: list[Raw]
    """The remaining messages, unchanged and in order."""
    before: int
    """Number of messages other than instructions before trimming."""
    after: int
    """Number of messages other than instructions after trimming."""


_decode_list: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_messages: Final = msgspec.json.Decoder(list[_Message]).decode


def trim(raw: bytes | Raw, at_most: int) -> Trimmed | None:
    """OpenAI `messages` trimmed to `at_most` messages; system and developer messages all stay and do not count.

    The rest is the end of the conversation and begins with a user message. The last turn stays whole whatever its
    length, because its tool calls and their results belong together. None: nothing can be removed, or the messages
    cannot be decoded.
    """
    try:
        messages = _decode_messages(raw)
        parts = _decode_list(raw)
    except (ValueError, RecursionError):
        return None
    history = [index for index, message in enumerate(messages) if message.role not in _INSTRUCTIONS]
    if len(history) <= at_most:
        return None
    start = _start(messages, history, at_most)
    if start is None or start == history[0]:
        return None
    kept = [
        part for index, part in enumerate(parts) if index >= start or messages[index].role in _INSTRUCTIONS
    ]
    return Trimmed(kept, len(history), sum(index >= start for index in history))


def _start(messages: Sequence[_Message], history: Sequence[int], at_most: int) -> int | None:
    """Index of the first kept message: the earliest turn that leaves `at_most` messages, else the last turn."""
    turns = [messages[index] for index in history]
    calls = _calls(turns)
    found: int | None = None
    earliest = len(turns)
    for index in reversed(range(len(turns))):
        earliest = min(earliest, calls[index])
        if turns[index].role != "user" or earliest < index:
            continue
        if found is not None and len(turns) - index > at_most:
            break
        found = history[index]
    return found


def _calls(turns: Sequence[_Message]) -> list[int]:
    """For each tool result the index of its call (-1 if missing); for every other message its own index."""
    call_index: dict[str | None, int] = {}
    found: list[int] = []
    for index, message in enumerate(turns):
        if message.role == "tool":
            found.append(call_index.get(message.tool_call_id, -1))
        elif message.role == "function":
            found.append(index - 1 if index and turns[index - 1].function_call is not None else -1)
        else:
            found.append(index)
        call_index.update((call.id, index) for call in message.tool_calls or ())
    return found
