"""A provider as the ladder sees it, whichever SDK speaks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Literal, Protocol

from penstock.config.catalogue import Provider as ProviderConfig

__all__ = ["Provider", "Response", "credentials"]


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
    sdk: Literal["openai", "groq"]
    credentials: tuple[str, ...]
    """Their names, never their values."""

    async def chat(self, credential: str, body: bytes, label: str) -> Response:
        """POST an OpenAI chat-completions body. `label` names this call to the provider. Raises ProviderFailure."""
        ...

    async def models(self) -> frozenset[str] | None:
        """The names it serves; None when it cannot be asked."""
        ...

    async def close(self) -> None: ...


def credentials(name: str, config: ProviderConfig, env: Mapping[str, str]) -> dict[str, str]:
    """Name and key of each credential that is set; an endpoint that asks for none has one by its own name."""
    if not config.api_key_env:
        return {name: "none"}
    return {variable: env[variable] for variable in config.api_key_env if env.get(variable)}
