"""The bounded pull loop: back-pressure, verdicts, keeping alive, sharing."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from penstock.contract import codec, headers, subjects
from penstock.contract.streams import DEAD
from penstock.runtime.consumer.dead_letters import store_dead_letter
from penstock.runtime.consumer.delivery import ACK, NO_VERDICT, Delivery, Redeliver, Unprocessable, Verdict
from tests.harness.suite.waiting import until
from tests.integration.runtime.consumer.mailbox_bench import MailboxBench


@pytest.fixture
async def bench(nats_server, unique):
    bench = MailboxBench(nats_server.url, unique, ack_wait_s=30)
    await bench.open()
    yield bench
    await bench.close()


@pytest.fixture
async def short_ack_wait(nats_server, unique):
    """The server waits for a verdict for one second only."""
    bench = MailboxBench(nats_server.url, unique, ack_wait_s=1)
    await bench.open()
    yield bench
    await bench.close()


async def test_concurrency_never_exceeds_the_slots(bench):
    bodies = await bench.fill(500)

    async def handle(delivery: Delivery) -> Verdict:
        await asyncio.sleep(0.001 * (delivery.sequence % 4))
        return ACK

    box = await bench.box(handle, slots=7)
    in_flight = []
    while not await bench.is_empty():
        in_flight.append(await bench.in_flight())
    assert Counter(box.done) == Counter(bodies)
    assert box.most_running == 7
    assert max(in_flight) <= 14, "messages in flight are running handlers and verdicts not yet received"


async def test_c2_nothing_is_pulled_while_the_gate_is_closed(bench):
    closed_s = 5.0
    box = await bench.box(gate=lambda: closed_s)
    await bench.fill(10)
    await asyncio.sleep(0.3)
    assert (box.seen, await bench.in_flight(), await bench.left()) == ([], 0, 10)
    closed_s = 0.0
    box.mailbox.wake()
    assert await until(bench.is_empty, 5) < 1
    assert len(box.done) == 10


async def test_a_wake_is_ignored_when_the_gate_delayed_nothing(bench):
    """A worker of ten roles has twenty mailboxes; each request that ends in one of them wakes all."""
    checks = 0

    def gate() -> float:
        nonlocal checks
        checks += 1
        return 0.0

    box = await bench.box(gate=gate)
    await bench.fill(1)
    await until(bench.is_empty, 5)
    before = checks
    for _ in range(20):
        box.mailbox.wake()
        await asyncio.sleep(0.01)
    assert checks - before <= 2, "one check is that of the open pull request after the message"


async def test_c6_a_wake_puts_newly_usable_slots_to_use_at_once(bench):
    allowed = 1
    release = asyncio.Event()

    async def handle(delivery: Delivery) -> Verdict:
        await release.wait()
        return ACK

    box = await bench.box(handle, slots=6, usable_slots=lambda: allowed)
    await bench.fill(9)

    async def running(number: int) -> bool:
        return box.mailbox.running == number

    await until(lambda: running(1), 5)
    for number in (3, 6):
        allowed = number
        box.mailbox.wake()
        assert await until(lambda number=number: running(number), 5) < 0.7, (
            "without a wake the mailbox checks after 1 s"
        )
    release.set()
    await until(bench.is_empty, 5)


async def test_a_gate_that_opens_without_a_wake_is_noticed(bench):
    loop = asyncio.get_running_loop()
    opens_s = loop.time() + 0.5
    box = await bench.box(gate=lambda: max(0.0, opens_s - loop.time()))
    await bench.fill(1)
    await until(bench.is_empty)
    assert loop.time() >= opens_s
    assert len(box.done) == 1


async def test_a_retry_is_redelivered_after_its_delay(bench):
    times_s = []

    async def handle(delivery: Delivery) -> Verdict:
        times_s.append(asyncio.get_running_loop().time())
        return Redeliver(0.4) if delivery.number == 1 else ACK

    box = await bench.box(handle)
    await bench.fill(1)
    await until(bench.is_empty)
    assert box.seen == [(b"m-0", 1), (b"m-0", 2)]
    assert 0.35 < times_s[1] - times_s[0] < 1.5


async def test_a_retry_in_another_process_does_not_return_here(bench):
    closed_s, reopened = 0.0, False

    async def give_back(delivery: Delivery) -> Verdict:
        nonlocal closed_s
        if not reopened:
            closed_s = 60.0
        return ACK if reopened else Redeliver(to_other_process=True)

    first = await bench.box(give_back, gate=lambda: closed_s, slots=8)
    await asyncio.sleep(0.2)  # its pull requests are open
    bodies = await bench.fill(6)
    await until(lambda: bool(first.seen))
    await asyncio.sleep(0.5)
    assert {number for _, number in first.seen} == {1}
    assert await bench.left() == 6
    returned = len(first.seen)

    second = await bench.box()
    await until(bench.is_empty)
    assert Counter(second.done) == Counter(bodies)
    closed_s, reopened = 0.0, True
    first.mailbox.wake()
    await bench.fill(20)
    await until(bench.is_empty)
    assert len(first.seen) > returned, "it pulls again once its gate is open"


async def test_a_dead_letter_is_stored_once_and_not_redelivered(bench):
    async def handle(delivery: Delivery) -> Verdict:
        return Unprocessable("invalid_request", "not a request")

    box = await bench.box(handle)
    await bench.fill(1)
    await until(bench.is_empty)
    ((delivery, dead),) = box.dead_lettered
    assert (delivery.data, delivery.number, dead.code) == (b"m-0", 1, "invalid_request")
    assert len(box.seen) == 1


async def test_d7_a_message_whose_handler_always_fails_is_dead_lettered(bench):
    async def handle(delivery: Delivery) -> Verdict:
        raise ValueError("a fault of ours")

    began_s = asyncio.get_running_loop().time()
    box = await bench.box(handle, max_deliver=1)
    await bench.fill(1)
    await until(bench.is_empty)
    assert asyncio.get_running_loop().time() - began_s > 0.9, "the second delivery is a second away"
    assert box.seen == [(b"m-0", 1)]
    ((_, dead),) = box.dead_lettered
    assert dead.code == "undeliverable"
    assert "1 times" in dead.message


async def test_d7_a_message_that_a_frozen_server_sent_again_is_no_dead_letter(
    short_ack_wait, monkeypatch: pytest.MonkeyPatch
):
    """Its holder may be alive, however often that happens; without a silence of the server the bound counts again."""
    silent = True
    monkeypatch.setattr("penstock.runtime.consumer.mailbox.follows_silence", lambda *_: silent)

    async def handle(delivery: Delivery) -> Verdict:
        return NO_VERDICT

    async def may_end(*_: object) -> None:
        assert not silent

    box = await short_ack_wait.box(handle, max_deliver=1, dead_letter=may_end)
    await short_ack_wait.fill(1)
    for _ in range(2):
        await asyncio.sleep(2.0)
        assert not await short_ack_wait.is_empty()
    silent = False
    await until(short_ack_wait.is_empty)
    assert [number for _, number in box.seen] == [1], "no later delivery reached the handler"


async def test_a_failed_dead_letter_is_retried_with_the_next_delivery(short_ack_wait):
    calls = []

    async def handle(delivery: Delivery) -> Verdict:
        return Unprocessable("internal", "no use")

    async def fails_once(delivery: Delivery, dead: Unprocessable) -> None:
        calls.append(delivery.number)
        if len(calls) == 1:
            raise TimeoutError

    await short_ack_wait.box(handle, dead_letter=fails_once)
    await short_ack_wait.fill(1)
    await until(short_ack_wait.is_empty)
    assert calls == [1, 2]


async def test_a_handler_slower_than_ack_wait_keeps_its_message(short_ack_wait):
    async def handle(delivery: Delivery) -> Verdict:
        await asyncio.sleep(2.6)
        return ACK

    first, second = await short_ack_wait.box(handle), await short_ack_wait.box(handle)
    await short_ack_wait.fill(2)
    await until(short_ack_wait.is_empty)
    assert sorted(first.seen + second.seen) == [(b"m-0", 1), (b"m-1", 1)]


async def test_two_mailboxes_share_one_durable(bench):
    async def handle(delivery: Delivery) -> Verdict:
        await asyncio.sleep(0.005)
        return ACK

    first, second = await bench.box(handle, slots=4), await bench.box(handle, slots=4)
    bodies = await bench.fill(200)
    await until(bench.is_empty)
    assert Counter(first.done + second.done) == Counter(bodies)
    assert min(len(first.done), len(second.done)) > 40


POISON = [b"", b"\xff\xfe\x00", b"{", b'{"type":"chat_work"}', b"\x00" * 100_000]


async def test_d7_poison_bytes_are_dead_lettered_and_block_nothing(provisioned, bench):
    js = provisioned.jetstream()

    async def handle(delivery: Delivery) -> Verdict:
        if not delivery.data.startswith(b"m-"):
            codec.WORK.decode(delivery.data)
        return ACK

    async def store_twice(delivery: Delivery, dead: Unprocessable) -> None:
        await store_dead_letter(js, "chat", delivery, dead)
        await store_dead_letter(js, "chat", delivery, dead)

    box = await bench.box(handle, max_deliver=1, dead_letter=store_twice)
    before = (await js.stream_info(DEAD.name)).state.last_seq
    for poison in POISON:
        await js.publish(bench.consumer.filter_subject, poison, headers={headers.REPLY_SUBJECT: "r"})
    bodies = await bench.fill(5)
    await until(bench.is_empty)
    assert set(box.done) == bodies
    after = (await js.stream_info(DEAD.name)).state.last_seq
    assert after == before + len(POISON), "dead-lettered twice, stored once"
    letters = [await js.get_msg(DEAD.name, sequence) for sequence in range(before + 1, after + 1)]
    assert sorted(letter.data or b"" for letter in letters) == sorted(POISON)
    for letter in letters:
        assert letter.subject == subjects.dead("chat")
        assert letter.headers[headers.DEAD_REASON] == "undeliverable"
        assert letter.headers[headers.DEAD_SUBJECT] == bench.consumer.filter_subject
        assert letter.headers[headers.REPLY_SUBJECT] == "r"


async def test_a_dead_letter_keeps_a_body_at_the_limit_of_a_message(provisioned, bench):
    js = provisioned.jetstream()
    body = bytes(8 * 1024 * 1024)
    delivery = Delivery(
        subject="x.y", data=body, headers={}, ack_subject="", sequence=7, number=3, stored_ns=0
    )
    await store_dead_letter(
        js, "chat", delivery, Unprocessable("internal", "a reason\nwith a line end, and a € sign " * 50)
    )
    letter = await js.get_last_msg(DEAD.name, subjects.dead("chat"))
    assert letter.headers[headers.DEAD_TRUNCATED] == str(len(body))
    assert letter.headers[headers.DEAD_DELIVERIES] == "3"
    assert len(letter.data) > 8_300_000
    assert letter.headers[headers.DEAD_MESSAGE].startswith("a reason with a line end, and a \\u20ac sign")


async def test_a_consumer_that_was_deleted_is_provisioned_again(bench):
    box = await bench.box()
    await bench.fill(1)
    await until(bench.is_empty)
    await bench.js.delete_consumer(bench.consumer.stream, bench.consumer.durable)
    bodies = await bench.fill(5, "after")
    await until(bench.is_empty)
    assert box.repairs >= 1
    assert set(box.done) >= bodies
