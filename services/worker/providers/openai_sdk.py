"""The openai SDK, for OpenAI and all endpoints with OpenAI's API (Gemini, Claude, vLLM, Ollama, the simulator)."""

from __future__ import annotations

from typing import Final

import httpx2
from openai import APIStatusError, AsyncOpenAI, AsyncStream, DefaultAioHttpClient

from services.worker.providers.sdk import ErrorBody, SdkKind

__all__ = ["OPENAI"]


class _ErrorBody(ErrorBody, httpx2.AsyncByteStream):
    """An error body of the type that httpx2 requires."""


OPENAI: Final = SdkKind(
    sdk="openai",
    client=AsyncOpenAI,
    http_client=DefaultAioHttpClient,
    timeout=httpx2.Timeout,
    raw_response=httpx2.Response,
    stream=AsyncStream,
    status_error=APIStatusError,
    error_body=_ErrorBody,
)
