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
    turns = [
        (index, len(history) - place)
        for place, index in enumerate(history)
        if messages[index].role == "user" and _complete([messages[each] for each in history[place:]])
    ]
    fitting = (index for index, length in turns if length <= at_most)
    return next(fitting, turns[-1][0] if turns else None)


def _complete(messages: Sequence[_Message]) -> bool:
    """Whether each result of a tool stands behind its call."""
    called: set[str] = set()
    for before, message in zip([None, *messages], messages, strict=False):
        called.update(call.id for call in message.tool_calls or ())
        if message.role == "tool" and message.tool_call_id not in called:
            return False
        if message.role == "function" and (before is None or before.function_call is None):
            return False
    return True
