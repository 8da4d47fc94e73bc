"""A request over NATS gets its answer in time or later, and leaves nothing behind when nobody waits for it."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.nats_patches import install
from penstock.bus.wire.receiving import read_messages
from penstock.bus.wire.sending import publish_for_answer

install()


async def requesting() -> Nats:
    """A connection that is not made: what is published stays in its buffer."""
    nc = Nats()
    nc._max_pending_size = 10_000
    nc._flush_queue = asyncio.Queue()
    await nc._init_request_sub()
    return nc


def answer(nc: Nats, number: int = -1) -> None:
    """Answer the request with this number of those that were published."""
    [sid] = nc._subs
    reply = [command.split(b" ")[2] for command in nc._pending if command.startswith(b"HPUB")][number]
    assert read_messages(nc, b"MSG %b %d 2\r\nok\r\n" % (reply, sid)) > 0


async def ask(nc: Nats, within_s: float) -> Msg | asyncio.Future[Msg]:
    return await publish_for_answer(nc, "llm.request", b"", {}, within_s)


async def test_d8_an_answer_in_time_is_returned():
    nc = await requesting()
    first, second = asyncio.create_task(ask(nc, 5)), asyncio.create_task(ask(nc, 5))
    await asyncio.sleep(0)
    answer(nc, 1)
    assert (await second).data == b"ok"
    assert not first.done()
    answer(nc, 0)
    assert (await first).data == b"ok"
    assert nc._resp_map == {}


async def test_d8_a_late_answer_is_the_result_of_a_future():
    nc = await requesting()
    late = await ask(nc, 0.01)
    assert isinstance(late, asyncio.Future)
    answer(nc)
    assert (await late).data == b"ok"
    await asyncio.sleep(0)
    assert nc._resp_map == {}
    answer(nc)  # a second one is ignored


async def test_d8_a_request_that_nobody_waits_for_is_forgotten():
    nc = await requesting()
    late = await ask(nc, 0.01)
    late.cancel()
    task = asyncio.create_task(ask(nc, 5))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert nc._resp_map == {}
    answer(nc)


async def test_d8_a_cancellation_that_arrives_with_the_answer_is_not_lost():
    nc = await requesting()
    task = asyncio.create_task(ask(nc, 5))
    await asyncio.sleep(0)
    answer(nc)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_d8_a_cancellation_that_arrives_with_the_time_limit_leaves_no_request():
    nc = await requesting()
    task = asyncio.create_task(ask(nc, 0.0))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.0, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert nc._resp_map == {}
