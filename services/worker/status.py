"""What a worker says of itself: roles, limits, breakers, withdrawn models, credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from math import ceil

from penstock.contract.names import Role
from penstock.contract.presence import (
    BreakerStatus,
    CredentialStatus,
    LearnedLimit,
    LimitStatus,
    Presence,
    QuotaForecast,
    RoleStatus,
)
from penstock.runtime.consumer.mailbox import Mailbox
from services.worker.execution.equipment import Equipment

__all__ = ["describe"]


def describe(equipment: Equipment, mailboxes: Mapping[Role, list[Mailbox]], http: str) -> Presence:
    """The worker's presence; the gauges that show the same are set on the way."""
    now_ms = equipment.clock.unix_ms()
    now_s = asyncio.get_running_loop().time()
    return Presence(
        service="worker",
        instance=equipment.instance,
        at_ms=now_ms,
        http=http,
        roles=tuple(_role(equipment, role, boxes, now_s, now_ms) for role, boxes in mailboxes.items()),
        forecasts=_forecasts(equipment, mailboxes, now_s),
        credentials=_credentials(equipment),
        keyless=_keyless(equipment),
        unreachable=equipment.availability.unreachable.shown(now_s),
        static_shares=_static_shares(equipment),
        limits=_limits(equipment, now_s, now_ms),
        learned=_learned(equipment, now_s),
        breakers=tuple(
            BreakerStatus(
                model=model,
                state=breaker.state,
                retry_at_ms=now_ms + int((breaker.retry_at_s(now_s) - now_s) * 1000),
            )
            for model, breaker in equipment.availability.breakers.items()
            if breaker.state != "closed"
        ),
        degraded=equipment.degrading.show(now_s),
        withdrawn=tuple(
            model
            for model in equipment.catalogue.models
            if equipment.availability.roster.is_withdrawn(model, now_s)
        ),
    )


def _role(equipment: Equipment, role: Role, boxes: list[Mailbox], now_s: float, now_ms: int) -> RoleStatus:
    running = sum(box.running for box in boxes)
    equipment.metrics.running.labels(role).set(running)
    chain = equipment.catalogue.roles[role].chain
    last_resort = equipment.availability.all_open(chain, now_s)
    wait_s = equipment.availability.opens_in_s(chain, now_s, last_resort=last_resort)
    pace = equipment.pace
    tempo = pace.tempo(role)
    return RoleStatus(
        role=role,
        slots=equipment.catalogue.roles[role].concurrency,
        running=running,
        batch_slots=equipment.catalogue.roles[role].batch_concurrency,
        calling=pace.calling_now(role),
        ended=pace.ended_count(role),
        service_ms=None if tempo is None else round(tempo.mean_s * 1000),
        longest_ms=None if tempo is None else round(tempo.longest_s * 1000),
        calls_each=1.0 if tempo is None else round(tempo.calls_each, 3),
        ready_at_ms=0 if wait_s == 0 else now_ms + int(wait_s * 1000),
    )


def _forecasts(equipment: Equipment, roles: Iterable[Role], now_s: float) -> tuple[QuotaForecast, ...]:
    """Of each model and quota once: several keys of one group speak of the same."""
    availability = equipment.availability
    found: dict[tuple[str, str], QuotaForecast] = {}
    chains = [equipment.catalogue.roles[role].chain for role in roles]
    tried = {model for chain in chains if availability.all_open(chain, now_s) for model in chain}
    for model in dict.fromkeys(model for chain in chains for model in chain):
        if availability.roster.is_withdrawn(model, now_s):
            continue
        breaker = availability.breakers[model]
        breaker_at_s = breaker.trial_at_s(now_s) if model in tried else breaker.retry_at_s(now_s)
        for key in availability.usable(model, now_s):
            forecast = availability.quota.forecast(key, now_s)
            source = forecast.source or f"{equipment.instance}/{key.credential}/{model}"
            found[model, source] = QuotaForecast(
                model=model,
                source=source,
                paused_ms=ceil(forecast.paused_s * 1000),
                breaker_ms=max(0, ceil((breaker_at_s - now_s) * 1000)),
                recoveries=forecast.recoveries,
                concurrency=forecast.concurrency,
                tokens_each=equipment.pace.tokens_each(model),
            )
    return tuple(found.values())


def _credentials(equipment: Equipment) -> tuple[CredentialStatus, ...]:
    keyring, now_s = equipment.keyring, equipment.clock.unix_s()
    return tuple(
        CredentialStatus(
            credential=credential,
            provider=name,
            age_days=keyring.age_days(credential, now_s),
            max_age_days=keyring.max_age_days,
            refused_for=equipment.availability.refusals.models(credential),
            trouble=keyring.complaint(credential),
        )
        for name, provider in equipment.providers.items()
        for credential in provider.credentials
        if credential in keyring.names
    )


def _keyless(equipment: Equipment) -> tuple[str, ...]:
    keyring, configured = equipment.keyring, equipment.catalogue.providers
    return tuple(
        name
        for name in equipment.providers
        if (keys := configured[name].api_key_env) and not any(keyring.value(key) for key in keys)
    )


def _static_shares(equipment: Equipment) -> tuple[str, ...]:
    found = equipment.availability.quota.out_of_reach
    equipment.metrics.static_shares.set(len(found))
    return found


def _limits(equipment: Equipment, now_s: float, now_ms: int) -> tuple[LimitStatus, ...]:
    found = []
    for key in equipment.tiers.keys:
        for use in equipment.availability.quota.usage(key, now_s):
            found.append(equipment.tiers.status(key, use, now_s, now_ms))
            ratio = use.used / use.limit if use.limit else 1.0
            equipment.metrics.limit_used.labels(key.credential, key.model, use.name).set(ratio)
    return tuple(found)


def _learned(equipment: Equipment, now_s: float) -> tuple[LearnedLimit, ...]:
    quota = equipment.availability.quota
    known = ((key, quota.learned(key, now_s)) for key in equipment.tiers.keys)
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
