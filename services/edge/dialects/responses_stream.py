"""The streaming events of the Responses dialect.

An answer is a list of output items: reasoning, messages and function calls. Each is announced once, and has one index
and one id in all events. Text ends its item where another kind of content begins; function calls stay open until the
end, because providers may send pieces of several in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from penstock.contract.reply import Completed, Delta, Started
from services.edge.dialects.chat_choices import CallNumbers, Choice, ToolCall, choice_of_chunk
from services.edge.dialects.dialect import AnswerError, SseEvent, StreamWriter
from services.edge.dialects.responses_object import ResponseObject, Status, incomplete_details

__all__ = ["ResponsesStream"]

_encode: Final = msgspec.json.Encoder().encode


class _TextKind(Struct, frozen=True):
    """A kind of text: the type of its item and of its part, the key of its text, and what its events begin with."""

    item: str
    part: str
    key: str
    events: str


_TEXT: Final = _TextKind("message", "output_text", "text", "response.output_text")
_REFUSAL: Final = _TextKind("message", "refusal", "refusal", "response.refusal")
_REASONING: Final = _TextKind("reasoning", "reasoning_text", "text", "response.reasoning_text")
_ID_PREFIXES: Final = {"message": "msg", "reasoning": "rs", "function_call": "fc"}
_NEW_FIELDS: Final[Mapping[str, dict[str, Any]]] = {
    "message": {"role": "assistant"},
    "reasoning": {"summary": [], "encrypted_content": None},
}


class _Item(Struct):
    index: int
    fields: dict[str, Any]

    def place(self) -> dict[str, Any]:
        return {"item_id": self.fields["id"], "output_index": self.index}


class _OpenText(Struct):
    """The open part of a message or of reasoning."""

    kind: _TextKind
    item: _Item
    content_index: int
    texts: list[str] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    def place(self) -> dict[str, Any]:
        return {**self.item.place(), "content_index": self.content_index}

    def part(self) -> dict[str, Any]:
        part = {"type": self.kind.part, self.kind.key: "".join(self.texts)}
        return {**part, "annotations": [], "logprobs": self.logprobs} if self.kind is _TEXT else part


class _Call(Struct):
    """A function call. It is announced when its name is known."""

    provider_id: str
    item: _Item | None = None
    arguments: list[str] = field(default_factory=list)


class ResponsesStream(StreamWriter):
    """A whole answer is the final response of a stream of one piece."""

    def __init__(self, response: ResponseObject, model: str, *, background: bool) -> None:
        """`model` stands in the response until it is known which model answers. `background`: the response is announced
        while it is queued.
        """
        self._response = response
        self._background = background
        self._created = False
        self._model = model
        self._suffix = response.id.removeprefix("resp_")
        self._events: list[SseEvent] = []
        self._sequence_number = 0
        self._items: list[_Item] = []
        self._text: _OpenText | None = None
        self._call_numbers = CallNumbers()
        self._calls: list[_Call] = []
        self._call_ids: set[str] = set()
        self._logprobs: list[dict[str, Any]] = []
        """Those of the text that comes next."""

    def accept(self, model: str) -> list[SseEvent]:
        if not self._background:
            return []
        response = self._response.state("queued", model)
        self._created = True
        self._emit("response.created", response=response)
        self._emit("response.queued", response=response)
        return self._take_events()

    def begin(self, started: Started) -> list[SseEvent]:
        self._model = started.model
        response = self._response.state("in_progress", self._model)
        if not self._created:
            self._emit("response.created", response=response)
        self._emit("response.in_progress", response=response)
        return self._take_events()

    def delta(self, delta: Delta) -> list[SseEvent]:
        for raw in delta.choices:
            if (choice := choice_of_chunk(raw)) is not None:
                self.add(choice)
        if delta.text:
            self._add_text(_TEXT, delta.text)
        return self._take_events()

    def complete(self, completed: Completed) -> list[SseEvent]:
        response = self.finish(completed)
        self._emit(f"response.{response['status']}", response=response)
        return self._take_events()

    def fail(self, error: AnswerError) -> list[SseEvent]:
        self._emit("response.failed", response=self._response.state("failed", self._model, error=error))
        return self._take_events()

    def add(self, choice: Choice) -> None:
        """Add the next piece of the answer."""
        self._logprobs += choice.logprobs
        for kind, text in ((_REASONING, choice.reasoning), (_TEXT, choice.text), (_REFUSAL, choice.refusal)):
            if text:
                self._add_text(kind, text)
        for piece in choice.tool_calls:
            self._add_to_call(piece)

    def finish(self, completed: Completed) -> dict[str, Any]:
        """End every item. Returns the final response."""
        details = incomplete_details(completed.finish_reason)
        status: Status = "completed" if details is None else "incomplete"
        calls = [(call, call.item or self._open_call(call, "")) for call in self._calls]
        if status == "completed" and all(item.fields["type"] == "reasoning" for item in self._items):
            self._open_text(_TEXT)  # clients look for a message or a call even in an empty answer
        self._end_text(status)
        for call, item in calls:
            self._end_call(call, item, status)
        output = [item.fields for item in self._items]
        return self._response.state(status, completed.model, output=output, completed=completed)

    def _add_text(self, kind: _TextKind, text: str) -> None:
        open_text = self._text
        if open_text is None or open_text.kind is not kind:
            open_text = self._open_text(kind)
        open_text.texts.append(text)
        fields: dict[str, Any] = {"delta": text}
        if kind is _TEXT:
            fields["logprobs"] = self._take_logprobs(open_text)
        self._emit(f"{kind.events}.delta", **open_text.place(), **fields)

    def _take_logprobs(self, open_text: _OpenText) -> list[dict[str, Any]]:
        taken, self._logprobs = self._logprobs, []
        open_text.logprobs += taken
        return taken

    def _open_text(self, kind: _TextKind) -> _OpenText:
        before = self._text
        if before is not None and before.kind.item == kind.item:
            self._end_part(before)
            item = before.item
        else:
            self._end_text()
            item = self._open_item(kind.item, content=[], **_NEW_FIELDS[kind.item])
        self._text = opened = _OpenText(kind, item, len(item.fields["content"]))
        self._emit("response.content_part.added", **opened.place(), part=opened.part())
        return opened

    def _end_text(self, status: Status = "completed") -> None:
        if self._text is not None:
            self._end_part(self._text)
            self._end_item(self._text.item, status)
            self._text = None

    def _end_part(self, open_text: _OpenText) -> None:
        if open_text.kind is _TEXT:
            self._take_logprobs(open_text)
        part = open_text.part()
        fields = {name: part[name] for name in (open_text.kind.key, "logprobs") if name in part}
        self._emit(f"{open_text.kind.events}.done", **open_text.place(), **fields)
        self._emit("response.content_part.done", **open_text.place(), part=part)
        open_text.item.fields["content"].append(part)

    def _add_to_call(self, piece: ToolCall) -> None:
        number = self._call_numbers.of(piece)
        if number == len(self._calls):
            self._calls.append(_Call(piece.id))
        call = self._calls[number]
        call.provider_id = call.provider_id or piece.id
        call.arguments.append(piece.arguments)
        if call.item is not None:
            self._emit_arguments(call.item, piece.arguments)
        elif piece.name:
            self._open_call(call, piece.name)

    def _open_call(self, call: _Call, name: str) -> _Item:
        self._end_text()
        call_id = call.provider_id
        if not call_id or call_id in self._call_ids:  # a result must be able to name its call
            call_id = f"call_{self._suffix}_{len(self._items)}"
        self._call_ids.add(call_id)
        item = self._open_item("function_call", call_id=call_id, name=name, arguments="")
        call.item = item
        self._emit_arguments(item, "".join(call.arguments))
        return item

    def _end_call(self, call: _Call, item: _Item, status: Status) -> None:
        arguments = "".join(call.arguments)
        if not arguments and status == "completed":
            arguments = "{}"  # what OpenAI sends for a call without arguments: clients decode it
            self._emit_arguments(item, arguments)
        item.fields["arguments"] = arguments
        self._emit("response.function_call_arguments.done", **item.place(), arguments=arguments)
        self._end_item(item, status)

    def _emit_arguments(self, item: _Item, arguments: str) -> None:
        if arguments:
            self._emit("response.function_call_arguments.delta", **item.place(), delta=arguments)

    def _open_item(self, kind: str, **fields: Any) -> _Item:
        index = len(self._items)
        identity = {
            "id": f"{_ID_PREFIXES[kind]}_{self._suffix}_{index}",
            "type": kind,
            "status": "in_progress",
        }
        item = _Item(index, identity | fields)
        self._items.append(item)
        self._emit("response.output_item.added", output_index=index, item=item.fields)
        return item

    def _end_item(self, item: _Item, status: Status) -> None:
        """Only the last item can be incomplete: the limit ended it."""
        item.fields["status"] = status if item is self._items[-1] else "completed"
        self._emit("response.output_item.done", output_index=item.index, item=item.fields)

    def _emit(self, event: str, **fields: Any) -> None:
        data = _encode({"type": event, "sequence_number": self._sequence_number, **fields})
        self._sequence_number += 1
        self._events.append(SseEvent(data, event))

    def _take_events(self) -> list[SseEvent]:
        events, self._events = self._events, []
        return events
