"""Duration, calls and tokens of recent requests, reported to the router for its capacity forecast."""

from __future__ import annotations

from collections import Counter, deque
from math import ceil
from operator import mul
from typing import Final

from msgspec import Struct

__all__ = ["RequestCalls", "RoleStatistics", "ServiceTimes"]

_MAX_REQUESTS: Final = 200
"""Number of recent requests kept per role; under load that is a minute's worth or less."""
_QUANTILE: Final = 0.95
_WEIGHT: Final = 0.05
"""Weight of the newest call in a model's mean tokens, once many are known."""
_MAX_CALLS: Final = 50
"""Number of recent calls kept per model; older ones would weigh 8 % together."""
_CALL_WEIGHTS: Final = tuple((1 - _WEIGHT) ** age for age in range(_MAX_CALLS))
"""Relative weight of a call by the number of later ones."""


class RequestCalls(Struct):
    """The provider calls of one request so far."""

    made: float = 0.0
    """A call that many requests share counts as a part of one."""
    waited_s: float = 0.0
    """Time spent waiting for quota, a breaker or a backoff."""
    calling: bool = False
    """A call is in flight, so the request needs no more quota unless that call fails."""


class RoleStatistics(Struct, frozen=True):
    """Statistics of a role's recent requests."""

    mean_s: float
    p95_s: float
    """95th percentile of the duration."""
    attempts_per_request: float
    """Mean number of calls per request."""


class ServiceTimes:
    """Service times of the recent requests of each role, and counts since the start of the process."""

    def __init__(self) -> None:
        self._latest: dict[str, deque[tuple[float, float]]] = {}
        self._tokens: dict[str, deque[int]] = {}
        """By model, the newest first."""
        self._calling: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()

    def record_call_start(self, role: str, calls: RequestCalls, share: float = 1.0) -> None:
        """`share`: of the call, which other requests may use too."""
        calls.made += share
        self._set_calling(role, calls, calling=True)

    def record_tokens(self, model: str, tokens: int) -> None:
        """Record the tokens that a call used of the quota; a rejected call (0 tokens) is ignored."""
        if tokens > 0:
            self._tokens.setdefault(model, deque(maxlen=_MAX_CALLS)).appendleft(tokens)

    def record_call_failure(self, role: str, calls: RequestCalls) -> None:
        """Record a failed call: the request needs quota again."""
        self._set_calling(role, calls, calling=False)

    def record_end(self, role: str, calls: RequestCalls, held_s: float, *, cut: bool = False) -> None:
        """Record the end of a request that occupied a slot for `held_s`. Waiting time, and a request without a call, do
        not count as service time.

        `cut`: the request was aborted. Its service time is only a lower bound, so it counts only from the mean upwards;
        otherwise late requests would shorten the mean and the router would admit more of them.
        """
        self._set_calling(role, calls, calling=False)
        self._ended[role] += 1
        if not calls.made:
            return
        took_s = max(0.0, held_s - calls.waited_s)
        known = self.statistics(role) if cut else None
        if known is None or took_s >= known.mean_s:
            self._latest.setdefault(role, deque(maxlen=_MAX_REQUESTS)).append((took_s, calls.made))

    def calling_now(self, role: str) -> int:
        return self._calling[role]

    def ended_count(self, role: str) -> int:
        return self._ended[role]

    def statistics(self, role: str) -> RoleStatistics | None:
        """None if no request of the role has ended yet."""
        latest = self._latest.get(role)
        if not latest:
            return None
        times = sorted([took_s for took_s, _ in latest])
        return RoleStatistics(
            mean_s=sum(times) / len(times),
            p95_s=times[ceil(_QUANTILE * len(times)) - 1],
            attempts_per_request=sum([calls for _, calls in latest]) / len(latest),
        )

    def mean_tokens(self, model: str, most: int | None = None) -> int:
        """Mean tokens of the model's recent calls, the newest weighing most; 0 if unknown.

        `most`: no call counts with more. For a limit this is what it allows: a call that used more only empties it. If
        it counted in full, one such call would let the mean exceed the limit long after the limit is free again.
        """
        latest = self._tokens.get(model)
        if not latest:
            return 0
        counted = latest if most is None else [min(tokens, most) for tokens in latest]
        weighted: float = sum(map(mul, counted, _CALL_WEIGHTS))
        return round(weighted / sum(_CALL_WEIGHTS[: len(latest)]))

    def _set_calling(self, role: str, calls: RequestCalls, *, calling: bool) -> None:
        self._calling[role] += calling - calls.calling
        calls.calling = calling
