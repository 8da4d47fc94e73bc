"""E2, E3, D6: events that are lost on the way are recovered, or the application gets an error."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from msgspec.structs import replace

from penstock import Client
from penstock.bus.connection import ConnectionEvents, connect
from penstock.client.follow import Feed
from penstock.client.reply import ReplyBuilder
from penstock.contract import codec, subjects
from penstock.contract.reply import Completed, Delta, first_seq
from penstock.contract.subjects import ReplyAddress
from penstock.errors import BeyondTheEnd, NoReply, ReplyIncomplete, UnknownReply
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.reply_publisher import AnnouncedAttempt, Position, ReplyPublisher
from penstock.runtime.service import Bus
from tests.harness.suite.waiting import until
from tests.integration.client.events import Events
from tests.integration.client.gateway import Gateway
from tests.integration.client.timings import with_timings

PARTS = [f"w{number} " for number in range(40)]


@pytest.fixture
async def own_gateway(own_nats_server, unique):
    gateway = Gateway(own_nats_server.url, unique)
    await gateway.open()
    yield gateway
    await gateway.close()


@pytest.fixture
async def own_client(own_nats_server, own_gateway):
    async with await Client.connect(own_nats_server.url, account=own_gateway.account) as client:
        yield client


def lose_live(monkeypatch, lost) -> None:
    """Drop the live events for which `lost(event)` is true; they are stored."""
    put = Feed.put

    def lossy(feed: Feed, event) -> None:
        if event is None or not lost(event):
            put(feed, event)

    monkeypatch.setattr(Feed, "put", lossy)


def answer(gateway: Gateway, parts=PARTS, pause_s: float = 0.0):
    """A script: one attempt that sends `parts`."""

    async def script(request):
        events = Events(request.id)
        await gateway.send(request, events.accepted(), *events.begin())
        for part in parts:
            await gateway.send(request, *events.deltas(part))
            await asyncio.sleep(pause_s)
        await gateway.send(request, events.completed())

    return script


async def test_d6_a_gap_in_the_live_events_is_filled_from_the_store(gateway, client, monkeypatch):
    lose_live(monkeypatch, lambda event: isinstance(event, Delta) and event.seq % 3 == 0)
    gateway.script = answer(gateway)
    seen = [event async for event in with_timings(client, silence_s=0.3).stream("x")]
    assert "".join(event.text for event in seen if isinstance(event, Delta)) == "".join(PARTS)
    assert [event.seq for event in seen] == sorted({event.seq for event in seen})


async def test_d6_a_lost_end_is_read_from_the_store(gateway, client, monkeypatch):
    lose_live(monkeypatch, lambda event: isinstance(event, Completed))
    gateway.script = answer(gateway)
    reply = await with_timings(client, silence_s=0.3).chat("x", stream=True, timeout_s=10)
    assert reply.text == "".join(PARTS)


async def test_d6_a_reply_without_live_events_is_read_from_the_store(gateway, client, monkeypatch):
    lose_live(monkeypatch, lambda _: True)
    gateway.script = answer(gateway)
    reply = await with_timings(client, silence_s=0.3).chat("x", stream=True, timeout_s=10)
    assert reply.text == "".join(PARTS)


async def test_e1_a_slow_reader_gets_every_event(gateway, client, caplog):
    """More events arrive than are kept for a reader, which reads the rest from the store without waiting."""
    parts = [f"{number} " for number in range(5000)]
    sent = asyncio.Event()

    async def script(request):
        events = Events(request.id)
        await gateway.send(request, events.accepted(), *events.begin())
        subject = subjects.reply(gateway.account, request.client, request.id)
        for delta in events.deltas(*parts):
            await gateway.nc.publish(subject, codec.encode(delta))
        await gateway.send(request, events.completed())
        sent.set()

    gateway.script = script
    caplog.set_level("INFO")
    async with asyncio.timeout(20), with_timings(client, silence_s=60).stream("x") as stream:
        await sent.wait()
        await client._nc.flush()
        texts = [event.text async for event in stream if isinstance(event, Delta)]
    assert texts == parts
    assert "slow reader" in caplog.text


async def test_d6_a_store_that_does_not_answer_delays_a_gap_only(gateway, client, monkeypatch):
    from penstock.client import follow

    right, calls = follow.stored_replies, []

    async def silent_at_first(*arguments):
        calls.append(1)
        if len(calls) < 3:
            raise TimeoutError
        return await right(*arguments)

    monkeypatch.setattr(follow, "stored_replies", silent_at_first)
    lose_live(monkeypatch, lambda event: event.seq == first_seq(1) + 5)
    gateway.script = answer(gateway)
    impatient = with_timings(client, silence_s=0.3)
    assert (await impatient.chat("x", stream=True, timeout_s=10)).text == "".join(PARTS)
    assert len(calls) >= 3


async def test_d6_text_that_is_lost_everywhere_is_an_error(gateway, client):
    async def script(request):
        events = Events(request.id)
        await gateway.send(request, events.accepted(), *events.begin(), *events.deltas("a "))
        events.deltas("lost ")
        await gateway.send(request, *events.deltas("c"), events.completed())

    gateway.script = script
    builder = ReplyBuilder()

    async def read() -> None:
        async for event in with_timings(client, missing_s=0.4).stream("x", timeout_s=10):
            builder.add(event)

    with pytest.raises(ReplyIncomplete) as caught:
        await read()
    assert builder._text == ["a "]
    assert caught.value.retry == "later"


async def test_d6_a_gap_in_a_replaced_attempt_does_not_matter(gateway, client):
    async def script(request):
        events = Events(request.id)
        await gateway.send(request, events.accepted(), *events.begin(), *events.deltas("a "))
        events.deltas("lost ")
        await gateway.send(request, *events.deltas("c"))
        await gateway.send(
            request, *events.begin(restarted=True), *events.deltas("right"), events.completed()
        )

    gateway.script = script
    assert (await client.chat("x", stream=True, timeout_s=10)).text == "right"


@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_e2_a_stream_continues_after_the_server_was_down(own_nats_server, own_gateway, own_client, how):
    own_gateway.script = answer(own_gateway, pause_s=0.01)
    texts, away = [], None

    async def go_away() -> None:
        if how == "kill":
            own_nats_server.kill()
        await own_nats_server.restart()

    async for event in own_client.stream("x", timeout_s=30):
        if isinstance(event, Delta):
            texts.append(event.text)
            if len(texts) == 8:
                away = asyncio.create_task(go_away())
    await away
    assert texts == PARTS


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_d6_deltas_without_acknowledgement_are_published_again(
    own_nats_server, own_gateway, own_client, how, at_once
):
    """Deltas are plain publishes; those in flight when the server went away are published again."""
    sent = asyncio.Event()

    async def script(request):
        address = ReplyAddress(own_gateway.account, request.client, request.id)
        nc = own_gateway.nc
        bus = Bus(nc, own_gateway.js, ConnectionEvents(), DeliveryEpochs(nc))
        publisher = ReplyPublisher(bus, address, Position())
        await publisher.begin_attempt(AnnouncedAttempt(model="m", provider="p", worker="w", at_ms=0))
        for number, part in enumerate(PARTS):
            if at_once and publisher.sends_at_once():
                publisher.delta_at_once(part, ())
            else:
                await publisher.delta(part, ())
            if number == 15:
                sent.set()
            await asyncio.sleep(0.01)
        _, seq, attempt = publisher.terminal_position()
        await publisher.finish(replace(Events(request.id).completed(), seq=seq, attempt=attempt))

    async def go_away() -> None:
        await sent.wait()
        if how == "kill":
            own_nats_server.kill()
        await own_nats_server.restart()

    own_gateway.script = script
    away = asyncio.create_task(go_away())
    reply = await own_client.chat("x", stream=True, timeout_s=30)
    await away
    assert reply.text == "".join(PARTS)


async def test_e2_another_client_resumes_a_stream_where_it_was(nats_server, gateway, client):
    gateway.script = answer(gateway, pause_s=0.002)
    stream = client.stream("x")
    first = []
    async for event in stream:
        first.append(event)
        if isinstance(event, Delta) and len(first) == 12:
            stream.detach()
            break
    await stream.aclose()
    async with await Client.connect(nats_server.url, account=gateway.account) as other:
        rest = [
            event
            async for event in other.resume(
                stream.id, after_seq=first[-1].seq, client=client.name, timeout_s=10
            )
        ]
        again = [event async for event in other.resume(stream.id, client=client.name, timeout_s=10)]
        assert other._subscription._feeds == {}
    both = [*first, *rest]
    assert [event.seq for event in both] == sorted({event.seq for event in both})
    assert "".join(event.text for event in both if isinstance(event, Delta)) == "".join(PARTS)
    assert again == both
    assert gateway.cancelled == []


async def test_e2_a_new_process_of_the_same_name_resumes_its_stream(nats_server, gateway):
    gateway.script = answer(gateway)
    async with await Client.connect(nats_server.url, account=gateway.account, name="client-1") as before:
        stream = before.stream("x")
        async for _ in stream:
            stream.detach()
            break
        await stream.aclose()
    async with await Client.connect(nats_server.url, account=gateway.account, name="client-1") as after:
        events = [event async for event in after.resume(stream.id, timeout_s=10)]
    assert "".join(event.text for event in events if isinstance(event, Delta)) == "".join(PARTS)


async def test_e3_several_clients_follow_one_reply(nats_server, gateway, client):
    gateway.script = answer(gateway, pause_s=0.002)
    stream = client.stream("x")

    async def observe(observer: Client) -> list:
        return [event async for event in observer.resume(stream.id, client=client.name, timeout_s=10)]

    async with AsyncExitStack() as stack:
        observers = [
            await stack.enter_async_context(await Client.connect(nats_server.url, account=gateway.account))
            for _ in range(3)
        ]
        watching = [asyncio.create_task(observe(observer)) for observer in observers]
        seen = [event async for event in stream]
        assert await asyncio.gather(*watching) == [seen] * 3


async def test_e2_resuming_an_unknown_request_ends_in_time(client):
    with pytest.raises(NoReply):
        [event async for event in client.resume("no-such-request", timeout_s=0.3)]


async def test_e2_a_reply_that_cannot_arrive_is_reported_soon(own_nats_server, own_client, own_gateway):
    """A client with a generated name looks for the reply under that name."""
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(UnknownReply, match="client="):
        [event async for event in own_client.resume("asked-under-another-name")]
    assert asyncio.get_running_loop().time() - began_s < 12


async def test_e2_a_queued_request_is_waited_for(own_nats_server, own_client, own_gateway):
    """No router runs: the request waits in JetStream, and no event of its reply is stored."""
    impatient = with_timings(own_client, silence_s=0.05)
    request_id = await impatient.submit("x")
    with pytest.raises(NoReply) as raised:
        [event async for event in impatient.resume(request_id, timeout_s=0.5)]
    assert not isinstance(raised.value, UnknownReply)


async def test_e2_resuming_beyond_the_end_is_an_error(gateway, client):
    gateway.script = answer(gateway)
    seqs = [event.seq async for event in client.stream("x")]
    request_id = gateway.requests[0].id
    with pytest.raises(BeyondTheEnd, match=f"after_seq=99999999 .* seq {seqs[-1]};"):
        [event async for event in client.resume(request_id, after_seq=99_999_999)]
    with pytest.raises(BeyondTheEnd):
        [event async for event in client.resume(request_id, after_seq=seqs[-1] + 1)]
    assert [event async for event in client.resume(request_id, after_seq=seqs[-1])] == []


async def test_d6_attempts_stored_out_of_order_are_read_in_order(gateway, client):
    """A replaced worker published more events after its successor had begun."""

    async def script(request):
        events = Events(request.id)
        await gateway.send(request, events.accepted(), *events.begin(), *events.deltas("a "))
        late = events.deltas("b ", "c ")
        new = [*events.begin(restarted=True), *events.deltas("right ")]
        await gateway.send(request, new[0], late[0], new[1], late[1], new[2])
        await gateway.send(request, *events.deltas("words"), events.completed())

    gateway.script = script
    live = [event async for event in client.stream("x")]
    read = [event async for event in client.resume(gateway.requests[0].id, timeout_s=10)]
    assert [event.seq for event in read] == sorted({event.seq for event in read})
    assert [event for event in read if event.attempt == 2] == [event for event in live if event.attempt == 2]


async def test_e2_a_client_reconnects_however_long_the_server_was_down(own_nats_server):
    """nats-py's default gives up after 60 attempts."""
    reconnected = asyncio.Event()
    connection_events = ConnectionEvents()

    async def on_reconnection() -> None:
        reconnected.set()

    connection_events.add_reconnect_listener(on_reconnection)
    nc = await connect(own_nats_server.url, name="reconnecting", events=connection_events)
    nc.options["reconnect_time_wait"] = 0.002
    own_nats_server.kill()
    await until(lambda: nc._server_pool[0].reconnects > 70)
    await own_nats_server.start()
    await asyncio.wait_for(reconnected.wait(), 20)
    assert nc.is_connected
    await nc.close()


@pytest.mark.parametrize("noticed", [True, False])
async def test_d9_closing_while_the_server_is_down_ends(own_nats_server, own_client, noticed):
    own_nats_server.kill()
    if noticed:
        await until(lambda: own_client._nc.is_reconnecting)
    await own_client.cancel("some-id")
    async with asyncio.timeout(20):
        await own_client.close()
    assert own_client._nc.is_closed


async def test_d6_of_two_workers_the_first_end_is_the_answer(gateway, client):
    """The replaced worker was alive and stored its end first, so that of its successor is not stored."""
    read_to = asyncio.Event()

    async def script(request):
        old, new = Events(request.id), Events(request.id)
        await gateway.send(request, old.accepted(), *old.begin(), *old.deltas("the "))
        new.begin()
        await gateway.send(request, *new.begin(restarted=True), *new.deltas("another", " answer"))
        await read_to.wait()
        await gateway.send(request, *old.deltas("answer"), old.completed())

    gateway.script = script
    stream = client.stream("x", timeout_s=20)
    builder, seqs = ReplyBuilder(), []
    async with asyncio.timeout(4), stream:
        async for event in stream:
            seqs.append(event.seq)
            reply = builder.add(event)
            if isinstance(event, Delta) and event.text == " answer":
                read_to.set()
                seen = event.seq
    assert reply is not None
    assert (reply.text, reply.attempts) == ("the answer", 1)
    assert seqs == sorted(set(seqs))
    for after_seq in (-1, first_seq(1), seen, seqs[-2], seqs[-1]):
        again = ReplyBuilder()
        async with asyncio.timeout(2):
            replies = [again.add(event) async for event in client.resume(stream.id, after_seq=after_seq)]
        assert replies[-1] is not None
        assert replies[-1].text == "the answer"
