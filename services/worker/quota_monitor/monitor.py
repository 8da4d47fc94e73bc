"""The quota monitor (C7): usage, history and forecast of each limit, in this process's memory.

Workers that share a quota all observe the same usage, but each counts only the requests that it delayed itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from penstock.contract.names import Role
from penstock.contract.presence import LearnedLimit, LimitStatus
from penstock.runtime.config.catalogue import Catalogue
from services.worker.metrics import WorkerMetrics
from services.worker.quota_monitor.limit_state import AlarmState, LimitHistory, ThresholdAlarm, Trend
from services.worker.rate_limit.limit import DAY_S, MINUTE_S, LimitName
from services.worker.rate_limit.limit_set import LimitUse
from services.worker.rate_limit.quota import Need, Quota, QuotaKey

__all__ = ["Notice", "QuotaMonitor"]

_DAILY: Final[tuple[LimitName, ...]] = ("requests_per_day", "tokens_per_day")
_TOKENS: Final[tuple[LimitName, ...]] = ("tokens_per_minute", "tokens_per_day")


class Notice(Struct, frozen=True):
    """The usage of a limit crossed the warning threshold."""

    key: QuotaKey
    record: str
    """Record of the shared quota; empty: a quota of this worker alone."""
    use: LimitUse
    state: AlarmState


class _Limit(Struct):
    """The monitored state of one limit."""

    history: LimitHistory
    alarm: ThresholdAlarm
    trend: Trend | None
    """None for the number of concurrent calls, which changes too fast for a forecast."""


class _GateClosure(Struct, frozen=True):
    """A period in which a role's mailbox was not pulled from because quota was missing."""

    until_s: float
    obstacles: tuple[tuple[QuotaKey, LimitName, int], ...]
    """The limits that closed the gate, with the amount that a request needed of each."""


class QuotaMonitor:
    """Times are the event loop's."""

    def __init__(
        self,
        catalogue: Catalogue,
        keys: Mapping[str, tuple[QuotaKey, ...]],
        quota: Quota,
        metrics: WorkerMetrics,
        roles: Iterable[Role],
    ) -> None:
        """`keys`: the quotas that calls of each model may use."""
        self._catalogue = catalogue
        self._keys = keys
        self._quota = quota
        self._metrics = metrics
        models = dict.fromkeys(model for role in roles for model in catalogue.all_roles[role].chain)
        self.keys = tuple(key for model in models for key in keys[model])
        self._limits: dict[tuple[str, LimitName], _Limit] = {}
        self._closures: dict[Role, _GateClosure] = {}
        self._last_need: dict[Role, Need] = {}

    def sample(self, now_s: float) -> list[Notice]:
        """Sample every limit, about once a second; returns those that crossed the threshold since the last call."""
        unreachable = self._quota.unreachable_records
        found: list[Notice] = []
        for key in self.keys:
            record = self._quota.record(key)
            for use in self._quota.usage(key, now_s):
                state = self._sample(key, use, now_s, update_alarm=record not in unreachable)
                if state is not None:
                    found.append(Notice(key, record, use, state))
        return found

    def record_blocked(self, role: Role, throttled: set[str], model: str, need: Need, now_s: float) -> None:
        """Record a request of `role` that has no quota of `model`; `throttled`: the quotas recorded for it before."""
        self._last_need[role] = need
        if all(self._owner(key) in throttled for key in self._keys[model]):
            return
        for key, limit, amount in self._obstacles(model, need, now_s):
            self._record_throttled(throttled, key, limit, amount, now_s)

    def record_gate(self, role: Role, wait_s: float, now_s: float) -> None:
        """Record that the role's mailbox is not pulled from for `wait_s`; 0: that it is pulled from."""
        closure = self._closures.get(role)
        if wait_s == 0:
            if closure is not None and closure.until_s > now_s:
                self._closures[role] = _GateClosure(now_s, closure.obstacles)
            return
        need = self._last_need.get(role, Need(0))
        obstacles = tuple(
            obstacle
            for model in self._catalogue.all_roles[role].chain
            for obstacle in self._obstacles(model, need, now_s)
        )
        if obstacles:
            self._closures[role] = _GateClosure(now_s + wait_s, obstacles)

    def record_arrival(self, role: Role, throttled: set[str], waited_s: float, now_s: float) -> None:
        """Record a request pulled after `waited_s` in the mailbox, which a closed gate may have delayed; `throttled` as
        in `record_blocked`.
        """
        closure = self._closures.get(role)
        if closure is not None and now_s - waited_s < closure.until_s:
            for key, limit, amount in closure.obstacles:
                self._record_throttled(throttled, key, limit, amount, now_s)

    def status(self, key: QuotaKey, use: LimitUse, now_s: float, now_ms: int) -> LimitStatus:
        limit = self._limit(key, use.name)
        full_in_s = None if limit.trend is None else limit.trend.full_in_s(use.used, use.limit)
        record = self._quota.record(key)
        return LimitStatus(
            credential=key.credential,
            model=key.model,
            limit=use.name,
            used=use.used,
            leased=use.leased,
            allowed=use.limit,
            record=record,
            warned=limit.alarm.state == "warned",
            full_at_ms=0 if full_in_s is None else now_ms + int(full_in_s * 1000),
            watched_s=int(limit.history.watched_s),
            hour=limit.history.hour(now_s),
            day=limit.history.day(now_s),
        )

    def limits(self, now_s: float, now_ms: int) -> tuple[LimitStatus, ...]:
        """Every configured limit and its use. Sets the gauges."""
        found = []
        for key in self.keys:
            for use in self._quota.usage(key, now_s):
                found.append(self.status(key, use, now_s, now_ms))
                ratio = use.used / use.limit if use.limit else 1.0
                self._metrics.limit_used.labels(key.credential, key.model, use.name).set(ratio)
        return tuple(found)

    def learned(self, now_s: float) -> tuple[LearnedLimit, ...]:
        """The learned limits in force."""
        known = ((key, self._quota.learned(key, now_s)) for key in self.keys)
        return tuple(
            LearnedLimit(
                credential=key.credential,
                model=key.model,
                requests_per_minute=max(1, round(learned.reported_per_minute or learned.per_minute)),
                tokens_per_minute=learned.tokens_per_minute,
                kind=learned.kind,
            )
            for key, learned in known
            if learned is not None
        )

    def unreachable_quotas(self) -> tuple[str, ...]:
        """Names of the shared records that cannot be reached. Sets their gauge."""
        found = self._quota.unreachable_records
        self._metrics.unreachable_quotas.set(len(found))
        return found

    def _sample(self, key: QuotaKey, use: LimitUse, now_s: float, *, update_alarm: bool) -> AlarmState | None:
        limit = self._limit(key, use.name)
        near_share = self._catalogue.quota_warning.warn_share
        full_s = limit.history.sample(use.used, use.limit, now_s, near_share=near_share)
        if limit.trend is not None:
            limit.trend.add(use.used, now_s)
        labels = (key.credential, key.model, use.name)
        self._metrics.limit_headroom.labels(*labels).set(max(0, use.limit - use.used))
        self._metrics.limit_full.labels(*labels).inc(full_s)
        return limit.alarm.update(use.used, use.limit, now_s) if update_alarm else None

    def _obstacles(self, model: str, need: Need, now_s: float) -> list[tuple[QuotaKey, LimitName, int]]:
        found = []
        for key in self._keys[model]:
            limit = self._quota.blocking_limit(key, need, now_s)
            if limit is not None:
                found.append((key, limit, need.tokens if limit in _TOKENS else 1))
        return found

    def _record_throttled(
        self, throttled: set[str], key: QuotaKey, limit: LimitName, amount: int, now_s: float
    ) -> None:
        """Count a request once for each quota that delayed it."""
        owner = self._owner(key)
        if owner in throttled:
            return
        throttled.add(owner)
        self._limit(key, limit).history.record_throttled(amount, now_s)
        self._metrics.limit_throttled.labels(key.credential, key.model, limit).inc()

    def _limit(self, key: QuotaKey, name: LimitName) -> _Limit:
        limit_key = (self._owner(key), name)
        limit = self._limits.get(limit_key)
        if limit is None:
            daily = name in _DAILY
            trend = Trend(3600.0, DAY_S) if daily else Trend(MINUTE_S, MINUTE_S)
            limit = self._limits[limit_key] = _Limit(
                LimitHistory(daily=daily),
                ThresholdAlarm(self._catalogue.quota_warning, None if self._quota.record(key) else "eased"),
                None if name == "concurrency" else trend,
            )
        return limit

    def _owner(self, key: QuotaKey) -> str:
        return self._quota.record(key) or f"{key.credential} {key.model}"
