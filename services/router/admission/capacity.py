"""Latest heartbeat of each live worker, folded into a capacity forecast per role."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf
from typing import Final

from msgspec.structs import replace

from penstock.contract.names import Role, is_implicit
from penstock.contract.presence import Presence, RoleStatus
from penstock.runtime.config.catalogue import Batch, RoleConfig
from services.router.admission.forecast import (
    BacklogCount,
    FoldedReports,
    QuotaReport,
    WorkerReport,
    drop_silent,
    forecast_role,
)
from services.router.admission.quota_curve import bounded
from services.router.admission.start_time import RoleForecast

__all__ = ["Capacity"]

_KEPT_S: Final = 0.1
"""Least seconds between two foldings of the reports: workers send many heartbeats, and folding takes a millisecond."""
_FEW_QUOTAS: Final = 200
"""Number of quota reports up to which they are folded as soon as they are due."""
_QUOTA_S: Final = 0.004
"""Seconds a folding is kept for each quota report: ten times the cost of folding one."""


class Capacity:
    """Folds worker reports. No I/O; all instants are the router's monotonic seconds."""

    def __init__(self, roles: Mapping[Role, RoleConfig], batch: Batch) -> None:
        self._batch = batch
        self._chains = {str(role): frozenset(config.chain) for role, config in roles.items()}
        self._reports: dict[str, WorkerReport] = {}
        self._folded = FoldedReports((), self._chains)
        self._quotas = 0
        """Quota reports of all workers."""
        self._forecasts: dict[str, RoleForecast | None] = {}
        self._folded_s = -inf
        self._folded_for_s = -inf
        self._changed = False

    def observe(self, instance: str, heartbeat: Presence, now_s: float) -> None:
        """Take a worker's heartbeat. It counts as sent now: it is milliseconds old, and clocks may differ."""
        before = self._reports.get(instance)
        roles = {str(status.role): _bounded_status(status) for status in heartbeat.roles}
        self._reports[instance] = WorkerReport(
            observed_s=now_s,
            roles=roles,
            ended_per_s={} if before is None else _ended_per_s(before, roles, now_s),
            interval_s=0.0 if before is None else now_s - before.observed_s,
            quotas=tuple(
                QuotaReport(
                    model=each.model,
                    source=each.source,
                    forecast=each,
                    paused_s=bounded(each.paused_ms) / 1000,
                    breaker_s=bounded(each.breaker_ms) / 1000,
                    concurrency=None if each.concurrency is None else max(1, bounded(each.concurrency)),
                )
                for each in heartbeat.forecasts
            ),
        )
        self._quotas += len(heartbeat.forecasts) - (0 if before is None else len(before.quotas))
        self._changed = True

    def retain(self, instances: Collection[str]) -> None:
        """Forget all workers except `instances`."""
        for gone in self._reports.keys() - set(instances):
            self.forget(gone)

    def forget(self, instance: str) -> None:
        report = self._reports.pop(instance, None)
        if report is not None:
            self._quotas -= len(report.quotas)
            self._changed = True

    def ready_at_ms(self, role: str) -> int | None:
        """When a worker of `role` first expects quota, Unix milliseconds; None if no worker reports the role."""
        statuses = (report.roles[role] for report in self._reports.values() if role in report.roles)
        return min((status.ready_at_ms for status in statuses), default=None)

    def forecast(self, role: str, counted: BacklogCount, now_s: float) -> RoleForecast | None:
        """None: no worker reports the role."""
        counted_s = counted.at_s
        outdated = counted_s != self._folded_for_s or (self._changed and now_s - self._folded_s >= _KEPT_S)
        # Folding takes at most a tenth of the time, however many workers report.
        kept_s = 0.0 if self._quotas <= _FEW_QUOTAS else self._quotas * _QUOTA_S
        if outdated and now_s - self._folded_s >= kept_s:
            self._forecasts.clear()
            reports = drop_silent(tuple(self._reports.values()))
            self._folded = FoldedReports(reports, self._chains_of(reports))
            self._folded_s, self._folded_for_s, self._changed = now_s, counted_s, False
        if role not in self._forecasts:
            self._forecasts[role] = forecast_role(role, self._folded, counted, self._batch)
        return self._forecasts[role]

    def _chains_of(self, reports: Sequence[WorkerReport]) -> dict[str, frozenset[str]]:
        """The models of each role, without the implicit roles that no worker reports: they have no work."""
        reported = {role for report in reports for role in report.roles}
        return {
            role: chain for role, chain in self._chains.items() if role in reported or not is_implicit(role)
        }


def _bounded_status(status: RoleStatus) -> RoleStatus:
    """`status` with every figure limited to the range in which arithmetic is exact."""
    return replace(
        status,
        slots=bounded(status.slots),
        batch_slots=bounded(status.batch_slots),
        running=bounded(status.running),
        calling=bounded(status.calling),
        ended=bounded(status.ended),
        service_ms=None if status.service_ms is None else bounded(status.service_ms),
        service_p95_ms=None if status.service_p95_ms is None else bounded(status.service_p95_ms),
    )


def _ended_per_s(before: WorkerReport, roles: Mapping[str, RoleStatus], now_s: float) -> dict[str, float]:
    elapsed_s = now_s - before.observed_s
    if elapsed_s <= 0:
        return dict(before.ended_per_s)
    return {
        role: max(0, status.ended - before.roles[role].ended) / elapsed_s
        for role, status in roles.items()
        if role in before.roles
    }
