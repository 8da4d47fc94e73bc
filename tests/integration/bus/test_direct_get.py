"""Read many stored messages without a consumer."""

from __future__ import annotations

import asyncio

import nats.errors
import pytest

from penstock.bus.direct_get import PageReader, read_all, read_last, read_page, sequence_of


@pytest.fixture
async def stream(nc, unique):
    js = nc.jetstream()
    await js.add_stream(name=unique, subjects=[f"{unique}.>"], allow_direct=True)
    for number in range(120):
        await nc.publish(f"{unique}.{'odd' if number % 2 else 'even'}", b"%d" % number)
    await js.publish(f"{unique}.last", b"last")
    return unique


async def messages(nc, stream, subject, batch):
    return [msg async for msg in read_all(nc, stream, subject, batch=batch)]


async def test_pages_grow_and_have_no_gap_and_no_overlap(nc, stream, monkeypatch):
    pages = 0

    async def counted(*arguments, **options):
        nonlocal pages
        pages += 1
        return await read_page(*arguments, **options)

    monkeypatch.setattr("penstock.bus.direct_get.read_page", counted)
    found = await messages(nc, stream, f"{stream}.odd", batch=7)
    assert [int(msg.data) for msg in found] == list(range(1, 120, 2))
    assert pages == 4, "7 messages, 14, 28, and the rest"
    sequences = [sequence_of(msg) for msg in found]
    assert sequences == sorted(set(sequences))


async def test_a_wildcard_reads_several_subjects_in_stream_order(nc, stream):
    found = await messages(nc, stream, f"{stream}.*", batch=50)
    assert [msg.data for msg in found] == [*(b"%d" % number for number in range(120)), b"last"]
    assert {msg.headers["Nats-Subject"] for msg in found} == {
        f"{stream}.{each}" for each in ("odd", "even", "last")
    }


async def test_a_page_has_the_number_of_further_messages(nc, stream):
    page = await read_page(nc, stream, f"{stream}.even", batch=10)
    assert (len(page.messages), page.pending) == (10, 50)
    page = await read_page(nc, stream, f"{stream}.even", batch=60)
    assert (len(page.messages), page.pending) == (60, 0)


async def test_a_subject_without_messages_is_an_empty_page(nc, stream):
    page = await read_page(nc, stream, f"{stream}.never")
    assert (page.messages, page.pending) == ((), 0)
    page = await read_page(nc, stream, f"{stream}.odd", sequence=10_000)
    assert page.messages == ()


async def test_a_missing_stream_or_server_is_an_error(own_nats_server, own_nc, unique, monkeypatch):
    with pytest.raises(nats.errors.Error, match=unique):
        await read_page(own_nc, unique, unique)
    monkeypatch.setattr("penstock.bus.direct_get._TIMEOUT_S", 0.2)
    own_nats_server.kill()
    with pytest.raises((nats.errors.Error, TimeoutError)):
        await read_page(own_nc, unique, unique)


async def test_a_reader_drops_the_rest_of_a_page_that_was_given_up(nc, stream):
    reader = PageReader(nc, stream)
    for _ in range(20):
        given_up = asyncio.create_task(reader.read(f"{stream}.odd", sequence=1, batch=60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        page = await reader.read(f"{stream}.even", sequence=1, batch=60)
        assert [int(msg.data) for msg in page.messages] == list(range(0, 120, 2))
    await reader.close()


async def test_concurrent_reads_leave_no_subscription(nc, stream):
    before = len(nc._subs)
    found = await asyncio.gather(*(messages(nc, stream, f"{stream}.odd", batch=20) for _ in range(10)))
    assert {len(each) for each in found} == {60}
    assert len(nc._subs) == before


async def test_the_last_messages_of_many_subjects_are_read_at_once(nc, stream):
    wanted = [f"{stream}.{each}" for each in ("odd", "never", "last")]
    found = await read_last(nc, stream, wanted)
    assert {msg.headers["Nats-Subject"]: msg.data for msg in found} == {
        f"{stream}.odd": b"119",
        f"{stream}.last": b"last",
    }
    assert await read_last(nc, stream, [f"{stream}.never"]) == []
    assert await read_last(nc, stream, []) == []


async def test_last_messages_that_exceed_one_answer_are_all_read(nc, unique, monkeypatch):
    js = nc.jetstream()
    await js.add_stream(name=unique, subjects=[f"{unique}.*"], allow_direct=True)
    for number in range(20):
        await js.publish(f"{unique}.{number}", b"x" * 1_000)
    monkeypatch.setattr("penstock.bus.direct_get._MAX_BYTES", 3_000)
    found = await read_last(nc, unique, [f"{unique}.{number}" for number in range(20)])
    assert len({msg.headers["Nats-Subject"] for msg in found}) == 20
