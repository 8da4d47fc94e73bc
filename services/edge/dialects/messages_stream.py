"""The events of a streamed answer of the Messages API.

Content blocks follow each other: each one ends before the next one starts, as at Anthropic. Chat completions may mix
the fragments of parallel tool calls, so a block waits until the blocks before it are complete.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Literal

import msgspec

from penstock.contract.reply import Completed, Delta, Started, Usage
from services.edge.dialects.chat_choices import CallNumbers, Choice, ToolCall, choice_of_chunk
from services.edge.dialects.dialect import AnswerError, ChatCall, SseEvent, retrieval_fields
from services.edge.dialects.input_tokens import estimate_input_tokens
from services.edge.dialects.messages_object import (
    SIGNATURE,
    error_object,
    is_json_object,
    made_up_id,
    message_object,
    stop_reason,
    usage_object,
)
from services.edge.dialects.messages_request import shows_thinking

__all__ = ["PING", "MessagesStream"]

PING: Final = SseEvent(b'{"type":"ping"}', "ping")
"""Keeps a silent stream alive, at any place. Claude Code gives up after 15 seconds that bring nothing but comments."""

_Kind = Literal["text", "thinking", "tool_use"]
_DELTAS: Final = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}
"""Type and field of a delta, by the kind of its block."""

_encode: Final = msgspec.json.Encoder().encode


class _Block:
    """One content block: what was received of it and not sent yet, and of a tool call all arguments."""

    __slots__ = ("_arguments", "_unsent", "id", "index", "kind", "name")

    def __init__(self, kind: _Kind) -> None:
        self.kind = kind
        self.id = self.name = ""
        self.index: int | None = None
        """Set when the block starts."""
        self._arguments: list[str] = []
        self._unsent: list[str] = []

    def add(self, fragment: str) -> None:
        if fragment:
            self._unsent.append(fragment)
            if self.kind == "tool_use":
                self._arguments.append(fragment)

    def take(self) -> str:
        """What was added since the last call."""
        fragment = "".join(self._unsent)
        self._unsent.clear()
        return fragment

    @property
    def can_start(self) -> bool:
        """The start of a tool call names its id and its tool; a provider without ids sends none before arguments."""
        return self.kind != "tool_use" or bool(self.name and (self.id or self._arguments))

    @property
    def lacks_arguments(self) -> bool:
        return self.kind == "tool_use" and not self._arguments

    @property
    def is_complete(self) -> bool:
        """Asked once a later block exists: then text does not grow any more, and arguments until they are JSON."""
        return self.index is not None and (
            self.kind != "tool_use" or is_json_object("".join(self._arguments))
        )


class MessagesStream:
    """A StreamWriter."""

    def __init__(self, answer_id: str, call: ChatCall) -> None:
        self._answer_id = answer_id
        self._call = call
        self._shows_thinking = shows_thinking(call.body)
        self._blocks: deque[_Block] = deque()
        """The open block, or the next one, and those that wait for it."""
        self._held = False
        """The open block was incomplete when the next one came: its fragments may be mixed with those of others."""
        self._call_numbers = CallNumbers()
        self._calls: list[_Block] = []
        self._started = 0
        self._calls_tools = False
        self._refused = False

    def accept(self, model: str) -> list[SseEvent]:  # noqa: ARG002 - the signature is StreamWriter's
        return []

    def begin(self, started: Started) -> list[SseEvent]:
        # Usage is known at the end only; Claude Code shows the size of the context from this estimate until then.
        usage = Usage(input_tokens=estimate_input_tokens(self._call.body))
        return [_event("message_start", message=message_object(self._answer_id, started.model, usage))]

    def delta(self, delta: Delta) -> list[SseEvent]:
        for choice in delta.choices:
            if (content := choice_of_chunk(choice)) is not None:
                self._add(content)
        self._add_text("text", delta.text)
        return self._send()

    def complete(self, completed: Completed) -> list[SseEvent]:
        events = self._send(at_end=True)
        reason = stop_reason(completed.finish_reason, calls_tools=self._calls_tools, refused=self._refused)
        end = {"stop_reason": reason, "stop_sequence": None}
        usage, own = usage_object(completed.usage), retrieval_fields(completed)
        events.append(_event("message_delta", delta=end, usage=usage, **own))
        events.append(_event("message_stop"))
        return events

    def fail(self, error: AnswerError) -> list[SseEvent]:
        return [SseEvent(_encode(error_object(error)), "error")]

    def _add(self, content: Choice) -> None:
        if self._shows_thinking:
            self._add_text("thinking", content.reasoning)
        self._add_text("text", content.text)
        self._add_text("text", content.refusal)
        self._refused = self._refused or bool(content.refusal)
        for part in content.tool_calls:
            self._add_call(part)

    def _add_text(self, kind: _Kind, text: str) -> None:
        if text:
            if not self._blocks or self._blocks[-1].kind != kind:
                self._blocks.append(_Block(kind))
            self._blocks[-1].add(text)

    def _add_call(self, part: ToolCall) -> None:
        number = self._call_numbers.of(part)
        if number == len(self._calls):
            self._calls.append(_Block("tool_use"))
            self._blocks.append(self._calls[number])
        block = self._calls[number]
        block.id = block.id or part.id
        block.name = block.name or part.name
        block.add(part.arguments)

    def _send(self, *, at_end: bool = False) -> list[SseEvent]:
        """The events of the open block, and of the next ones as far as the blocks before them are complete."""
        events: list[SseEvent] = []
        while self._blocks:
            block = self._blocks[0]
            if block.can_start or (at_end and block.name):
                events += self._grow(block)
            if not at_end and not self._may_end(block):
                break
            events += _stop(block)
            self._blocks.popleft()
        return events

    def _may_end(self, block: _Block) -> bool:
        if len(self._blocks) == 1 or self._held:
            return False
        self._held = not block.is_complete
        return not self._held

    def _grow(self, block: _Block) -> list[SseEvent]:
        events: list[SseEvent] = []
        if block.index is None:
            block.index = self._started
            events.append(_event("content_block_start", index=block.index, content_block=self._start(block)))
            self._started += 1
        if fragment := block.take():
            events.append(_delta(block, fragment))
        return events

    def _start(self, block: _Block) -> dict[str, Any]:
        if block.kind == "text":
            return {"type": "text", "text": ""}
        if block.kind == "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        self._calls_tools = True
        block_id = block.id or made_up_id(self._answer_id, self._started)
        return {"type": "tool_use", "id": block_id, "name": block.name, "input": {}}


def _stop(block: _Block) -> list[SseEvent]:
    if block.index is None:
        return []  # a tool call without a name
    events = []
    if block.kind == "thinking":
        signature = {"type": "signature_delta", "signature": SIGNATURE}
        events.append(_event("content_block_delta", index=block.index, delta=signature))
    elif block.lacks_arguments:
        events.append(_delta(block, "{}"))  # clients parse what the deltas add up to
    events.append(_event("content_block_stop", index=block.index))
    return events


def _delta(block: _Block, fragment: str) -> SseEvent:
    kind, field = _DELTAS[block.kind]
    return _event("content_block_delta", index=block.index, delta={"type": kind, field: fragment})


def _event(event_type: str, **fields: Any) -> SseEvent:
    return SseEvent(_encode({"type": event_type, **fields}), event_type)
