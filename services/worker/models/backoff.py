"""Delay before the next attempt, and the number of attempts (D2)."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log
from typing import Final

from msgspec.structs import replace

from penstock.contract.names import Lane
from penstock.runtime.config.catalogue import RetrySettings

__all__ = ["allowed_attempts", "delay_s", "for_lane", "restart_delay_s", "unreachable_delay_s"]

_MAX_DOUBLINGS = 64
"""Maximum number of doublings of a delay; more would overflow a float before the cap applies."""
_WAITABLE_SHARE: Final = 0.5
"""Share of the remaining time that all delays together may take; the rest is left for the answer."""
_MAX_BACKOFFS: Final = 1.5
"""Maximum of all delays together, as a multiple of `max_backoff_s`."""
_FIRST_UNREACHABLE_S: Final = 0.75
"""Delay after the first failed connection."""
_MIN_UNREACHABLE_S: Final = 0.5
"""Lower bound of the limit that the remaining time sets to a delay after a failed connection."""
_RANDOM_FAILURE_SHARE: Final = 0.2
"""Success share from which failures are considered random."""
_MAX_EXHAUSTED: Final = 0.005
"""Share of requests that may exhaust their attempts at a provider that fails at random."""


def for_lane(retry: RetrySettings, lane: Lane) -> RetrySettings:
    """Retry settings of a lane: the batch lane has hours, so it makes more attempts with delays up to minutes."""
    if lane == "interactive":
        return retry
    return replace(
        retry,
        max_attempts=max(retry.max_attempts, retry.batch_max_attempts),
        max_backoff_s=max(retry.max_backoff_s, retry.batch_max_backoff_s),
    )


def delay_s(
    attempt: int, retry: RetrySettings, random: Callable[[], float], retry_after_s: float | None
) -> float:
    """Seconds to wait after attempt number `attempt` (from 1) failed.

    `initial_backoff_s` doubles with each attempt up to `max_backoff_s`; `random` (in [0, 1)) selects between half of
    that and all of it, so that requests that failed together do not retry together. A longer `retry_after_s` of the
    provider is honoured whatever its length; SDKs ignore values above a minute.
    """
    whole_s = min(retry.max_backoff_s, retry.initial_backoff_s * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS))
    jittered_s = whole_s * (0.5 + 0.5 * random())
    return jittered_s if retry_after_s is None else max(jittered_s, retry_after_s)


def restart_delay_s(
    attempts_left: int, left_s: float, retry: RetrySettings, random: Callable[[], float]
) -> float:
    """Seconds to wait for a provider that may be restarting, with `attempts_left` (1 or more) in `left_s`.

    With n attempts left the delay is 1/(2^n - 1) of the time available for delays, which is half of `left_s` and at
    most `_MAX_BACKOFFS` times `max_backoff_s`. So delays grow from attempt to attempt: with 90 s left, the last three
    of four attempts follow after 1.7, 4 and 8 s. `random` subtracts up to a quarter.
    """
    all_s = min(_WAITABLE_SHARE * max(0.0, left_s), _MAX_BACKOFFS * retry.max_backoff_s)
    share = 1 / (2.0 ** min(attempts_left, _MAX_DOUBLINGS) - 1)
    return min(retry.max_backoff_s, all_s * share) * (0.75 + 0.25 * random())


def unreachable_delay_s(
    unreached: int, left_s: float, retry: RetrySettings, random: Callable[[], float]
) -> float:
    """Seconds to wait after connection attempt number `unreached` (from 1) to a provider failed.

    Delays double up to `max_backoff_s` and take at most a quarter of the remaining time: a failed connection costs
    nothing, and the last attempt should come shortly before the deadline.
    """
    whole_s = min(retry.max_backoff_s, _FIRST_UNREACHABLE_S * 2.0 ** min(unreached - 1, _MAX_DOUBLINGS))
    return min(whole_s, max(_MIN_UNREACHABLE_S, left_s / 4)) * (0.75 + 0.25 * random())


def allowed_attempts(max_attempts: int, success_share: float) -> int:
    """Number of attempts of a request at a provider; `success_share` is that of its recent retries.

    `max_attempts`, unless calls fail at random: then as many as answer all but `_MAX_EXHAUSTED` of the requests, and at
    most twice `max_attempts`. If nearly all calls fail, more attempts would not help.
    """
    if success_share < _RANDOM_FAILURE_SHARE or success_share >= 1:
        return max_attempts
    needed = ceil(log(_MAX_EXHAUSTED) / log(1 - success_share))
    return max(max_attempts, min(needed, 2 * max_attempts))
