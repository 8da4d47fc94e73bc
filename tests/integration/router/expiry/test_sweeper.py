"""C3, D6, F1: when the sweep ends messages, and how often it reads the clock of the server for it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from penstock.contract import codec, headers, subjects
from penstock.contract.reply import Failed, Started, first_seq
from penstock.contract.streams import REQUESTS, WORK
from tests.harness.processes.system import running_system
from tests.harness.requests.replies import RawPublisher
from tests.harness.suite.waiting import until

UNSERVED = subjects.work("logic", "interactive", 0, "a7c")
MESSAGES = 100
LEFT_S = 5.0
"""Seconds in which the worker of a begun request ends it."""
MOST_READINGS = 15
"""Two pages at most, and the readings that a router makes anyway: every 5 s, and more in its first seconds."""


@pytest.mark.parametrize("cancelled", [False, True])
async def test_c3_d6_the_sweep_reads_the_clock_once_for_many_messages(
    tmp_path: Path, *, cancelled: bool
) -> None:
    async with running_system(tmp_path, "chat") as system:
        async for publisher in RawPublisher.opened(system):
            readings: list[str] = []

            async def count(msg: Msg, readings: list[str] = readings) -> None:
                readings.append(msg.subject)

            await publisher.nc.subscribe(f"$JS.API.STREAM.INFO.{REQUESTS.name}", cb=count)
            names = [f"r{number}" for number in range(MESSAGES)]
            deadline_ms = int(time.time() * 1000) + (60_000 if cancelled else 2_000)
            await asyncio.gather(*(_put(publisher, name, deadline_ms) for name in names))
            if cancelled:
                for name in names:
                    await publisher.js.publish(subjects.cancel("demo", name), b"")

            async def swept(publisher: RawPublisher = publisher) -> bool:
                return not (
                    await publisher.js.stream_info(WORK.name, subjects_filter=UNSERVED)
                ).state.subjects

            await until(swept, 40)
            ends = [await publisher.end(name) for name in (names[0], names[-1])]
            code = "cancelled" if cancelled else "deadline_exceeded"
            assert [end.error.code for end in ends if isinstance(end, Failed)] == [code, code]
            assert len(readings) <= MOST_READINGS


async def test_f1_the_sweep_leaves_a_begun_request_to_its_worker_for_some_seconds_after_the_cancellation(
    tmp_path: Path,
) -> None:
    """The worker stores the usage before it releases the hold. It is lost here: the sweep ends the request later."""
    async with running_system(tmp_path, "chat") as system:
        async for publisher in RawPublisher.opened(system):
            for name in ("queued", "begun"):
                await _put(publisher, name, int(time.time() * 1000) + 60_000)
            begun = Started(
                id="begun", seq=first_seq(1), attempt=1, model="m", provider="p", worker="w", at_ms=1
            )
            await publisher.js.publish(subjects.reply("demo", "publisher", "begun"), codec.encode(begun))
            began_s = time.monotonic()
            took_s: dict[str, float] = {}
            for name in ("begun", "queued"):
                await publisher.js.publish(subjects.cancel("demo", name), b"")
            for name in ("queued", "begun"):
                end = await publisher.end(name)
                took_s[name] = time.monotonic() - began_s
                assert isinstance(end, Failed)
                assert end.error.code == "cancelled"
            assert took_s["queued"] < LEFT_S <= took_s["begun"]


async def _put(publisher: RawPublisher, name: str, deadline_ms: int) -> None:
    sent = {
        headers.REPLY_SUBJECT: subjects.reply("demo", "publisher", name),
        headers.DEADLINE_MS: str(deadline_ms),
    }
    await publisher.js.publish(UNSERVED, b"x", headers=sent)
