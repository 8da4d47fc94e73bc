"""The input items of a Responses request, as the messages of a chat.

Items of the assistant that follow each other become one message with text and tool calls, and each result of a call
follows the message that has the call: chat providers demand both, and applications write items in any order.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from services.edge.dialects.dialect import InvalidField
from services.edge.dialects.request_json import decode, given

__all__ = ["chat_messages"]

_ROLES: Final = ("user", "assistant", "system", "developer")
_TEXT_TYPES: Final = ("input_text", "output_text")

_Content = str | list[Raw]


class _Item(Struct):
    type: str | None = None
    role: str | None = None


class _Message(Struct):
    role: str
    content: _Content


class _FunctionCall(Struct):
    call_id: str
    name: str
    arguments: str


class _FunctionCallOutput(Struct):
    call_id: str
    output: _Content


class _Part(Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_data: str | None = None
    filename: str | None = None


class _Turn(Struct):
    """A chat message, and the results of its tool calls."""

    message: dict[str, Any]
    results: list[dict[str, Any]] = msgspec.field(default_factory=list)


_ITEM: Final = msgspec.json.Decoder(_Item)
_MESSAGE: Final = msgspec.json.Decoder(_Message)
_CALL: Final = msgspec.json.Decoder(_FunctionCall)
_OUTPUT: Final = msgspec.json.Decoder(_FunctionCallOutput)
_PART: Final = msgspec.json.Decoder(_Part)


def chat_messages(instructions: str | None, items: str | list[Raw]) -> list[dict[str, Any]]:
    """The messages for `instructions` and `input`. Raises InvalidField."""
    conversation = _Conversation()
    if instructions:
        conversation.add_message("system", instructions)
    if isinstance(items, str):
        conversation.add_message("user", items)
    else:
        for index, raw in enumerate(items):
            _add_item(conversation, raw, f"input[{index}]")
    messages = conversation.messages()
    if not messages:
        raise InvalidField("input", "input is empty: write a text or at least one item")
    return messages


def _add_item(conversation: _Conversation, raw: Raw, field: str) -> None:
    item = decode(_ITEM, raw, field)
    match item.type or ("message" if item.role else ""):
        case "message":
            message = decode(_MESSAGE, raw, field)
            if message.role not in _ROLES:
                raise InvalidField(f"{field}.role", f"{field}.role must be one of {', '.join(_ROLES)}")
            content = _content(message.content, message.role, f"{field}.content")
            conversation.add_message(message.role, content)
        case "function_call":
            conversation.add_call(decode(_CALL, raw, field), field)
        case "function_call_output":
            output = decode(_OUTPUT, raw, field)
            conversation.add_result(output.call_id, _content(output.output, "tool", f"{field}.output"), field)
        case "reasoning":
            pass  # chat messages carry no reasoning of earlier turns
        case kind:
            raise InvalidField(
                f"{field}.type",
                f"{field}.type must be message, function_call, function_call_output or reasoning"
                + (f", not {kind[:40]}" if kind else ""),
            )


def _content(content: _Content, role: str, field: str) -> str | list[dict[str, Any]]:
    """Content of one text is sent as text, which every provider takes in every role."""
    if isinstance(content, str):
        return content
    parts = [_part(raw, role, f"{field}[{index}]") for index, raw in enumerate(content)]
    if role == "assistant":
        return "".join(part["text"] for part in parts)
    if not parts:
        raise InvalidField(field, f"{field} is empty: write a text or at least one part")
    return parts[0]["text"] if len(parts) == 1 and "text" in parts[0] else parts


def _part(raw: Raw, role: str, field: str) -> dict[str, Any]:
    part = decode(_PART, raw, field)
    if part.type in _TEXT_TYPES:
        return {"type": "text", "text": _required(part.text, f"{field}.text", "a text")}
    if part.type == "refusal" and role == "assistant":
        return {"type": "text", "text": _required(part.refusal, f"{field}.refusal", "a text")}
    if part.type == "input_image" and role == "user":
        url = _required(part.image_url, f"{field}.image_url", "a URL or a data URL")
        return {"type": "image_url", "image_url": given(url=url, detail=part.detail)}
    if part.type == "input_file" and role == "user":
        data = _required(part.file_data, f"{field}.file_data", "a data URL")
        return {"type": "file", "file": given(file_data=data, filename=part.filename)}
    allowed = {
        "user": "input_text, input_image or input_file",
        "assistant": "output_text or refusal",
    }.get(role, "input_text")
    raise InvalidField(f"{field}.type", f"{field}.type must be {allowed} here, not {part.type[:40]}")


def _required(value: str | None, field: str, what: str) -> str:
    """Images and files are part of the request: the edge has no files, which a `file_id` would name."""
    if value is None:
        raise InvalidField(field, f"{field} is missing: write {what}")
    return value


class _Conversation:
    def __init__(self) -> None:
        self._turns: list[_Turn] = []
        self._assistant: _Turn | None = None
        """The last turn, if it is the assistant's and without results: further items of the assistant join it."""
        self._unanswered: dict[str, tuple[_Turn, str]] = {}
        """The turn and the field of each call without a result, by its call id."""

    def add_message(self, role: str, content: str | list[dict[str, Any]]) -> None:
        if role == "assistant":
            self._add_answer(str(content))
            return
        self._turns.append(_Turn({"role": role, "content": content}))
        self._assistant = None

    def _add_answer(self, text: str) -> None:
        turn = self._assistant
        if turn is not None and "tool_calls" in turn.message:
            before = turn.message["content"]
            turn.message["content"] = f"{before}\n\n{text}" if before and text else before or text or None
        elif text:
            self._assistant = _Turn({"role": "assistant", "content": text})
            self._turns.append(self._assistant)

    def add_call(self, call: _FunctionCall, field: str) -> None:
        if call.call_id in self._unanswered:
            raise InvalidField(
                f"{field}.call_id", f"{field}.call_id is that of an earlier call without a result"
            )
        if self._assistant is None:
            self._assistant = _Turn({"role": "assistant", "content": None})
            self._turns.append(self._assistant)
        function = {"name": call.name, "arguments": call.arguments}
        calls = self._assistant.message.setdefault("tool_calls", [])
        calls.append({"id": call.call_id, "type": "function", "function": function})
        self._unanswered[call.call_id] = self._assistant, field

    def add_result(self, call_id: str, content: str | list[dict[str, Any]], field: str) -> None:
        if call_id not in self._unanswered:
            raise InvalidField(
                f"{field}.call_id", f"{field}.call_id must be that of a function_call before it"
            )
        turn, _ = self._unanswered.pop(call_id)
        turn.results.append({"role": "tool", "tool_call_id": call_id, "content": content})
        if turn is self._assistant:
            self._assistant = None

    def messages(self) -> list[dict[str, Any]]:
        """Raises InvalidField for a call without a result."""
        for _, field in self._unanswered.values():
            raise InvalidField(field, f"{field} has no result: add a function_call_output with its call_id")
        return [message for turn in self._turns for message in (turn.message, *turn.results)]
