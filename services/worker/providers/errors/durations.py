"""Durations and instants as providers write them, in headers, fields and messages."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Final

__all__ = ["parse_duration_s", "until_s"]

_NUMBER: Final = r"[0-9]{1,15}(?:\.[0-9]{0,15})?"
_PLAIN: Final = re.compile(_NUMBER)
_DURATION: Final = re.compile(
    "".join(rf"(?:({_NUMBER}){unit})?" for unit in ("d", "h", "m", "s", "ms", "(?:us|µs)", "ns"))
)
_UNIT_S: Final = (86_400.0, 3_600.0, 60.0, 1.0, 1e-3, 1e-6, 1e-9)
_ISO_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d\S*")
_MOST_CHARACTERS: Final = 64
_UNIX_S: Final = 1e9
"""A plain number from here on is an instant: as a duration it would be 31 years."""
_UNIX_MS: Final = 1e11


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


def until_s(text: str, now_unix_s: float) -> float | None:
    """Seconds from now to what `text` says: a duration, Unix seconds or milliseconds, an ISO 8601 or an HTTP date.

    What is past is 0; None for anything else. Never raises.
    """
    text = text.strip()
    if len(text) > _MOST_CHARACTERS:
        return None
    seconds = parse_duration_s(text)
    if seconds is not None:
        if seconds < _UNIX_S or not _PLAIN.fullmatch(text):
            return seconds
        unix_s = seconds if seconds < _UNIX_MS else seconds / 1000
    else:
        found = _date_unix_s(text)
        if found is None:
            return None
        unix_s = found
    wait_s = unix_s - now_unix_s
    return max(0.0, wait_s) if isfinite(wait_s) else None


def _date_unix_s(text: str) -> float | None:
    if ":" not in text:
        return None
    try:
        date = datetime.fromisoformat(text) if _ISO_DATE.fullmatch(text) else parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):  # all of these come out of odd dates
        return None
