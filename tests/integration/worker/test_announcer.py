"""D9: an exit does not wait for an absent JetStream, and events that it cannot store are logged."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import nats
import pytest
from prometheus_client import CollectorRegistry

from penstock.bus.clock import SYSTEM
from penstock.cli.local.nats_server import NatsServer
from penstock.contract.events import CredentialRotated
from penstock.contract.reply import Usage
from penstock.contract.streams import AUDIT, EVENTS
from penstock.runtime.accounting.usage_events import AttemptRecord
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from services.worker.accounting.usage_recorder import UsageRecorder
from services.worker.announcer import Announcer
from services.worker.metrics import WorkerMetrics
from services.worker.pending_events import PendingEvents
from tests.unit.worker.worker_parts import catalogue_of, usage_events_of, work


@pytest.mark.parametrize("away", [True, False])
async def test_d9_events_are_stored_before_the_exit_or_logged(
    own_nats_server: NatsServer, caplog: pytest.LogCaptureFixture, *, away: bool
) -> None:
    nc = await nats.connect(own_nats_server.url)
    try:
        js = nc.jetstream()
        await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=10.0))
        pending, metrics = PendingEvents(js), WorkerMetrics(CollectorRegistry())
        announcer = Announcer(pending, catalogue_of(), SYSTEM, "w")
        recorder = UsageRecorder(pending, usage_events_of(catalogue_of()), metrics, SYSTEM, "w")
        if away:
            own_nats_server.kill()
        announcer.announce(CredentialRotated(provider="p", credential="A_KEY", worker="w", at_ms=1))
        usage = Usage(input_tokens=10, output_tokens=1)
        recorder.record(
            work(), AttemptRecord(number=1, model="m", credential="A_KEY", outcome="completed", usage=usage)
        )
        async with asyncio.timeout(3):
            await pending.drain(1.0)
        lost = [
            each.message for each in caplog.records if "not stored before the worker stopped" in each.message
        ]
        if away:
            assert sorted("usage_recorded" in each for each in lost) == [False, True]
        else:
            assert lost == []
            stored = [(await js.stream_info(each.name)).state.messages for each in (AUDIT, EVENTS)]
            assert stored == [1, 1]
    finally:
        with suppress(ConnectionError):
            await nc.close()
