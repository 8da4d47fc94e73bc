"""Prices as text: `0.15 USD per million tokens` becomes micro-dollars per million tokens, exactly."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

from penstock.runtime.config.document import joined
from penstock.runtime.config.report import Report

__all__ = ["read_prices"]

_TEXT: Final = re.compile(
    r"\s*([0-9]{1,12}(?:\.[0-9]{1,12})?)\s+USD\s+per\s+million\s+tokens\s*", re.IGNORECASE
)
_MICRO: Final = 1_000_000
_UNIT: Final = "the unit is micro-dollars per million tokens"


def read_prices(data: dict[str, Any], report: Report) -> dict[str, Any]:
    """The data of a catalogue with prices as whole numbers; what is no price is reported and left as it is."""
    models = data.get("models")
    if not isinstance(models, dict):
        return data
    return {
        **data,
        "models": {name: _of_model(entry, joined("models", name), report) for name, entry in models.items()},
    }


def _of_model(model: object, path: str, report: Report) -> object:
    if not isinstance(model, dict) or model.get("price") is None:
        return model
    price, below = model["price"], joined(path, "price")
    if not isinstance(price, dict):
        problem = f"must be a mapping, as input and output have prices of their own; {_UNIT}"
        report.add(below, problem, _mend("input: ", price))
        return model
    return {
        **model,
        "price": {kind: _of_kind(value, joined(below, kind), report) for kind, value in price.items()},
    }


def _of_kind(value: object, path: str, report: Report) -> object:
    if isinstance(value, str):
        return _of_text(value, path, report)
    if isinstance(value, float):
        report.add(
            path, f"must be a whole number, and this is a number with a fraction; {_UNIT}", _mend("", value)
        )
    return value


def _of_text(text: str, path: str, report: Report) -> object:
    found = _TEXT.fullmatch(text)
    if found is None:
        report.add(path, f"is not a price that can be read; {_UNIT}", _mend("", None))
        return text
    micro = Decimal(found[1]) * _MICRO
    if micro != micro.to_integral_value():
        report.add(path, f"is finer than a price can be; {_UNIT}", "write at most six digits after the point")
        return text
    return int(micro)


def _mend(key: str, value: object) -> str:
    """The two ways to write a price: a whole number is taken as micro-dollars, a fraction as dollars."""
    if isinstance(value, int) and not isinstance(value, bool):
        dollars = Decimal(value) / _MICRO
    else:
        dollars = Decimal(str(value)) if isinstance(value, float) and 0 <= value < _MICRO else Decimal("0.15")
    plain = format(dollars.normalize(), "f")
    ways = f"{key}{round(dollars * _MICRO)} or {key}{plain} USD per million tokens"
    return f"write {ways}, if {plain} dollars is what you meant"
