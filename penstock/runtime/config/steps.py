"""Weighted steps of a chain: mappings in the list of the file, in memory a flat chain with its steps beside it."""

from __future__ import annotations

from typing import Any, Final

from penstock.runtime.config.document import joined
from penstock.runtime.config.report import Report

__all__ = ["fold", "unfold"]

_WEIGHTED: Final = "weighted"


def unfold(data: dict[str, Any], report: Report) -> dict[str, Any]:
    """The data of a catalogue with flat chains. The report learns where everything stood."""
    roles = data.get("roles")
    if not isinstance(roles, dict):
        return data
    flat = {name: _unfold_role(role, joined("roles", name), report) for name, role in roles.items()}
    return {**data, "roles": flat}


def _unfold_role(role: object, path: str, report: Report) -> object:
    if not isinstance(role, dict):
        return role
    if _WEIGHTED in role:
        fix = "write the shares into the chain: [{one: 70, other: 30}, next]"
        report.add(joined(path, _WEIGHTED), "there is no such key", fix)
        role = {key: value for key, value in role.items() if key != _WEIGHTED}
    chain = role.get("chain")
    if not isinstance(chain, list):
        return role
    flat: list[object] = []
    steps: list[dict[str, list[object]]] = []
    for index, item in enumerate(chain):
        place = f"{path}.chain[{index}]"
        if not isinstance(item, dict):
            report.stands(f"{path}.chain[{len(flat)}]", place)
            flat.append(item)
            continue
        if len(item) < 2:
            report.add(
                place, "a step with shares names at least two models", "add another, or write a name alone"
            )
        for number, model in enumerate(item):
            report.stands(f"{path}.chain[{len(flat)}]", joined(place, model))
            report.stands(f"{path}.{_WEIGHTED}[{len(steps)}].weights[{number}]", joined(place, model))
            flat.append(model)
        steps.append({"models": list(item), "weights": list(item.values())})
    return {**role, "chain": flat, _WEIGHTED: steps}


def fold(role: dict[str, Any]) -> dict[str, Any]:
    """A role as plain data, with its steps back in the chain: as the file has it."""
    steps = {step["models"][0]: step for step in role[_WEIGHTED]}
    inside = {model for step in role[_WEIGHTED] for model in step["models"]}
    chain = [
        dict(zip(steps[model]["models"], steps[model]["weights"], strict=True)) if model in steps else model
        for model in role["chain"]
        if model in steps or model not in inside
    ]
    return {key: chain if key == "chain" else value for key, value in role.items() if key != _WEIGHTED}
