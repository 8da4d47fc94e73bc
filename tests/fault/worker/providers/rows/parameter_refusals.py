"""Providers that refuse requests for a parameter, and the errors they send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.fault.worker.providers.rows.table import Both
from tests.fault.worker.providers.rows.wire import Answer, completion, delta, error, stream
from tests.harness.providers.scripted_provider import Call, Part

__all__ = ["HELLO", "Refusing", "extra_inputs", "openai_refusal"]

HELLO = Both(stream(delta("Hello world"), delta(None, "stop")), completion())


class Refusing:
    """A script that refuses each body for which `has` is true, and answers every other."""

    def __init__(self, refusal: Answer | Callable[[Mapping[str, Any]], Answer], has: Any) -> None:
        """`refusal`: the error, or a function that makes it from the body."""
        self._refusal = refusal
        self._has = has

    def __call__(self, call: Call) -> Iterable[Part]:
        if self._has(call.body):
            return self._refusal(call.body) if callable(self._refusal) else self._refusal
        return HELLO.streamed if call.body.get("stream") else HELLO.whole


def openai_refusal(message: str, param: str, code: str = "unsupported_parameter") -> Answer:
    return error(
        400, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}
    )


def extra_inputs(*names: str) -> list[dict[str, object]]:
    return [
        {
            "type": "extra_forbidden",
            "loc": ["body", name],
            "msg": "Extra inputs are not permitted",
            "input": 1,
        }
        for name in names
    ]
