"""How long to wait before the next attempt, and how many there are (REQUIREMENTS D2)."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log
from typing import Final

from msgspec.structs import replace

from penstock.contract.names import Lane
from penstock.runtime.config.catalogue import Retry

__all__ = ["allowed_attempts", "away_s", "delay_s", "of_lane", "spread_s"]

_DOUBLINGS = 64
"""More would overflow a float before the cap is taken."""
_PART_OF_TIME_LEFT: Final = 0.5
"""The share of the time then left that a pause is taken from; the rest is for the answer."""
_CAPS: Final = 1.5
"""A pause is a share of this many times `cap_s` at most."""
_FIRST_AWAY_S: Final = 0.75
_SHORTEST_AWAY_S: Final = 0.5
_SUCCEEDS_LATELY: Final = 0.2
"""From this share of successes on, a failed call is taken to have failed at random."""
_UNLUCKY: Final = 0.005
"""The share of requests that may run out of attempts against a provider that fails at random."""


def of_lane(retry: Retry, lane: Lane) -> Retry:
    """The batch lane has hours: it tries more often, with pauses that grow to minutes."""
    if lane == "interactive":
        return retry
    return replace(
        retry,
        max_attempts=max(retry.max_attempts, retry.batch_max_attempts),
        cap_s=max(retry.cap_s, retry.batch_cap_s),
    )


def delay_s(attempt: int, retry: Retry, random: Callable[[], float], retry_after_s: float | None) -> float:
    """Seconds to wait after attempt number `attempt` (from 1) failed.

    `base_s` doubled for each attempt, at most `cap_s`, of which `random` (in [0, 1)) chooses between the half
    and the whole, so that those who failed together do not come back together. A `retry_after_s` of the
    provider's that is longer is honoured whatever its length; SDKs ignore one above a minute.
    """
    whole_s = min(retry.cap_s, retry.base_s * 2.0 ** min(attempt - 1, _DOUBLINGS))
    jittered_s = whole_s * (0.5 + 0.5 * random())
    return jittered_s if retry_after_s is None else max(jittered_s, retry_after_s)


def spread_s(attempts_left: int, left_s: float, retry: Retry, random: Callable[[], float]) -> float:
    """Seconds to wait for a provider that may be restarting, with `attempts_left` (1 or more) in `left_s`.

    With n attempts left the pause is 1/(2^n - 1) of half the time left, and of `_CAPS` times `cap_s` at most, so pauses
    grow from attempt to attempt: in 90 s, the last three of four attempts go after 1.7, 4 and 8 s more. `random` takes
    up to a quarter off.
    """
    all_s = min(_PART_OF_TIME_LEFT * max(0.0, left_s), _CAPS * retry.cap_s)
    share = 1 / (2.0 ** min(attempts_left, _DOUBLINGS) - 1)
    return min(retry.cap_s, all_s * share) * (0.75 + 0.25 * random())


def away_s(unreached: int, left_s: float, retry: Retry, random: Callable[[], float]) -> float:
    """Seconds to wait for a provider to which no connection could be made, for the `unreached`th time (from 1).

    Pauses double up to `cap_s`, and are a quarter of the time left at most: tries cost nothing, and the last one should
    not come long before the deadline.
    """
    whole_s = min(retry.cap_s, _FIRST_AWAY_S * 2.0 ** min(unreached - 1, _DOUBLINGS))
    return min(whole_s, max(_SHORTEST_AWAY_S, left_s / 4)) * (0.75 + 0.25 * random())


def allowed_attempts(max_attempts: int, success_share: float) -> int:
    """How many attempts a request has at a provider where `success_share` of the latest further attempts succeeded: of
    those after a failed one of the same request.

    `max_attempts`, unless calls fail at random: then as many as leave all but `_UNLUCKY` of the requests answered, and
    twice `max_attempts` at most. Where nearly all calls fail, more attempts would not help.
    """
    if success_share < _SUCCEEDS_LATELY or success_share >= 1:
        return max_attempts
    needed = ceil(log(_UNLUCKY) / log(1 - success_share))
    return max(max_attempts, min(needed, 2 * max_attempts))
