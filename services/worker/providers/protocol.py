"""A provider as the ladder sees it, whichever SDK speaks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from penstock.runtime.config.catalogue import RateLimitHeaders, StreamFormat
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.model_list import ModelList

__all__ = ["Provider", "Response"]


class Response(Protocol):
    """An HTTP answer whose status was below 400; its body is still on the wire. Close it in any case."""

    @property
    def headers(self) -> Mapping[str, str]: ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises ProviderFailure when the connection breaks before its end."""
        ...

    async def close(self) -> None:
        """Give the connection back, or drop it when the body is not at its end: the provider stops."""
        ...


class Provider(Protocol):
    """One endpoint with its credentials."""

    name: str
    rate_limit_headers: RateLimitHeaders
    """How it tells of its limits."""
    stream_format: StreamFormat
    """How its streams differ from OpenAI's."""
    credentials: tuple[str, ...]
    """Their names, never their values; those too that may get a key yet."""

    def set_key(self, credential: str, key: str) -> None:
        """For calls from now on; those under way keep the key they were sent with."""
        ...

    async def chat(self, credential: str, body: bytes, label: str) -> Response:
        """POST an OpenAI chat-completions body. `label` names this call to the provider. Raises ProviderFailure."""
        ...

    def redact_keys(self, failure: ProviderFailure) -> None:
        """Take every key it ever had out of the failure's words: an endpoint may repeat what it was sent."""
        ...

    async def models(self) -> ModelList | None:
        """The models it lists; None when it cannot be asked."""
        ...

    async def close(self) -> None: ...
