"""The groq SDK, which uses httpx. The openai SDK uses httpx2."""

from __future__ import annotations

from typing import Final

import httpx
from groq import APIStatusError, AsyncGroq, AsyncStream, DefaultAioHttpClient

from services.worker.providers.sdk import ErrorBody, SdkKind

__all__ = ["GROQ"]

_BASE_URL: Final = "https://api.groq.com/openai/v1"
"""The base URL with the path that the SDK would otherwise put into each request path."""


class _ErrorBody(ErrorBody, httpx.AsyncByteStream):
    """An error body of the type that httpx requires."""


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
