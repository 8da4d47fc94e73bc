"""D9: a service and the client connect again once a NATS server that rejected their credentials accepts them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from penstock.bus.auth import NatsAuth
from penstock.client.client import Client
from tests.harness.processes.process import Process
from tests.harness.requests.replies import until
from tests.integration.bus.nats_auth_server import Reload, reloadable_nats_server

ADA = NatsAuth(user="ada", password="secret")
REJECTED_S = 3.0
"""Seconds during which the server rejects the user: some ten attempts to connect."""


def config(directory: Path, user: str) -> str:
    return f"""
        authorization {{ user: {user}, password: secret }}
        jetstream {{ store_dir: "{directory / "store"}" }}
        max_payload: 8MB
    """


@pytest.fixture
async def server(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[tuple[str, Reload]]:
    """A server that knows another user than ada."""
    port = free_port()
    async with reloadable_nats_server(config(tmp_path, "bob"), tmp_path, port) as reload:
        yield f"nats://127.0.0.1:{port}", reload


async def health(url: str) -> int | None:
    async with httpx.AsyncClient() as http:
        with contextlib.suppress(httpx.HTTPError):
            return (await http.get(f"{url}/health")).status_code
    return None


@pytest.mark.parametrize("service", ["router", "worker"])
async def test_d9_a_service_connects_once_its_credentials_are_accepted(
    service: str, server: tuple[str, Reload], tmp_path: Path, free_port: Callable[[], int]
):
    nats_url, reload = server
    http_port = free_port()
    http = f"http://127.0.0.1:{http_port}"
    env = {
        "NATS_URL": nats_url,
        "NATS_USER": "ada",
        "NATS_PASSWORD": "secret",
        "PENSTOCK_HTTP_PORT": str(http_port),
        "PENSTOCK_CATALOGUE": "simulator",
        "PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1",
    }
    process = Process(f"services.{service}", env=env, log=tmp_path / "log")
    starting = asyncio.create_task(process.start())
    try:

        async def rejected() -> bool:
            return process.log.exists() and "did not accept the credentials" in process.log.read_text()

        async def unhealthy() -> bool:
            return await health(http) == 503

        async def healthy() -> bool:
            return await health(http) == 204

        await until(rejected)
        await until(unhealthy)
        await asyncio.sleep(REJECTED_S)
        assert await unhealthy()
        assert process.log.read_text().count("did not accept the credentials") == 1
        reload(config(tmp_path, "ada"))
        await starting
        await until(healthy)
        reload(config(tmp_path, "bob"))
        await until(unhealthy)
        await asyncio.sleep(REJECTED_S)
        reload(config(tmp_path, "ada"))
        await until(healthy)
        assert "Traceback" not in process.log.read_text(), process.log.read_text()
        assert await process.terminate() == 0
    finally:
        starting.cancel()
        process.kill()


async def test_d9_the_client_connects_again_once_its_user_is_accepted(
    server: tuple[str, Reload], tmp_path: Path
):
    url, reload = server
    reload(config(tmp_path, "ada"))
    await asyncio.sleep(0.5)
    async with await Client.connect(url, auth=ADA) as client:
        nc = client._nc

        async def lost() -> bool:
            return not nc.is_connected

        async def connected() -> bool:
            return nc.is_connected

        reload(config(tmp_path, "bob"))
        await until(lost)
        await asyncio.sleep(REJECTED_S)
        assert not nc.is_closed
        reload(config(tmp_path, "ada"))
        await until(connected)
        await client.cancel("some-request")
