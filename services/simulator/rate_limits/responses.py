"""The rate limit headers and errors of OpenAI and Groq: same names, different meanings."""

from __future__ import annotations

import math
from typing import Final

from services.simulator.http.errors import ApiError
from services.simulator.rate_limits.limiter import LimitName, RateLimiter, Rejection
from services.simulator.settings import HeaderStyle

__all__ = ["format_duration", "rate_limit_error", "rate_limit_headers"]

Header = tuple[bytes, bytes]

_SHOWN: Final[dict[HeaderStyle, tuple[tuple[bytes, LimitName], ...]]] = {
    "openai": ((b"requests", "requests_per_minute"), (b"tokens", "tokens_per_minute")),
    "groq": ((b"requests", "requests_per_day"), (b"tokens", "tokens_per_minute")),
}
"""The limits that each style reports. Groq's request headers are per day; it has no headers for requests per
minute and tokens per day (console.groq.com/docs/rate-limits)."""

_ABBREVIATIONS: Final[dict[LimitName, str]] = {
    "requests_per_minute": "requests per minute (RPM)",
    "tokens_per_minute": "tokens per minute (TPM)",
    "requests_per_day": "requests per day (RPD)",
    "tokens_per_day": "tokens per day (TPD)",
    "concurrency": "concurrent requests",
}


def format_duration(seconds: float) -> str:
    """A duration in the providers' notation, rounded up: `12ms`, `7.66s`, `2m59.56s`, `1h0m5s`."""
    if seconds < 1:
        return f"{max(0, math.ceil(round(seconds * 1e3, 6)))}ms"
    hundredths = math.ceil(round(seconds * 100, 6))
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 100:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def rate_limit_headers(limiter: RateLimiter, style: HeaderStyle, now_s: float) -> list[Header]:
    headers: list[Header] = []
    for label, name in _SHOWN[style]:
        state = limiter.state(name, now_s)
        if state is not None:
            headers += (
                (b"x-ratelimit-limit-" + label, b"%d" % state.limit),
                (b"x-ratelimit-remaining-" + label, b"%d" % state.remaining),
                (b"x-ratelimit-reset-" + label, format_duration(state.reset_s).encode()),
            )
    return headers


def rate_limit_error(rejection: Rejection, model: str, style: HeaderStyle) -> ApiError:
    """A 429 with Retry-After; a request larger than the limit is a 413 on Groq."""
    limit_name = _ABBREVIATIONS[rejection.name]
    figures = f"Limit {rejection.limit}, Used {rejection.used}, Requested {rejection.requested}"
    kind = "tokens" if "tokens" in rejection.name else "requests"
    if math.isinf(rejection.wait_s):
        return ApiError(
            413 if style == "groq" else 429,
            f"Request too large for model `{model}` on {limit_name}: Limit {rejection.limit}, "
            f"Requested {rejection.requested}, please reduce your message size and try again.",
            kind=kind,
            code="rate_limit_exceeded",
        )
    headers = [(b"retry-after", b"%d" % math.ceil(rejection.wait_s))]
    if style == "openai":
        headers.append((b"retry-after-ms", b"%d" % math.ceil(rejection.wait_s * 1e3)))
    return ApiError(
        429,
        f"Rate limit reached for model `{model}` on {limit_name}: {figures}. "
        f"Please try again in {format_duration(rejection.wait_s)}.",
        kind=kind,
        code="rate_limit_exceeded",
        headers=tuple(headers),
    )
