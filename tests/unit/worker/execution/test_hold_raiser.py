"""F1: the hold of a request is raised before an attempt that it does not cover, or the request ends."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from penstock.contract.ledger.holds import HoldGranted, HoldRefused, HoldRequest
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import PriceOverride, TokenPrices
from penstock.runtime.config.budgets.section import Budgets
from penstock.runtime.config.catalogue import Catalogue, Model, Price, ProviderConfig, RoleConfig
from penstock.runtime.holds import LedgerUnavailable
from penstock.runtime.pricing import PriceTable
from services.worker.accounting.charge import Charge
from services.worker.budget.hold_cover import Amount
from services.worker.execution.hold_raiser import HoldRaiser
from services.worker.execution.state import Execution, GaveUp
from tests.unit.worker.worker_parts import NAMES, WorkerParts

MODELS = {
    "cheap": Model(provider="p", price=Price(input=2, output=10)),
    "dear": Model(provider="p", price=Price(input=20, output=100)),
    "unpriced": Model(provider="p"),
}
CATALOGUE = Catalogue(
    name="test",
    providers={"p": ProviderConfig(api_key_env=NAMES)},
    models=MODELS,
    roles={"chat": RoleConfig(chain=tuple(MODELS))},
)
LIMIT = LimitStatus(scope="account", limit="microusd_per_day", allowed=10, spent=10)


class Ledger:
    def __init__(self, answer: HoldGranted | HoldRefused | Exception) -> None:
        self.asked: list[HoldRequest] = []
        self.answer = answer

    async def hold(self, request: HoldRequest, _trace: Any = None) -> HoldGranted | HoldRefused:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def granting() -> Ledger:
    return Ledger(HoldGranted(id="a.c.r"))


def raiser(ledger: Any, **budgets: Any) -> HoldRaiser:
    return HoldRaiser(ledger, PriceTable(MODELS), Budgets(**budgets))


def execution(*, hold_id: str | None = "a.c.r") -> Execution:
    made = WorkerParts(CATALOGUE).execution(
        lasts_s=60, hold_id=hold_id, hold_picousd=258, hold_tokens=49, user="u", key="pk"
    )
    made.held = Amount(258, 49)
    return made


async def test_f1_an_attempt_that_is_covered_asks_nothing() -> None:
    ledger = granting()
    await raiser(ledger).cover(execution(), "cheap")
    assert ledger.asked == []


async def test_f1_a_request_without_a_hold_asks_nothing() -> None:
    ledger, request = granting(), execution(hold_id=None)
    await raiser(ledger).cover(request, "dear")
    assert ledger.asked == []


async def test_f1_a_retry_after_a_paid_attempt_asks_for_both_once() -> None:
    ledger, request = granting(), execution()
    request.charged = Charge(Amount(100, 20))
    for _ in range(2):
        await raiser(ledger, hold_wait_s=1.5).cover(request, "cheap")
    (asked,) = ledger.asked
    assert (asked.id, asked.picousd, asked.tokens) == ("a.c.r", 358, 69)
    assert (asked.user, asked.key, asked.wait_s) == ("u", "pk", 1.5)
    assert asked.deadline_ms >= request.work.deadline_ms


async def test_f1_a_price_raised_during_an_attempt_does_not_change_its_prices() -> None:
    prices, request = PriceTable(MODELS), execution()
    client: Any = granting()
    raising = HoldRaiser(client, prices, Budgets())
    await raising.cover(request, "cheap")
    prices.override([PriceOverride(model="cheap", prices=TokenPrices(input=200, output=1_000))])
    assert request.prices is not None
    assert request.prices.prices_of("cheap") == TokenPrices(input=2, output=10)
    await raising.cover(request, "cheap")
    assert request.prices.prices_of("cheap") == TokenPrices(input=200, output=1_000)
    assert len(client.asked) == 1, "the next attempt is checked against the new price"


async def test_f3_a_retry_counts_to_the_class_of_traffic_of_its_request() -> None:
    ledger, request = granting(), execution()
    request.charged, request.work = Charge(Amount(100, 20)), replace(request.work, kind="embed")
    await raiser(ledger).cover(request, "cheap")
    assert [each.traffic for each in ledger.asked] == ["embed"]


async def test_f4_the_ledger_learns_of_a_model_without_a_price() -> None:
    ledger, request = granting(), execution()
    request.charged = Charge(Amount(200, 30))
    await raiser(ledger).cover(request, "unpriced")
    assert [each.unpriced for each in ledger.asked] == [("unpriced",)]


async def test_f1_a_refused_retry_ends_the_request_with_the_limit() -> None:
    refusal = HoldRefused(
        id="a.c.r", code="budget_exceeded", message="spent", limit=LIMIT, retry_after_s=60.0
    )
    with pytest.raises(GaveUp, match="another attempt was not made: spent") as caught:
        await raiser(Ledger(refusal)).cover(execution(), "dear")
    assert (caught.value.code, caught.value.limit) == ("budget_exceeded", LIMIT)
    assert caught.value.retry_after_s == 60.0


@pytest.mark.parametrize("policy", ["refuse", "allow"])
async def test_f1_without_a_ledger_the_policy_decides(policy: str) -> None:
    raising = raiser(Ledger(LedgerUnavailable("silent", may_be_held=False)), when_ledger_unavailable=policy)
    if policy == "allow":
        await raising.cover(execution(), "dear")
        return
    with pytest.raises(GaveUp) as caught:
        await raising.cover(execution(), "dear")
    assert caught.value.code == "budget_unavailable"
