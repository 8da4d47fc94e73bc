"""Classification of provider errors into failure kinds: real samples, with a status and inside a 200."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.worker.providers.errors.classify import failure_of_error_event, failure_of_status
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.errors.read_error import error_in
from services.worker.providers.errors.wire_errors import ProviderErrorEvent
from tests.unit.worker.providers.errors.samples import SAMPLES, Sample

NOW_UNIX_S = 1_790_000_000.0


def failure_of(status: int, body: Any, headers: dict[str, str] | None = None) -> ProviderFailure:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return failure_of_status(status, data, headers or {}, NOW_UNIX_S)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.kind}: {sample.source}")
def test_each_sample_is_classified_as_its_kind(sample: Sample) -> None:
    failure = failure_of(sample.status, sample.body)
    assert failure.kind == sample.kind, failure
    assert failure.error is not None
    assert sample.parameter in {None, failure.error.parameter}
    assert failure.error.status == failure.status == sample.status


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"error": {"code": 429, "message": "Rate limit exceeded"}}, "rate_limited"),
        ({"error": {"message": "x", "code": 429, "metadata": {"raw": "error code: 1015"}}}, "rate_limited"),
        ({"code": 429, "message": "slow down"}, "rate_limited"),
        ([{"error": {"code": 429, "message": "Resource exhausted", "status": "RESOURCE_EXHAUSTED"}}], "rate_limited"),
        ({"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}, "rate_limited"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "server_error"),
        ({"error": {"code": 502, "message": "bad gateway"}}, "server_error"),
        ({"error": {"code": 400, "message": "nonsense"}}, "refused"),
        ({"error": {"type": "invalid_request_error", "message": "nonsense"}}, "refused"),
        ({"error": {"code": "context_length_exceeded", "message": "x"}}, "context_length"),
        ({"object": "error", "message": "is longer than the model's context length", "code": 400}, "context_length"),
        ({"error": {"code": "insufficient_quota", "message": "x"}}, "budget_spent"),
        ({"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["hate"]}}}, "content_filter"),
        ({"error": {"code": "tool_use_failed", "message": "x"}}, "random_refusal"),
        ({"error": "something is wrong"}, "server_error"),
        ("something is wrong", "server_error"),
        ({"message": "something is wrong"}, "server_error"),
        ({"detail": "something is wrong"}, "server_error"),
    ],
)  # fmt: skip
def test_an_error_inside_a_200_is_classified_like_one_with_a_status(value: Any, kind: str) -> None:
    error = error_in(value)
    assert error is not None
    assert error.message
    assert failure_of_error_event(ProviderErrorEvent(error)).kind == kind


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            "",
            0,
            False,
            [],
            {},
            {"error": None},
            {"error": {}},
            {"error": ""},
            {"id": "x", "usage": {}},
        ),
        {"object": "chat.completion.chunk", "choices": []},
        {"choices": [{"index": 0, "delta": {"content": "x"}}], "error": None},
        {"type": "ping"},
        {"type": "message_start", "message": {"role": "assistant"}},
        {"message": {"role": "assistant", "content": "x"}, "done": True},
        {"code": 0, "message": "success"},
        {"status": "ok"},
    ],
)
def test_a_value_without_an_error_gives_none(value: Any) -> None:
    assert error_in(value) is None
