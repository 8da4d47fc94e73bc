"""How long to wait before the next attempt (REQUIREMENTS D2)."""

from __future__ import annotations

from collections.abc import Callable

from penstock.config.catalogue import Retry

__all__ = ["delay_s"]

_DOUBLINGS = 64
"""More would overflow a float before the cap is taken."""


def delay_s(attempt: int, retry: Retry, random: Callable[[], float], retry_after_s: float | None) -> float:
    """Seconds to wait after attempt number `attempt` (from 1) failed.

    `base_s` doubled for each attempt, at most `cap_s`, of which `random` (in [0, 1)) chooses between the half
    and the whole, so that those who failed together do not come back together. A `retry_after_s` of the
    provider's that is longer is honoured whatever its length; SDKs ignore one above a minute.
    """
    whole_s = min(retry.cap_s, retry.base_s * 2.0 ** min(attempt - 1, _DOUBLINGS))
    jittered_s = whole_s * (0.5 + 0.5 * random())
    return jittered_s if retry_after_s is None else max(jittered_s, retry_after_s)
