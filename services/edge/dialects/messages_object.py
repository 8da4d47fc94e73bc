"""What whole and streamed answers of the Messages API have in common, and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from penstock.contract.reply import AnswerEnd, Usage, answer_end
from services.edge.dialects.dialect import AnswerError

__all__ = [
    "SIGNATURE",
    "error_object",
    "is_json_object",
    "made_up_id",
    "message_object",
    "stop_reason",
    "usage_object",
]

SIGNATURE: Final = "penstock"
"""The signature of thinking blocks. Claude Code discards a block without one; requests drop thinking blocks unread."""
_STOP_REASONS: Final[Mapping[AnswerEnd, str]] = {
    "output_limit": "max_tokens",
    "context_window": "model_context_window_exceeded",
    "content_filter": "refusal",
}
"""By the end of the answer. The API has no stop reason for an unknown end: each of the others asks the client to
continue or to repeat the request (platform.claude.com/docs/en/build-with-claude/handling-stop-reasons)."""
_ERROR_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""By status (platform.claude.com/docs/en/api/errors)."""
_TOO_LONG: Final = "prompt is too long"
"""Claude Code shortens the conversation when a message begins with this."""

_decode_object: Final = msgspec.json.Decoder(dict[str, Raw]).decode


def message_object(answer_id: str, model: str, usage: Usage) -> dict[str, Any]:
    """A message without content, as a stream begins."""
    return {
        "id": answer_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage_object(usage),
    }


def usage_object(usage: Usage) -> dict[str, Any]:
    """Anthropic counts the tokens from the cache apart from the other input tokens."""
    fields: dict[str, Any] = {
        "input_tokens": max(0, usage.input_tokens - usage.cached_input_tokens),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens:
        fields["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return fields


def stop_reason(finish_reason: str, *, calls_tools: bool, refused: bool) -> str:
    """Some providers end tool calls with `stop`, and some answers without any with `tool_calls`: an agent would not run
    the tools, or would have none to run.
    """
    if reason := _STOP_REASONS.get(answer_end(finish_reason)):
        return reason
    if refused:
        return "refusal"
    return "tool_use" if calls_tools else "end_turn"


def error_object(error: AnswerError, param: str | None = None) -> dict[str, Any]:
    """An error response, and the data of an `error` event. The SDK reads the code as `APIStatusError.error_code`."""
    message, status = error.message, error.status
    if param and not message.startswith(param):
        message = f"{param}: {message}"
    if error.code == "context_length_exceeded":
        message = f"{_TOO_LONG}: {message}"
    error_type = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    details: dict[str, Any] = {"error_code": error.code}
    if error.categories:
        details["categories"] = error.categories
    return {"type": "error", "error": {"type": error_type, "message": message, "details": details}}


def is_json_object(text: str) -> bool:
    try:
        _decode_object(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def made_up_id(answer_id: str, block_index: int) -> str:
    """The id of a tool call to which the provider gave none; the same whenever the answer is read."""
    return f"toolu_{answer_id.removeprefix('msg_')}_{block_index}"
