from __future__ import annotations

import pytest
from msgspec import Raw

from penstock.config.catalogue import Price
from schemas.reply import Usage
from services.worker.usage import NO_USAGE, cost_microusd, read_usage


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
def test_cost_is_whole_microdollars_rounded_half_up__f4_i3(usage, price, microusd):
    assert cost_microusd(usage, price) == microusd


@pytest.mark.parametrize(
    "said",
    [
        *(NO_USAGE, b"{}", b"[]", b'"5"', b"5", b'{"total_tokens":7}', b"[" * 5000 + b"]" * 5000),
        *(b'{"prompt_tokens":%s,"completion_tokens":1}' % n for n in (b"5.0", b"-1", b"1e400", b"9" * 40)),
        b'{"prompt_tokens":9223372036854775807,"completion_tokens":9223372036854775807}',
        b'{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":0.5}}',
    ],
)
def test_usage_that_cannot_be_true_is_unknown__f2(said):
    assert read_usage(Raw(said)) is None


def test_usage_may_be_partly_there():
    assert read_usage(Raw(b'{"prompt_tokens":3,"completion_tokens":null}')) == Usage(input_tokens=3)
