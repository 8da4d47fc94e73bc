"""Which messages of a conversation may be left out: the oldest turns, and nothing that would break it."""

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
    """As they were, in their order."""
    before: int
    """Messages beside instructions, before ..."""
    after: int
    """... and after."""


_decode_list: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_messages: Final = msgspec.json.Decoder(list[_Message]).decode


def trim(raw: bytes | Raw, at_most: int) -> Trimmed | None:
    """OpenAI `messages` with at most so many beside those of system and developer, which all stay.

    What stays begins with a message of the user and is the end of the conversation. The last turn stays whole, however
    long it is: its tool calls and their results belong together. None: nothing can be left out, or what it is cannot
    be told.
    """
    try:
        messages = _decode_messages(raw)
        parts = _decode_list(raw)
    except (ValueError, RecursionError):
        return None
    history = [index for index, message in enumerate(messages) if message.role not in _INSTRUCTIONS]
    if len(history) <= at_most:
        return None
    begin = _begin(messages, history, at_most)
    if begin is None or begin == history[0]:
        return None
    kept = [
        part for index, part in enumerate(parts) if index >= begin or messages[index].role in _INSTRUCTIONS
    ]
    return Trimmed(kept, len(history), sum(index >= begin for index in history))


def _begin(messages: Sequence[_Message], history: Sequence[int], at_most: int) -> int | None:
    """Where the kept end begins: the earliest turn that leaves at most so many, else the last turn."""
    said = [messages[index] for index in history]
    calls = _calls(said)
    found: int | None = None
    earliest = len(said)
    for place in reversed(range(len(said))):
        earliest = min(earliest, calls[place])
        if said[place].role != "user" or earliest < place:
            continue
        if found is not None and len(said) - place > at_most:
            break
        found = history[place]
    return found


def _calls(said: Sequence[_Message]) -> list[int]:
    """For each message the place of the call it is the result of: -1 where that is missing, its own if it is none."""
    places: dict[str | None, int] = {}
    found: list[int] = []
    for place, message in enumerate(said):
        if message.role == "tool":
            found.append(places.get(message.tool_call_id, -1))
        elif message.role == "function":
            found.append(place - 1 if place and said[place - 1].function_call is not None else -1)
        else:
            found.append(place)
        places.update((call.id, place) for call in message.tool_calls or ())
    return found
