"""F2, F4: what the event of one attempt says."""

from __future__ import annotations

from msgspec.structs import replace

from penstock.contract.ledger.policies import PriceOverride, TokenPrices
from penstock.contract.reply import Usage
from penstock.runtime.accounting.usage_events import AttemptRecord, UsageEvents, saved_by_routing_microusd
from penstock.runtime.config.catalogue import Catalogue, Model, Price, ProviderConfig, RoleConfig
from penstock.runtime.pricing import PriceTable
from tests.harness.requests.routed_requests import chat_work

MODELS = {
    "mini": Model(provider="p", price=Price(input=150_000, output=600_000, cached_input=75_000)),
    "heavy": Model(provider="p", price=Price(input=2_500_000, output=10_000_000)),
    "unpriced": Model(provider="p"),
}
CHAIN = ("heavy", "mini", "unpriced")
CATALOGUE = Catalogue(
    name="c", providers={"p": ProviderConfig()}, models=MODELS, roles={"chat": RoleConfig(chain=CHAIN)}
)
PRICES = PriceTable(MODELS)
EVENTS = UsageEvents(CATALOGUE, PRICES)
WORK = chat_work(hold_id="a.c.1", key="pk")
RECORD = AttemptRecord(
    number=2,
    model="mini",
    credential="A_KEY",
    outcome="completed",
    usage=Usage(input_tokens=3, cached_input_tokens=2, output_tokens=1),
)


def test_f4_the_event_has_the_exact_cost_and_what_the_cache_saved() -> None:
    event = EVENTS.of(WORK, RECORD, at_ms=1, worker="w")
    assert event.cost_picousd == 150_000 + 2 * 75_000 + 600_000
    assert event.cost_microusd == 1
    assert event.saved_by_cache_picousd == 2 * 75_000
    assert event.priced
    assert (event.client, event.key, event.hold_id) == (WORK.client, "pk", "a.c.1")


def test_f4_an_attempt_costs_the_prices_at_its_beginning() -> None:
    prices = PriceTable(MODELS)
    record = replace(RECORD, prices=prices.snapshot())
    raised = TokenPrices(input=99_000_000, output=99_000_000)
    prices.override([PriceOverride(model="mini", prices=raised), PriceOverride(model="heavy", prices=raised)])
    event = UsageEvents(CATALOGUE, prices).of(WORK, record, at_ms=1, worker="w")
    assert event == EVENTS.of(WORK, RECORD, at_ms=1, worker="w")


def test_f1_only_the_attempt_that_answered_ends_the_request() -> None:
    assert EVENTS.of(WORK, RECORD, at_ms=1, worker="w").ends
    failed = replace(RECORD, outcome="broken_stream")
    assert not EVENTS.of(WORK, failed, at_ms=1, worker="w").ends


def test_f4_a_model_without_a_price_is_reported_as_such() -> None:
    event = EVENTS.of(WORK, replace(RECORD, model="unpriced"), at_ms=1, worker="w")
    assert not event.priced
    assert (event.cost_picousd, event.saved_by_routing_microusd) == (0, 0)


def test_f4_savings_are_the_difference_to_the_most_expensive_model() -> None:
    # 1,000 in and 500 out: heavy 2,500 + 5,000, mini 150 + 300 micro-dollars.
    assert saved_by_routing_microusd(CHAIN, PRICES, "mini", 1_000, 500) == 7_500 - 450
    assert saved_by_routing_microusd(CHAIN, PRICES, "heavy", 1_000, 500) == 0
    assert saved_by_routing_microusd(("mini",), PRICES, "heavy", 1_000, 500) == 0
    assert saved_by_routing_microusd(CHAIN, PRICES, "unpriced", 1_000, 500) == 0
