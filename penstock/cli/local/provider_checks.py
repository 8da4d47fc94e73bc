"""Notes about the providers of a catalogue: addresses, missing keys, addresses that accept no connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.secrets import effective_keys

__all__ = ["missing_key_notes", "provider_addresses", "unreachable_provider_notes"]

_CONNECT_TIMEOUT_S: Final = 2.0
_PORTS: Final = {"http": 80, "https": 443}


def provider_addresses(catalogue: Catalogue) -> str:
    """All providers on one line, each with its base URL."""
    return ", ".join(
        f"{name} at {provider.base_url}" if provider.base_url else f"{name} at its SDK's default address"
        for name, provider in catalogue.providers.items()
    )


def missing_key_notes(catalogue: Catalogue, env: Mapping[str, str]) -> list[str]:
    """A note for each provider without a key. The catalogue is valid without it, but every request would fail. So
    would the start of a guard that asks a moderation endpoint.
    """
    keys = {f"provider {name}": provider.api_key_env for name, provider in catalogue.providers.items()}
    if catalogue.guard is not None and catalogue.guard.detectors.openai_moderation.enabled:
        keys["the moderation endpoint"] = (catalogue.guard.detectors.openai_moderation.api_key_env,)
    return [
        f"Note: {owner} has no key: set {' or '.join(names)}."
        for owner, names in keys.items()
        if names and not effective_keys(names, env.get("PENSTOCK_SECRETS_DIR") or None, env)
    ]


async def unreachable_provider_notes(catalogue: Catalogue) -> list[str]:
    """A note for each provider whose address accepts no connection. No request is sent."""
    urls = {name: provider.base_url for name, provider in catalogue.providers.items() if provider.base_url}
    notes = await asyncio.gather(*(_note(name, url) for name, url in urls.items()))
    return [note for note in notes if note is not None]


async def _note(name: str, url: str) -> str | None:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError as error:
        return f"Note: the address of provider {name} is not valid: {error}."
    if host is None or port is None:
        return None
    if parts.scheme in getproxies() and not proxy_bypass(host):
        return None  # a direct connection proves nothing about a provider behind a proxy
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except OSError as error:  # TimeoutError included
        reason = os.strerror(error.errno).lower() if error.errno else "no answer"
        return f"Note: provider {name} does not answer at {host}:{port} ({reason}): its requests will wait or fail."
    writer.close()
    with contextlib.suppress(OSError):  # a server that closes first is reachable too
        await writer.wait_closed()
    return None
