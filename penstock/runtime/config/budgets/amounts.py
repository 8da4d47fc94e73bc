"""Shorthand of the section `budgets`: dollars as they are written on a bill, and `unlimited`.

`usd_per_day: 10.50` becomes `microusd_per_day: 10500000`, exactly; amounts finer than a micro-dollar are reported.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

from penstock.contract.ledger.policies import LIMIT_NAMES
from penstock.runtime.config.budgets.section import UNLIMITED
from penstock.runtime.config.problems import ProblemReport, joined

__all__ = ["DOLLAR_LIMITS", "micro_dollars", "read_budgets"]

DOLLAR_LIMITS: Final = {"usd_per_day": "microusd_per_day", "usd_per_month": "microusd_per_month"}
_MICRO: Final = 1_000_000
_DOLLARS: Final = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,12})?")
_UNLIMITED: Final = "unlimited"
_FIX: Final = "write dollars, as 10 or 10.50; unlimited removes an inherited limit"


def micro_dollars(text: str) -> int:
    """The micro-dollars of an amount of dollars such as `10.50`. Raises ValueError with the reason."""
    if _DOLLARS.fullmatch(text) is None:
        raise ValueError("is not an amount of dollars")
    amount = Decimal(text) * _MICRO
    if amount != amount.to_integral_value():
        raise ValueError("is finer than a micro-dollar: write at most six digits after the point")
    if amount >= UNLIMITED:
        raise ValueError("is more than the ledger can count")
    return int(amount)


def read_budgets(data: dict[str, Any], report: ProblemReport) -> dict[str, Any]:
    """The raw data of a catalogue with the amounts of `budgets` as whole numbers; an invalid amount is reported and
    left out.
    """
    if "budgets" not in data:
        return data
    section = data["budgets"]
    if section is None:
        fix = "write budgets: {} for a ledger without limits, or remove the key for no ledger"
        report.add("budgets", "is empty", fix)
    return {**data, "budgets": _plain(section, "budgets", report) if isinstance(section, dict) else section}


def _plain(section: dict[str, Any], path: str, report: ProblemReport) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in section.items():
        below = joined(path, key)
        if isinstance(value, dict):
            made[key] = _plain(value, below, report)
        elif key == "soft" and isinstance(value, list):
            made[key] = [DOLLAR_LIMITS.get(name, name) if isinstance(name, str) else name for name in value]
        elif value == _UNLIMITED and (key in LIMIT_NAMES or key in DOLLAR_LIMITS):
            made[DOLLAR_LIMITS.get(key, key)] = UNLIMITED
        elif key in DOLLAR_LIMITS:
            _add_dollars(made, section, path, key, report)
        else:
            made[key] = value
    return made


def _add_dollars(
    made: dict[str, Any], section: dict[str, Any], path: str, key: str, report: ProblemReport
) -> None:
    """Add the amount under the name of the limit; null is no amount."""
    name, place, value = DOLLAR_LIMITS[key], joined(path, key), section[key]
    if name in section:
        report.add(place, f"is the same limit as {name}", "keep one of the two")
    elif isinstance(value, bool) or not isinstance(value, int | float | str | None):
        report.add(place, "is not an amount of dollars", _FIX)
    elif value is not None:
        report.relocate(joined(path, name), place)
        try:
            made[name] = micro_dollars(_digits(value))
        except ValueError as error:
            report.add(place, str(error), _FIX)


def _digits(value: float | str) -> str:
    """A number in decimal digits; YAML has read `1e-05` and `10.50` as the nearest double, which has these digits."""
    return format(Decimal(str(value)), "f") if isinstance(value, int | float) else value.strip()
