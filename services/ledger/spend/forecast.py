"""What a period will have cost at its end, if spending continues at the same rate."""

from __future__ import annotations

__all__ = ["forecast_picousd"]


def forecast_picousd(spent_picousd: int, since_s: int, now_s: int, until_s: int) -> int | None:
    """Linear over the time that has passed since the period began; None: nothing has passed.

    After the end of the period it is what was spent.
    """
    passed_s = min(now_s, until_s) - since_s
    return None if passed_s <= 0 else spent_picousd * (until_s - since_s) // passed_s
