"""Disks on which nats-server cannot write: a small file system that is filled, a process that may not write, and one
stream that stands still.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import nats
import nats.errors
import pytest

from penstock.cli.local.nats_server import NatsServer
from penstock.contract.streams import StreamSpec
from tests.harness.processes.freezing import frozen
from tests.harness.processes.system import System

__all__ = ["allow_writes", "fill", "make_stream_unwritable", "make_unwritable", "refuse_writes", "small_disk"]

_CHUNK: Final = bytes(64 * 1024)


@contextmanager
def small_disk(directory: Path, mib: int = 96) -> Iterator[Path]:
    """Mount a file system of `mib` MiB at `directory`; skips the test where mounting is not permitted."""
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(directory)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(path: Path) -> None:
    """Write the file `path` until no byte of its disk is free."""
    try:
        with path.open("wb", buffering=0) as file:
            while file.write(_CHUNK):
                pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def refuse_writes(pid: int) -> None:
    """Let every write of the process to a file fail (EFBIG), with space on the disk; sockets are not affected."""
    _limit_files(pid, 0)


async def make_unwritable(system: System, stream: StreamSpec) -> None:
    """Let nats-server fail to write to this stream: it refuses its messages from now on. The services stand still
    meanwhile, so that they write to no other stream.
    """
    with frozen([each.pid for each in (system.router, *system.workers)]):
        await make_stream_unwritable(system.nats, stream)


async def make_stream_unwritable(server: NatsServer, stream: StreamSpec) -> None:
    """The same for a server to which only the test writes."""
    async with await nats.connect(server.url) as connection:
        refuse_writes(server.pid)
        with pytest.raises(nats.errors.TimeoutError):
            await connection.jetstream().publish(stream.probe_subject, b"", timeout=0.3)
        allow_writes(server.pid)


def allow_writes(pid: int) -> None:
    _limit_files(pid, resource.RLIM_INFINITY)


def _limit_files(pid: int, size: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
