"""The tier monitor (REQUIREMENTS C7): what is used of each limit, what lies behind, what is to be expected.

Kept in this process's memory. Where workers share a quota each of them sees the same use, and counts the requests
that it held back itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from penstock.contract.names import Role
from penstock.contract.presence import LimitStatus
from penstock.runtime.config.catalogue import Catalogue
from services.worker.metrics import WorkerMetrics
from services.worker.quota_monitor.history import LimitHistory
from services.worker.quota_monitor.threshold import AlarmState, ThresholdAlarm
from services.worker.quota_monitor.trend import Trend
from services.worker.rate_limit.limit import DAY_S, MINUTE_S
from services.worker.rate_limit.limit_set import LimitName, LimitUse
from services.worker.rate_limit.quota import Need, Quota, QuotaKey

__all__ = ["Notice", "QuotaMonitor"]

_DAILY: Final[tuple[LimitName, ...]] = ("requests_per_day", "tokens_per_day")
_TOKENS: Final[tuple[LimitName, ...]] = ("tokens_per_minute", "tokens_per_day")


class Notice(Struct, frozen=True):
    """A limit is nearly used up, or no longer so."""

    key: QuotaKey
    record: str
    """Of the shared quota; empty: this worker counts for itself."""
    use: LimitUse
    crossing: AlarmState


class _Watch(Struct):
    """All that is known of one limit."""

    history: LimitHistory
    alarm: ThresholdAlarm
    trend: Trend | None
    """None where use jumps up and down by nature: nothing can be foretold of calls at once."""


class _Shut(Struct, frozen=True):
    """A role's mailbox was not pulled from for want of quota."""

    until_s: float
    held: tuple[tuple[QuotaKey, LimitName, int], ...]
    """Which limits kept it, and how much a request wanted of each."""


class QuotaMonitor:
    """Instants are the loop's."""

    def __init__(
        self,
        catalogue: Catalogue,
        keys: Mapping[str, tuple[QuotaKey, ...]],
        quota: Quota,
        metrics: WorkerMetrics,
        roles: Iterable[Role],
    ) -> None:
        """`keys`: the quotas a call of each model may use."""
        self._catalogue = catalogue
        self._keys = keys
        self._quota = quota
        self._metrics = metrics
        models = dict.fromkeys(model for role in roles for model in catalogue.roles[role].chain)
        self.keys = tuple(key for model in models for key in keys[model])
        self._watches: dict[tuple[str, LimitName], _Watch] = {}
        self._shut: dict[Role, _Shut] = {}
        self._last_need: dict[Role, Need] = {}

    def sample(self, now_s: float) -> list[Notice]:
        """Look at every limit; to be called about once a second. Returns the crossings since the last time."""
        unreachable = self._quota.unreachable_records
        found: list[Notice] = []
        for key in self.keys:
            record = self._quota.record(key)
            for use in self._quota.usage(key, now_s):
                crossing = self._look(key, use, now_s, judge=record not in unreachable)
                if crossing is not None:
                    found.append(Notice(key, record, use, crossing))
        return found

    def held_back(self, role: Role, missed: set[str], model: str, need: Need, now_s: float) -> None:
        """A request of `role` finds no quota of `model`; `missed`: the quotas that held it back before."""
        self._last_need[role] = need
        if all(self._owner(key) in missed for key in self._keys[model]):
            return
        for key, limit, amount in self._obstacles(model, need, now_s):
            self._missed(missed, key, limit, amount, now_s)

    def gate(self, role: Role, wait_s: float, now_s: float) -> None:
        """The role's mailbox is not pulled from for `wait_s`; 0: it is."""
        shut = self._shut.get(role)
        if wait_s == 0:
            if shut is not None and shut.until_s > now_s:
                self._shut[role] = _Shut(now_s, shut.held)
            return
        need = self._last_need.get(role, Need(0))
        held = tuple(
            obstacle
            for model in self._catalogue.roles[role].chain
            for obstacle in self._obstacles(model, need, now_s)
        )
        if held:
            self._shut[role] = _Shut(now_s + wait_s, held)

    def arrived(self, role: Role, missed: set[str], waited_s: float, now_s: float) -> None:
        """A request was pulled after `waited_s` in the mailbox, perhaps without quota; `missed` as in `held_back`."""
        shut = self._shut.get(role)
        if shut is not None and now_s - waited_s < shut.until_s:
            for key, limit, amount in shut.held:
                self._missed(missed, key, limit, amount, now_s)

    def status(self, key: QuotaKey, use: LimitUse, now_s: float, now_ms: int) -> LimitStatus:
        watch = self._watch(key, use.name)
        full_in_s = None if watch.trend is None else watch.trend.full_in_s(use.used, use.limit)
        record = self._quota.record(key)
        return LimitStatus(
            credential=key.credential,
            model=key.model,
            limit=use.name,
            used=use.used,
            leased=use.leased,
            allowed=use.limit,
            record=record,
            warned=watch.alarm.state == "warned",
            full_at_ms=0 if full_in_s is None else now_ms + int(full_in_s * 1000),
            watched_s=int(watch.history.watched_s),
            hour=watch.history.hour(now_s),
            day=watch.history.day(now_s),
        )

    def _look(self, key: QuotaKey, use: LimitUse, now_s: float, *, judge: bool) -> AlarmState | None:
        watch = self._watch(key, use.name)
        near_share = self._catalogue.quota_warning.warn_share
        full_s = watch.history.sample(use.used, use.limit, now_s, near_share=near_share)
        if watch.trend is not None:
            watch.trend.add(use.used, now_s)
        labels = (key.credential, key.model, use.name)
        self._metrics.limit_headroom.labels(*labels).set(max(0, use.limit - use.used))
        self._metrics.limit_full.labels(*labels).inc(full_s)
        return watch.alarm.update(use.used, use.limit, now_s) if judge else None

    def _obstacles(self, model: str, need: Need, now_s: float) -> list[tuple[QuotaKey, LimitName, int]]:
        found = []
        for key in self._keys[model]:
            limit = self._quota.blocking_limit(key, need, now_s)
            if limit is not None:
                found.append((key, limit, need.tokens if limit in _TOKENS else 1))
        return found

    def _missed(self, missed: set[str], key: QuotaKey, limit: LimitName, amount: int, now_s: float) -> None:
        """Each request counts once for each quota that held it back."""
        owner = self._owner(key)
        if owner in missed:
            return
        missed.add(owner)
        self._watch(key, limit).history.missed(amount, now_s)
        self._metrics.limit_missed.labels(key.credential, key.model, limit).inc()

    def _watch(self, key: QuotaKey, limit: LimitName) -> _Watch:
        place = (self._owner(key), limit)
        watch = self._watches.get(place)
        if watch is None:
            daily = limit in _DAILY
            trend = Trend(3600.0, DAY_S) if daily else Trend(MINUTE_S, MINUTE_S)
            watch = self._watches[place] = _Watch(
                LimitHistory(daily=daily),
                ThresholdAlarm(self._catalogue.quota_warning),
                None if limit == "concurrency" else trend,
            )
        return watch

    def _owner(self, key: QuotaKey) -> str:
        return self._quota.record(key) or f"{key.credential} {key.model}"
