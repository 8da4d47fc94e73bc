"""F4: each token is paid once, whatever a provider reports."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from penstock.contract.ledger.policies import TokenPrices
from penstock.contract.reply import Usage
from penstock.runtime.pricing import cost_picousd, estimate_picousd, saved_by_cache_picousd

COUNTS = st.integers(0, 10_000)
USAGES = st.builds(Usage, **dict.fromkeys(Usage.__struct_fields__, COUNTS))
PRICE = st.integers(0, 10**9)
PRICES = st.builds(
    TokenPrices,
    input=PRICE,
    output=PRICE,
    **dict.fromkeys(
        ("cached_input", "cache_write", "reasoning", "audio_input", "audio_output"), st.none() | PRICE
    ),
)


@given(USAGES, PRICES)
def test_f4_the_cost_is_between_all_tokens_at_the_cheapest_and_all_at_the_dearest_kind(
    usage: Usage, prices: TokenPrices
) -> None:
    of_input = [
        prices.input,
        *_known(prices.cached_input, prices.cache_write, prices.audio_input),
    ]
    of_output = [prices.output, *_known(prices.reasoning, prices.audio_output)]
    least = usage.input_tokens * min(of_input) + usage.output_tokens * min(of_output)
    most = usage.input_tokens * max(of_input) + usage.output_tokens * max(of_output)
    assert least <= cost_picousd(usage, prices) <= most


@given(USAGES, st.integers(1, 10**9))
def test_f4_no_token_is_counted_twice_or_left_out(usage: Usage, price: int) -> None:
    same = TokenPrices(**dict.fromkeys(TokenPrices.__struct_fields__, price))
    assert cost_picousd(usage, same) == (usage.input_tokens + usage.output_tokens) * price
    assert saved_by_cache_picousd(usage, same) == 0


@given(USAGES, PRICES)
def test_f4_kinds_without_a_price_cost_as_their_whole(usage: Usage, prices: TokenPrices) -> None:
    filled = {
        name: value
        if value is not None
        else (prices.output if name in {"reasoning", "audio_output"} else prices.input)
        for name, value in asdict(prices).items()
    }
    assert cost_picousd(usage, prices) == cost_picousd(usage, TokenPrices(**filled))


@given(USAGES, PRICES)
def test_f1_without_audio_no_usage_within_the_estimate_costs_more(usage: Usage, prices: TokenPrices) -> None:
    text = Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )
    cheaper_cache = TokenPrices(
        **asdict(prices) | {"cached_input": min(prices.input, *_known(prices.cached_input, prices.input))}
    )
    estimate = estimate_picousd(text.input_tokens, text.output_tokens, cheaper_cache)
    assert cost_picousd(text, cheaper_cache) <= estimate


def _known(*prices: int | None) -> list[int]:
    return [price for price in prices if price is not None]
