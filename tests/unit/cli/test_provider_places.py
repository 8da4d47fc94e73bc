"""Providers that nobody answers for are told of when the system starts."""

from __future__ import annotations

import asyncio

import pytest

from penstock.cli.local.free_port import free_port
from penstock.cli.local.provider_addresses import provider_places, unanswered
from penstock.runtime.config.catalogue import Catalogue, Model, Provider, RoleConfig


def catalogue(**urls: str | None) -> Catalogue:
    return Catalogue(
        name="test",
        providers={name: Provider(base_url=url) for name, url in urls.items()},
        models={"m": Model(provider=next(iter(urls)))},
        roles={"chat": RoleConfig(chain=("m",))},
    )


async def test_only_a_provider_at_whose_address_nobody_listens_is_told_of() -> None:
    calls: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    there, nowhere = server.sockets[0].getsockname()[1], free_port()
    async with server:
        notes = await unanswered(
            catalogue(here=f"http://127.0.0.1:{there}/v1", gone=f"http://127.0.0.1:{nowhere}/v1", sdk=None)
        )

    (note,) = notes
    assert note.startswith(
        f"Note: nobody answers for provider gone at 127.0.0.1:{nowhere} (connection refused)"
    )
    assert not b"".join(calls), "it is not asked anything"


async def test_what_goes_by_a_proxy_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")

    assert await unanswered(catalogue(far=f"http://provider.invalid:{free_port()}/v1")) == []


def test_places_are_told_without_passwords() -> None:
    told = provider_places(catalogue(groq=None, local="http://joe:pw@localhost:11434/v1"))

    assert told == "groq at the SDK's own address, local at http://…@localhost:11434/v1"


async def test_an_address_with_a_port_that_is_none_is_told_of() -> None:
    (note,) = await unanswered(catalogue(odd="http://127.0.0.1:port/v1"))

    assert note.startswith("Note: the address of provider odd cannot be used")
