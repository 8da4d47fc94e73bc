"""Only IP version 6: addresses in brackets, of NATS, of a provider, and of every service."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import aiohttp
import pytest

from penstock.client.client import Client
from tests.harness.processes.system import System, shared_system
from tests.harness.providers.tls_proxy import tls_proxy

HOST = "::1"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("system")) as running:
        yield running


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


async def test_a_system_whose_addresses_are_of_ip_version_6_answers(system: System):
    nats_port, simulator_port = port_of(system.nats.url), port_of(system.simulator.ready["url"])
    async with (
        tls_proxy(None, nats_port, HOST) as nats6,
        tls_proxy(None, simulator_port, HOST) as simulator6,
    ):
        env = {
            "NATS_URL": f"nats://[{HOST}]:{nats6}",
            "PENSTOCK_SIMULATOR_URL": f"http://[{HOST}]:{simulator6}",
            "PENSTOCK_HTTP_HOST": HOST,
        }
        router, worker = system.new_router(**env), system.new_worker(**env)
        edge = system.new_edge(**env, PENSTOCK_EDGE_HOST=HOST)
        for process in (router, worker, edge):
            await process.start()
        for process in (system.router, *system.workers):
            await process.terminate()

        async with await Client.connect(env["NATS_URL"]) as client:
            assert (await client.chat("Over six?")).text
        async with aiohttp.ClientSession() as session:
            for process in (router, worker, edge):
                async with session.get(f"{process.ready['http']}/health") as answer:
                    assert answer.status == 204
            assert edge.ready["url"].startswith("http://[::1]:")
            body = {"model": "auto", "messages": [{"role": "user", "content": "Over HTTP?"}]}
            async with session.post(f"{edge.ready['url']}/v1/chat/completions", json=body) as answer:
                assert answer.status == 200, await answer.text()
        for process in (edge, worker, router):
            process.kill()
