"""The groq SDK, which is built on httpx where openai's is built on httpx2."""

from __future__ import annotations

import time
from typing import Final

import httpx
from groq import (
    APIStatusError,
    AsyncGroq,
    AsyncStream,
    DefaultAioHttpClient,
)

from services.worker.failures import ProviderFailure
from services.worker.ratelimit_headers import parse
from services.worker.sdk import SdkKind, connection_failure
from services.worker.status_errors import failure_of_status

__all__ = ["GROQ"]

_CONNECT_S: Final = 5.0
_BASE_URL: Final = "https://api.groq.com/openai/v1"
"""The SDK's own default ends before `/openai/v1`, which it puts into each path."""


def _make_client(base_url: str | None, key: str) -> AsyncGroq:
    """No time limit but the one for connecting: the others are the ladder's."""
    timeout = httpx.Timeout(None, connect=_CONNECT_S)
    return AsyncGroq(
        api_key=key,
        base_url=base_url or _BASE_URL,
        max_retries=0,
        timeout=timeout,
        http_client=DefaultAioHttpClient(timeout=timeout),
    )


def _translate(error: Exception) -> ProviderFailure:
    match error:
        case ProviderFailure():
            return error
        case APIStatusError(response=response):
            hint = parse(response.headers, "groq", now_unix_s=time.time()).retry_after_s
            return failure_of_status(response.status_code, response.content, hint)
        case _:
            return connection_failure(error)


GROQ: Final = SdkKind("groq", _make_client, httpx.Response, AsyncStream, _translate)
