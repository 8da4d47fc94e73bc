"""The clients of the providers that a worker's roles use."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.contract.names import Role
from penstock.runtime.config.catalogue import Catalogue, ProviderConfig
from services.worker.credentials.keyring import Keyring, providers_of
from services.worker.providers.provider import Provider
from services.worker.providers.sdk import SdkKind, SdkProvider

__all__ = ["connect_providers"]


def connect_providers(catalogue: Catalogue, roles: Sequence[Role], keyring: Keyring) -> dict[str, Provider]:
    """A client for each provider of the chains of these roles; an SDK is imported only if it is used."""
    providers: dict[str, Provider] = {}
    for name in providers_of(catalogue, roles):
        config = catalogue.providers[name]
        providers[name] = SdkProvider(
            name,
            _sdk(config.sdk),
            config.base_url,
            _keys(name, config, keyring),
            rate_limit_headers=config.rate_limit_headers,
            stream_format=config.stream,
        )
    return providers


def _keys(name: str, config: ProviderConfig, keyring: Keyring) -> dict[str, str | None]:
    """Keys by credential; None for a credential whose key may come later. An endpoint without authentication has one
    credential with the name of the provider.
    """
    if not config.api_key_env:
        return {name: "none"}
    keys = {variable: keyring.value(variable) for variable in config.api_key_env}
    return {variable: key for variable, key in keys.items() if key is not None or keyring.may_come_later}


def _sdk(name: str) -> SdkKind:
    if name == "groq":
        from services.worker.providers.groq_sdk import GROQ  # noqa: PLC0415 - 5 MB that most workers do not need

        return GROQ
    from services.worker.providers.openai_sdk import OPENAI  # noqa: PLC0415 - the same

    return OPENAI
