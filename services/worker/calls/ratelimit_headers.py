"""What a provider says about its own limits in the headers of any answer (REQUIREMENTS C4).

Sources: platform.openai.com/docs/guides/rate-limits (both kinds are per minute) and
console.groq.com/docs/rate-limits (requests are per day, tokens per minute); `retry-after`: RFC 9110, 10.2.3.
A header that makes no sense is as good as one that was not sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Final, Literal

from services.worker.limits.meter import Observation

__all__ = ["parse", "parse_duration_s", "retry_after_s"]

_Window = Literal["minute", "day"]

_NUMBER: Final = r"[0-9]{1,15}(?:\.[0-9]{0,15})?"
_PLAIN: Final = re.compile(_NUMBER)
_DURATION: Final = re.compile(
    "".join(rf"(?:({_NUMBER}){unit})?" for unit in ("d", "h", "m", "s", "ms", "(?:us|µs)", "ns"))
)
_UNIT_S: Final = (86_400.0, 3_600.0, 60.0, 1.0, 1e-3, 1e-6, 1e-9)
_COUNT: Final = re.compile(r"[0-9]{1,15}")

_REQUESTS_WINDOW: Final[Mapping[str, _Window]] = {"openai": "minute", "groq": "day"}


def parse(headers: Mapping[str, str], sdk: Literal["openai", "groq"]) -> tuple[Observation, ...]:
    """The provider's word on each limit it names, whatever the case of the headers' names; never raises."""
    lower = _lower(headers)
    said = (
        _observation(lower, "requests", _REQUESTS_WINDOW[sdk]),
        _observation(lower, "tokens", "minute"),
    )
    return tuple(observation for observation in said if observation is not None)


def retry_after_s(headers: Mapping[str, str], now_unix_s: float) -> float | None:
    """Seconds to wait, however long (the SDKs ignore more than 60); None: not a word of it. Never raises.

    `now_unix_s`: what a date in `retry-after` is measured from.
    """
    lower = _lower(headers)
    milliseconds = lower.get("retry-after-ms")
    if milliseconds is not None and _PLAIN.fullmatch(milliseconds.strip()):
        return float(milliseconds) / 1000
    text = lower.get("retry-after")
    if text is None:
        return None
    seconds = parse_duration_s(text)
    return _until_date_s(text, now_unix_s) if seconds is None else seconds


def parse_duration_s(text: str) -> float | None:
    """Seconds in `2m59.56s`, `7.66s`, `12ms`, `6m0s`, `1d2h` or a bare number; None for anything else."""
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text) if text else None
    if found is None:
        return None
    return sum(
        float(number) * unit_s for number, unit_s in zip(found.groups(), _UNIT_S, strict=True) if number
    )


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _observation(
    lower: Mapping[str, str], kind: Literal["requests", "tokens"], window: _Window
) -> Observation | None:
    limit = _count(lower.get(f"x-ratelimit-limit-{kind}"))
    remaining = _count(lower.get(f"x-ratelimit-remaining-{kind}"))
    reset = lower.get(f"x-ratelimit-reset-{kind}")
    reset_s = None if reset is None else parse_duration_s(reset)
    if limit is None and remaining is None and reset_s is None:
        return None
    return Observation(kind=kind, window=window, limit=limit, remaining=remaining, reset_s=reset_s)


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    text = text.strip()
    return int(text) if _COUNT.fullmatch(text) else None


def _until_date_s(text: str, now_unix_s: float) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        until_s = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_unix_s
    except (ValueError, TypeError, IndexError, OverflowError):  # all of these come out of odd dates
        return None
    return max(0.0, until_s) if isfinite(until_s) else None
