"""`penstock ledger status` tells who owns the partitions, and what is really not booked."""

from __future__ import annotations

import asyncio
import json

from nats.aio.client import Client as Nats

from penstock.cli.__main__ import main
from penstock.contract import codec, subjects
from penstock.contract.events import HoldReleased
from penstock.contract.presence import Presence
from penstock.contract.streams import PRESENCE
from penstock.contract.subjects import LEDGER_PARTITIONS, SYSTEM_PARTITION
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from tests.harness.suite.waiting import until

PARTITIONS = (*map(str, range(LEDGER_PARTITIONS)), SYSTEM_PARTITION)


async def test_f2_a_dead_ledger_is_no_owner_and_the_release_of_a_hold_is_no_usage(
    own_nc: Nats, own_nats_server, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("NATS_URL", own_nats_server.url)
    await ensure(own_nc.jetstream(), JetStreamPlan(ack_wait_s=10))
    released = HoldReleased(hold_id="shop.c.r", account="shop", why="expired", at_ms=1)
    await own_nc.jetstream().publish(subjects.usage("shop"), codec.encode(released))
    presence = Presence(service="ledger", instance="dead", at_ms=2**42, partitions=PARTITIONS)
    await own_nc.publish(f"$KV.{PRESENCE.name}.ledger.dead", codec.encode(presence))
    await own_nc.flush()

    async def status() -> tuple[int, str]:
        code = await asyncio.to_thread(main, ["ledger", "status", "--json"])
        return code, capsys.readouterr().out

    code, text = await status()
    assert code == 0
    assert {each["owner"] for each in json.loads(text)} == {"dead"}
    assert {each["waiting_usage"] for each in json.loads(text)} == {0}

    async def noticed() -> bool:
        code, text = await status()
        return code == 1 and {each["owner"] for each in json.loads(text)} == {None}

    await until(noticed, 10)
