"""When the server counts as having been silent."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client as Nats

from penstock.bus.freezes import follows_silence, note_received, silent_s, watch_freezes
from tests.harness.suite.virtual_time import VirtualLoop


async def test_a_server_that_sent_nothing_for_seconds_was_silent_for_a_moment_after() -> None:
    nc = Nats()
    assert not follows_silence(nc, 2.0)
    for pause_s, silent in ((0.0, False), (2.0, False), (3.5, True), (1.0, True), (1.5, False)):
        await asyncio.sleep(pause_s)
        note_received(nc)
        assert follows_silence(nc, 2.0) is silent


async def test_a_freeze_of_this_process_is_no_silence_of_the_server() -> None:
    running = True
    watch_freezes(lambda: running)
    loop, nc = asyncio.get_running_loop(), Nats()
    assert isinstance(loop, VirtualLoop)
    note_received(nc)
    await asyncio.sleep(1.0)
    loop.freeze(20.0)
    await asyncio.sleep(0.1)
    note_received(nc)
    assert not follows_silence(nc, 2.0)
    await asyncio.sleep(4.0)
    note_received(nc)
    assert follows_silence(nc, 2.0)
    running = False


async def test_the_silence_of_the_server_is_measured_while_it_lasts_and_afterwards() -> None:
    loop, nc = asyncio.get_running_loop(), Nats()
    began_s = loop.time()
    assert silent_s(nc, began_s) == 0.0
    note_received(nc)
    for passed_s, lost_s in ((2.0, 0.0), (2.0, 4.0), (6.0, 10.0)):
        await asyncio.sleep(passed_s)
        assert silent_s(nc, began_s) == pytest.approx(lost_s, abs=0.01)
    note_received(nc)
    assert silent_s(nc, began_s) == pytest.approx(10.0, abs=0.01)
    assert silent_s(nc, began_s + 4.0) == pytest.approx(6.0, abs=0.01)
    await asyncio.sleep(1.0)
    note_received(nc)
    assert silent_s(nc, began_s + 10.1) == 0.0
