"""F2: output that the provider did not count is estimated from what the model wrote, not from the JSON around it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from services.worker.providers.streams.choices import content_bytes


@pytest.mark.parametrize(
    ("delta", "beside", "written"),
    [
        ({"content": "Hello"}, {}, 5),
        ({"reasoning_content": "hm, ж"}, {}, 6),
        ({"role": "assistant"}, {"x_score": 0.5, "mood": "calm", "index": 1}, 0),
        ({"reasoning": "why", "reasoning_details": [{"type": "reasoning.text", "text": "why"}]}, {}, 3),
        ({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}]}, {}, 3),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}]}, {}, 2),
        (None, {"content_filter_results": {"hate": {"filtered": False}}}, 0),
    ],
)
def test_only_text_that_the_model_wrote_counts(delta: Any, beside: dict[str, Any], written: int) -> None:
    assert content_bytes(Raw(json.dumps({"delta": delta, **beside}).encode())) == written


@pytest.mark.parametrize("odd", [b"7", b"[]", b'{"delta": 7}', b'{"delta": {"content": 7}}'])
def test_an_invalid_choice_counts_as_0_bytes(odd: bytes) -> None:
    assert content_bytes(Raw(odd)) == 0
