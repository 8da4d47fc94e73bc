"""C6: several consumers, one pool of slots: the first preferred, none starved, and few requests to the server."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from nats.aio.msg import Msg

from penstock.bus.connection import connect
from penstock.runtime.consumer.delivery import ACK, Delivery, Redeliver, Verdict
from penstock.runtime.consumer.queue_scheduler import POLL_BATCH, TURN, QueueScheduler
from penstock.runtime.consumer.scheduler import LONG_POLL_S
from tests.harness.suite.waiting import until
from tests.integration.runtime.consumer.mailbox_bench import Box, MailboxBench

RANKS = 4


@pytest.fixture
async def bench(nats_server, unique):
    bench = MailboxBench(nats_server.url, unique, ack_wait_s=30, ranks=RANKS)
    await bench.open()
    yield bench
    await bench.close()


@pytest.fixture
async def asked(nats_server, bench):
    """Number of pull requests by consumer."""
    nc = await connect(nats_server.url, name="asked")
    found: Counter[str] = Counter()

    async def count(msg: Msg) -> None:
        found[msg.subject.rpartition(".")[2]] += 1

    await nc.subscribe(f"$JS.API.CONSUMER.MSG.NEXT.{bench.consumer.stream}.>", cb=count)
    await nc.flush()
    yield found
    await nc.close()


async def a_moment(delivery: Delivery) -> Verdict:
    await asyncio.sleep(0.01)
    return ACK


async def test_c6_messages_of_the_first_ranks_start_beside_those_of_a_long_queue(bench):
    """With 16 slots four of them, whichever of the two ranks they are in; the last slots are for them alone."""

    async def handle(delivery: Delivery) -> Verdict:
        await asyncio.Event().wait()
        return ACK

    await bench.fill(100, "flood", rank=3)
    box = await bench.box(handle, slots=16)
    await until(lambda: len(at(box, "flood")) == 16)
    for number, rank in enumerate((1, 0, 0, 1)):
        await bench.fill(1, f"other-{number}", rank=rank)
        await until(lambda number=number: len(at(box, "other")) == number + 1)
    await bench.fill(20, "more", rank=0)
    await asyncio.sleep(0.5)
    assert len(box.seen) <= 16 + 4 + RANKS - 1
    assert len(at(box, "flood")) == 16


async def test_c6_jobs_whose_handling_lasts_stop_no_other_request(bench):
    """With the scheduler of the router: 3 queues of requests, and one of jobs."""

    async def handle(delivery: Delivery) -> Verdict:
        if delivery.data.startswith(b"job"):
            await asyncio.Event().wait()
        return ACK

    await bench.fill(400, "job", rank=3)
    box = await bench.box(handle, slots=4 * TURN, scheduler=QueueScheduler(3, 1))
    await until(lambda: len(at(box, "job")) >= POLL_BATCH + TURN)
    requests = await bench.fill(5 * POLL_BATCH, "request", rank=0)
    await until(lambda: requests <= set(box.done))
    assert len(at(box, "job")) <= 2 * TURN


def at(box: Box, prefix: str) -> list[int]:
    """The positions of these messages among all handled ones."""
    return [position for position, (body, _) in enumerate(box.seen) if body.startswith(prefix.encode())]


async def test_c6_a_first_request_overtakes_a_backlog_of_a_thousand(bench):
    await bench.fill(1000, "flood", rank=3)
    box = await bench.box(a_moment, slots=4)
    await until(lambda: len(box.seen) >= 40)
    for number in range(10):
        before = len(box.seen)
        (body,) = await bench.fill(1, f"other-{number}", rank=0)
        await until(lambda body=body: body in box.done)
        (position,) = at(box, f"other-{number}")
        assert position - before <= 8, "only a few messages were handled while it was published"
    await until(bench.is_empty, 30)
    assert len(at(box, "flood")) == 1000


async def test_c6_later_ranks_with_older_messages_have_one_of_eight_turns(bench):
    for rank in reversed(range(RANKS)):
        await bench.fill(200, f"r{rank}", rank=rank)
    box = await bench.box(a_moment, slots=5)
    await until(lambda: len(box.seen) >= 216)
    first = [body[:2] for body, _ in box.seen[:216]]
    assert 175 <= first.count(b"r0") <= 196
    assert min(first.count(f"r{rank}".encode()) for rank in range(1, RANKS)) >= 5
    await until(bench.is_empty, 30)
    assert len(box.done) == 800


async def test_c6_later_ranks_with_younger_messages_wait(bench):
    for rank in range(RANKS):
        await bench.fill(60, f"r{rank}", rank=rank)
    boxes = [await bench.box(a_moment, slots=2) for _ in range(2)]
    await until(bench.is_empty, 30)
    for box in boxes:
        ranks = [int(body[1:2]) for body, _ in box.seen]
        assert ranks == sorted(ranks)


async def test_c6_a_burst_beyond_the_slots_starts_in_order(bench):
    """While all slots are taken, no open request takes a message of a later rank before those of an earlier one."""
    release = asyncio.Event()

    async def handle(delivery: Delivery) -> Verdict:
        if delivery.data.startswith(b"busy"):
            await release.wait()
        return await a_moment(delivery)

    box = await bench.box(handle, slots=2)
    await bench.fill(2, "busy", rank=0)
    await until(lambda: len(box.seen) == 2)
    for rank in range(RANKS):
        await bench.fill(10, f"r{rank}", rank=rank)
    release.set()
    await until(bench.is_empty)
    ranks = [int(body[1:2]) for body, _ in box.seen[2:]]
    assert ranks == sorted(ranks)


async def test_concurrency_is_the_slots_plus_one_per_further_rank(bench):
    box = await bench.box(a_moment, slots=3)
    for _ in range(6):
        await asyncio.gather(*(bench.fill(25, f"b{_}r{rank}", rank=rank) for rank in range(RANKS)))
    await until(bench.is_empty, 30)
    assert len(box.done) == 600
    assert 3 <= box.most_running <= 3 + RANKS - 1


async def test_an_idle_mailbox_takes_from_every_rank_at_once(bench):
    loop = asyncio.get_running_loop()
    box = await bench.box(slots=1)
    await until(lambda: all(puller.source.outstanding for puller in box.mailbox._pullers))
    for round_ in range(3):
        for rank in range(RANKS):
            began_s = loop.time()
            (body,) = await bench.fill(1, f"{round_}-{rank}", rank=rank)
            await until(lambda body=body: body in box.done)
            assert loop.time() - began_s < LONG_POLL_S / 4, "no open pull request had to expire"


async def test_a_burst_in_one_rank_costs_few_requests(bench, asked):
    """The batch of the open pull request grows, so that one request fetches several messages."""
    box = await bench.box(slots=64)
    for number in range(600):
        await bench.fill(1, f"m{number}", rank=2)
    await until(bench.is_empty)
    assert len(box.done) == 600
    assert asked[bench.consumers[2].durable] < 120, asked
    assert sum(asked.values()) < 130, asked


async def test_an_idle_mailbox_sends_no_further_requests(bench, asked):
    await bench.box(slots=8)
    await until(lambda: sum(asked.values()) == 2 * RANKS)  # one that shows it empty, and one that stays open
    await asyncio.sleep(1.0)
    assert sum(asked.values()) == 2 * RANKS


async def test_c6_no_rank_that_is_known_to_be_empty_is_asked_for_its_turn(nats_server, bench):
    """While a slot is free the later ranks have open requests, so that their messages start at once."""
    nc = await connect(nats_server.url, name="asked")
    asked: list[str] = []

    async def note(msg: Msg) -> None:
        asked.append(msg.subject)

    await nc.subscribe(f"$JS.API.CONSUMER.INFO.{bench.consumer.stream}.>", cb=note)
    await nc.flush()
    box = await bench.box(slots=8)
    await until(lambda: all(puller.source.is_polled for puller in box.mailbox._pullers))
    asked.clear()
    for number in range(60):
        (body,) = await bench.fill(1, f"m{number}", rank=0)
        await until(lambda body=body: body in box.done)
    await nc.flush()
    await nc.close()
    assert asked == []


async def test_a_backlog_is_requested_as_slots_become_free(bench, asked):
    await bench.fill(400, rank=3)
    box = await bench.box(a_moment, slots=8)
    await until(bench.is_empty, 30)
    assert len(box.done) == 400
    assert sum(asked.values()) <= 400 + 3 * RANKS, asked


async def test_c6_the_number_of_usable_slots_can_change(bench):
    allowed = 1
    running = []

    async def handle(delivery: Delivery) -> Verdict:
        running.append(box.mailbox.running)
        return await a_moment(delivery)

    await bench.fill(60, rank=1)
    box = await bench.box(handle, slots=6, usable_slots=lambda: allowed)
    await until(lambda: len(box.done) >= 20)
    assert set(running) == {1}
    allowed = 6
    await until(bench.is_empty)
    assert 4 <= max(running) <= 6 + RANKS - 1


async def test_a_deleted_consumer_is_restored_while_other_ranks_continue(bench):
    box = await bench.box(a_moment)
    gone = bench.consumers[2]
    await bench.js.delete_consumer(gone.stream, gone.durable)
    bodies = await bench.fill(20, "beside", rank=0) | await bench.fill(5, "after", rank=2)
    await until(bench.is_empty, 30)  # without a refusal, missing heartbeats show it after 12.5 s
    assert box.repairs >= 1
    assert set(box.done) == bodies


async def test_a_returned_message_is_redelivered_in_its_rank(bench):
    async def handle(delivery: Delivery) -> Verdict:
        return Redeliver(0.2) if delivery.number == 1 else ACK

    box = await bench.box(handle)
    bodies = await bench.fill(12)
    await until(bench.is_empty)
    assert Counter(box.done) == Counter(bodies)


async def test_two_mailboxes_share_all_ranks(bench):
    first, second = await bench.box(a_moment, slots=4), await bench.box(a_moment, slots=4)
    bodies = await bench.fill(400)
    await until(bench.is_empty, 30)
    assert Counter(first.done + second.done) == Counter(bodies)
    assert min(len(first.done), len(second.done)) > 100
