"""What tokens cost: the prices of the models, and exact amounts computed from them (F4).

A price in micro-dollars per million tokens is the same number in picodollars per token, so that amounts are whole
picodollars and sums of cheap requests are exact. They are rounded only where they are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Final

from penstock.contract.ledger.policies import PriceOverride, TokenPrices
from penstock.contract.reply import Usage
from penstock.runtime.config.catalogue import Model, Price

__all__ = [
    "FREE",
    "PriceTable",
    "cost_picousd",
    "estimate_picousd",
    "microusd",
    "saved_by_cache_picousd",
    "token_prices",
]

_PICO_PER_MICRO: Final = 1_000_000
FREE: Final = TokenPrices()


class PriceTable:
    """The prices of each model: those of the catalogue, replaced by those that were set while services run."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._listed = {
            key: token_prices(model.price) for key, model in models.items() if model.price is not None
        }
        self._overridden: dict[str, TokenPrices] = {}

    def prices_of(self, model: str) -> TokenPrices | None:
        """The prices of a model by its key in the catalogue; None: not known."""
        return self._overridden.get(model) or self._listed.get(model)

    def snapshot(self) -> PriceTable:
        """The prices of this moment, which later changes leave as they are. It shares their tables."""
        return copy(self)

    def override(self, records: Iterable[PriceOverride]) -> None:
        """From now on these prices replace those of the catalogue, and no others that were set before."""
        self._overridden = {record.model: record.prices for record in records}


def token_prices(price: Price) -> TokenPrices:
    """The prices of a catalogue, without their date and source."""
    return TokenPrices(
        input=price.input,
        output=price.output,
        cached_input=price.cached_input,
        cache_write=price.cache_write,
        reasoning=price.reasoning,
        audio_input=price.audio_input,
        audio_output=price.audio_output,
    )


def cost_picousd(usage: Usage, prices: TokenPrices) -> int:
    """The exact cost: each token once, at the price of its kind.

    Kinds of input are taken from the whole in the order cached, written into the cache, audio, and kinds of output in
    the order reasoning, audio; what would exceed the whole is not counted.
    """
    cost = usage.input_tokens * prices.input + usage.output_tokens * prices.output
    # What other prices than those of input and output change, of the few kinds that an answer usually has.
    left = usage.input_tokens
    if usage.cached_input_tokens and prices.cached_input is not None:
        cost += min(usage.cached_input_tokens, left) * (prices.cached_input - prices.input)
    left -= min(usage.cached_input_tokens, left)
    if usage.cache_write_tokens or usage.audio_input_tokens:
        written = min(usage.cache_write_tokens, left)
        audio = min(usage.audio_input_tokens, left - written)
        cost += written * (_or(prices.cache_write, prices.input) - prices.input)
        cost += audio * (_or(prices.audio_input, prices.input) - prices.input)
    if usage.reasoning_tokens or usage.audio_output_tokens:
        reasoning = min(usage.reasoning_tokens, usage.output_tokens)
        spoken = min(usage.audio_output_tokens, usage.output_tokens - reasoning)
        cost += reasoning * (_or(prices.reasoning, prices.output) - prices.output)
        cost += spoken * (_or(prices.audio_output, prices.output) - prices.output)
    return cost


def saved_by_cache_picousd(usage: Usage, prices: TokenPrices) -> int:
    """The additional cost if the provider had no prompt cache. Negative where writing into the cache cost more than
    reading from it saved.
    """
    if not usage.cached_input_tokens and not usage.cache_write_tokens:
        return 0
    cached = min(usage.cached_input_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - cached)
    saved = cached * (prices.input - _or(prices.cached_input, prices.input))
    return saved + written * (prices.input - _or(prices.cache_write, prices.input))


def estimate_picousd(input_tokens: int, output_tokens: int, prices: TokenPrices) -> int:
    """The most that a call with so many tokens of text can cost: all input may be written into a cache, and all output
    may be reasoning.
    """
    dearest_input = max(prices.input, prices.cache_write or 0)
    dearest_output = max(prices.output, prices.reasoning or 0)
    return input_tokens * dearest_input + output_tokens * dearest_output


def microusd(picousd: int) -> int:
    """Whole micro-dollars, rounded half up."""
    return (picousd + _PICO_PER_MICRO // 2) // _PICO_PER_MICRO


def _or(price: int | None, of_whole: int) -> int:
    return of_whole if price is None else price
