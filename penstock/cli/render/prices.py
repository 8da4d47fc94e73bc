"""The text of prices, in dollars per million tokens."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

from penstock.cli.render.table import cell, table
from penstock.contract.ledger.policies import TokenPrices

__all__ = ["ListedPrice", "price_text", "prices_text"]

_OTHER_KINDS: Final = ("cache_write", "reasoning", "audio_input", "audio_output")


class ListedPrice(Struct, frozen=True, kw_only=True):
    """The price of one model, and where it is from."""

    model: str
    prices: TokenPrices | None
    """None: not known."""
    as_of: str = ""
    source: str = ""
    changed_by: str = ""
    """Who replaced the price of the catalogue; empty: it applies."""


def prices_text(listed: Sequence[ListedPrice]) -> str:
    """Dollars per million tokens of each kind; kinds without a price of their own cost as all input or output."""
    rows = [
        (
            cell(each.model),
            *(_dollars(each.prices, kind) for kind in ("input", "output", "cached_input")),
            cell(_others(each.prices)),
            each.as_of or "-",
            cell(f"set by {each.changed_by}" if each.changed_by else "catalogue"),
            cell(each.source or "-"),
        )
        for each in listed
    ]
    titles = ("model", "input $/M", "output $/M", "cached $/M", "others $/M", "as of", "from", "source")
    return table(titles, rows, right=frozenset({1, 2, 3}))


def price_text(prices: TokenPrices) -> str:
    """The prices in one line."""
    others = _others(prices)
    cached = "" if prices.cached_input is None else f", cached input {_money(prices.cached_input)}"
    main = f"input {_money(prices.input)}, output {_money(prices.output)}{cached}"
    return f"{main}{'' if others == '-' else f', {others}'} per million tokens"


def _others(prices: TokenPrices | None) -> str:
    found = {kind: getattr(prices, kind, None) for kind in _OTHER_KINDS}
    shown = [
        f"{kind.replace('_', ' ')} {_money(price)}" for kind, price in found.items() if price is not None
    ]
    return ", ".join(shown) or "-"


def _dollars(prices: TokenPrices | None, kind: str) -> str:
    if prices is None:
        return "unknown"
    price: int | None = getattr(prices, kind)
    return "-" if price is None else _money(price)


def _money(microusd: int) -> str:
    """At least two digits after the point, and as many as the price has."""
    dollars = Decimal(microusd) / 1_000_000
    return f"${dollars:,.2f}" if microusd % 10_000 == 0 else f"${dollars.normalize():,f}"
