"""The openai SDK: also for every endpoint that speaks OpenAI's API (Gemini, Claude, vLLM, Ollama, ours)."""

from __future__ import annotations

import time
from typing import Final

import httpx2
from openai import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncOpenAI,
    AsyncStream,
    DefaultAioHttpClient,
)

from services.worker.failures import ProviderFailure
from services.worker.ratelimit_headers import parse
from services.worker.sdk import SdkKind
from services.worker.status_errors import failure_of_status

__all__ = ["OPENAI"]

_CONNECT_S: Final = 5.0


def _make_client(base_url: str | None, key: str) -> AsyncOpenAI:
    """No time limit but the one for connecting: the others are the ladder's."""
    timeout = httpx2.Timeout(None, connect=_CONNECT_S)
    return AsyncOpenAI(
        api_key=key,
        base_url=base_url,
        max_retries=0,
        timeout=timeout,
        http_client=DefaultAioHttpClient(timeout=timeout),
    )


def _translate(error: Exception) -> ProviderFailure:
    match error:
        case ProviderFailure():
            return error
        case APIStatusError(response=response):
            hint = parse(response.headers, "openai", now_unix_s=time.time()).retry_after_s
            return failure_of_status(response.status_code, response.content, hint)
        case APITimeoutError() | httpx2.TimeoutException():
            return ProviderFailure("connection", f"timed out: {_cause(error)}")
        case _:
            return ProviderFailure("connection", f"the connection broke: {_cause(error)}")


def _cause(error: BaseException) -> str:
    while isinstance(error, APIConnectionError) and error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__} {error}".strip()


OPENAI: Final = SdkKind("openai", _make_client, httpx2.Response, AsyncStream, _translate)
