"""Notes about unreachable providers, and the line of provider addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from penstock.cli.local.provider_checks import provider_addresses, unreachable_provider_notes
from penstock.runtime.config.catalogue import Catalogue, Model, ProviderConfig, RoleConfig


def catalogue(**urls: str | None) -> Catalogue:
    return Catalogue(
        name="test",
        providers={name: ProviderConfig(base_url=url) for name, url in urls.items()},
        models={"m": Model(provider=next(iter(urls)))},
        roles={"chat": RoleConfig(chain=("m",))},
    )


@pytest.mark.real_time
async def test_only_an_unreachable_provider_gets_a_note(free_port: Callable[[], int]) -> None:
    calls: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    there, nowhere = server.sockets[0].getsockname()[1], free_port()
    async with server:
        notes = await unreachable_provider_notes(
            catalogue(here=f"http://127.0.0.1:{there}/v1", gone=f"http://127.0.0.1:{nowhere}/v1", sdk=None)
        )

    (note,) = notes
    assert note.startswith(f"Note: provider gone does not answer at 127.0.0.1:{nowhere} (connection refused)")
    assert not b"".join(calls), "no request is sent"


async def test_a_provider_behind_a_proxy_gets_no_note(
    monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")

    assert await unreachable_provider_notes(catalogue(far=f"http://provider.invalid:{free_port()}/v1")) == []


def test_all_addresses_stand_on_one_line() -> None:
    text = provider_addresses(catalogue(groq=None, local="http://localhost:11434/v1"))

    assert text == "groq at its SDK's default address, local at http://localhost:11434/v1"


async def test_an_address_with_an_invalid_port_gets_a_note() -> None:
    (note,) = await unreachable_provider_notes(catalogue(odd="http://127.0.0.1:port/v1"))

    assert note.startswith("Note: the address of provider odd is not valid")
