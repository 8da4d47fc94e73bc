"""A6, D9: certain cancellation, blocking calls that hold up no exit, and loops a process depends on."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from penstock.runtime import aio
from penstock.runtime.aio import CriticalLoop, loop_has_died, run_in_daemon_thread

ROOT = Path(__file__).parents[3]
HANGING = """
import asyncio, threading
from penstock.runtime.aio import run_in_daemon_thread

async def main():
    hanging = asyncio.create_task(run_in_daemon_thread(threading.Event().wait))
    await asyncio.sleep(0.1)
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    print(hanging.cancelled())

asyncio.run(main())
"""


def test_d9_a_process_exits_while_a_blocking_call_hangs() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", HANGING], cwd=ROOT, timeout=20, check=True, capture_output=True, text=True
    )
    assert ran.stdout == "True\n"


async def test_the_result_or_exception_of_the_call_is_passed_on() -> None:
    assert await run_in_daemon_thread(lambda: threading.current_thread().daemon) is True

    def fails() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await run_in_daemon_thread(fails)


async def turning(turned: asyncio.Event) -> None:
    try:
        while True:
            turned.set()
            await asyncio.sleep(0)
    finally:
        turned.clear()


async def test_a_critical_loop_runs_until_it_is_stopped():
    deaths: list[str] = []
    turned = asyncio.Event()
    loop = CriticalLoop("turning", lambda: deaths.append("died"))
    loop.start(turning(turned))
    await turned.wait()
    await loop.stop()
    assert not turned.is_set(), "it has ended when stop returns"
    await loop.stop()
    assert deaths == []


async def test_a_lost_cancellation_is_repeated():
    """As by `asyncio.wait_for` up to Python 3.11 in the moment of its result."""
    forgotten = asyncio.Event()

    async def forgetting() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            forgotten.set()
        await asyncio.sleep(60)

    loop = CriticalLoop("forgetting", lambda: None)
    loop.start(forgetting())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await loop.stop()
    assert forgotten.is_set()


async def test_a_loop_that_was_never_started_stops_at_once():
    await CriticalLoop("never").stop()


@pytest.mark.parametrize("failure", [None, ValueError("a defect")])
async def test_a_loop_that_ends_unexpectedly_is_logged_with_its_failure(
    failure: Exception | None, caplog: pytest.LogCaptureFixture
):
    died = asyncio.Event()

    async def ending() -> None:
        if failure is not None:
            raise failure

    loop = CriticalLoop("ending", died.set)
    loop.start(ending())
    await asyncio.wait_for(died.wait(), 5)
    (record,) = caplog.records
    assert record.levelname == "CRITICAL"
    assert "the loop 'ending' ended unexpectedly" in record.message
    assert record.exc_info is None or record.exc_info[1] is failure
    await loop.stop()


@pytest.mark.real_time
async def test_an_unexpected_end_sends_sigterm_to_the_process_and_counts_as_a_failure(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(aio, "_died", threading.Event())
    asked = asyncio.Event()
    running = asyncio.get_running_loop()
    running.add_signal_handler(signal.SIGTERM, asked.set)
    try:
        CriticalLoop("ending").start(asyncio.sleep(0))
        await asyncio.wait_for(asked.wait(), 5)
    finally:
        running.remove_signal_handler(signal.SIGTERM)
    assert loop_has_died()
