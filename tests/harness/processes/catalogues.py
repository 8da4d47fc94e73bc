"""Small catalogues for tests, with the simulator as provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

__all__ = ["ROLES", "catalogue"]

ROLES = ("chat", "logic", "coding", "vision", "long_context", "fast", "creative", "reasoning", "safety")


def catalogue(
    chains: Mapping[str, Sequence[str]] | None = None,
    *,
    models: Mapping[str, Mapping[str, Any]] | None = None,
    role: Mapping[str, Any] | None = None,
    roles: Mapping[str, Mapping[str, Any]] | None = None,
    breaker: Mapping[str, Any] | None = None,
    **sections: Mapping[str, Any],
) -> str:
    """A catalogue as YAML with these chains; each other role of ROLES gets a healthy model of its own.

    `models` adds settings to a model, `role` to every role, `roles` to one role; `sections` are further sections.
    """
    chains = chains or {}
    chosen = {
        name: list(chains.get(name, (f"m-{name.replace('_', '-')}",)))
        for name in dict.fromkeys((*ROLES, *chains))
    }
    names = dict.fromkeys(model for chain in chosen.values() for model in chain)
    return yaml.safe_dump(
        {
            "name": "test",
            "providers": {"simulator": {"base_url": "${PENSTOCK_SIMULATOR_URL}/v1"}},
            "models": {
                name: {"provider": "simulator", "supports_vision": True, **(models or {}).get(name, {})}
                for name in names
            },
            "roles": {
                name: {
                    "chain": chain,
                    "order_by_complexity": False,
                    **(role or {}),
                    **(roles or {}).get(name, {}),
                }
                for name, chain in chosen.items()
            },
            **({"breaker": dict(breaker)} if breaker else {}),
            **{name: dict(section) for name, section in sections.items()},
        }
    )
