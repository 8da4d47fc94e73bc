"""Kills the process of `versioned_documents` at random moments, and checks after each what is stored."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from services.indexer.store.interface import Store
from services.indexer.store.opening import open_store
from services.indexer.store.tables import TableName
from tests.harness.indexer.stored_documents import DIMENSIONS
from tests.harness.indexer.versioned_documents import check_whole, stored_version, write
from tests.harness.processes.children import running_children
from tests.harness.suite.waiting import until

__all__ = ["kill_compacting_writer", "kill_writers"]

_CHANGE_S, _PURGE_S = 0.04, 2.5
"""Seconds that a change and a purge take at most where nothing else runs."""


async def kill_writers(url: str, table: TableName, *, kills: int, seed: int, purge_every: int = 0) -> int:
    """The number of versions that were written. Raises AssertionError if a kill left anything but one version."""
    dice = random.Random(seed)
    store = await open_store(url)
    await store.create(table, DIMENSIONS)
    await write(store, table, 1)
    written = 1
    try:
        for _ in range(kills):
            begun, done = await _killed(url, table, dice, purge_every)
            written = await _check(store, table, begun, max(done, written))
    finally:
        await store.drop(table)
        await store.close()
    return written


async def kill_compacting_writer(url: str, table: TableName, after_s: float) -> int:
    """Kill a writer whose maintenance process has held the table for `after_s`; returns the version that is stored.

    `url`: a directory of LanceDB, with the table and a first version.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.harness.indexer.versioned_documents", url, table, "0", "maintain"),
        stdout=PIPE,
    )
    assert process.stdout is not None
    writer = psutil.Process(process.pid)
    try:
        # A look at the processes of the machine takes 10 ms: not before there is something to see.
        await until(lambda: any(Path(url).rglob("*.maintenance")), 60, every_s=0.005)
        await until(lambda: any(_maintains(child) for child in writer.children()), 60, every_s=0.005)
        await asyncio.sleep(after_s)
        maintenance = writer.children()
    finally:
        process.kill()
    lines = (await process.stdout.read()).split(b"\n")[:-1]
    await process.wait()
    psutil.wait_procs(maintenance, timeout=10)
    store = await open_store(url)
    try:
        return await _check(store, table, _last(lines, b"begin"), _last(lines, b"done"))
    finally:
        await store.close()


def _maintains(process: psutil.Process) -> bool:
    try:
        return any(file.path.endswith(".maintenance") for file in process.open_files())
    except psutil.Error:  # it has ended
        return False


async def _check(store: Store, table: TableName, begun: int, done: int) -> int:
    while True:
        version = await stored_version(store, table)
        assert version in {done, max(done, begun)}, (version, begun, done)
        try:
            await check_whole(store, table, version)
        except AssertionError:
            # A server may have committed, between two reads, what a killed client had sent.
            if await stored_version(store, table) == version:
                raise
        else:
            return version


async def _killed(url: str, table: TableName, dice: random.Random, purge_every: int) -> tuple[int, int]:
    """The last versions that the killed process has begun and has stored; it stores at least one."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.harness.indexer.versioned_documents", url, table, str(purge_every)),
        stdout=PIPE,
    )
    assert process.stdout is not None
    # By what it has done, so that the kills fall into its work on a slow machine too.
    before = dice.randint(2, 2 * purge_every or 8)
    longest_s = _PURGE_S if purge_every and dice.random() < 0.5 else _CHANGE_S
    after_s, maintenance = dice.uniform(0, longest_s), dice.random() < 0.5
    try:
        lines = [await process.stdout.readline() for _ in range(before)]
        async with asyncio.TaskGroup() as group:
            group.create_task(_kill(process, after_s, maintenance))
            lines += (await process.stdout.read()).split(b"\n")[:-1]  # the last line may be cut off
    finally:
        if process.returncode is None:
            process.kill()  # also if the test was cancelled: its table is dropped next
        await process.wait()
    return _last(lines, b"begin"), _last(lines, b"done")


def _last(lines: Sequence[bytes], word: bytes) -> int:
    assert lines[0].startswith(b"begin"), lines
    return max((int(line.split()[1]) for line in lines if line.startswith(word)), default=0)


async def _kill(process: Process, after_s: float, maintenance: bool) -> None:
    """Kill it, or before it the maintenance process that it may have started."""
    await asyncio.sleep(after_s)
    if maintenance:
        for child in running_children(process.pid):
            with suppress(psutil.NoSuchProcess):  # it has just ended
                child.kill()
        await asyncio.sleep(0.02)
    if process.returncode is None:
        process.kill()
