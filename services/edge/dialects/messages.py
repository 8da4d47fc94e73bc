"""The dialect of Anthropic's Messages API: `POST /v1/messages` and `/v1/messages/count_tokens`."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

from penstock.contract.reply import Completed
from services.edge.dialects.chat_choices import Choice, choice_of_completion
from services.edge.dialects.dialect import AnswerError, ChatCall, retrieval_fields
from services.edge.dialects.input_tokens import estimate_input_tokens
from services.edge.dialects.messages_object import (
    SIGNATURE,
    error_object,
    is_json_object,
    made_up_id,
    message_object,
    stop_reason,
)
from services.edge.dialects.messages_request import read_call, read_counted, shows_thinking
from services.edge.dialects.messages_stream import MessagesStream

__all__ = ["MessagesDialect", "count_tokens"]

_INVALID_INPUT: Final = "INVALID_JSON"
"""Key of the arguments of a tool call that are not a JSON object, as `input` must be: an answer at its token limit may
end inside them. Anthropic's page "Fine-grained tool streaming" wraps them like this."""


_encode: Final = msgspec.json.Encoder().encode


class MessagesDialect:
    """A Dialect."""

    def read(self, body: bytes) -> ChatCall:
        return read_call(body)

    def whole(
        self,
        answer_id: str,
        created_s: int,  # noqa: ARG002 - a message has no time
        call: ChatCall,
        completed: Completed,
    ) -> bytes:
        choice = choice_of_completion(completed.response)
        message = message_object(answer_id, completed.model, completed.usage)
        message["content"] = blocks = _blocks(answer_id, choice, with_thinking=shows_thinking(call.body))
        message["stop_reason"] = stop_reason(
            completed.finish_reason,
            calls_tools=any(block["type"] == "tool_use" for block in blocks),
            refused=bool(choice.refusal),
        )
        return _encode(message | retrieval_fields(completed))

    def stream(self, answer_id: str, created_s: int, call: ChatCall) -> MessagesStream:  # noqa: ARG002
        return MessagesStream(answer_id, call)

    def error(self, error: AnswerError, param: str | None = None) -> bytes:
        return _encode(error_object(error, param))


def count_tokens(body: bytes) -> bytes:
    """The answer of `/v1/messages/count_tokens`: an estimate. Raises InvalidField."""
    return _encode({"input_tokens": estimate_input_tokens(read_counted(body))})


def _blocks(answer_id: str, choice: Choice, *, with_thinking: bool) -> list[dict[str, Any]]:
    """No block is empty: an answer without content has no blocks."""
    blocks: list[dict[str, Any]] = []
    if with_thinking and choice.reasoning:
        blocks.append({"type": "thinking", "thinking": choice.reasoning, "signature": SIGNATURE})
    if text := choice.text + choice.refusal:
        blocks.append({"type": "text", "text": text})
    for call in choice.tool_calls:
        if call.name:
            call_id = call.id or made_up_id(answer_id, len(blocks))
            blocks.append(
                {"type": "tool_use", "id": call_id, "name": call.name, "input": _input(call.arguments)}
            )
    return blocks


def _input(arguments: str) -> Raw | dict[str, str]:
    if not arguments:
        return {}
    return Raw(arguments.encode()) if is_json_object(arguments) else {_INVALID_INPUT: arguments}
