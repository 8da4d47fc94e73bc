"""Processes with a wall clock of their own, by libfaketime."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.harness.processes.client_process import ClientProcess, client_process
from tests.harness.processes.process import Process
from tests.harness.processes.system import System
from tests.harness.suite.waiting import until

__all__ = ["WrongClocks", "client_with_clock", "libfaketime", "until_followed"]

_PLACES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)


def libfaketime() -> str:
    """The library; skips on a machine without it, and fails in CI. `LIBFAKETIME`: where it is unpacked."""
    given = os.environ.get("LIBFAKETIME")
    found = [given] if given else [str(path) for place in _PLACES for path in Path("/").glob(place[1:])]
    if not found:
        missing = "libfaketime is not installed: it is in the package libfaketime of Debian and Ubuntu"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found[0]


class WrongClocks:
    """The wall clock of each process by its name, which may be set while it runs. Monotonic clocks stay right."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._library = libfaketime()

    def set(self, name: str, ahead_s: int) -> None:
        """Replaced as a whole, because the process reads it at every look at its clock."""
        written = self._directory / f"{name}.new"
        written.write_text(f"{ahead_s:+d}\n")
        written.replace(self._directory / f"{name}.clock")

    def env(self, name: str, ahead_s: int = 0) -> Mapping[str, str]:
        """The variables of a process whose clock is ahead by so much until it is set anew."""
        self.set(name, ahead_s)
        return {
            "LD_PRELOAD": self._library,
            "FAKETIME_TIMESTAMP_FILE": str(self._directory / f"{name}.clock"),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


@asynccontextmanager
async def client_with_clock(url: str, clocks: WrongClocks, ahead_s: int) -> AsyncIterator[ClientProcess]:
    """An application whose clock is named `client`."""
    async with client_process(url, clocks.env("client", ahead_s)) as opened:
        yield opened


async def until_followed(system: System, processes: Sequence[Process], ahead_s: int) -> None:
    """Until each process has noticed that the clock of the server is ahead by so much."""
    offsets: list[float] = []

    async def followed() -> bool:
        offsets[:] = [
            float(line.split()[1])
            for process in processes
            for line in (await system.metrics(process)).splitlines()
            if line.startswith("penstock_clock_offset_seconds ")
        ]
        return len(offsets) == len(processes) and all(abs(each + ahead_s) < 5 for each in offsets)

    await until(followed, found=lambda: f"(offsets are {offsets}, not {-ahead_s} s)")
