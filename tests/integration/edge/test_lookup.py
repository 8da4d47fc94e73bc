"""E2: whether an answer can exist, from what the streams hold."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from msgspec import Raw
from nats.aio.client import Client as Nats

from penstock.bus.clock import SYSTEM, Clock
from penstock.bus.connection import close, connect
from penstock.bus.ids import new_id
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec, subjects
from penstock.contract.jobs import Job
from penstock.contract.request import ChatRequest
from penstock.contract.streams import REPLIES
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from services.edge.requests.answer_id import AnswerId
from services.edge.requests.lookup import AnswerLookup
from tests.harness.requests.reply_events import accepted, completed

ACCOUNT = "demo"
LATER_S = 20 * 60
SOON = Clock(time.monotonic, lambda: time.time() + 5 * 60)
"""When the request of an id that was made now must have been stored."""


@pytest.fixture
async def nc(own_nats_server: NatsServer) -> AsyncIterator[Nats]:
    connection = await connect(own_nats_server.url, name="test")
    await ensure(connection.jetstream(), JetStreamPlan(ack_wait_s=10))
    yield connection
    await close(connection)


def new_answer_id(request_id: str | None = None) -> AnswerId:
    return AnswerId(client="edge", request_id=request_id or new_id(), streamed=True)


async def queue_request(nc: Nats, answer_id: AnswerId) -> None:
    request = ChatRequest(id=answer_id.request_id, client=answer_id.client, body=Raw(b"{}"))
    await nc.jetstream().publish(subjects.request(ACCOUNT, "chat"), codec.encode(request))


async def queue_work(nc: Nats) -> None:
    await nc.jetstream().publish(subjects.work("chat", "interactive", 0, "flow"), b"{}")


async def test_e2_an_id_is_unknown_also_while_other_work_is_queued(nc: Nats):
    lookup = AnswerLookup(nc, ACCOUNT, SOON)
    assert await lookup.find(new_answer_id()) == "unknown"
    await queue_work(nc)
    assert await lookup.find(new_answer_id()) == "unknown"


async def test_e2_the_id_of_a_stream_is_undecided_while_its_request_may_be_on_its_way(nc: Nats):
    """An edge sends it before NATS has stored the request; that of a whole answer comes with the answer."""
    lookup = AnswerLookup(nc, ACCOUNT, SYSTEM)
    assert await lookup.find(new_answer_id()) == "undecided"
    assert await lookup.find(AnswerId(client="edge", request_id=new_id(), streamed=False)) == "unknown"
    long_ago = Clock(time.monotonic, lambda: time.time() - 5 * 60)
    assert await AnswerLookup(nc, ACCOUNT, long_ago).find(new_answer_id()) == "unknown"


async def test_e2_a_reply_begins_with_its_first_event(nc: Nats):
    lookup, known = AnswerLookup(nc, ACCOUNT, SYSTEM), new_answer_id()
    subject = subjects.reply(ACCOUNT, known.client, known.request_id)
    assert not await lookup.has_first_event(known)
    await nc.jetstream().publish(subject, codec.encode(accepted()))
    await nc.jetstream().publish(subject, codec.encode(completed()))
    assert await lookup.has_first_event(known)
    await nc.jetstream().purge_stream(REPLIES.name, subject=subject, keep=1)
    assert not await lookup.has_first_event(known)


async def test_e2_a_request_that_no_router_has_read_is_undecided(nc: Nats):
    waiting = new_answer_id()
    await queue_request(nc, waiting)
    assert await AnswerLookup(nc, ACCOUNT, SYSTEM).find(waiting) == "undecided"


async def test_e2_an_answer_with_an_event_is_known_to_its_account_only(nc: Nats):
    known = new_answer_id()
    subject = subjects.reply(ACCOUNT, known.client, known.request_id)
    await nc.jetstream().publish(subject, codec.encode(accepted()))
    assert await AnswerLookup(nc, ACCOUNT, SYSTEM).find(known) == "known"
    assert await AnswerLookup(nc, "stranger", SOON).find(known) == "unknown"


@pytest.mark.parametrize(
    ("state", "found"), [("queued", "known"), ("running", "known"), ("failed", "unknown")]
)
async def test_e2_a_job_without_events_is_known_until_it_has_ended(nc: Nats, state: str, found: str):
    known = new_answer_id()
    address = (ACCOUNT, known.client, known.request_id)
    job = Job(
        id=known.request_id,
        client=known.client,
        account=ACCOUNT,
        role="chat",
        state=state,  # type: ignore[arg-type]
        at_ms=1,
        submitted_ms=1,
    )
    await nc.jetstream().publish(subjects.job(*address), codec.encode(job))
    assert await AnswerLookup(nc, ACCOUNT, SYSTEM).find(known) == found


async def test_e2_a_request_that_waits_longer_than_its_events_are_stored_is_undecided(nc: Nats):
    waiting = new_answer_id()
    await queue_work(nc)
    later = Clock(time.monotonic, lambda: time.time() + LATER_S)
    assert await AnswerLookup(nc, ACCOUNT, later).find(waiting) == "undecided"
