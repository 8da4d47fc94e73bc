"""`penstock status` counts requests, and no message of the write probe."""

from __future__ import annotations

import asyncio
import json

import pytest
from nats.aio.client import Client as Nats

from penstock.cli.__main__ import main
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import subjects
from penstock.contract.streams import DEAD, REQUESTS, WORK
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure


async def test_h3_a_probe_message_that_a_killed_process_left_is_no_request(
    own_nc: Nats,
    own_nats_server: NatsServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NATS_URL", own_nats_server.url)
    js = own_nc.jetstream()
    await ensure(js, JetStreamPlan(ack_wait_s=10))
    for stream in (REQUESTS, WORK, DEAD):
        await js.publish(stream.probe_subject, b"")
    await js.publish(subjects.request("shop", "chat"), b"{}")

    await asyncio.to_thread(main, ["status", "--json"])

    found = json.loads(capsys.readouterr().out)
    assert (found["waiting_for_router"], found["dead_letters"]) == (1, 0)
