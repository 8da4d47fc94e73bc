"""The status of the running system, folded from the presence of its processes and the state of its streams: pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from msgspec import Struct, structs

from penstock.contract.names import LANES, ROLES, is_implicit
from penstock.contract.presence import CredentialStatus, LearnedLimit, LimitStatus, PastUsage, Presence
from penstock.contract.subjects import work_address
from penstock.runtime.text.limit_advice import advice

__all__ = [
    "CredentialView",
    "DegradedView",
    "LearnedLimitView",
    "LimitView",
    "OpenBreaker",
    "RoleView",
    "ServiceView",
    "StreamCounts",
    "SystemStatus",
    "fold_status",
    "without_idle_models",
]

_SILENT_S: Final = 6.0
"""Three heartbeat intervals. A process that is silent for longer is listed, and its reports are ignored."""


class StreamCounts(Struct, frozen=True, kw_only=True):
    """Messages stored in JetStream."""

    waiting_for_router: int = 0
    work: Mapping[str, int] = {}
    """Mailbox subject -> messages, those being executed included."""
    dead: int = 0
    large_bodies: int = 0
    """Requests whose bodies are stored apart."""
    large_bodies_bytes: int = 0


class ServiceView(Struct, frozen=True, kw_only=True):
    """One process."""

    service: str
    instance: str
    http: str
    silent_s: float
    """Seconds since its last heartbeat; its presence is deleted after 30 s."""
    partitions: tuple[str, ...] = ()
    """Of a ledger: the partitions that it owns."""
    clock_offset_s: float = 0.0
    """Seconds by which the clock of its machine is ahead of the NATS server."""

    @property
    def alive(self) -> bool:
        return self.silent_s <= _SILENT_S


class RoleView(Struct, frozen=True, kw_only=True):
    """One role over all its workers."""

    role: str
    workers: int
    running: int
    slots: int
    queued: Mapping[str, int]
    """Lane -> messages, those being executed included."""


class LimitView(Struct, frozen=True, kw_only=True):
    """One limit of a (credential, model)."""

    worker: str
    """The worker that counts the limit alone; empty: all workers share it."""
    credential: str
    model: str
    limit: str
    used: int
    """Spent, without `leased`."""
    leased: int
    """Leased by workers and not spent yet."""
    allowed: int
    percent: float
    """The share of `allowed` that is used or leased."""
    headroom: int
    warned: bool
    full_in_s: float | None
    """Seconds until the limit is full at the recent rate of use; None: no such time is expected."""
    watched_s: int
    hour: PastUsage
    day: PastUsage
    advice: str
    """When to raise the limit or to take a smaller tier; empty: neither, or too little is known."""


class LearnedLimitView(Struct, frozen=True, kw_only=True):
    """A limit that the catalogue does not name, learned from the provider's refusals."""

    credential: str
    model: str
    requests_per_minute: int
    kind: str
    write: str
    """The line to add to the model in the catalogue."""


class OpenBreaker(Struct, frozen=True, kw_only=True):
    """A breaker that is open or half open."""

    worker: str
    model: str
    state: str
    retry_in_s: float


class CredentialView(Struct, frozen=True, kw_only=True):
    """One credential of a provider over all workers."""

    credential: str
    provider: str
    age_days: int | None
    """The age of the oldest key in use; None: not known."""
    max_age_days: float
    refused_for: tuple[str, ...]
    file_problems: tuple[str, ...]
    """The faults of its key file."""

    @property
    def is_old(self) -> bool:
        return self.age_days is not None and self.age_days > self.max_age_days


class DegradedView(Struct, frozen=True, kw_only=True):
    """A model for which a worker shortens requests."""

    worker: str
    role: str
    model: str
    rule: str


class SystemStatus(Struct, frozen=True, kw_only=True):
    """Everything that `penstock status` shows, also printed as JSON."""

    nats: str
    now_ms: int
    """When the status was read; Unix milliseconds."""
    services: tuple[ServiceView, ...]
    roles: tuple[RoleView, ...]
    limits: tuple[LimitView, ...]
    learned: tuple[LearnedLimitView, ...]
    breakers: tuple[OpenBreaker, ...]
    degraded: tuple[DegradedView, ...]
    withdrawn_models: tuple[str, ...]
    credentials: tuple[CredentialView, ...]
    providers_without_key: tuple[str, ...]
    """Providers for which a worker has no key."""
    lacks_ledger: bool
    """The catalogue has budgets, and no ledger is alive."""
    lacks_guard: bool
    """The catalogue has a section `guard`, and no guard is alive."""
    lacks_indexer: bool
    """The catalogue has a section `retrieval`, and no indexer is alive."""
    starting: bool
    """The `penstock up` of the data directory has not started all of its services yet, or stops them."""
    unreachable_quotas: tuple[str, ...]
    """Quota records in `llm_quota` that a worker cannot reach."""
    other_catalogues: tuple[str, ...]
    """Workers, guards and indexers whose catalogue differs from the router's."""
    waiting_for_router: int
    dead_letters: int
    large_bodies: int
    """Requests whose bodies exceed a message and are stored apart."""
    large_bodies_bytes: int


def fold_status(
    nats: str,
    known: Sequence[Presence],
    streams: StreamCounts,
    now_ms: int,
    needed: Collection[str] = (),
    *,
    starting: bool = False,
) -> SystemStatus:
    """`known`: the presence of every process of the last 30 s. `now_ms`: Unix milliseconds. `needed`: the services
    without which requests of this catalogue fail, of `ledger`, `guard` and `indexer`. `starting`: see `SystemStatus`.
    """
    services = tuple(_service(presence, now_ms) for presence in known)
    alive = [presence for presence, service in zip(known, services, strict=True) if service.alive]
    lacking = set(needed) - {presence.service for presence in alive}
    return SystemStatus(
        nats=nats,
        now_ms=now_ms,
        services=services,
        roles=tuple(
            view
            for role in _role_names(alive, streams)
            if (view := _role(role, alive, streams)).workers or any(view.queued.values())
        ),
        limits=_limits(alive, now_ms),
        learned=_learned_limits(alive),
        breakers=tuple(
            OpenBreaker(
                worker=presence.instance,
                model=breaker.model,
                state=breaker.state,
                retry_in_s=max(breaker.retry_at_ms - now_ms, 0) / 1000,
            )
            for presence in alive
            for breaker in presence.breakers
        ),
        degraded=tuple(
            DegradedView(worker=presence.instance, role=each.role, model=each.model, rule=each.rule)
            for presence in alive
            for each in presence.degraded
        ),
        withdrawn_models=tuple(sorted({model for presence in alive for model in presence.withdrawn_models})),
        credentials=_credentials(alive),
        providers_without_key=tuple(
            sorted({name for presence in alive for name in presence.providers_without_key})
        ),
        lacks_ledger="ledger" in lacking,
        lacks_guard="guard" in lacking,
        lacks_indexer="indexer" in lacking,
        starting=starting,
        unreachable_quotas=tuple(sorted({key for presence in alive for key in presence.unreachable_quotas})),
        other_catalogues=_other_catalogues(alive),
        waiting_for_router=streams.waiting_for_router,
        dead_letters=streams.dead,
        large_bodies=streams.large_bodies,
        large_bodies_bytes=streams.large_bodies_bytes,
    )


def without_idle_models(status: SystemStatus) -> SystemStatus:
    """The status without the implicit roles that have no work."""
    roles = tuple(
        view
        for view in status.roles
        if view.running or any(view.queued.values()) or not is_implicit(view.role)
    )
    return structs.replace(status, roles=roles)


def _service(presence: Presence, now_ms: int) -> ServiceView:
    return ServiceView(
        service=presence.service,
        instance=presence.instance,
        http=presence.http,
        silent_s=max(now_ms - presence.at_ms, 0) / 1000,
        partitions=presence.partitions,
        clock_offset_s=presence.clock_offset_s,
    )


def _role_names(alive: Sequence[Presence], streams: StreamCounts) -> list[str]:
    """The shipped roles first, then those that only this catalogue has."""
    reported = {status.role for presence in alive for status in presence.roles}
    queued = {address.role for subject in streams.work if (address := work_address(subject)) is not None}
    return [*ROLES, *sorted((reported | queued).difference(ROLES))]


def _role(role: str, alive: Sequence[Presence], streams: StreamCounts) -> RoleView:
    queued: dict[str, int] = dict.fromkeys(LANES, 0)
    for subject, count in streams.work.items():
        address = work_address(subject)
        if address is not None and address.role == role and address.lane in queued:
            queued[address.lane] += count
    reports = [status for presence in alive for status in presence.roles if status.role == role]
    return RoleView(
        role=role,
        workers=len(reports),
        running=sum(status.running for status in reports),
        slots=sum(status.slots for status in reports),
        queued=queued,
    )


def _limits(alive: Sequence[Presence], now_ms: int) -> tuple[LimitView, ...]:
    """One view per shared limit, and one per worker of a limit that each worker counts alone; the fullest first."""
    views: list[LimitView] = []
    shared: dict[tuple[str, str], dict[str, LimitStatus]] = {}
    for presence in alive:
        for status in presence.limits:
            if status.record:
                # Credentials that share a quota are listed separately by one worker, with the same figures.
                shared.setdefault((status.record, status.limit), {}).setdefault(presence.instance, status)
            else:
                views.append(_limit(presence.instance, status, now_ms))
    views += [_limit("", _merged(list(reports.values())), now_ms) for reports in shared.values()]
    return tuple(sorted(views, key=lambda view: (-view.percent, view.model, view.limit)))


def _merged(reports: Sequence[LimitStatus]) -> LimitStatus:
    """The report of the worker that has watched longest, with the refusals of all workers."""
    longest = max(reports, key=lambda status: status.watched_s)
    return structs.replace(
        longest,
        used=max(status.used for status in reports),
        leased=max(status.leased for status in reports),
        warned=any(status.warned for status in reports),
        hour=_merged_past([status.hour for status in reports]),
        day=_merged_past([status.day for status in reports]),
    )


def _merged_past(reports: Sequence[PastUsage]) -> PastUsage:
    """Times are the maximum, because all workers watch the same limit; refused requests are each worker's own."""
    return PastUsage(
        near_limit_s=max(past.near_limit_s for past in reports),
        full_s=max(past.full_s for past in reports),
        throttled=sum(past.throttled for past in reports),
        peak=max(past.peak for past in reports),
        unmet=sum(past.unmet for past in reports),
    )


def _limit(worker: str, status: LimitStatus, now_ms: int) -> LimitView:
    return LimitView(
        worker=worker,
        credential=status.credential,
        model=status.model,
        limit=status.limit,
        used=max(0, status.used - status.leased),
        leased=status.leased,
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


def _learned_limits(alive: Sequence[Presence]) -> tuple[LearnedLimitView, ...]:
    """One per credential and model: the highest, where several workers learn separately."""
    found: dict[tuple[str, str], LearnedLimit] = {}
    for limit in (limit for presence in alive for limit in presence.learned):
        key = (limit.model, limit.credential)
        if key not in found or found[key].requests_per_minute < limit.requests_per_minute:
            found[key] = limit
    return tuple(
        LearnedLimitView(
            credential=limit.credential,
            model=limit.model,
            requests_per_minute=limit.requests_per_minute,
            kind=limit.kind,
            write=_catalogue_line(limit),
        )
        for _, limit in sorted(found.items())
    )


def _catalogue_line(limit: LearnedLimit) -> str:
    figures = [f"requests_per_minute: {limit.requests_per_minute}"]
    if limit.tokens_per_minute is not None:
        figures.append(f"tokens_per_minute: {limit.tokens_per_minute}")
    if limit.kind != "window":
        figures.append(f"kind: {limit.kind}")
    return f"limits: {{{', '.join(figures)}}}"


def _credentials(alive: Sequence[Presence]) -> tuple[CredentialView, ...]:
    by_name: dict[tuple[str, str], list[CredentialStatus]] = {}
    for presence in alive:
        for status in presence.credentials:
            by_name.setdefault((status.provider, status.credential), []).append(status)
    return tuple(
        CredentialView(
            credential=name,
            provider=provider,
            age_days=max((each.age_days for each in reports if each.age_days is not None), default=None),
            max_age_days=min(each.max_age_days for each in reports),
            refused_for=tuple(sorted({model for each in reports for model in each.refused_for})),
            file_problems=tuple(sorted({each.file_problem for each in reports if each.file_problem})),
        )
        for (provider, name), reports in sorted(by_name.items())
    )


def _other_catalogues(alive: Sequence[Presence]) -> tuple[str, ...]:
    """An empty digest belongs to a process of an older version and is not compared."""
    routers = {each.catalogue for each in alive if each.service == "router" and each.catalogue}
    return tuple(
        each.instance
        for each in alive
        if routers
        and each.service in ("worker", "guard", "indexer")
        and each.catalogue
        and each.catalogue not in routers
    )
