"""The state of the running system, folded from presence and streams: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from penstock.cli.commands.status_limits import Learned, Seen, learned_limits, merged
from penstock.contract.names import LANES, ROLES
from penstock.contract.presence import BreakerStatus, CredentialStatus, LimitPast, Presence
from penstock.contract.subjects import work_address
from penstock.runtime.limit_advice import advice

__all__ = ["Credential", "Degraded", "Limit", "Open", "RoleLine", "Service", "Status", "Streams", "fold"]

_SILENT_S: Final = 6.0
"""Three beats. Whoever is silent for longer is named, and counts for nothing else."""


class Streams(Struct, frozen=True, kw_only=True):
    """What JetStream counts."""

    waiting_for_router: int = 0
    work: Mapping[str, int] = {}
    """Subject in a mailbox -> messages of it, those being worked on included."""
    dead: int = 0


class Service(Struct, frozen=True, kw_only=True):
    service: str
    instance: str
    http: str
    silent_s: float
    """Since its last beat; beyond _SILENT_S it is in trouble, after 30 s forgotten."""

    @property
    def alive(self) -> bool:
        return self.silent_s <= _SILENT_S


class RoleLine(Struct, frozen=True, kw_only=True):
    role: str
    workers: int
    running: int
    slots: int
    queued: Mapping[str, int]
    """Per lane, those running included."""


class Limit(Struct, frozen=True, kw_only=True):
    worker: str
    """Who counts it for itself; empty: all workers share it."""
    credential: str
    model: str
    limit: str
    used: int
    allowed: int
    percent: float
    headroom: int
    warned: bool
    full_in_s: float | None
    """If its use goes on as it did lately; None: not as far as can be told."""
    watched_s: int
    hour: LimitPast
    day: LimitPast
    advice: str
    """When to raise it, or to take a smaller tier; empty: all is well, or too little is known."""


class Open(Struct, frozen=True, kw_only=True):
    """A breaker that is not closed."""

    worker: str
    model: str
    state: str
    retry_in_s: float


class Credential(Struct, frozen=True, kw_only=True):
    """One credential of a provider, as all its workers see it together."""

    credential: str
    provider: str
    age_days: int | None
    """The age of the oldest key in use; None: nobody knows."""
    max_age_days: float
    refused_for: tuple[str, ...]
    troubles: tuple[str, ...]
    """What is wrong with its file."""

    @property
    def is_old(self) -> bool:
        return self.age_days is not None and self.age_days > self.max_age_days


class Degraded(Struct, frozen=True, kw_only=True):
    """A model that a worker shortens requests for."""

    worker: str
    role: str
    model: str
    rule: str


class Status(Struct, frozen=True, kw_only=True):
    nats: str
    now_ms: int
    """When this was so; Unix milliseconds."""
    services: tuple[Service, ...]
    roles: tuple[RoleLine, ...]
    limits: tuple[Limit, ...]
    learned: tuple[Learned, ...]
    """Limits that the catalogue does not name."""
    breakers: tuple[Open, ...]
    degraded: tuple[Degraded, ...]
    withdrawn: tuple[str, ...]
    credentials: tuple[Credential, ...]
    keyless: tuple[str, ...]
    """Providers without any key, as some worker sees it."""
    waiting_for_router: int
    dead_letters: int


def fold(nats: str, known: Sequence[Presence], streams: Streams, now_ms: int) -> Status:
    """`known`: everybody heard of within 30 s. `now_ms`: Unix milliseconds."""
    services = tuple(_service(presence, now_ms) for presence in known)
    alive = [presence for presence, service in zip(known, services, strict=True) if service.alive]
    return Status(
        nats=nats,
        now_ms=now_ms,
        services=services,
        roles=tuple(
            line
            for role in ROLES
            if (line := _role(role, alive, streams)).workers or any(line.queued.values())
        ),
        limits=tuple(_limits(alive, now_ms)),
        learned=tuple(learned_limits(alive)),
        breakers=tuple(
            _open(presence.instance, breaker, now_ms) for presence in alive for breaker in presence.breakers
        ),
        degraded=tuple(
            Degraded(worker=presence.instance, role=each.role, model=each.model, rule=each.rule)
            for presence in alive
            for each in presence.degraded
        ),
        withdrawn=tuple(sorted({model for presence in alive for model in presence.withdrawn})),
        credentials=tuple(_credentials(alive)),
        keyless=tuple(sorted({name for presence in alive for name in presence.keyless})),
        waiting_for_router=streams.waiting_for_router,
        dead_letters=streams.dead,
    )


def _service(presence: Presence, now_ms: int) -> Service:
    return Service(
        service=presence.service,
        instance=presence.instance,
        http=presence.http,
        silent_s=max(now_ms - presence.at_ms, 0) / 1000,
    )


def _role(role: str, alive: Sequence[Presence], streams: Streams) -> RoleLine:
    queued: dict[str, int] = dict.fromkeys(LANES, 0)
    for subject, count in streams.work.items():
        address = work_address(subject)
        if address is not None and address.role == role and address.lane in queued:
            queued[address.lane] += count
    found = [status for presence in alive for status in presence.roles if status.role == role]
    return RoleLine(
        role=role,
        workers=len(found),
        running=sum(status.running for status in found),
        slots=sum(status.slots for status in found),
        queued=queued,
    )


def _limits(alive: Sequence[Presence], now_ms: int) -> list[Limit]:
    """The fullest first."""
    limits = [_limit(seen, now_ms) for seen in merged(alive)]
    return sorted(limits, key=lambda limit: (-limit.percent, limit.model, limit.limit))


def _credentials(alive: Sequence[Presence]) -> list[Credential]:
    by_name: dict[tuple[str, str], list[CredentialStatus]] = {}
    for presence in alive:
        for status in presence.credentials:
            by_name.setdefault((status.provider, status.credential), []).append(status)
    return [
        Credential(
            credential=name,
            provider=provider,
            age_days=max((each.age_days for each in seen if each.age_days is not None), default=None),
            max_age_days=min(each.max_age_days for each in seen),
            refused_for=tuple(sorted({model for each in seen for model in each.refused_for})),
            troubles=tuple(sorted({each.trouble for each in seen if each.trouble})),
        )
        for (provider, name), seen in sorted(by_name.items())
    ]


def _limit(seen: Seen, now_ms: int) -> Limit:
    status = seen.status
    return Limit(
        worker=seen.worker,
        credential=status.credential,
        model=status.model,
        limit=status.limit,
        used=status.used,
        allowed=status.allowed,
        percent=round(100 * status.used / status.allowed, 1) if status.allowed else 100.0,
        headroom=max(0, status.allowed - status.used),
        warned=status.warned,
        full_in_s=max(0, status.full_at_ms - now_ms) / 1000 if status.full_at_ms else None,
        watched_s=status.watched_s,
        hour=status.hour,
        day=status.day,
        advice=advice(status),
    )


def _open(worker: str, breaker: BreakerStatus, now_ms: int) -> Open:
    retry_in_s = max(breaker.retry_at_ms - now_ms, 0) / 1000
    return Open(worker=worker, model=breaker.model, state=breaker.state, retry_in_s=retry_in_s)
