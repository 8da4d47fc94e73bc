"""D7: a request rejected by a full mailbox ends, but no other request with its id does, also in a race."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from penstock.bus.clock import SYSTEM
from penstock.bus.connection import ConnectionEvents, connect
from penstock.bus.ids import new_id
from penstock.bus.stored_replies import acknowledged_with_sequence
from penstock.contract import codec
from penstock.contract.reply import Failed, ReplyEvent, Started
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.jobs.completion import failure_of
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from penstock.runtime.reply_publisher import publish_after
from penstock.runtime.service import Bus
from services.router.budget.releases import NO_HOLDS
from services.router.jobs.recorder import JobRecorder
from services.router.rejection import Rejecter
from services.router.routing.outcome import Rejected, Routed
from tests.harness.requests.routed_requests import chat_work, routed


@pytest.fixture
async def bus(nats_server) -> AsyncIterator[Bus]:
    nc = await connect(nats_server.url, name="refusing")
    js = nc.jetstream()
    await ensure(js, JetStreamPlan(roles=(), ack_wait_s=10))
    yield Bus(nc, js, ConnectionEvents(), DeliveryEpochs(nc))
    await nc.close()


@pytest.fixture
def request_of() -> Routed:
    return routed(chat_work(id=new_id()))


def begun(wanted: Routed) -> Started:
    return Started(id=wanted.work.id, seq=100, attempt=1, model="m", provider="p", worker="w", at_ms=9)


async def store_event(bus: Bus, wanted: Routed, event: ReplyEvent) -> None:
    await bus.js.publish(wanted.work.reply_to.subject, codec.encode(event))


async def reject(bus: Bus, wanted: Routed) -> None:
    """Reject the request as the router does for a full mailbox, after it has published `accepted`."""
    rejecter = Rejecter(bus, JobRecorder(bus, SYSTEM), NO_HOLDS)
    await bus.nc.publish(wanted.work.reply_to.subject, codec.encode(wanted.accepted))
    full = Rejected(
        code="overloaded", message="full", reply_to=wanted.work.reply_to, seq=1, accepted=wanted.accepted
    )
    assert await rejecter.reject(full, wanted.work.reply_to, {}, redelivered=False) is None


async def stored(bus: Bus, wanted: Routed) -> list[ReplyEvent]:
    return (await acknowledged_with_sequence(bus.nc, wanted.work.reply_to.subject))[0]


async def test_d7_a_full_mailbox_is_reported_after_accepted(bus: Bus, request_of: Routed) -> None:
    await reject(bus, request_of)
    accepted, failed = await stored(bus, request_of)
    assert accepted == request_of.accepted
    assert isinstance(failed, Failed)
    assert (failed.seq, failed.error.code) == (1, "overloaded")


async def test_d7_a_full_mailbox_ends_no_other_request_of_the_same_id(bus: Bus, request_of: Routed) -> None:
    first = replace(request_of, accepted=replace(request_of.accepted, at_ms=7))
    await store_event(bus, first, first.accepted)
    await reject(bus, request_of)
    await store_event(bus, first, begun(first))
    await reject(bus, request_of)
    assert not any(isinstance(event, Failed) for event in await stored(bus, request_of))


async def test_d7_a_request_begun_between_read_and_write_continues(bus: Bus, request_of: Routed) -> None:
    subject = request_of.work.reply_to.subject
    await store_event(bus, request_of, request_of.accepted)
    _, last = await acknowledged_with_sequence(bus.nc, subject)
    await store_event(bus, request_of, begun(request_of))
    end = Failed(id=request_of.work.id, seq=1, error=failure_of("overloaded", "full"))
    assert not await publish_after(bus.js, subject, end, last)
    assert len(await stored(bus, request_of)) == 2
