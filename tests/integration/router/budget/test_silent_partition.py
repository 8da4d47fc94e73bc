"""F1: a partition of the ledger without an owner delays no account of another partition."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from penstock import RequestFailed
from penstock.client.client import Client
from penstock.contract import subjects
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.fake_ledger import FakeLedger
from tests.harness.processes.system import running_system

PATIENCE_S = 8.0
REQUESTS = 160
"""More than the router handles at once."""
PROMPT = "Hello. [[tokens=5]]"


async def test_f1_a_partition_without_an_owner_delays_no_account_of_another(tmp_path: Path) -> None:
    config = catalogue(budgets={"ledger_wait_s": PATIENCE_S})
    healthy, silent = (
        "shop",
        next(
            name
            for name in map(str, range(100))
            if subjects.partition_of(name) != subjects.partition_of("shop")
        ),
    )
    async with (
        running_system(tmp_path, config=config) as system,
        FakeLedger.running(system.nats.url, subjects.partition_of(healthy)),
        await system.client(account=healthy) as client,
        await system.client(account=silent) as of_silent,
    ):
        await client.chat(PROMPT, role="chat")
        began_s = time.monotonic()
        asked = [asyncio.create_task(code_of(of_silent)) for _ in range(REQUESTS)]
        for _ in range(3):
            await client.chat(PROMPT, role="chat")
        assert time.monotonic() - began_s < PATIENCE_S / 2
        assert not any(each.done() for each in asked), "they wait for the owner of their partition"
        async with FakeLedger.running(system.nats.url, subjects.partition_of(silent)):
            codes = await asyncio.gather(*asked)
    assert codes == [None] * REQUESTS


async def code_of(client: Client) -> str | None:
    try:
        await client.chat(PROMPT, role="chat")
    except RequestFailed as failed:
        return failed.code
    return None
