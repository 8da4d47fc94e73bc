"""F4, I3: exact amounts from usage and prices."""

from __future__ import annotations

import pytest

from penstock.contract.ledger.policies import PriceOverride, TokenPrices
from penstock.contract.reply import Usage
from penstock.runtime.config.catalogue import Model, Price
from penstock.runtime.pricing import (
    PriceTable,
    cost_picousd,
    estimate_picousd,
    microusd,
    saved_by_cache_picousd,
    token_prices,
)

USD = 1_000_000
EACH_KIND = TokenPrices(
    input=100,
    output=1_000,
    cached_input=10,
    cache_write=125,
    reasoning=2_000,
    audio_input=400,
    audio_output=8_000,
)


@pytest.mark.parametrize(
    ("usage", "price", "cost_microusd"),
    [
        (Usage(), Price(input=150_000), 0),
        (
            Usage(input_tokens=1_000_000, output_tokens=1_000_000),
            Price(input=150_000, output=600_000),
            750_000,
        ),
        (Usage(input_tokens=3), Price(input=150_000), 0),
        (Usage(input_tokens=1), Price(input=500_000), 1),
        (Usage(input_tokens=1), Price(input=499_999), 0),
        (Usage(input_tokens=1, output_tokens=1), Price(input=250_000, output=250_000), 1),
        (Usage(input_tokens=100, cached_input_tokens=60), Price(input=1_000_000, cached_input=500_000), 70),
        (Usage(input_tokens=100, cached_input_tokens=60), Price(input=1_000_000, cached_input=0), 40),
        (Usage(input_tokens=100, cached_input_tokens=60), Price(input=1_000_000), 100),
        (Usage(input_tokens=10, cached_input_tokens=60), Price(input=1_000_000, cached_input=500_000), 5),
    ],
)
def test_f4_i3_cost_is_rounded_once_half_up_to_whole_microdollars(
    usage: Usage, price: Price, cost_microusd: int
) -> None:
    assert microusd(cost_picousd(usage, token_prices(price))) == cost_microusd


def test_f4_each_kind_of_token_costs_its_own_price_once() -> None:
    usage = Usage(
        input_tokens=100,
        cached_input_tokens=40,
        cache_write_tokens=30,
        audio_input_tokens=20,
        output_tokens=50,
        reasoning_tokens=20,
        audio_output_tokens=5,
    )
    of_input = 40 * 10 + 30 * 125 + 20 * 400 + 10 * 100
    of_output = 20 * 2_000 + 5 * 8_000 + 25 * 1_000
    assert cost_picousd(usage, EACH_KIND) == of_input + of_output


def test_f4_a_million_requests_below_a_microdollar_add_up_exactly() -> None:
    cost = cost_picousd(Usage(input_tokens=3), TokenPrices(input=150_000))
    assert microusd(cost) == 0
    assert microusd(1_000_000 * cost) == 450_000


def test_i3_saved_by_cache_is_what_the_same_tokens_cost_more_without_it() -> None:
    usage = Usage(input_tokens=100, cached_input_tokens=40)
    assert saved_by_cache_picousd(usage, EACH_KIND) == 40 * (100 - 10)
    assert saved_by_cache_picousd(Usage(input_tokens=100), EACH_KIND) == 0


def test_i3_a_cache_that_is_only_written_saves_nothing_and_costs_more() -> None:
    usage = Usage(input_tokens=100, cache_write_tokens=100)
    assert saved_by_cache_picousd(usage, EACH_KIND) == -100 * 25


def test_f1_the_estimate_covers_input_written_into_a_cache_and_output_that_is_reasoning() -> None:
    assert estimate_picousd(10, 5, EACH_KIND) == 10 * 125 + 5 * 2_000
    assert estimate_picousd(10, 5, TokenPrices(input=3, output=7, cached_input=1)) == 65


def test_f4_an_unknown_price_is_not_a_price_of_zero() -> None:
    table = PriceTable({"free": Model(provider="p", price=Price()), "unknown": Model(provider="p")})
    assert table.prices_of("free") == TokenPrices()
    assert table.prices_of("unknown") is None
    assert table.prices_of("of another catalogue") is None


def test_f4_a_price_that_is_set_while_services_run_replaces_the_listed_one_until_it_is_removed() -> None:
    table = PriceTable({"m": Model(provider="p", price=Price(input=1)), "unknown": Model(provider="p")})
    for model in ("m", "unknown"):
        listed = table.prices_of(model)
        table.override([PriceOverride(model=model, prices=TokenPrices(input=5))])
        assert table.prices_of(model) == TokenPrices(input=5)
        table.override([])
        assert table.prices_of(model) == listed
