"""Shorthand of the catalogue file: prices as text, and weighted steps as mappings inside a chain.

Both are normalised before the structs are built. A price `0.15 USD per million tokens` becomes micro-dollars per
million tokens, exactly; a weighted step becomes part of a flat chain, with its shares beside it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

from penstock.runtime.config.problems import ProblemReport, joined

__all__ = ["fold", "read_prices", "unfold"]
_TEXT: Final = re.compile(
    r"\s*([0-9]{1,12}(?:\.[0-9]{1,12})?)\s+USD\s+per\s+million\s+tokens\s*", re.IGNORECASE
)
_MICRO: Final = 1_000_000
_UNIT: Final = "the unit is micro-dollars per million tokens"
_NOT_AMOUNTS: Final = frozenset({"as_of", "source"})
_WEIGHTED: Final = "weighted"
_WEIGHTED_FIX: Final = "write the shares into the chain: [{one: 70, other: 30}, next]"


def read_prices(data: dict[str, Any], report: ProblemReport) -> dict[str, Any]:
    """The raw data of a catalogue with prices as whole numbers; an invalid price is reported and left unchanged."""
    models = data.get("models")
    if not isinstance(models, dict):
        return data
    return {
        **data,
        "models": {name: _of_model(entry, joined("models", name), report) for name, entry in models.items()},
    }


def _of_model(model: object, path: str, report: ProblemReport) -> object:
    if not isinstance(model, dict) or model.get("price") is None:
        return model
    price, below = model["price"], joined(path, "price")
    if not isinstance(price, dict):
        problem = f"must be a mapping, as input and output have prices of their own; {_UNIT}"
        report.add(below, problem, _correction("input: ", price))
        return model
    return {
        **model,
        "price": {
            kind: value if kind in _NOT_AMOUNTS else _of_kind(value, joined(below, kind), report)
            for kind, value in price.items()
        },
    }


def _of_kind(value: object, path: str, report: ProblemReport) -> object:
    if isinstance(value, str):
        return _of_text(value, path, report)
    if isinstance(value, float):
        report.add(
            path,
            f"must be a whole number, and this is a number with a fraction; {_UNIT}",
            _correction("", value),
        )
    return value


def _of_text(text: str, path: str, report: ProblemReport) -> object:
    found = _TEXT.fullmatch(text)
    if found is None:
        report.add(path, f"is not a price that can be read; {_UNIT}", _correction("", None))
        return text
    micro = Decimal(found[1]) * _MICRO
    if micro != micro.to_integral_value():
        report.add(path, f"is finer than a price can be; {_UNIT}", "write at most six digits after the point")
        return text
    return int(micro)


def _correction(key: str, value: object) -> str:
    """The fix that shows both notations of a price, assuming that a fraction was meant as dollars."""
    if isinstance(value, int) and not isinstance(value, bool):
        dollars = Decimal(value) / _MICRO
    else:
        dollars = Decimal(str(value)) if isinstance(value, float) and 0 <= value < _MICRO else Decimal("0.15")
    plain = format(dollars.normalize(), "f")
    ways = f"{key}{round(dollars * _MICRO)} or {key}{plain} USD per million tokens"
    return f"write {ways}, if {plain} dollars is what you meant"


def unfold(data: dict[str, Any], report: ProblemReport) -> dict[str, Any]:
    """The raw data of a catalogue with flat chains; the report learns the original place of each value."""
    roles = data.get("roles")
    if not isinstance(roles, dict):
        return data
    flat = {name: _unfold_role(role, joined("roles", name), report) for name, role in roles.items()}
    return {**data, "roles": flat}


def _unfold_role(role: object, path: str, report: ProblemReport) -> object:
    if not isinstance(role, dict):
        return role
    if _WEIGHTED in role:
        report.add(joined(path, _WEIGHTED), "there is no such key", _WEIGHTED_FIX, quote=False)
        role = {key: value for key, value in role.items() if key != _WEIGHTED}
    chain = role.get("chain")
    if not isinstance(chain, list):
        return role
    flat: list[object] = []
    steps: list[dict[str, list[object]]] = []
    for index, item in enumerate(chain):
        place = f"{path}.chain[{index}]"
        if not isinstance(item, dict):
            report.relocate(f"{path}.chain[{len(flat)}]", place)
            flat.append(item)
            continue
        if set(item) == {_WEIGHTED}:
            report.add(joined(place, _WEIGHTED), "there is no such key", _WEIGHTED_FIX, quote=False)
            continue
        if len(item) < 2:
            report.add(
                place, "a step with shares names at least two models", "add another, or write a name alone"
            )
        for number, model in enumerate(item):
            report.relocate(f"{path}.chain[{len(flat)}]", joined(place, model))
            report.relocate(f"{path}.{_WEIGHTED}[{len(steps)}].weights[{number}]", joined(place, model))
            flat.append(model)
        steps.append({"models": list(item), "weights": list(item.values())})
    return {**role, "chain": flat, _WEIGHTED: steps}


def fold(role: dict[str, Any]) -> dict[str, Any]:
    """A role as plain data, with its weighted steps inside the chain as in the file."""
    steps = {step["models"][0]: step for step in role[_WEIGHTED]}
    inside = {model for step in role[_WEIGHTED] for model in step["models"]}
    chain = [
        dict(zip(steps[model]["models"], steps[model]["weights"], strict=True)) if model in steps else model
        for model in role["chain"]
        if model in steps or model not in inside
    ]
    return {key: chain if key == "chain" else value for key, value in role.items() if key != _WEIGHTED}
