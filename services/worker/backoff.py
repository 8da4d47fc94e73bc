"""How long to wait before the next attempt (REQUIREMENTS D2)."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from penstock.config.catalogue import Retry
from schemas.names import Lane

__all__ = ["delay_s", "of_lane"]

_DOUBLINGS = 64
"""More would overflow a float before the cap is taken."""


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
