"""The times that `penstock spend` takes, all in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["MOMENTS", "moment_s"]

MOMENTS: Final = "today, month, 7d, 12h, 2026-11, 2026-11-30 or 2026-11-30T18:00"
_AGO: Final = re.compile(r"([0-9]{1,5})([hd])")
_FORMATS: Final = ("%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%M")


def moment_s(text: str, now_s: int) -> int:
    """Unix seconds of a moment in one of the forms of `MOMENTS`. Raises ValueError for any other text."""
    now = datetime.fromtimestamp(now_s, UTC)
    today = datetime(now.year, now.month, now.day, tzinfo=UTC)
    if text == "today":
        return int(today.timestamp())
    if text == "month":
        return int(today.replace(day=1).timestamp())
    ago = _AGO.fullmatch(text)
    if ago is not None:
        unit = timedelta(hours=1) if ago[2] == "h" else timedelta(days=1)
        return now_s - int(ago[1]) * int(unit.total_seconds())
    for each in _FORMATS:
        try:
            found = datetime.strptime(text, each).replace(tzinfo=UTC)
        except ValueError:
            continue
        return int(found.timestamp())
    raise ValueError(f"{text!r} is not a time: use {MOMENTS}")
