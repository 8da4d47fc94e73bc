"""F1, D4: a router killed between hold, record, mailbox and acknowledgement neither doubles nor loses a hold."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from penstock.bus.ids import new_id
from penstock.client.client import Client
from penstock.contract import subjects
from penstock.contract.ledger.holds import HoldAnswer, HoldGranted, HoldRefused, HoldRequest
from penstock.contract.names import Lane
from penstock.contract.reply import Completed, Failed
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.fake_ledger import FakeLedger
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import RawPublisher
from tests.harness.suite.waiting import until

KILLS = 6
"""Times at which a router is killed after a hold was granted."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue({"chat": ("talker",)}, budgets={"ledger_wait_s": 1.0})
    with shared_system(
        tmp_path_factory.mktemp("killed-holds"),
        "chat",
        config=config,
        env={"PENSTOCK_ACK_WAIT_S": "1"},
    ) as running:
        yield running


@pytest.fixture
async def ledger(system: System) -> AsyncIterator[FakeLedger]:
    async with FakeLedger.running(system.nats.url) as running:
        yield running


def new_request(client: Client, lane: Lane, **fields: Any) -> dict[str, Any]:
    body = {
        "messages": [{"role": "user", "content": "Hello. [[tokens=10]]"}],
        "max_tokens": 20,
        "stream": True,
    }
    return {
        "type": "chat_request",
        "id": new_id(),
        "client": client.name,
        "role": "chat",
        "lane": lane,
        "body": body,
    } | fields


async def publish(publisher: RawPublisher, request: dict[str, Any]) -> None:
    await publisher.js.publish(subjects.request("demo", "chat"), json.dumps(request).encode())


async def restart_router(system: System) -> None:
    system.router.kill()
    system.router = system.new_router()
    await system.router.start()


@pytest.mark.parametrize("lane", ["interactive", "batch"])
async def test_f1_a_router_killed_at_any_time_after_the_hold_leaves_one_hold_that_is_settled(
    system: System, client: Client, publisher: RawPublisher, ledger: FakeLedger, lane: Lane
) -> None:
    for number in range(KILLS):
        granted = asyncio.Event()

        async def grant(request: HoldRequest, granted: asyncio.Event = granted) -> HoldAnswer:
            granted.set()
            return HoldGranted(id=request.id)

        ledger.decide = grant
        request = new_request(client, lane)
        await publish(publisher, request)
        await asyncio.wait_for(granted.wait(), 20)
        await asyncio.sleep(random.uniform(0, 0.004) * number)
        await restart_router(system)

        assert isinstance(await publisher.end(request["id"], client=client.name), Completed)
        await until(lambda wanted=request["id"]: not ledger.is_open(wanted))
        asked = ledger.asked_for(request["id"])
        assert len({(each.id, each.picousd, each.tokens) for each in asked}) == 1
        settled = [usage for usage in ledger.settled if usage.id == request["id"]]
        assert [usage.hold_id for usage in settled] == [asked[0].id]


async def test_f1_a_router_killed_before_it_read_the_answer_asks_again_with_the_same_id(
    system: System, client: Client, publisher: RawPublisher, ledger: FakeLedger
) -> None:
    async def freeze(request: HoldRequest) -> HoldAnswer:
        if len(ledger.asked_for(request.id.rpartition(".")[2])) == 1:
            system.router.signal(signal.SIGSTOP)
        return HoldGranted(id=request.id)

    ledger.decide = freeze
    request = new_request(client, "interactive")
    await publish(publisher, request)
    await until(lambda: ledger.is_open(request["id"]))
    await restart_router(system)
    assert isinstance(await publisher.end(request["id"], client=client.name), Completed)
    first, second = ledger.asked_for(request["id"])
    assert (first.id, first.picousd, first.tokens, first.deadline_ms) == (
        second.id,
        second.picousd,
        second.tokens,
        second.deadline_ms,
    )
    await until(lambda: not ledger.is_open(request["id"]))


async def test_f1_a_request_refused_at_its_redelivery_releases_the_hold_of_the_killed_router(
    system: System, client: Client, publisher: RawPublisher, ledger: FakeLedger
) -> None:
    async def freeze(request: HoldRequest) -> HoldAnswer:
        if len(ledger.asked_for(request.id.rpartition(".")[2])) == 1:
            system.router.signal(signal.SIGSTOP)
            return HoldGranted(id=request.id)
        return HoldRefused(id=request.id, code="account_disabled", message="disabled")

    ledger.decide = freeze
    request = new_request(client, "interactive")
    await publish(publisher, request)
    await until(lambda: ledger.is_open(request["id"]))
    await restart_router(system)
    end = await publisher.end(request["id"], client=client.name)
    assert isinstance(end, Failed)
    assert end.error.code == "account_disabled"
    await until(lambda: ledger.why_released(request["id"]) == ["account_disabled"])


async def test_f1_the_hold_of_a_request_whose_deadline_passed_with_its_router_is_released(
    system: System, client: Client, publisher: RawPublisher, ledger: FakeLedger
) -> None:
    async def freeze(request: HoldRequest) -> HoldAnswer:
        system.router.signal(signal.SIGSTOP)
        return HoldGranted(id=request.id)

    ledger.decide = freeze
    request = new_request(client, "interactive", deadline_ms=int(time.time() * 1000) + 700)
    await publish(publisher, request)
    await until(lambda: ledger.is_open(request["id"]))
    await asyncio.sleep(0.8)  # the deadline passes
    await restart_router(system)
    assert isinstance(await publisher.end(request["id"], client=client.name), Failed)
    await until(lambda: ledger.why_released(request["id"]) == ["deadline_exceeded"])
