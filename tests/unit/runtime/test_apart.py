"""A6, D9: a call that hangs holds up no exit."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from penstock.runtime.aio import run_in_daemon_thread

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


def test_d9_a_process_ends_though_a_call_hangs_for_ever() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", HANGING], cwd=ROOT, timeout=20, check=True, capture_output=True, text=True
    )
    assert ran.stdout == "True\n"


async def test_what_the_call_returns_or_raises_comes_back() -> None:
    assert await run_in_daemon_thread(lambda: threading.current_thread().daemon) is True

    def fails() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await run_in_daemon_thread(fails)
