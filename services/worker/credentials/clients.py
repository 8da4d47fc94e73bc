"""The clients of the providers that a worker's roles use."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.contract.names import Role
from penstock.runtime.config.catalogue import Catalogue
from services.worker.credentials.definitions import credentials, providers_of
from services.worker.credentials.keyring import Keyring
from services.worker.providers.protocol import Provider
from services.worker.providers.sdk import SdkKind, SdkProvider

__all__ = ["connect_providers"]


def connect_providers(catalogue: Catalogue, roles: Sequence[Role], keyring: Keyring) -> dict[str, Provider]:
    """A client for each provider that the chains of these roles name; an SDK is loaded only when it is used."""
    providers: dict[str, Provider] = {}
    for name in providers_of(catalogue, roles):
        config = catalogue.providers[name]
        keys = credentials(name, config, keyring)
        providers[name] = SdkProvider(
            name,
            _sdk(config.sdk),
            config.base_url,
            keys,
            rate_limit_headers=config.rate_limit_headers,
            stream_format=config.stream,
        )
    return providers


def _sdk(name: str) -> SdkKind:
    if name == "groq":
        from services.worker.providers.groq_sdk import GROQ  # noqa: PLC0415 - 5 MB that most workers do not need

        return GROQ
    from services.worker.providers.openai_sdk import OPENAI  # noqa: PLC0415 - the same

    return OPENAI
