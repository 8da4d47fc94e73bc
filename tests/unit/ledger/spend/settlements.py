"""Settlements for tests of the spend history."""

from __future__ import annotations

from typing import Any

from penstock.contract.ledger.journal import Settled

HOUR_MS = 3_600_000


def settled(number: int = 0, **fields: Any) -> Settled:
    """A settlement of one completed attempt; `number` makes its hold unique."""
    values: dict[str, Any] = {
        "id": f"a.c.{number}",
        "attempt": 1,
        "account": "a",
        "user": "u",
        "key": "",
        "traffic": "chat",
        "role": "chat",
        "model": "m",
        "input_tokens": 10,
        "output_tokens": 5,
        "cached_input_tokens": 2,
        "reasoning_tokens": 1,
        "picousd": 7,
        "saved_by_cache_picousd": 1,
        "saved_by_routing_picousd": 3,
        "estimated": False,
        "priced": True,
        "completed": True,
        "ends": True,
        "at_ms": 5 * HOUR_MS + 1,
    }
    return Settled(**(values | fields))
