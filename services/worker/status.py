"""A worker's heartbeat: its roles, quotas, limits, breakers, withdrawn models and credentials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil

from msgspec import Struct

from penstock.bus.clock import Clock, loop_now_s
from penstock.contract.names import Role
from penstock.contract.presence import (
    BreakerStatus,
    Presence,
    QuotaForecast,
    Recovery,
    RoleStatus,
)
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.consumer.mailbox import Mailbox
from services.worker.credentials.changes import CredentialChanges
from services.worker.degradation.monitor import DegradationMonitor
from services.worker.estimates.service_times import ServiceTimes
from services.worker.intake.pull_gate import RoleLane
from services.worker.metrics import WorkerMetrics
from services.worker.models.availability import Availability
from services.worker.quota_monitor.monitor import QuotaMonitor
from services.worker.replies.room import ReplyRoom

__all__ = ["CapacityReport", "WorkerStatus"]


class _Now(Struct, frozen=True):
    """One instant on the loop's clock and in Unix time."""

    loop_s: float
    unix_ms: int

    def at_ms(self, loop_s: float) -> int:
        return self.unix_ms + int((loop_s - self.loop_s) * 1000)


class CapacityReport(Struct, frozen=True):
    """What the worker can do for each role, what the router forecasts from, and models that are not called as usual."""

    instance: str
    catalogue: Catalogue
    availability: Availability
    degradation: DegradationMonitor
    service_times: ServiceTimes
    metrics: WorkerMetrics

    def role(self, role: Role, mailboxes: Iterable[Mailbox], now: _Now) -> RoleStatus:
        running = sum(mailbox.running for mailbox in mailboxes)
        self.metrics.requests_in_flight.labels(role).set(running)
        config, times = self.catalogue.all_roles[role], self.service_times
        last_resort = self.availability.all_open(config.chain, now.loop_s)
        wait_s = self.availability.opens_in_s(config.chain, now.loop_s, last_resort=last_resort)
        statistics = times.statistics(role)
        kind = self.catalogue.kind_of(role)
        return RoleStatus(
            role=role,
            slots=RoleLane.of(role, "interactive", config, kind).slots,
            running=running,
            batch_slots=RoleLane.of(role, "batch", config, kind).slots,
            calling=times.calling_now(role),
            ended=times.ended_count(role),
            service_ms=None if statistics is None else round(statistics.mean_s * 1000),
            service_p95_ms=None if statistics is None else round(statistics.p95_s * 1000),
            attempts_per_request=1.0 if statistics is None else round(statistics.attempts_per_request, 3),
            ready_at_ms=0 if wait_s == 0 else now.unix_ms + int(wait_s * 1000),
        )

    def forecasts(self, roles: Iterable[Role], now: _Now) -> tuple[QuotaForecast, ...]:
        """One forecast per model and quota: several credentials of a group share one quota."""
        availability, now_s = self.availability, now.loop_s
        found: dict[tuple[str, str], QuotaForecast] = {}
        chains = [self.catalogue.all_roles[role].chain for role in roles]
        tried = {model for chain in chains if availability.all_open(chain, now_s) for model in chain}
        for model in dict.fromkeys(model for chain in chains for model in chain):
            if availability.roster.is_withdrawn(model, now_s):
                continue
            breaker = availability.breakers[model]
            breaker_at_s = breaker.trial_at_s(now_s) if model in tried else breaker.retry_at_s(now_s)
            for key in availability.usable(model, now_s):
                forecast = availability.quota.forecast(key, now_s)
                source = forecast.source or f"{self.instance}/{key.credential}/{model}"
                found[model, source] = QuotaForecast(
                    model=model,
                    source=source,
                    paused_ms=ceil(forecast.paused_s * 1000),
                    breaker_ms=max(0, ceil((breaker_at_s - now_s) * 1000)),
                    recoveries=forecast.recoveries,
                    concurrency=forecast.concurrency,
                    tokens_per_call=self.service_times.mean_tokens(model, _most_tokens(forecast.recoveries)),
                )
        return tuple(found.values())

    def breakers(self, now: _Now) -> tuple[BreakerStatus, ...]:
        return tuple(
            BreakerStatus(
                model=model, state=breaker.state, retry_at_ms=now.at_ms(breaker.retry_at_s(now.loop_s))
            )
            for model, breaker in self.availability.breakers.items()
            if breaker.state != "closed"
        )

    def withdrawn(self, now: _Now) -> tuple[str, ...]:
        roster = self.availability.roster
        return tuple(model for model in self.availability.providers if roster.is_withdrawn(model, now.loop_s))


class WorkerStatus(Struct, frozen=True):
    capacity: CapacityReport
    room: ReplyRoom
    credential_changes: CredentialChanges
    quota_monitor: QuotaMonitor
    clock: Clock
    catalogue_digest: str

    def presence(self, mailboxes: Mapping[Role, list[Mailbox]], http: str) -> Presence:
        """The content of the next heartbeat. The gauges that show the same are set on the way."""
        now = _Now(loop_now_s(), self.clock.unix_ms())
        capacity, availability = self.capacity, self.capacity.availability
        return Presence(
            service="worker",
            instance=capacity.instance,
            at_ms=now.unix_ms,
            http=http,
            catalogue=self.catalogue_digest,
            roles=tuple(capacity.role(role, boxes, now) for role, boxes in mailboxes.items()),
            forecasts=capacity.forecasts(mailboxes, now),
            credentials=self.credential_changes.status(now.unix_ms / 1000),
            providers_without_key=self.credential_changes.providers_without_key(),
            unreachable_providers=availability.connect_failures.unreachable(now.loop_s),
            unreachable_quotas=self.quota_monitor.unreachable_quotas(),
            limits=self.quota_monitor.limits(now.loop_s, now.unix_ms),
            learned=self.quota_monitor.learned(now.loop_s),
            breakers=capacity.breakers(now),
            degraded=capacity.degradation.report(now.loop_s),
            withdrawn_models=capacity.withdrawn(now),
            replies=self.room.report(),
        )


def _most_tokens(recoveries: Iterable[Recovery]) -> int | None:
    """What the smallest limit on tokens allows; None: there is none."""
    limits = [each.allowed for each in recoveries if each.limit.startswith("tokens_") and each.allowed > 0]
    return min(limits, default=None)
