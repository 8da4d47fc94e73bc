"""D7, D9: a mailbox that drains, whose server restarts, or whose server is killed, loses nothing."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from penstock.runtime.consumer.delivery import ACK, Delivery, Redeliver, Verdict
from tests.harness.suite.waiting import until
from tests.integration.runtime.consumer.mailbox_bench import MailboxBench

pytestmark = pytest.mark.parametrize("ranks", [1, 4])


@pytest.fixture
async def bench(nats_server, unique, ranks):
    bench = MailboxBench(nats_server.url, unique, ack_wait_s=30, ranks=ranks)
    await bench.open()
    yield bench
    await bench.close()


@pytest.fixture
async def own_bench(own_nats_server, unique, ranks):
    bench = MailboxBench(own_nats_server.url, unique, ack_wait_s=3, ranks=ranks)
    await bench.open()
    yield bench
    await bench.close()


async def quick(delivery: Delivery) -> Verdict:
    await asyncio.sleep(0.02)
    return ACK


async def for_ever(delivery: Delivery) -> Verdict:
    await asyncio.Event().wait()
    return ACK


async def test_d9_a_drain_returns_unfinished_messages_at_once(bench, ranks):
    stuck = await bench.box(for_ever, slots=4)
    bodies = await bench.fill(12)
    await until(lambda: len(stuck.seen) >= 4)
    await stuck.mailbox.drain(0.1)
    assert 4 <= len(stuck.seen) <= 4 + ranks - 1, "at most the slots, and one message of each other rank"
    assert stuck.mailbox.running == 0
    other = await bench.box(quick)
    assert await until(bench.is_empty) < 10, "long before ack_wait"
    assert Counter(other.done) == Counter(bodies)
    assert {number for _, number in other.seen} == {1, 2}


async def test_a_drain_without_grace_returns_messages_not_yet_started(bench):
    stuck = await bench.box(for_ever, slots=50)
    bodies = await bench.fill(50)
    await until(lambda: bool(stuck.seen))
    await stuck.mailbox.drain(0)
    other = await bench.box(quick, slots=50)
    assert await until(bench.is_empty) < 10
    assert Counter(other.done) == Counter(bodies)


async def test_d9_a_drain_under_load_loses_and_repeats_nothing(bench):
    other = await bench.box(quick, slots=5)
    leaving = [await bench.box(quick, slots=5) for _ in range(3)]
    bodies = await bench.fill(240)
    for box in leaving:
        await until(lambda box=box: len(box.done) >= 5)
        await box.mailbox.drain(5)
        assert box.mailbox.running == 0
        assert len(box.seen) == len(box.done), "every started handler has finished"
        count = len(box.seen)
        await asyncio.sleep(0.05)
        assert len(box.seen) == count, "no handler starts after a drain"
    await until(bench.is_empty)
    done = Counter(body for box in (other, *leaving) for body in box.done)
    assert done == Counter(bodies)


async def test_a_message_that_arrives_during_a_drain_is_delivered_elsewhere(bench):
    leaving = await bench.box(for_ever, slots=3)
    await bench.fill(1)
    await until(lambda: len(leaving.seen) == 1)
    draining = asyncio.create_task(leaving.mailbox.drain(1))
    await bench.fill(5, "late")
    other = await bench.box(quick)
    await until(lambda: len(other.done) >= 5)
    await draining
    await until(bench.is_empty)
    assert len(leaving.seen) == 1


async def test_draining_twice_or_before_the_start_is_allowed(bench):
    box = await bench.box(quick)
    await box.mailbox.drain(1)
    await box.mailbox.drain(1)


async def test_the_verdict_of_a_cancelled_handler_is_sent(bench):
    async def gives_a_verdict(delivery: Delivery) -> Verdict:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return ACK
        return Redeliver()

    box = await bench.box(gives_a_verdict)
    await bench.fill(1)
    await until(lambda: len(box.seen) == 1)
    await box.mailbox.drain(0)
    await until(bench.is_empty)


@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_d7_a_mailbox_resumes_after_a_server_restart(own_nats_server, own_bench, how):
    box = await own_bench.box(quick, slots=3)
    before = await own_bench.fill(60, "before")
    await until(lambda: len(box.done) >= 10)
    if how == "kill":
        own_nats_server.kill()
    await own_nats_server.restart()
    after = await own_bench.fill(20, "after")
    assert await until(lambda: set(box.done) == before | after) < 10
    await until(own_bench.is_empty)  # an acknowledgement lost with the connection costs ack_wait
    assert len(box.done) <= len(before | after) + 6, "at most the messages in flight are repeated"


async def test_an_idle_mailbox_resumes_after_a_server_restart(own_nats_server, own_bench):
    box = await own_bench.box(quick)
    await until(lambda: all(puller.source.outstanding > 0 for puller in box.mailbox._pullers))
    own_nats_server.kill()
    await asyncio.sleep(0.3)
    await own_nats_server.start()
    bodies = await own_bench.fill(5)
    assert await until(own_bench.is_empty) < 10
    assert set(box.done) == bodies


async def test_a_handler_gives_its_verdict_after_a_server_restart(own_nats_server, own_bench):
    let_go = asyncio.Event()

    async def waits(delivery: Delivery) -> Verdict:
        await let_go.wait()
        return ACK

    box = await own_bench.box(waits, slots=2)
    await own_bench.fill(2)
    await until(lambda: len(box.seen) == 2)
    await own_nats_server.restart()
    await until(lambda: box.nc.is_connected)
    let_go.set()
    await until(own_bench.is_empty)
    assert Counter(box.done) == Counter([b"m-0", b"m-1"])


async def test_d9_a_drain_without_a_server_ends_and_loses_nothing(own_nats_server, own_bench):
    box = await own_bench.box(for_ever, slots=2)
    bodies = await own_bench.fill(3)
    await until(lambda: len(box.seen) >= 2)
    own_nats_server.kill()
    async with asyncio.timeout(15):
        await box.mailbox.drain(0.2)
    assert box.mailbox.running == 0
    await own_nats_server.start()
    other = await own_bench.box(quick)
    await until(own_bench.is_empty)
    assert set(other.done) == bodies


async def test_a_drain_after_the_connection_was_closed_ends(bench):
    box = await bench.box(for_ever)
    await bench.fill(1)
    await until(lambda: len(box.seen) == 1)
    await box.nc.close()
    async with asyncio.timeout(15):
        await box.mailbox.drain(0.1)
    assert box.mailbox.running == 0


async def test_d7_a_sequence_reused_by_a_new_stream_is_another_message(bench):
    """The queue is lost while a message is in flight; a new message with its sequence must not get its verdict."""
    resume = asyncio.Event()

    async def old_ones_wait(delivery: Delivery) -> Verdict:
        if delivery.data.startswith(b"old"):
            await resume.wait()
        return ACK

    box = await bench.box(old_ones_wait, slots=8)
    old = await bench.fill(2, "old")
    await until(lambda: len(box.seen) == 2)
    await bench.js.delete_stream(bench.consumer.stream)
    await bench.provision(bench.js)
    new = await bench.fill(2, "new")
    await until(lambda: new <= set(box.done))
    resume.set()
    await until(lambda: old <= set(box.done))
    assert Counter(box.done) == Counter(old | new)
    await until(bench.is_empty)
