"""Which times count as a freeze of this process, and how time limits go on after one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from penstock.bus.freezes import AwakeTimeout, Freezes, extended_s, frozen_s, watch_freezes
from tests.harness.suite.virtual_time import VirtualLoop


def observed(*times_s: float) -> Freezes:
    freezes = Freezes(0.0)
    for now_s in times_s:
        freezes.observe(now_s)
    return freezes


def test_late_observations_are_freezes_and_delays_below_a_second_are_not() -> None:
    assert observed(0.25, 1.4, 2.6).frozen_s(0.0, 2.7) == 0.0
    assert observed(0.25, 20.25).frozen_s(0.0, 20.25) == 20.0
    assert observed(0.25, 20.25, 20.5, 30.5).frozen_s(0.0, 30.5) == 30.0


def test_only_the_part_of_a_freeze_after_the_beginning_counts() -> None:
    freezes = observed(1.0, 11.0, 11.25)
    assert freezes.frozen_s(0.5, 11.25) == 10.0
    assert freezes.frozen_s(6.0, 11.25) == 5.0
    assert freezes.frozen_s(11.1, 11.25) == 0.0


def test_a_question_notices_the_freeze_before_the_next_observation_does() -> None:
    freezes = observed(0.25)
    assert freezes.frozen_s(0.0, 5.25) == 5.0
    assert freezes.frozen_s(0.0, 5.3) == 5.0


def test_a_time_limit_is_extended_by_the_freeze_and_leaves_time_to_read_what_arrived() -> None:
    freezes = observed(1.0, 21.0)
    assert freezes.extended_s(10.0, 0.0, 21.0) == 30.0
    assert freezes.extended_s(1.5, 0.0, 21.0) == 23.0
    assert freezes.extended_s(40.0, 21.5, 21.6) == 40.0


def test_what_is_read_soon_after_a_freeze_may_have_arrived_at_its_beginning() -> None:
    freezes = observed(1.0, 21.0)
    assert freezes.waiting_since_s(21.5) == 1.0
    for now_s in (22.0, 23.0):
        freezes.observe(now_s)
    assert freezes.waiting_since_s(23.5) == 23.5


def virtual_loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


@pytest.fixture
async def watched() -> AsyncIterator[None]:
    """The loop is observed during the test."""
    running = True
    watch_freezes(lambda: running)
    yield
    running = False


@pytest.mark.usefixtures("watched")
async def test_what_arrived_while_the_process_was_blocked_is_read_before_the_time_is_over() -> None:
    loop = virtual_loop()
    began_s = loop.time()
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        async with AwakeTimeout(0.2) as timer:
            there.send(b"answer")
            loop.freeze(20.0)
            await asyncio.sleep(0.3)  # the limit has passed without the freeze, the time to read has not
            assert await loop.sock_recv(here, 10) == b"answer"
    assert not timer.expired()
    assert frozen_s(began_s) == pytest.approx(20.0, abs=0.01)


@pytest.mark.usefixtures("watched")
async def test_a_time_limit_ends_after_the_freeze_if_nothing_arrives() -> None:
    loop = virtual_loop()

    async def silent() -> None:
        async with AwakeTimeout(5.0):
            await asyncio.sleep(1.0)
            loop.freeze(20.0)
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await silent()
    assert loop.time() == pytest.approx(25.0, abs=0.3)


@pytest.mark.usefixtures("watched")
async def test_without_a_freeze_a_time_limit_ends_when_it_is_due_and_can_be_moved() -> None:
    loop = virtual_loop()
    began_s = loop.time()

    async def moved() -> None:
        async with AwakeTimeout(60) as timer:
            timer.reschedule(began_s + 0.05)
            await asyncio.sleep(30)

    with pytest.raises(TimeoutError):
        await moved()
    assert loop.time() - began_s == pytest.approx(0.05, abs=0.01)
    async with AwakeTimeout(0.01) as timer:
        timer.reschedule(None)
        await asyncio.sleep(0.05)


async def test_a_loop_that_nothing_observes_has_no_freezes() -> None:
    virtual_loop().freeze(20.0)
    assert frozen_s(0.0) == 0.0
    assert extended_s(1.0, 0.0) == 1.0
