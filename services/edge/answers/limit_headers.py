"""What is left of the budget limits of the sender, as headers in the names that its SDK documents.

OpenAI: platform.openai.com/docs/guides/rate-limits; resets are durations such as `6m0s`. Anthropic:
docs.anthropic.com/en/api/rate-limits; resets are times in RFC 3339.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import LimitName
from services.edge.dialects.dialect import LimitHeaderStyle
from services.edge.http.headers import Header

__all__ = ["LIMIT_HEADERS", "Unit", "limit_headers", "unit_of"]

Unit = Literal["requests", "tokens"]
_UNITS: Final[Mapping[LimitName, Unit]] = {
    "requests_per_second": "requests",
    "requests_per_minute": "requests",
    "requests_per_hour": "requests",
    "tokens_per_minute": "tokens",
    "tokens_per_day": "tokens",
}
_NAMES: Final[Mapping[LimitHeaderStyle, tuple[str, str, str]]] = {
    "openai": ("x-ratelimit-limit-{}", "x-ratelimit-remaining-{}", "x-ratelimit-reset-{}"),
    "anthropic": (
        "anthropic-ratelimit-{}-limit",
        "anthropic-ratelimit-{}-remaining",
        "anthropic-ratelimit-{}-reset",
    ),
}
"""Limit, remaining and reset of each unit."""
_MEANINGS: Final = (
    "The limit on {} that has the fewest left for the sender; without one there is no such header.",
    "How many {} are left of it.",
    "When it is whole again: a duration such as `6m0s`, in `anthropic-` headers a time.",
)
LIMIT_HEADERS: Final[Mapping[LimitHeaderStyle, Mapping[str, str]]] = {
    style: {
        name.format(unit): meaning.format(unit)
        for unit in ("requests", "tokens")
        for name, meaning in zip(names, _MEANINGS, strict=True)
    }
    for style, names in _NAMES.items()
}
"""The headers of each style, with their meaning."""


def unit_of(status: LimitStatus) -> Unit | None:
    """What the limit counts over time; None: money, or requests at once, for which there are no headers."""
    return _UNITS.get(status.limit)


def limit_headers(
    style: LimitHeaderStyle, statuses: Mapping[Unit, LimitStatus], now_ms: int
) -> tuple[Header, ...]:
    """The headers for one limit of each unit. A limit whose period is over says nothing."""
    return tuple(
        (name.format(unit).encode(), text.encode())
        for unit, status in statuses.items()
        if status.resets_at_ms > now_ms
        for name, text in zip(_NAMES[style], _texts(style, status, now_ms), strict=True)
    )


def _texts(style: LimitHeaderStyle, status: LimitStatus, now_ms: int) -> tuple[str, str, str]:
    if style == "openai":
        reset = _duration(-(-(status.resets_at_ms - now_ms) // 1000))
    else:
        reset = datetime.fromtimestamp(status.resets_at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(status.allowed), str(status.left), reset


def _duration(seconds: int) -> str:
    """As OpenAI writes it: `1s`, `6m0s`, `23h59m12s`."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
