"""A worker reads a body that is stored apart for each call, and keeps it for no longer (issue 9)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from nats.aio.client import Client as Nats

from penstock.bus.clock import loop_now_s
from penstock.bus.connection import ConnectionEvents
from penstock.bus.large_bodies import BodyUpload, read_body, reference_to
from penstock.contract.names import Lane
from penstock.contract.request import BodyRef
from penstock.runtime.config.catalogue import Limits
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.service import Bus
from services.worker.execution.attempt import Spent, Success
from services.worker.execution.large_bodies import LargeBodies
from services.worker.execution.state import Execution, GaveUp
from services.worker.rate_limit.quota import Need, Permit, QuotaKey
from tests.harness.suite.waiting import until
from tests.unit.worker.worker_parts import WorkerParts, catalogue_of
from tests.unit.worker.worker_parts import work as new_work

BODY: dict[str, object] = {"messages": []}


async def execution_with(nc: Nats, unique: str, body: dict[str, object]) -> Execution:
    encoded = json.dumps(body).encode()
    ref = await reference_to(encoded)
    execution = WorkerParts(catalogue_of()).execution(Unbegun(), lasts_s=10, id=unique, body_ref=ref)
    await BodyUpload(nc, execution.work.reply_to).store(encoded, timeout_s=5)
    return execution


@pytest.fixture
def bus(provisioned: Nats) -> Bus:
    nc = provisioned
    return Bus(nc, nc.jetstream(), ConnectionEvents(), DeliveryEpochs(nc))


@pytest.fixture
def bodies(bus: Bus) -> LargeBodies:
    return LargeBodies(bus)


async def test_the_body_belongs_to_the_execution_during_a_call(
    provisioned: Nats, bodies: LargeBodies, unique: str
):
    execution = await execution_with(provisioned, unique, BODY)
    work = execution.work
    async with bodies.read(execution):
        assert json.loads(bytes(execution.work.body)) == BODY
    assert execution.work is work

    await bodies.delete(execution.work)
    with pytest.raises(GaveUp, match="send the request again") as caught:
        async with bodies.read(execution):
            pytest.fail("there is no body")
    assert (caught.value.code, caught.value.retry_after_s) == ("internal", 1.0)


class Unbegun:
    """The reply of a request that had no attempt."""

    attempt = 0


class Answering:
    """Attempts that succeed, and keep the body of the last call."""

    async def run(self, execution: Execution, key: QuotaKey, spent: Spent) -> Success:
        spent.tokens = 1
        self.body = json.loads(bytes(execution.work.body))
        answer: Any = None
        return Success(key.model, "p", answer, None)


async def test_c6_a_large_request_that_waits_for_quota_delays_none_of_another_role(
    provisioned: Nats, bus: Bus, unique: str
):
    """The memory for bodies is that of one body."""
    limits: dict[Lane, int] = {"interactive": 1, "batch": 1}
    bodies, attempts = LargeBodies(bus, limits), Answering()
    exhausted = WorkerParts(catalogue_of(limits=Limits(concurrency=1)), ("A_KEY",))
    key = QuotaKey("A_KEY", "m")
    held = exhausted.quota.try_acquire(key, Need(1, "interactive", 0), loop_now_s())
    assert isinstance(held, Permit)
    waiting = await execution_with(provisioned, f"{unique}w", BODY)
    first = asyncio.create_task(exhausted.chain_executor(attempts, bodies).execute(waiting))

    async def waits() -> bool:
        return "quota" in waiting.waits_for

    await until(waits)
    other = await execution_with(provisioned, f"{unique}o", {"messages": [], "n": 1})
    async with asyncio.timeout(5):
        await WorkerParts(catalogue_of()).chain_executor(attempts, bodies).execute(other)
    assert attempts.body == {"messages": [], "n": 1}

    exhausted.quota.settle(held, 1, loop_now_s())
    exhausted.waiting.wake()
    await first
    assert attempts.body == BODY
    for each in (waiting, other):
        await bodies.delete(each.work)


async def test_a_call_without_its_body_uses_no_quota_and_ends_its_permit(bus: Bus, unique: str):
    parts = WorkerParts(catalogue_of(limits=Limits(concurrency=1, tokens_per_minute=1_000)), ("A_KEY",))
    lost = parts.execution(Unbegun(), lasts_s=10, id=unique, body_ref=BodyRef(size=5, sha256="0" * 64))
    with pytest.raises(GaveUp, match="not stored any more"):
        await parts.chain_executor(Answering(), LargeBodies(bus)).execute(lost)
    whole = parts.quota.try_acquire(QuotaKey("A_KEY", "m"), Need(1_000, "interactive", 0), loop_now_s())
    assert isinstance(whole, Permit)


async def test_a_body_that_differs_ends_the_request(provisioned: Nats, bodies: LargeBodies, unique: str):
    execution = await execution_with(provisioned, unique, BODY)
    work, ref = execution.work, execution.work.body_ref
    assert ref is not None
    execution.work = new_work(id=unique, body_ref=await reference_to(b"x" * ref.size))
    with pytest.raises(GaveUp, match="SHA-256") as caught:
        async with bodies.read(execution):
            pytest.fail("the body is wrong")
    assert caught.value.code == "invalid_request"
    assert await read_body(provisioned, work.reply_to, ref)
    await bodies.delete(work)
