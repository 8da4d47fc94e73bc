"""Capacity forecast of a role, from the reports of all live workers: slots, service times, quotas and their sharers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil, inf
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.names import LANES, Lane
from penstock.contract.presence import QuotaForecast, RoleStatus
from penstock.runtime.config.catalogue import Batch
from services.router.admission.queue_position import QuotaSharers
from services.router.admission.quota_curve import UNLIMITED, QuotaCurve, quota_curve_of
from services.router.admission.service_curve import TimedQuota, service_curve_of
from services.router.admission.start_time import QuotaPool, RoleForecast, SlotRate

__all__ = ["BacklogCount", "FoldedReports", "QuotaReport", "WorkerReport", "drop_silent", "forecast_role"]

_log: Final = rate_limited_logger(__name__)
_UNOBSERVED_S: Final = 0.2
"""Seconds between a heartbeat and a count that no correction covers."""
_SILENT_S: Final = 5.0
"""Age of a heartbeat, in seconds, from which its worker counts as silent: two heartbeats are missing."""
_MOST_CALLS: Final = 3.0
"""Upper bound on calls per request: a bad minute does not last."""


class QuotaReport(Struct):
    """A worker's report of one quota; durations count from the report."""

    model: str
    source: str
    forecast: QuotaForecast
    paused_s: float
    breaker_s: float
    concurrency: int | None
    _curve: QuotaCurve | None = None

    @property
    def curve(self) -> QuotaCurve:
        """Computed on demand: of many reports of one quota only the latest is used."""
        if self._curve is None:
            try:
                self._curve = quota_curve_of(self.forecast)
            except Exception:  # noqa: BLE001 - one bad report must not stop admission
                _log.exception("the forecast of the quota %s is not usable", self.source)
                self._curve = UNLIMITED
        return self._curve


class BacklogCount(Struct, frozen=True):
    """The latest count of the mailboxes."""

    at_s: float
    departures_since: Callable[[float], float] = lambda _: inf
    """Upper bound on the requests that left the mailboxes between an instant and this count."""


class WorkerReport(Struct, frozen=True):
    """The latest heartbeat of one worker."""

    observed_s: float
    roles: Mapping[str, RoleStatus]
    ended_per_s: Mapping[str, float]
    """Requests per role that ended between the two latest heartbeats, per second."""
    interval_s: float
    """Seconds between these two heartbeats; a rate is extrapolated no further than that."""
    quotas: tuple[QuotaReport, ...]


def drop_silent(reports: Sequence[WorkerReport]) -> tuple[WorkerReport, ...]:
    """Drop the roles of workers that fell silent while others of the role report: the capacity of a dead worker
    must not be counted on.

    The only worker of a role is kept for as long as it counts as alive; and if all are silent, this router may be the
    one without a connection.
    """
    latest_s: dict[str, float] = {}
    for report in reports:
        for role in report.roles:
            latest_s[role] = max(latest_s.get(role, -inf), report.observed_s)
    found = []
    for report in reports:
        roles = {
            role: status
            for role, status in report.roles.items()
            if latest_s[role] - report.observed_s <= _SILENT_S
        }
        if len(roles) == len(report.roles):
            found.append(report)
        elif roles:
            found.append(replace(report, roles=roles))
    return tuple(found)


_Shared = tuple[frozenset[str], frozenset[str]]
"""Roles, and the models that they share."""


class FoldedReports(Struct, frozen=True):
    """The reports of all workers, and what the forecasts of several roles have in common."""

    reports: Sequence[WorkerReport]
    chains: Mapping[str, frozenset[str]]
    """The models of each role of the catalogue."""
    components: dict[str, _Shared] = field(default_factory=dict)
    """By role: all roles that share its quota, and their models (`_quota_component`)."""
    pools: dict[tuple[_Shared, float], QuotaPool | None] = field(default_factory=dict)
    """The quota that all roles of a component share, by the component and the time of the count of the mailboxes; None:
    no worker reports one.
    """


def forecast_role(
    role: str, folded: FoldedReports, counted: BacklogCount, batch: Batch
) -> RoleForecast | None:
    """None: no worker reports the role."""
    reports, chains = folded.reports, folded.chains
    statuses = [report.roles[role] for report in reports if role in report.roles]
    if not statuses or role not in chains:
        return None
    longest = [status.service_p95_ms for status in statuses if status.service_p95_ms is not None]
    models = chains[role]
    within = frozenset([each for each, chain in chains.items() if chain <= models])
    component = folded.components.get(role)
    if component is None:
        component = _quota_component(role, chains)
        folded.components.update(dict.fromkeys(component[0], component))
    pools = []
    if component != (within, models):
        pools.append(_pool(within, models, reports, counted, batch))
    key = component, counted.at_s
    if key not in folded.pools:
        folded.pools[key] = _pool(*component, reports, counted, batch)
    pools.append(folded.pools[key])
    return RoleForecast(
        role=role,
        lanes={lane: _slot_rate(statuses, lane) for lane in LANES},
        longest_s=max(longest, default=0) / 1000,
        pools=tuple(pool for pool in pools if pool is not None),
    )


def _quota_component(role: str, chains: Mapping[str, frozenset[str]]) -> _Shared:
    """All roles connected to this one by shared models, directly or not, and all their models."""
    models = chains[role]
    while True:
        roles = frozenset(each for each, chain in chains.items() if chain & models)
        reach = frozenset().union(*(chains[each] for each in roles))
        if reach == models:
            return roles, models
        models = reach


def _slot_rate(statuses: Iterable[RoleStatus], lane: Lane) -> SlotRate:
    """Slots of workers without a measured service time are taken to work at the mean rate of the others."""
    counts = [(status.slots if lane == "interactive" else status.batch_slots, status) for status in statuses]
    slots = sum(count for count, _ in counts)
    known = [(count, status.service_ms) for count, status in counts if status.service_ms is not None]
    measured = sum(count for count, _ in known)
    if not measured:
        return SlotRate(slots, inf)
    mean_s = sum(count * took_ms for count, took_ms in known) / measured / 1000
    return SlotRate(slots, slots / mean_s if mean_s > 0 else inf)


def _pool(
    roles: frozenset[str],
    models: frozenset[str],
    reports: Sequence[WorkerReport],
    counted: BacklogCount,
    batch: Batch,
) -> QuotaPool | None:
    """None: no worker reports a quota of these models."""
    quotas, concurrency = _timed_quotas(models, reports)
    by_role = [
        found
        for role in roles
        if (found := [report.roles[role] for report in reports if role in report.roles])
    ]
    calling, unobserved = _past_quota(roles, reports, counted)
    rates = {lane: [_slot_rate(statuses, lane) for statuses in by_role] for lane in LANES}
    slots = {lane: sum(rate.slots for rate in rates[lane]) for lane in LANES}
    rate_per_s = sum(rate.per_s for lane in LANES for rate in rates[lane])
    at_once = sum(slots.values())
    if concurrency < at_once:  # the providers allow fewer calls at once than there are slots
        rate_per_s *= concurrency / at_once
        at_once = int(concurrency)
    free_slots = max(0.0, at_once - max(0.0, calling))
    curve = service_curve_of(quotas, _attempts_per_request(by_role), free_slots, rate_per_s)
    if curve is None:
        return None
    share = slots["batch"] / slots["interactive"] if slots["interactive"] else 1.0
    batch_per_s = len(reports) / batch.starvation_timeout_s if batch.reserve_share > 0 else None
    sharers = QuotaSharers(
        roles=tuple(sorted(roles)),
        calling=calling,
        unobserved=unobserved,
        held=sum(max(0, status.running - status.calling) for statuses in by_role for status in statuses),
        batch_share=share,
        batch_per_s=batch_per_s,
    )
    return QuotaPool(sharers, curve)


def _past_quota(
    roles: frozenset[str], reports: Sequence[WorkerReport], counted: BacklogCount
) -> tuple[float, float]:
    """`calling` and `unobserved` of the `QuotaSharers` of `roles`."""
    calling = unobserved = 0.0
    for report in reports:
        for role in report.roles.keys() & roles:
            per_s = report.ended_per_s.get(role, 0.0)
            ended = per_s * min(max(0.0, counted.at_s - report.observed_s), report.interval_s)
            ended = min(ended, counted.departures_since(report.observed_s))  # a burst may be over
            unobserved += ceil(per_s * _UNOBSERVED_S)
            # Requests that arrived and ended since the heartbeat are in no count: hence below zero.
            calling += report.roles[role].calling - ended
    return calling, unobserved


def _attempts_per_request(by_role: Iterable[Iterable[RoleStatus]]) -> float:
    most = max((status.attempts_per_request for statuses in by_role for status in statuses), default=1.0)
    return min(_MOST_CALLS, max(1.0, most))


def _timed_quotas(models: frozenset[str], reports: Sequence[WorkerReport]) -> tuple[list[TimedQuota], float]:
    """Each quota once, by its latest report, and the number of calls that all of them allow at once.

    A pause applies to all workers that share the quota, an open breaker only to the worker that reports it.
    """
    latest: dict[str, tuple[float, QuotaReport]] = {}
    opens_s: dict[str, float] = {}
    for report in reports:
        for each in report.quotas:
            if each.model not in models:
                continue
            opens_s[each.source] = min(opens_s.get(each.source, inf), report.observed_s + each.breaker_s)
            if each.source not in latest or latest[each.source][0] < report.observed_s:
                latest[each.source] = (report.observed_s, each)
    quotas = [
        TimedQuota(each.curve, observed_s, max(observed_s + each.paused_s, opens_s[source]))
        for source, (observed_s, each) in latest.items()
    ]
    concurrency = sum(inf if each.concurrency is None else each.concurrency for _, each in latest.values())
    return quotas, concurrency
