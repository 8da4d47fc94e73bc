"""Reduces a request body to a shorter answer or less history (D5); the body stays valid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from penstock.contract.reply import Degraded
from penstock.contract.work import ChatWork
from services.worker.providers.raw_json import decode_fields, decode_list, encoded

__all__ = ["BodyShape", "RequestSize", "Shortener", "Shortening", "Trimmed", "cut_limit", "shape_of", "trim"]

_OUTPUT_LIMITS: Final = ("max_tokens", "max_completion_tokens")
_NOTHING: Final = (Raw(b"null"), Raw(b"[]"))
_decode_whole_number: Final = msgspec.json.Decoder(int).decode
_INSTRUCTIONS: Final = ("system", "developer")


class Shortening(Struct, frozen=True, kw_only=True):
    """The reductions to apply and their reasons; none by default."""

    cut: float = 0.0
    """Share by which the output limit is reduced."""
    floor_tokens: int = 0
    default_tokens: int = 0
    """Output limit of a request that sets none (0: unlimited). No limit is cut below the reduced value of this one."""
    cut_why: str = ""
    messages: int | None = None
    trim_why: str = ""

    @property
    def empty(self) -> bool:
        return self.cut == 0 and self.messages is None


class BodyShape(Struct, frozen=True):
    """How much a body can be reduced, for the quota estimate."""

    may_cut: bool
    kept_share: float
    """Share of the bytes of its messages that remain after trimming the history."""


class RequestSize(Struct):
    """The estimated size of a request, before any shortening."""

    work: ChatWork
    input_tokens: int
    """Before the calibration per model."""
    output_tokens: int
    """The most that the answer may have, as far as the quota is concerned."""
    shape: BodyShape | None = None
    """What of the body can be shortened; read when that is needed for the first time."""


class _Format(Struct):
    type: str = "text"


_decode_format: Final = msgspec.json.Decoder(_Format).decode


class Shortener:
    """Applies a shortening to the fields of one body and lists the changes."""

    def __init__(self, shortening: Shortening) -> None:
        self._shortening = shortening
        self.degraded: list[Degraded] = []

    def apply(self, fields: dict[str, Raw]) -> None:
        if self._shortening.cut > 0 and _may_cut(fields):
            for name in _OUTPUT_LIMITS:
                self._cut(fields, name)
        if self._shortening.messages is not None:
            self._trim(fields, self._shortening.messages)

    def _cut(self, fields: dict[str, Raw], name: str) -> None:
        try:
            before = _decode_whole_number(fields.get(name, _NOTHING[0]))
        except ValueError:
            return
        after = cut_limit(before, self._shortening)
        if after == before:
            return
        fields[name] = encoded(after)
        self.degraded.append(
            Degraded(
                rule="high_latency",
                what="max_tokens",
                before=before,
                after=after,
                why=self._shortening.cut_why,
            )
        )

    def _trim(self, fields: dict[str, Raw], at_most: int) -> None:
        trimmed = trim(fields.get("messages", _NOTHING[1]), at_most)
        if trimmed is None:
            return
        fields["messages"] = encoded(trimmed.messages)
        self.degraded.append(
            Degraded(
                rule="errors",
                what="messages",
                before=trimmed.before,
                after=trimmed.after,
                why=self._shortening.trim_why,
            )
        )


def cut_limit(requested: int, shortening: Shortening) -> int:
    """The reduced output limit: not below the floor, nor below that of a request that sets no limit."""
    keep = 1 - shortening.cut
    return min(
        requested, max(shortening.floor_tokens, int(requested * keep), int(shortening.default_tokens * keep))
    )


def shape_of(body: Raw, at_most: int | None) -> BodyShape:
    """How much `body` can be reduced; `at_most`: messages of history to keep. An unreadable body is not reduced."""
    try:
        fields = decode_fields(body)
    except (ValueError, RecursionError):
        return BodyShape(may_cut=False, kept_share=1.0)
    messages = fields.get("messages", _NOTHING[1])
    trimmed = None if at_most is None else trim(messages, at_most)
    share = 1.0 if trimmed is None else sum(map(_size, trimmed.messages)) / max(1, _size(messages))
    return BodyShape(may_cut=_may_cut(fields), kept_share=min(1.0, share))


def _may_cut(fields: dict[str, Raw]) -> bool:
    """False for JSON objects and tool arguments, which are useless when truncated."""
    if any(fields.get(name, _NOTHING[0]) not in _NOTHING for name in ("tools", "functions")):
        return False
    response_format = fields.get("response_format", _NOTHING[0])
    try:
        return response_format in _NOTHING or _decode_format(response_format).type == "text"
    except ValueError:
        return False


def _size(raw: Raw) -> int:
    return len(memoryview(raw))


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


_decode_messages: Final = msgspec.json.Decoder(list[_Message]).decode


def trim(raw: bytes | Raw, at_most: int) -> Trimmed | None:
    """OpenAI `messages` trimmed to `at_most` messages; system and developer messages all stay and do not count.

    The rest is the end of the conversation and begins with a user message. The last turn stays whole whatever its
    length, because its tool calls and their results belong together. None: nothing can be removed, or the messages
    cannot be decoded.
    """
    try:
        messages = _decode_messages(raw)
        parts = decode_list(raw)
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
