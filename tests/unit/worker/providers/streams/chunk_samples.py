"""Chunks of a chat stream and their choices."""

from __future__ import annotations

import json

__all__ = ["choice", "chunk"]


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
