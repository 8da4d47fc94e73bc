"""C6: several consumers, one pool of slots: the first preferred, none starved, and few requests to the server."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest
from nats.aio.msg import Msg

from penstock.bus.connection import connect
from penstock.runtime.consumer.delivery import ACK, Delivery, Redeliver, Verdict
from penstock.runtime.consumer.scheduler import EVERY, LONG_POLL_S
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


async def test_c6_full_ranks_each_get_their_share(bench):
    for rank in range(RANKS):
        await bench.fill(200, f"r{rank}", rank=rank)
    slots = 5
    box = await bench.box(a_moment, slots=slots)
    await until(lambda: len(box.seen) >= 320)
    shares = [len([position for position in at(box, f"r{rank}") if position < 320]) for rank in range(RANKS)]
    assert shares[0] >= 190, shares
    for rank in range(1, RANKS):
        positions = [position for position in at(box, f"r{rank}") if position < 320]
        gaps = [after - before for before, after in itertools.pairwise(positions)]
        # Answers of consumers that are asked concurrently may arrive in any order.
        assert max(gaps) <= EVERY + RANKS + slots, (rank, positions)
    await until(bench.is_empty, 30)
    assert len(box.done) == 800


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
    await until(lambda: sum(asked.values()) == RANKS)
    await asyncio.sleep(1.0)
    assert sum(asked.values()) == RANKS


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
