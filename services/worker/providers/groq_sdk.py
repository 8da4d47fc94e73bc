"""The groq SDK, which is built on httpx where openai's is built on httpx2."""

from __future__ import annotations

from typing import Final

import httpx
from groq import APIStatusError, AsyncGroq, AsyncStream, DefaultAioHttpClient

from services.worker.providers.sdk import ErrorBody, SdkKind

__all__ = ["GROQ"]

_BASE_URL: Final = "https://api.groq.com/openai/v1"
"""The SDK's own default ends before `/openai/v1`, which it puts into each path."""


class _ErrorBody(ErrorBody, httpx.AsyncByteStream):
    """As this HTTP library wants a stream."""


GROQ: Final = SdkKind(
    sdk="groq",
    client=AsyncGroq,
    base_url=_BASE_URL,
    http_client=DefaultAioHttpClient,
    timeout=httpx.Timeout,
    raw_response=httpx.Response,
    stream=AsyncStream,
    status_error=APIStatusError,
    error_body=_ErrorBody,
)
