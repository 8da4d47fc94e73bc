"""E1, E2, D6, D8: a reply that does not stream is taken as one, and recovered where its live events are lost."""

from __future__ import annotations

import asyncio

import pytest

from penstock.client import stream as stream_module
from penstock.client.whole_feed import WholeFeed
from penstock.contract.reply import Accepted, Completed, Started
from tests.harness.suite.waiting import until
from tests.integration.client.events import Events
from tests.integration.client.timings import with_timings

BODY = b'{"choices":[{"message":{"content":"forty-two"}}]}'


def answer(gateway, attempts: int = 1):
    async def script(request):
        events = Events(request.id)
        begun = [event for _ in range(attempts) for event in events.begin()]
        await gateway.send(request, events.accepted(), *begun, events.completed(BODY))

    return script


@pytest.fixture
def followed(monkeypatch):
    """The replies that were followed, because the live events were not the whole."""
    calls: list[str] = []
    follow = stream_module.follow

    def noting(nc, feed, followed):
        calls.append(followed.subject)
        return follow(nc, feed, followed)

    monkeypatch.setattr(stream_module, "follow", noting)
    return calls


@pytest.mark.parametrize("attempts", [1, 3])
async def test_e1_live_events_in_order_need_no_store(gateway, client, followed, attempts):
    gateway.script = answer(gateway, attempts)
    replies = await asyncio.gather(*(client.chat("x", timeout_s=10) for _ in range(20)))
    assert {(reply.text, reply.attempts) for reply in replies} == {("forty-two", attempts)}
    assert (followed, client._subscription._feeds) == ([], {})


@pytest.mark.parametrize(
    "lost", [(Accepted,), (Started,), (Completed,), (Accepted, Started), (Accepted, Started, Completed)]
)
async def test_d6_lost_events_are_read_from_the_store(gateway, client, followed, monkeypatch, lost):
    put = WholeFeed.put
    monkeypatch.setattr(
        WholeFeed,
        "put",
        lambda feed, event, size: None if isinstance(event, lost) else put(feed, event, size),
    )
    gateway.script = answer(gateway)
    reply = await with_timings(client, silence_s=0.3).chat("x", timeout_s=10)
    assert (reply.text, reply.why, reply.attempts) == ("forty-two", "nothing else fits", 1)
    assert (len(followed), client._subscription._feeds) == (1, {})
    assert gateway.cancelled == []


async def test_e2_after_a_reconnection_the_reply_is_followed_to_its_end(gateway, client, followed):
    """Events that come while the reader changes over are neither lost nor read twice."""
    answered = asyncio.Event()

    async def script(request):
        events = Events(request.id)
        await gateway.send(request, events.accepted(), *events.begin())
        await until(lambda: [len(feed.events) for feed in client._subscription._feeds[request.id]] == [2])
        await client._subscription._read_stored()
        await gateway.send(request, events.completed(BODY))
        answered.set()

    gateway.script = script
    reply = await with_timings(client, silence_s=60).chat("x", timeout_s=10)
    await answered.wait()
    assert reply.text == "forty-two"
    assert len(followed) == 1


async def test_d8_a_cancelled_call_cancels_its_request(gateway, client):
    asking = asyncio.create_task(client.chat("x", timeout_s=30))
    await until(lambda: bool(gateway.requests))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until(lambda: gateway.cancelled == [gateway.requests[0].id])
    assert client._subscription._feeds == {}
