"""What a worker says of itself: roles, limits, breakers, withdrawn models, credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from penstock.mailbox import Mailbox
from schemas.names import Role
from schemas.presence import BreakerStatus, CredentialStatus, LimitStatus, Presence, RoleStatus
from services.worker.equipment import Equipment

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
        credentials=_credentials(equipment),
        static_shares=_static_shares(equipment),
        limits=_limits(equipment, now_s, now_ms),
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
    wait_s = equipment.availability.opens_in_s(equipment.catalogue.roles[role].chain, now_s)
    return RoleStatus(
        role=role,
        slots=equipment.catalogue.roles[role].concurrency,
        running=running,
        ready_at_ms=0 if wait_s == 0 else now_ms + int(wait_s * 1000),
    )


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
