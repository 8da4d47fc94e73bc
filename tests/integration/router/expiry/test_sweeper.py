"""C3, D6: the sweep reads the clock of the server once for a page of expired messages, and not for cancelled ones."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from penstock.contract import headers, subjects
from penstock.contract.reply import Failed
from penstock.contract.streams import REQUESTS, WORK
from tests.harness.processes.system import running_system
from tests.harness.requests.replies import RawPublisher
from tests.harness.suite.waiting import until

UNSERVED = subjects.work("logic", "interactive", 0, "a7c")
MESSAGES = 100
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


async def _put(publisher: RawPublisher, name: str, deadline_ms: int) -> None:
    sent = {
        headers.REPLY_SUBJECT: subjects.reply("demo", "publisher", name),
        headers.DEADLINE_MS: str(deadline_ms),
    }
    await publisher.js.publish(UNSERVED, b"x", headers=sent)
