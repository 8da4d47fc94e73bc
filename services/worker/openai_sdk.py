"""The openai SDK: also for every endpoint that speaks OpenAI's API (Gemini, Claude, vLLM, Ollama, ours)."""

from __future__ import annotations

import time
from typing import Final

import httpx2
from openai import (
    APIStatusError,
    AsyncOpenAI,
    AsyncStream,
    DefaultAioHttpClient,
)

from services.worker.failures import ProviderFailure
from services.worker.ratelimit_headers import parse
from services.worker.sdk import SdkKind, connection_failure
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
        case _:
            return connection_failure(error)


OPENAI: Final = SdkKind("openai", _make_client, httpx2.Response, AsyncStream, _translate)
