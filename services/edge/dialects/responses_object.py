"""The `response` object: the body of a whole answer, and a part of the first and the last events of a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Raw, Struct

from penstock.contract.reply import AnswerEnd, Completed, Usage, answer_end
from services.edge.dialects.dialect import AnswerError, retrieval_fields

__all__ = ["REPEATED", "ResponseObject", "Status", "incomplete_details"]

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]

REPEATED: Final[Mapping[str, Any]] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": None,
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""The fields of a request that its response repeats, with the values of absent ones."""

_INCOMPLETE: Final[Mapping[AnswerEnd, Mapping[str, str]]] = {
    "output_limit": {"reason": "max_output_tokens"},
    "context_window": {"reason": "max_output_tokens"},
    "content_filter": {"reason": "content_filter"},
    "unknown": {},
}
"""`incomplete_details` by the end of the answer. Its `reason` is optional, and has no other value for an answer."""
_ERROR_CODES: Final[Mapping[str, str]] = {
    "invalid_request": "invalid_prompt",
    "context_length_exceeded": "invalid_prompt",
    "content_filtered": "invalid_prompt",
    "provider_refused": "invalid_prompt",
    "blocked": "invalid_prompt",
    "overloaded": "rate_limit_exceeded",
    "rate_limited": "rate_limit_exceeded",
    "budget_exceeded": "rate_limit_exceeded",
}
"""Codes of OpenAI's closed list, which strict clients check; any other failure is a `server_error`."""


def incomplete_details(finish_reason: str) -> Mapping[str, str] | None:
    """None: the answer is complete."""
    return _INCOMPLETE.get(answer_end(finish_reason))


class ResponseObject(Struct, frozen=True, kw_only=True):
    """What is the same in every state of one response."""

    id: str
    created_s: int
    repeated: Mapping[str, Raw]
    """The fields of the request to repeat, as received."""

    def state(
        self,
        status: Status,
        model: str,
        *,
        output: Sequence[Mapping[str, Any]] = (),
        completed: Completed | None = None,
        error: AnswerError | None = None,
    ) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_s,
            "completed_at": self.created_s + round(completed.timings.total_ms / 1000) if completed else None,
            "status": status,
            "error": _error(error) if error else None,
            "incomplete_details": incomplete_details(completed.finish_reason) if completed else None,
            "model": model,
            "output": output,
            "previous_response_id": None,
            "usage": _usage(completed.usage) if completed else None,
            **REPEATED,
            **self.repeated,
            **(retrieval_fields(completed) if completed else {}),
        }


def _error(error: AnswerError) -> dict[str, Any]:
    code = _ERROR_CODES.get(error.code, "server_error")
    fields: dict[str, Any] = {"code": code, "message": error.message, "type": error.code}
    if error.categories:
        fields["categories"] = error.categories
    return fields


def _usage(usage: Usage) -> dict[str, Any]:
    """No count is null: Codex ends the whole turn with an error then."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_input_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
