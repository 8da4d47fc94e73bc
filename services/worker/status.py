"""A worker's heartbeat: its roles, quotas, limits, breakers, withdrawn models and credentials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil

from msgspec import Struct

from penstock.bus.clock import Clock, loop_now_s
from penstock.contract.names import Role
from penstock.contract.presence import (
    BreakerStatus,
    CredentialStatus,
    DegradedModel,
    LearnedLimit,
    LimitStatus,
    Presence,
    QuotaForecast,
    RoleStatus,
)
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.consumer.mailbox import Mailbox
from services.worker.credentials.keyring import Keyring
from services.worker.credentials.refusals import CredentialRefusals
from services.worker.degradation.monitor import DegradationMonitor
from services.worker.estimates.service_times import ServiceTimes
from services.worker.metrics import WorkerMetrics
from services.worker.models.availability import Availability
from services.worker.providers.provider import Provider
from services.worker.quota_monitor.monitor import QuotaMonitor
from services.worker.rate_limit.quota import Quota

__all__ = ["CapacityReport", "CredentialReport", "LimitReport", "WorkerStatus"]


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
        self.metrics.running.labels(role).set(running)
        config, times = self.catalogue.roles[role], self.service_times
        last_resort = self.availability.all_open(config.chain, now.loop_s)
        wait_s = self.availability.opens_in_s(config.chain, now.loop_s, last_resort=last_resort)
        statistics = times.statistics(role)
        return RoleStatus(
            role=role,
            slots=config.concurrency,
            running=running,
            batch_slots=config.batch_concurrency,
            calling=times.calling_now(role),
            ended=times.ended_count(role),
            service_ms=None if statistics is None else round(statistics.mean_s * 1000),
            longest_ms=None if statistics is None else round(statistics.longest_s * 1000),
            calls_each=1.0 if statistics is None else round(statistics.calls_each, 3),
            ready_at_ms=0 if wait_s == 0 else now.unix_ms + int(wait_s * 1000),
        )

    def forecasts(self, roles: Iterable[Role], now: _Now) -> tuple[QuotaForecast, ...]:
        """One forecast per model and quota: several credentials of a group share one quota."""
        availability, now_s = self.availability, now.loop_s
        found: dict[tuple[str, str], QuotaForecast] = {}
        chains = [self.catalogue.roles[role].chain for role in roles]
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
                    tokens_each=self.service_times.mean_tokens(model),
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

    def unreachable(self, now: _Now) -> tuple[str, ...]:
        return self.availability.connect_failures.unreachable(now.loop_s)

    def degraded(self, now: _Now) -> tuple[DegradedModel, ...]:
        return self.degradation.report(now.loop_s)


class CredentialReport(Struct, frozen=True):
    """The credentials of the worker's providers, without their keys."""

    catalogue: Catalogue
    keyring: Keyring
    providers: Mapping[str, Provider]
    refusals: CredentialRefusals

    def credentials(self, now: _Now) -> tuple[CredentialStatus, ...]:
        keyring = self.keyring
        return tuple(
            CredentialStatus(
                credential=credential,
                provider=name,
                age_days=keyring.age_days(credential, now.unix_ms / 1000),
                max_age_days=keyring.max_age_days,
                refused_for=self.refusals.refused_models(credential),
                trouble=keyring.file_error(credential),
            )
            for name, provider in self.providers.items()
            for credential in provider.credentials
            if credential in keyring.names
        )

    def keyless(self) -> tuple[str, ...]:
        """Providers that need a key and have none."""
        configured = self.catalogue.providers
        return tuple(
            name
            for name in self.providers
            if (keys := configured[name].api_key_env) and not any(self.keyring.value(key) for key in keys)
        )


class LimitReport(Struct, frozen=True):
    """The limits of the worker's quotas, configured and learned, and their use."""

    quota: Quota
    quota_monitor: QuotaMonitor
    metrics: WorkerMetrics

    def unreachable_quotas(self) -> tuple[str, ...]:
        found = self.quota.unreachable_records
        self.metrics.unreachable_quotas.set(len(found))
        return found

    def limits(self, now: _Now) -> tuple[LimitStatus, ...]:
        found = []
        for key in self.quota_monitor.keys:
            for use in self.quota.usage(key, now.loop_s):
                found.append(self.quota_monitor.status(key, use, now.loop_s, now.unix_ms))
                ratio = use.used / use.limit if use.limit else 1.0
                self.metrics.limit_used.labels(key.credential, key.model, use.name).set(ratio)
        return tuple(found)

    def learned(self, now: _Now) -> tuple[LearnedLimit, ...]:
        known = ((key, self.quota.learned(key, now.loop_s)) for key in self.quota_monitor.keys)
        return tuple(
            LearnedLimit(
                credential=key.credential,
                model=key.model,
                requests_per_minute=max(1, round(learned.said_per_minute or learned.per_minute)),
                tokens_per_minute=learned.tokens_per_minute,
                kind=learned.kind,
            )
            for key, learned in known
            if learned is not None
        )


class WorkerStatus(Struct, frozen=True):
    instance: str
    catalogue_digest: str
    clock: Clock
    capacity: CapacityReport
    credentials: CredentialReport
    limits: LimitReport

    def presence(self, mailboxes: Mapping[Role, list[Mailbox]], http: str) -> Presence:
        """The content of the next heartbeat. The gauges that show the same are set on the way."""
        now = _Now(loop_now_s(), self.clock.unix_ms())
        return Presence(
            service="worker",
            instance=self.instance,
            at_ms=now.unix_ms,
            http=http,
            catalogue=self.catalogue_digest,
            roles=tuple(self.capacity.role(role, boxes, now) for role, boxes in mailboxes.items()),
            forecasts=self.capacity.forecasts(mailboxes, now),
            credentials=self.credentials.credentials(now),
            keyless=self.credentials.keyless(),
            unreachable=self.capacity.unreachable(now),
            unreachable_quotas=self.limits.unreachable_quotas(),
            limits=self.limits.limits(now),
            learned=self.limits.learned(now),
            breakers=self.capacity.breakers(now),
            degraded=self.capacity.degraded(now),
            withdrawn=self.capacity.withdrawn(now),
        )
