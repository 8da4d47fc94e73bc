"""The interface through which the worker calls a provider, independent of the SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from penstock.runtime.config.catalogue import RateLimitHeaders, StreamFormat
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.model_list import ModelList

__all__ = ["Provider", "Response"]


class Response(Protocol):
    """An HTTP response with a status of 2xx and an unread body. The caller must close it.

    Its body alone shows whether it is an answer: some servers send a whole one with 201, and 202 or 204 without one.
    """

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it is received. Raises ProviderFailure if the connection breaks before its end."""
        ...

    async def close(self) -> None:
        """Return the connection to the pool, or close it before the end of the body to stop the provider."""
        ...


class Provider(Protocol):
    """One endpoint with its credentials."""

    name: str
    rate_limit_headers: RateLimitHeaders
    """The format of its rate limit headers."""
    stream_format: StreamFormat
    """The differences between its streams and OpenAI's."""
    credentials: tuple[str, ...]
    """The names of its credentials, not their values, including credentials without a key so far."""

    def set_key(self, credential: str, key: str) -> None:
        """Set the key of future calls; calls in flight keep theirs."""
        ...

    async def chat(self, credential: str, body: bytes, label: str) -> Response:
        """POST an OpenAI chat-completions body. `label` identifies the call at the provider. Raises ProviderFailure."""
        ...

    async def embeddings(self, credential: str, body: bytes, label: str) -> Response:
        """POST an OpenAI embeddings body; otherwise as `chat`."""
        ...

    def redact_keys(self, failure: ProviderFailure) -> None:
        """Remove all past and present keys from the failure's texts: an endpoint may echo its request."""
        ...

    async def models(self) -> ModelList | None:
        """The models it lists; None if the list cannot be read."""
        ...

    async def close(self) -> None: ...
