"""Rate limits that a provider reports in response headers (C4).

Sources, read in November 2026: platform.openai.com/docs/guides/rate-limits (both kinds are per minute),
console.groq.com/docs/rate-limits (requests are per day, tokens per minute), docs.anthropic.com/en/api/rate-limits
(resets are RFC 3339 dates), openrouter.ai/docs/api-reference/limits (requests; the reset is in Unix milliseconds).
Mistral's are not documented; recorded answers carry `x-ratelimit-*-req-minute`, `x-ratelimit-*-tokens-minute` and,
until 2025, `x-ratelimitbysize-*-minute` with `ratelimitbysize-reset` in seconds.
A header with an invalid value counts as missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from msgspec import Struct

from penstock.runtime.outbound.retry_after import seconds_until
from services.worker.rate_limit.limit import MINUTE_S, Observation

__all__ = ["read_rate_limits"]

_Kind = Literal["requests", "tokens"]
_Window = Literal["minute", "day"]
_COUNT: Final = re.compile(r"[0-9]{1,15}")
_INSTANT_S: Final = 1e8
"""The smallest reset value, in seconds, that is a Unix time and not a duration."""


class _Names(Struct, frozen=True):
    """The headers of one limit. `window` None: a minute or a day, depending on the reset."""

    kind: _Kind
    window: _Window | None
    limit: str
    remaining: str
    reset: str


def _names(kind: _Kind, window: _Window | None, pattern: str) -> _Names:
    limit, remaining, reset = (pattern.format(part) for part in ("limit", "remaining", "reset"))
    return _Names(kind, window, limit, remaining, reset)


_REQUESTS: Final = _names("requests", "minute", "x-ratelimit-{}-requests")
_TOKENS: Final = _names("tokens", "minute", "x-ratelimit-{}-tokens")
_IN_EVERY_NAME: Final = "ratelimit"
_STYLES: Final[Mapping[str, tuple[_Names, ...]]] = {
    "openai": (_REQUESTS, _TOKENS),
    "groq": (_names("requests", "day", "x-ratelimit-{}-requests"), _TOKENS),
    "anthropic": (
        _names("requests", "minute", "anthropic-ratelimit-requests-{}"),
        _names("tokens", "minute", "anthropic-ratelimit-tokens-{}"),
        _REQUESTS,
        _TOKENS,
    ),
    "openrouter": (_names("requests", None, "x-ratelimit-{}"),),
    "mistral": (
        _names("requests", "minute", "x-ratelimit-{}-req-minute"),
        _names("tokens", "minute", "x-ratelimit-{}-tokens-minute"),
        _Names(
            "tokens",
            "minute",
            "x-ratelimitbysize-limit-minute",
            "x-ratelimitbysize-remaining-minute",
            "ratelimitbysize-reset",
        ),
    ),
}
"""The header names of each format. For each kind of limit, the first names with a header are used."""


def read_rate_limits(headers: Mapping[str, str], style: str) -> tuple[Observation, ...]:
    """The reported limits; header names are case-insensitive. Never raises.

    A reset that is a date or Unix time is relative to the response's `date` header, and ignored without it.
    """
    names = _STYLES.get(style)
    if names is None or _IN_EVERY_NAME not in "".join(headers).lower():
        return ()
    lower = {name.lower(): value for name, value in headers.items()}
    observations: dict[str, Observation] = {}
    for each in names:
        if each.kind not in observations and (observation := _observation(lower, each)) is not None:
            observations[each.kind] = observation
    return tuple(observations.values())


def _observation(lower: Mapping[str, str], names: _Names) -> Observation | None:
    limit = _count(lower.get(names.limit))
    remaining = _count(lower.get(names.remaining))
    reset_s = _reset_s(lower, names.reset)
    if limit is None and remaining is None and reset_s is None:
        return None
    window = names.window
    if window is None:
        if reset_s is None:
            return None
        window = "minute" if reset_s <= MINUTE_S else "day"
    return Observation(kind=names.kind, window=window, limit=limit, remaining=remaining, reset_s=reset_s)


def _reset_s(lower: Mapping[str, str], name: str) -> float | None:
    text = lower.get(name)
    if text is None:
        return None
    seconds = seconds_until(text, 0.0)
    if seconds is None or seconds < _INSTANT_S:
        return seconds
    now_unix_s = _date_unix_s(lower.get("date"))
    return None if now_unix_s is None else seconds_until(text, now_unix_s)


def _date_unix_s(date: str | None) -> float | None:
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    text = text.strip()
    return int(text) if _COUNT.fullmatch(text) else None
