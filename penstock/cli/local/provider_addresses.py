"""Where the providers of a catalogue are expected, and which of them nobody answers for."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from penstock.bus.masking import without_userinfo
from penstock.runtime.config.catalogue import Catalogue

__all__ = ["provider_places", "unanswered"]

_PATIENCE_S: Final = 2.0
_PORTS: Final = {"http": 80, "https": 443}


def provider_places(catalogue: Catalogue) -> str:
    """In one line."""
    return ", ".join(
        f"{name} at {without_userinfo(provider.base_url)}"
        if provider.base_url
        else f"{name} at the SDK's own address"
        for name, provider in catalogue.providers.items()
    )


async def unanswered(catalogue: Catalogue) -> list[str]:
    """A note for each whose address takes no connection; nothing is asked of those that do."""
    urls = {name: provider.base_url for name, provider in catalogue.providers.items() if provider.base_url}
    notes = await asyncio.gather(*(_note(name, url) for name, url in urls.items()))
    return [note for note in notes if note is not None]


async def _note(name: str, url: str) -> str | None:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError as error:
        return f"Note: the address of provider {name} cannot be used: {error}."
    if host is None or port is None or _goes_by_proxy(parts.scheme, host):
        return None
    try:
        async with asyncio.timeout(_PATIENCE_S):
            _, writer = await asyncio.open_connection(host, port)
    except OSError as error:  # a TimeoutError too
        reason = os.strerror(error.errno).lower() if error.errno else "no answer"
        return f"Note: nobody answers for provider {name} at {host}:{port} ({reason}): its requests will wait or fail."
    writer.close()
    with contextlib.suppress(OSError):  # it hung up first: it was there
        await writer.wait_closed()
    return None


def _goes_by_proxy(scheme: str, host: str) -> bool:
    """Then a direct connection would say nothing."""
    return scheme in getproxies() and not proxy_bypass(host)
