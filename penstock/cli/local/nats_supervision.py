"""Keeps the embedded nats-server running and writing: restarts it after its death, and after a failed write."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from penstock.cli.errors import LaunchError
from penstock.cli.local.nats_server import NatsServer
from penstock.cli.local.restarts import Restart, RestartHistory, RestartLimits

__all__ = ["keep_nats_running"]

_PID_EVERY_S: Final = 0.25
_FAULT_EVERY_S: Final = 2.0
_OBSTACLE_EVERY_S: Final = 0.5
_LIMITS: Final = RestartLimits(first_delay_s=0.1, longest_delay_s=30.0)
_MIB: Final = 1024 * 1024
_LEAST_FREE_BYTES: Final = 32 * _MIB
"""Four of the largest messages, or four blocks of a stream."""
_TEST_FILE: Final = bytes(64 * 1024)


async def keep_nats_running(
    nats: NatsServer, report: Callable[[str], None], clock: Callable[[], float]
) -> None:
    """Restart `nats` when it is dead, and when it stores nothing although its directory can be written; never returns.

    After a failed write nats-server (2.15) refuses every message of that stream until it is restarted. While the disk
    is full, a restart would not help: `report` gets what to do, once. `clock` gives monotonic seconds.
    """
    history = RestartHistory(_LIMITS)
    history.record_ready()
    history.record_start(clock())
    fault = await _next_fault(nats, report)
    while True:
        decision = history.record_death(clock())
        await _until_writable(nats.store_dir, fault, report)
        await asyncio.sleep(decision.delay_s if isinstance(decision, Restart) else _LIMITS.longest_delay_s)
        report(f"nats-server {fault}; restarting it on the same port and store")
        history.record_start(clock())
        try:
            await nats.restart()
        except (LaunchError, OSError) as error:
            fault = f"could not be started ({error})"
        else:
            fault = await _next_fault(nats, report)


async def _next_fault(nats: NatsServer, report: Callable[[str], None]) -> str:
    """Wait until the server is dead or stores nothing; what happened. `report` gets that its store was deleted: it
    answers from its open files, and writes into them until the first one is full.
    """
    was_deleted = False
    while True:
        if not was_deleted and not nats.store_dir.exists():
            was_deleted = True
            report(
                f"{nats.store_dir} was deleted while nats-server runs. It stores some more megabytes in files that are "
                "still open, and its next start begins with an empty store: finish what runs, then start it again"
            )
        for _ in range(round(_FAULT_EVERY_S / _PID_EVERY_S)):
            await asyncio.sleep(_PID_EVERY_S)
            if nats.pid is None:
                return "died"
        if fault := await nats.store_fault():
            return f"does not store messages ({fault})"


async def _until_writable(directory: Path, fault: str, report: Callable[[str], None]) -> None:
    reported = False
    while obstacle := await asyncio.to_thread(_write_obstacle, directory):
        if not reported:
            report(f"nats-server {fault}. {obstacle}; nats-server is restarted then")
            reported = True
        await asyncio.sleep(_OBSTACLE_EVERY_S)


def _write_obstacle(directory: Path) -> str | None:
    """Why nothing can be written in `directory`, and what to do; None: it can, with 32 MiB free, or is missing."""
    try:
        free_bytes = shutil.disk_usage(directory).free
        if free_bytes < _LEAST_FREE_BYTES:
            free, least = free_bytes // _MIB, _LEAST_FREE_BYTES // _MIB
            return f"The disk of {directory} is full ({free} MiB free): free {least} MiB there, or enlarge it"
        _write_test_file(directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return f"The disk of {directory} is full: free space or inodes there, or enlarge it"
        return f"{directory} cannot be written ({error.strerror or error}): make it writable"
    return None


def _write_test_file(directory: Path) -> None:
    """The file has no name afterwards, even if this process dies."""
    descriptor, path = tempfile.mkstemp(prefix=".write-test-", dir=directory)
    try:
        Path(path).unlink()
        with os.fdopen(descriptor, "wb", buffering=0, closefd=False) as file:
            file.write(_TEST_FILE)
    finally:
        os.close(descriptor)
