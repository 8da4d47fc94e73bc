"""How long a provider asks to wait, from wherever it says so: headers, fields of the error, words of its message.

Sources: RFC 9110, 10.2.3 (`retry-after`), cloud.google.com/apis/design/errors (`RetryInfo.retryDelay`),
platform.openai.com/docs/guides/rate-limits, docs.anthropic.com/en/api/rate-limits (ISO dates),
openrouter.ai/docs/api-reference/limits (Unix milliseconds); read in November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from services.worker.providers.errors.durations import until_s

__all__ = ["wait_s"]

_LONGEST_LISTED_S: Final = 86_400.0
"""Among several values of one header, a longer one is taken for a mistake."""
_HTTP_DATE: Final = re.compile(r"[A-Za-z]{3,9}, ?\d{1,2}[^,]{10,24}")
_MOST_LISTED: Final = 16
_MOST_CHARACTERS: Final = 4_000

_AMOUNT: Final = r"\d{1,9}(?:\.\d{1,9})?"
_UNIT: Final = r"(?:milliseconds?|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z])"
_COMPOUND: Final = rf"{_AMOUNT} ?{_UNIT}(?:(?:,| and)? ?{_AMOUNT} ?{_UNIT}){{0,3}}"
_JOINED: Final = rf"(?:{_AMOUNT}(?:d|h|m|s)){{2,4}}(?![a-z0-9])"
_WORDS: Final = re.compile(
    r"(?:try again|retry(?:ing)?|wait|resets?|available(?: again)?|back)(?: after| in| for| at least| about|"
    rf" approximately|:){{0,3}} ?(?:({_JOINED}|{_COMPOUND})|({_AMOUNT})(?= ?(?:[.,;)]? ?$|[.,;)] )))",
    re.IGNORECASE,
)
_PART: Final = re.compile(rf"({_AMOUNT}) ?([a-z]+)", re.IGNORECASE)
_UNITS_S: Final = {"ms": 1e-3, "mi": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def wait_s(
    headers: Mapping[str, str], delays: Iterable[str], message: str, now_unix_s: float
) -> float | None:
    """Seconds to wait, however long (the SDKs ignore more than 60); None: not a word of it. Never raises.

    A header that asks for a wait goes before the error itself, and that before the reset of an empty limit.
    `delays`: fields of the error. `now_unix_s`: what dates are measured from.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    asked_s = _retry_after_s(lower, now_unix_s)
    if asked_s:
        return asked_s
    found = [
        seconds for text in delays if (seconds := until_s(text.removeprefix("+"), now_unix_s)) is not None
    ]
    if (in_words_s := _in_words_s(message)) is not None:
        found.append(in_words_s)
    if not found and (reset_s := _reset_s(lower, now_unix_s)) is not None:
        found.append(reset_s)
    return max(found, default=asked_s)


def _in_words_s(message: str) -> float | None:
    """The longest wait that a message names, as in `try again in 7m12s` or `retry after 20 seconds`."""
    waits = [
        float(found[2]) if found[2] else _seconds(found[1])
        for found in _WORDS.finditer(" ".join(message[:_MOST_CHARACTERS].split()))
    ]
    return max(waits, default=None)


def _seconds(text: str) -> float:
    total_s = 0.0
    for amount, unit in _PART.findall(text):
        name = unit.lower()
        two = "ms" if name.startswith(("ms", "millis")) else name[:1]
        total_s += float(amount) * _UNITS_S[two]
    return total_s


def _retry_after_s(lower: Mapping[str, str], now_unix_s: float) -> float | None:
    milliseconds = _listed_s(lower.get("retry-after-ms"), None)
    if milliseconds is not None:
        return milliseconds / 1000
    return _listed_s(lower.get("retry-after"), now_unix_s)


def _listed_s(text: str | None, now_unix_s: float | None) -> float | None:
    """The largest sensible value of a header that may have been sent twice. `now_unix_s` None: numbers alone."""
    if text is None:
        return None
    text = text[:1024]
    if now_unix_s is not None and (alone_s := until_s(text, now_unix_s)) is not None:
        return alone_s
    pieces = (now_unix_s is not None and _HTTP_DATE.findall(text)) or text.split(",")
    values = [
        value
        for piece in pieces[:_MOST_LISTED]
        if (value := until_s(piece.strip(), now_unix_s or 0.0)) is not None
    ]
    sensible = [value for value in values if value <= _LONGEST_LISTED_S or now_unix_s is None]
    return max(sensible) if sensible else min(values, default=None)


def _reset_s(lower: Mapping[str, str], now_unix_s: float) -> float | None:
    """When the limits that have nothing left are free again."""
    waits = [
        seconds
        for name, value in lower.items()
        if "ratelimit" in name
        and "reset" in name
        and lower.get(name.replace("reset", "remaining"), "").strip() in {"0", "0.0"}
        and (seconds := until_s(value, now_unix_s)) is not None
    ]
    return max(waits, default=None)
