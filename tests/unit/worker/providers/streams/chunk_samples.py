"""Chunks of a chat stream, their choices, and finish reasons that report a failure."""

from __future__ import annotations

import json

__all__ = ["FAILURE_REASONS", "choice", "chunk"]

FAILURE_REASONS = (
    ("error", "server_error"),
    ("ERROR", "server_error"),
    ("network_error", "server_error"),
    ("network-error", "server_error"),
    ("abort", "server_error"),
    ("insufficient_system_resource", "server_error"),
    ("OTHER", "server_error"),
    ("TIMEOUT", "server_error"),
    ("MALFORMED_FUNCTION_CALL", "random_refusal"),
    ("function_call_filter: MALFORMED_FUNCTION_CALL", "random_refusal"),
    ("malformed_model_output", "random_refusal"),
)
"""As providers send them, with the kind of the failure."""


def chunk(*choices: object, **top: object) -> bytes:
    base = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
    }
    return json.dumps({**base, "choices": choices, **top}).encode()


def choice(
    delta: object, finish_reason: str | None = None, index: int = 0, **more: object
) -> dict[str, object]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason, **more}
