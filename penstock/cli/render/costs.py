"""The text of what requests cost, also where it is not or only partly known."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

__all__ = ["cost_text", "picousd_text", "total_text"]

_FIGURES: Final = 4
"""Significant digits of an amount below a dollar."""
_UNKNOWN: Final = "price unknown"


def cost_text(microusd: int, unpriced_attempts: int) -> str:
    """The cost of one request in dollars, exact; with attempts at models without a price, that of the others."""
    known = f"${microusd / 1_000_000:.6f}".rstrip("0").rstrip(".")
    return _with_unknown(known if microusd else "") if unpriced_attempts else known


def total_text(picousd: int, unpriced_attempts: int) -> str:
    """As `picousd_text`; with attempts at models without a price, the amount of the others."""
    known = picousd_text(picousd)
    return _with_unknown(known if picousd else "") if unpriced_attempts else known


def picousd_text(picousd: int) -> str:
    """An amount in dollars: at least two decimals, and four significant digits below a dollar."""
    dollars = Decimal(picousd).scaleb(-12)
    decimals = 2 if picousd == 0 else max(2, _FIGURES - 1 - dollars.adjusted())
    rounded = f"{abs(round(dollars, decimals)):,.{decimals}f}"
    whole, _, fraction = rounded.partition(".")
    return f"{'-' if picousd < 0 else ''}${whole}.{fraction.rstrip('0').ljust(2, '0')}"


def _with_unknown(known: str) -> str:
    return f"{known} + {_UNKNOWN}" if known else _UNKNOWN
