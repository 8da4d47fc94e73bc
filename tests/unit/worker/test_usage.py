from __future__ import annotations

import pytest

from penstock.config.catalogue import Price
from schemas.reply import Usage
from services.worker.usage import cost_microusd


@pytest.mark.parametrize(
    ("usage", "price", "microusd"),
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
def test_cost_is_whole_microdollars_rounded_half_up__f4(usage, price, microusd):
    assert cost_microusd(usage, price) == microusd
