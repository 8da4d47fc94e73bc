"""The text of API keys."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.cli.render.table import cell, table
from penstock.cli.render.times import utc_text
from penstock.contract.keys import ApiKey

__all__ = ["keys_text"]


def keys_text(keys: Sequence[ApiKey], now_ms: int) -> str:
    if not keys:
        return "No keys."
    rows = [
        (
            key.prefix,
            _state(key, now_ms),
            cell(key.account),
            cell(key.user or "-"),
            cell(", ".join((*key.roles, *key.models)) or "all"),
            key.rescue,
            utc_text(key.created_ms),
            "never" if key.expires_ms is None else utc_text(key.expires_ms),
            cell(key.note),
        )
        for key in keys
    ]
    titles = (
        "prefix",
        "state",
        "account",
        "user",
        "allows",
        "rescue",
        "created (UTC)",
        "expires (UTC)",
        "note",
    )
    return table(titles, rows)


def _state(key: ApiKey, now_ms: int) -> str:
    if key.revoked_ms is not None:
        return "revoked"
    return "expired" if key.expires_ms is not None and now_ms >= key.expires_ms else "valid"
