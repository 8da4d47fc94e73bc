"""How long a provider asks a client to wait: parses durations and dates in headers, error fields and messages.

Sources: RFC 9110, 10.2.3 (`retry-after`), cloud.google.com/apis/design/errors (`RetryInfo.retryDelay`),
platform.openai.com/docs/guides/rate-limits, docs.anthropic.com/en/api/rate-limits (ISO dates),
openrouter.ai/docs/api-reference/limits (Unix milliseconds); read in November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Final

__all__ = ["parse_duration_s", "plausible_wait_s", "retry_after_s", "seconds_until"]

_NUMBER: Final = r"[0-9]{1,15}(?:\.[0-9]{0,15})?"
_PLAIN: Final = re.compile(_NUMBER)
_DURATION: Final = re.compile(
    "".join(rf"(?:({_NUMBER}){unit})?" for unit in ("d", "h", "m", "s", "ms", "(?:us|µs)", "ns"))
)
_UNIT_S: Final = (86_400.0, 3_600.0, 60.0, 1.0, 1e-3, 1e-6, 1e-9)
_ISO_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d\S*")
_MAX_VALUE_CHARACTERS: Final = 64
_MIN_UNIX_S: Final = 1e9
"""Seconds from which a plain number is a Unix time: as a duration it would be 31 years."""
_MIN_UNIX_MS: Final = 1e11
_LONGEST_S: Final = 86_400.0
"""Seconds above which a wait is ignored as a mistake: no provider's limit spans more than a day."""
_HTTP_DATE: Final = re.compile(r"[A-Za-z]{3,9}, ?\d{1,2}[^,]{10,24}")
_MAX_LISTED: Final = 16
_MAX_MESSAGE_CHARACTERS: Final = 4_000

_AMOUNT: Final = r"\d{1,9}(?:\.\d{1,9})?"
_UNIT: Final = r"(?:milliseconds?|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z])"
_COMPOUND: Final = rf"{_AMOUNT} ?{_UNIT}(?:(?:,| and)? ?{_AMOUNT} ?{_UNIT}){{0,3}}"
_JOINED: Final = rf"(?:{_AMOUNT}(?:d|h|m|s)){{2,4}}(?![a-z0-9])"
_WAIT_PHRASE: Final = re.compile(
    r"(?:try again|retry(?:ing)?|wait|resets?|available(?: again)?|back)(?: after| in| for| at least| about|"
    rf" approximately|:){{0,3}} ?(?:({_JOINED}|{_COMPOUND})|({_AMOUNT})(?= ?(?:[.,;)]? ?$|[.,;)] )))",
    re.IGNORECASE,
)
_PART: Final = re.compile(rf"({_AMOUNT}) ?([a-z]+)", re.IGNORECASE)
_UNITS_S: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def retry_after_s(
    headers: Mapping[str, str], delays: Iterable[str], message: str, now_unix_s: float
) -> float | None:
    """Seconds to wait, without an upper bound (the SDKs ignore more than 60); None without a hint. Never raises.

    A retry header takes precedence over the error itself, and the error over the reset of an exhausted limit.
    `delays`: delay fields of the error. `now_unix_s`: reference time for dates and Unix times, unless the response
    has a date.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    now_unix_s = _provider_unix_s(lower, now_unix_s)
    header_s = _retry_header_s(lower, now_unix_s)
    if header_s:
        return header_s
    found = [
        seconds
        for text in delays
        if (seconds := seconds_until(text.removeprefix("+"), now_unix_s)) is not None
    ]
    if (message_s := _message_s(message)) is not None:
        found.append(message_s)
    if not found and (reset_s := _reset_s(lower, now_unix_s)) is not None:
        found.append(reset_s)
    return max(found, default=header_s)


def _provider_unix_s(lower: Mapping[str, str], now_unix_s: float) -> float:
    """The clock of the provider, by the `Date` of its response: dates are compared with the clock that made them."""
    date = lower.get("date", "")
    dated_s = _date_unix_s(date) if len(date) <= _MAX_VALUE_CHARACTERS else None
    return now_unix_s if dated_s is None else dated_s


def plausible_wait_s(wait_s: float | None) -> float | None:
    """None also for a wait of more than a day."""
    return wait_s if wait_s is not None and wait_s <= _LONGEST_S else None


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


def seconds_until(text: str, now_unix_s: float) -> float | None:
    """Seconds from now to a duration, a Unix time in seconds or milliseconds, an ISO 8601 date or an HTTP date.

    A time in the past gives 0, any other text None. Never raises.
    """
    text = text.strip()
    if len(text) > _MAX_VALUE_CHARACTERS:
        return None
    seconds = parse_duration_s(text)
    if seconds is not None:
        if seconds < _MIN_UNIX_S or not _PLAIN.fullmatch(text):
            return seconds
        unix_s = seconds if seconds < _MIN_UNIX_MS else seconds / 1000
    else:
        date_s = _date_unix_s(text)
        if date_s is None:
            return None
        unix_s = date_s
    wait_s = unix_s - now_unix_s
    return max(0.0, wait_s) if isfinite(wait_s) else None


def _date_unix_s(text: str) -> float | None:
    if ":" not in text:
        return None
    try:
        date = datetime.fromisoformat(text) if _ISO_DATE.fullmatch(text) else parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):  # malformed dates raise any of these
        return None


def _message_s(message: str) -> float | None:
    """The longest wait that a message names, as in `try again in 7m12s` or `retry after 20 seconds`."""
    waits = [
        float(found[2]) if found[2] else _sum_of_parts_s(found[1])
        for found in _WAIT_PHRASE.finditer(" ".join(message[:_MAX_MESSAGE_CHARACTERS].split()))
    ]
    return max(waits, default=None)


def _sum_of_parts_s(text: str) -> float:
    total_s = 0.0
    for amount, unit in _PART.findall(text):
        name = unit.lower()
        key = "ms" if name.startswith(("ms", "millis")) else name[:1]
        total_s += float(amount) * _UNITS_S[key]
    return total_s


def _retry_header_s(lower: Mapping[str, str], now_unix_s: float) -> float | None:
    milliseconds = _largest_listed_s(lower.get("retry-after-ms"), None)
    if milliseconds is not None:
        return milliseconds / 1000
    return _largest_listed_s(lower.get("retry-after"), now_unix_s)


def _largest_listed_s(text: str | None, now_unix_s: float | None) -> float | None:
    """The largest plausible value of a header that may have been sent twice. `now_unix_s` None: numbers only."""
    if text is None:
        return None
    text = text[:1024]
    if now_unix_s is not None and (single_s := seconds_until(text, now_unix_s)) is not None:
        return single_s
    pieces = (now_unix_s is not None and _HTTP_DATE.findall(text)) or text.split(",")
    values = [
        value
        for piece in pieces[:_MAX_LISTED]
        if (value := seconds_until(piece.strip(), now_unix_s or 0.0)) is not None
    ]
    plausible = [value for value in values if value <= _LONGEST_S or now_unix_s is None]
    return max(plausible) if plausible else min(values, default=None)


def _reset_s(lower: Mapping[str, str], now_unix_s: float) -> float | None:
    """Seconds until the last of the exhausted limits resets."""
    waits = [
        seconds
        for name, value in lower.items()
        if "ratelimit" in name
        and "reset" in name
        and lower.get(name.replace("reset", "remaining"), "").strip() in {"0", "0.0"}
        and (seconds := seconds_until(value, now_unix_s)) is not None
    ]
    return max(waits, default=None)
