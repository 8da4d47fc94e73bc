"""The clients of the providers that a worker's roles use."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from penstock.runtime.config.catalogue import ProviderConfig, SdkName
from penstock.runtime.config.load import trusted_authorities
from penstock.runtime.processes.deferred_packages import defer_packages
from services.worker.providers.provider import Provider
from services.worker.providers.sdk import SdkKind, SdkProvider

__all__ = ["connect_providers", "sdk_of_name"]


def connect_providers(
    configs: Mapping[str, ProviderConfig], keys: Mapping[str, Mapping[str, str | None]]
) -> dict[str, Provider]:
    """A client for each provider in `keys`, which has its keys by credential; an SDK is imported only if it is used."""
    return {
        name: SdkProvider(
            name,
            _sdk(configs[name]),
            configs[name].base_url,
            of_provider,
            rate_limit_headers=configs[name].rate_limit_headers,
            stream_format=configs[name].stream,
        )
        for name, of_provider in keys.items()
    }


def _sdk(config: ProviderConfig) -> SdkKind:
    kind = sdk_of_name(config.sdk)
    return kind if config.ca_file is None else replace(kind, tls=trusted_authorities(config.ca_file))


def sdk_of_name(name: SdkName) -> SdkKind:
    """Import the SDK, if it is not yet, and return what the calls of its providers need."""
    if name == "groq":
        from services.worker.providers.groq_sdk import GROQ  # noqa: PLC0415 - 5 MB that most workers do not need

        return GROQ
    # The classes of answers are 400 modules, 10 MB and a third of a worker's start. `openai` itself is among the names
    # because looking for a package below it would otherwise run its `__init__`, which imports them.
    defer_packages("openai", "openai.types", "openai.types.chat", "openai.types.responses")
    from services.worker.providers.openai_sdk import OPENAI  # noqa: PLC0415 - the same

    return OPENAI
