"""A provider as the ladder sees it, whichever SDK speaks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Literal, Protocol

from penstock.config.catalogue import Catalogue
from penstock.config.catalogue import Provider as ProviderConfig
from schemas.names import Role
from services.worker.failures import ProviderFailure
from services.worker.keys.keyring import Keyring

__all__ = ["Provider", "Response", "credentials", "providers_of"]


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
    """Their names, never their values; those too that may get a key yet."""

    def set_key(self, credential: str, key: str) -> None:
        """For calls from now on; those under way keep the key they were sent with."""
        ...

    async def chat(self, credential: str, body: bytes, label: str) -> Response:
        """POST an OpenAI chat-completions body. `label` names this call to the provider. Raises ProviderFailure."""
        ...

    def hide_keys(self, failure: ProviderFailure) -> None:
        """Take every key it ever had out of the failure's words: an endpoint may repeat what it was sent."""
        ...

    async def models(self) -> frozenset[str] | None:
        """The names it serves; None when it cannot be asked."""
        ...

    async def close(self) -> None: ...


def providers_of(catalogue: Catalogue, roles: Iterable[Role]) -> list[str]:
    """The providers that the chains of these roles name."""
    models = dict.fromkeys(model for role in roles for model in catalogue.roles[role].chain)
    return list(dict.fromkeys(catalogue.models[model].provider for model in models))


def credentials(name: str, config: ProviderConfig, keyring: Keyring) -> dict[str, str | None]:
    """Name and key of each credential that has one, or None where it may come yet; an endpoint that asks for none
    has one by its own name.
    """
    if not config.api_key_env:
        return {name: "none"}
    keys = {variable: keyring.value(variable) for variable in config.api_key_env}
    return {variable: key for variable, key in keys.items() if key is not None or keyring.may_come_later}
