"""The router's answer to each answer of the ledger, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from penstock.bus.tracing import NO_TRACER
from penstock.contract.ledger.holds import HoldGranted, HoldRefused, HoldRequest
from penstock.contract.ledger.limits import LimitStatus
from penstock.runtime.config.budgets.section import Budgets
from penstock.runtime.holds import LedgerUnavailable
from services.router.budget.gate import BudgetGate
from services.router.budget.releases import NO_HOLDS
from services.router.metrics import RouterMetrics
from services.router.routing.outcome import Rejected, Routed
from tests.harness.requests.routed_requests import chat_work, routed

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
ASKED = HoldRequest(id="a.c.i", account="a", role="chat", picousd=7, tokens=9, deadline_ms=1, wait_s=2.0)
MINUTE = LimitStatus(scope="user", limit="requests_per_minute", allowed=20, spent=5, left=15)


class _Estimator:
    def bounded(self, routed: Routed) -> Routed:
        return replace(routed, work=replace(routed.work, assumed_output_tokens=5))

    def hold_request(self, routed: Routed, wait_s: float) -> HoldRequest:
        return HoldRequest(
            id="a.c.i",
            account=routed.work.account,
            role="chat",
            picousd=7,
            tokens=9,
            deadline_ms=1,
            wait_s=wait_s,
        )


class _Ledger:
    """Answers every request in the same way."""

    def __init__(self, answer: HoldGranted | HoldRefused | Exception) -> None:
        self._answer = answer
        self.asked: list[HoldRequest] = []
        self.traces: list[Mapping[str, str]] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def hold(self, request: HoldRequest, trace: Mapping[str, str]) -> HoldGranted | HoldRefused:
        self.asked.append(request)
        self.traces.append(trace)
        await self.answers.wait()
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class _Scene:
    def __init__(self, answer: HoldGranted | HoldRefused | Exception, **budgets: Any) -> None:
        self.ledger = _Ledger(answer)
        self.registry = CollectorRegistry()
        client: Any = self.ledger
        estimator: Any = _Estimator()
        metrics = RouterMetrics(self.registry)
        self.gate = BudgetGate(client, estimator, Budgets(**budgets), NO_HOLDS, metrics, NO_TRACER)

    async def reserve(self) -> Routed | Rejected:
        return await self.gate.reserve(routed(chat_work()), TRACE)

    def counted(self, outcome: str) -> float | None:
        return self.registry.get_sample_value("penstock_router_holds_total", {"outcome": outcome})


async def test_f1_a_granted_hold_goes_with_the_work_and_its_limits_to_the_sender() -> None:
    scene = _Scene(HoldGranted(id="a.c.i", requests=MINUTE))
    reserved = await scene.reserve()
    assert isinstance(reserved, Routed)
    work = reserved.work
    assert (work.hold_id, work.hold_picousd, work.hold_tokens) == ("a.c.i", 7, 9)
    assert work.assumed_output_tokens == 5, "what is reserved is also the limit of the answer"
    assert reserved.accepted.requests_limit == MINUTE
    assert reserved.accepted.tokens_limit is None
    assert scene.ledger.traces == [TRACE]
    assert scene.counted("granted") == 1


async def test_f1_no_output_limit_is_set_where_no_limit_on_tokens_or_money_applies() -> None:
    reserved = await _Scene(HoldGranted(id="a.c.i", requests=MINUTE, unbounded=True)).reserve()
    assert isinstance(reserved, Routed)
    assert reserved.work.assumed_output_tokens is None
    assert reserved.work.hold_id == "a.c.i", "requests are counted all the same"


async def test_f1_a_refused_hold_is_a_rejection_with_the_limit_and_when_it_frees() -> None:
    refused = HoldRefused(
        id="a.c.i", code="rate_limited", message="20 a minute", limit=MINUTE, retry_after_s=31.0
    )
    scene = _Scene(refused)
    rejected = await scene.reserve()
    assert isinstance(rejected, Rejected)
    assert (rejected.code, rejected.message, rejected.retry_after_s, rejected.limit) == (
        "rate_limited",
        "20 a minute",
        31.0,
        MINUTE,
    )
    assert not rejected.held
    assert scene.counted("refused") == 1


@pytest.mark.parametrize(("retry_after_s", "retry"), [(None, "never"), (7.0, None)])
async def test_d10_a_refusal_that_no_wait_ends_is_not_to_be_repeated(
    retry_after_s: float | None, retry: str | None
) -> None:
    refused = HoldRefused(id="a.c.i", code="rate_limited", message="0 a minute", retry_after_s=retry_after_s)
    rejected = await _Scene(refused).reserve()
    assert isinstance(rejected, Rejected)
    assert rejected.retry == retry


@pytest.mark.parametrize("may_be_held", [True, False])
async def test_f1_without_a_ledger_a_request_is_refused_by_default(*, may_be_held: bool) -> None:
    scene = _Scene(LedgerUnavailable("silence", may_be_held=may_be_held))
    rejected = await scene.reserve()
    assert isinstance(rejected, Rejected)
    assert rejected.code == "budget_unavailable"
    assert rejected.retry_after_s is not None
    assert rejected.held is may_be_held, "a hold of which no answer came is released"
    assert scene.counted("unavailable") == 1


async def test_f1_without_a_ledger_a_request_goes_on_where_the_policy_allows_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = _Scene(LedgerUnavailable("silence", may_be_held=False), when_ledger_unavailable="allow")
    reserved = await scene.reserve()
    assert isinstance(reserved, Routed)
    assert reserved.work.hold_id is None
    assert scene.counted("allowed") == 1
    assert "without a hold" in caplog.text


async def test_f1_without_a_ledger_an_account_gets_a_hundred_requests_a_minute() -> None:
    scene = _Scene(LedgerUnavailable("silence", may_be_held=False), when_ledger_unavailable="allow")
    found = [await scene.reserve() for _ in range(101)]
    assert all(isinstance(each, Routed) for each in found[:100])
    assert isinstance(found[100], Rejected)
    assert found[100].code == "budget_unavailable"
    assert (scene.counted("allowed"), scene.counted("unavailable")) == (100, 1)


async def test_f1_a_hold_that_may_exist_is_named_in_the_work_so_that_its_end_releases_it() -> None:
    scene = _Scene(LedgerUnavailable("silence", may_be_held=True), when_ledger_unavailable="allow")
    reserved = await scene.reserve()
    assert isinstance(reserved, Routed)
    assert reserved.work.hold_id == "a.c.i"


async def test_f3_of_one_account_16_requests_wait_for_room_and_the_others_are_answered_at_once() -> None:
    scene = _Scene(HoldGranted(id="a.c.i"), hold_wait_s=1.5)
    scene.ledger.answers.clear()
    async with asyncio.TaskGroup() as group:
        for _ in range(24):
            group.create_task(scene.reserve())
        await asyncio.sleep(0.1)
        scene.ledger.answers.set()
    waits = [asked.wait_s for asked in scene.ledger.asked]
    assert waits == [1.5] * 16 + [0.0] * 8


async def test_f1_a_request_that_was_accepted_before_keeps_its_hold_without_a_question() -> None:
    scene = _Scene(HoldGranted(id="a.c.i"))
    reserved = scene.gate.reserved_before(routed(chat_work()))
    assert (reserved.work.hold_id, reserved.work.hold_picousd) == ("a.c.i", 7)
    assert scene.ledger.asked == []
