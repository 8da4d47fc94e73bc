"""D2: a provider that is away for some seconds costs no request, interactive ones included."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from penstock.client import Client
from tests.harness.asking import Heard, ask
from tests.harness.catalogues import catalogue
from tests.harness.shared import shared
from tests.harness.system import System

AWAY_S = 5.0
CHAINS = {"chat": ("one", "two"), "logic": ("alone",), "fast": ("quick",)}
REQUESTS = 24


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared(tmp_path_factory.mktemp("restart"), config=catalogue(CHAINS)) as running:
        yield running


async def test_d2_a_provider_that_restarts_in_5_s_costs_no_request(system: System, client: Client) -> None:
    for role in CHAINS:
        assert (await ask(client, "Before", role=role)).code is None
    port = urlsplit(system.simulator.ready["url"]).port
    system.simulator.kill()
    gone_s = time.monotonic()

    async def one(number: int) -> Heard:
        await asyncio.sleep(AWAY_S * number / REQUESTS)
        role = list(CHAINS)[number % len(CHAINS)]
        return await ask(client, f"Meanwhile {number}", role=role, stream=number % 2 == 0, timeout_s=45)

    asked = [asyncio.create_task(one(number)) for number in range(REQUESTS)]
    again = system._process("services.simulator", "--port", str(port))
    await asyncio.sleep(AWAY_S - 1.0)  # a process takes its time to start
    await again.start()
    back_s = time.monotonic()
    heard = await asyncio.gather(*asked)

    print(f"\naway {back_s - gone_s:.1f} s, slowest {max(each.took_s for each in heard):.1f} s")
    assert [each.end for each in heard if each.code is not None] == []
    assert time.monotonic() - back_s < 25
    late = [await ask(client, f"After {number}", role=role) for number, role in enumerate(CHAINS)]
    assert {each.code for each in late} == {None}
    assert max(each.took_s for each in late) < 2
