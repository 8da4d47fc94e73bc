"""D7: stored replies, also from a node that lags behind the acknowledgements."""

from __future__ import annotations

import pytest

from penstock.bus import direct_get
from penstock.bus import stored_replies as history
from penstock.bus.direct_get import Page
from penstock.bus.ids import new_id
from penstock.bus.publish import store
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.reply import Started
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure

EVENT = Started(id="x", seq=1_000_000, attempt=1, model="m", provider="p", worker="w", at_ms=0)


@pytest.fixture
def lagging(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first two reads go to a node that has no events yet."""
    read, asked = direct_get.read_page, []

    async def late(nc, stream, subject, **options):
        asked.append(subject)
        return Page((), 0) if len(asked) <= 2 else await read(nc, stream, subject, **options)

    monkeypatch.setattr(direct_get, "read_page", late)
    return asked


async def test_d7_acknowledged_replies_wait_for_lagging_nodes(nc, lagging):
    await ensure(nc.jetstream(), JetStreamPlan(roles=("chat",), ack_wait_s=2))
    subject = subjects.reply("demo", "client-1", new_id())
    await store(nc.jetstream(), subject, encode(EVENT), message_id=subject)
    assert await history.stored_replies(nc, subject) == []
    assert await history.acknowledged_replies(nc, subject) == [EVENT]
    assert lagging == [subject] * 3


async def test_d7_a_node_that_never_catches_up_is_an_error(nc, monkeypatch):
    await ensure(nc.jetstream(), JetStreamPlan(roles=("chat",), ack_wait_s=2))
    subject = subjects.reply("demo", "client-1", new_id())
    await store(nc.jetstream(), subject, encode(EVENT), message_id=subject)

    async def nothing(*_, **__):
        return Page((), 0)

    monkeypatch.setattr(direct_get, "read_page", nothing)
    with pytest.raises(TimeoutError):
        await history.acknowledged_replies(nc, subject, timeout_s=0.2)


async def test_d7_a_request_without_events_is_answered_at_once(nc):
    await ensure(nc.jetstream(), JetStreamPlan(roles=("chat",), ack_wait_s=2))
    assert await history.acknowledged_replies(nc, subjects.reply("demo", "client-1", new_id())) == []
