"""D9: how many bytes of requests a worker holds before it pulls no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

from penstock.bus.clock import loop_now_s
from penstock.contract.request import NO_BODY, BodyRef
from services.worker.embedding.executor import EmbeddingExecutor
from tests.harness.requests.routed_requests import chat_work
from tests.harness.suite.waiting import until

MIB = 1024 * 1024


class Bodies:
    """Never reads a body."""

    @asynccontextmanager
    async def read(self, execution: Any) -> AsyncIterator[None]:  # noqa: ARG002 - the interface
        await asyncio.Event().wait()
        yield


async def test_d9_bodies_that_are_stored_apart_count() -> None:
    none: Any = None
    selection = cast("Any", SimpleNamespace(deadline_passed=None))
    executor = EmbeddingExecutor(none, cast("Any", Bodies()), selection, none, none)
    full: list[bool] = []
    tasks: list[asyncio.Task[Any]] = []
    for _ in range(3):
        ref = BodyRef(size=30 * MIB, sha256="0")
        execution = SimpleNamespace(
            work=chat_work(kind="embed", body=NO_BODY, body_ref=ref),
            role=SimpleNamespace(chain=("m",)),
            deadline_s=loop_now_s() + 60,
        )
        tasks.append(asyncio.create_task(executor.execute(cast("Any", execution))))
        await asyncio.sleep(0)
        full.append(executor.is_full)
    assert full == [False, False, True]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: not executor.is_full)
