"""The text of `penstock status`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from penstock.bus.clock import STEP_S
from penstock.cli.program_name import as_invoked, command_name
from penstock.cli.render.table import shortened, table
from penstock.cli.render.terminal_safe import all_visible
from penstock.cli.system_status import LearnedLimitView, LimitView, ServiceView, SystemStatus
from penstock.runtime.text.limit_advice import LIMIT_WORDS, duration

__all__ = ["limits_text", "status_text"]

_SHOWN_LIMITS: Final = 20
_LEDGER: Final = "ledger"
_STARTING: Final = "none running: `penstock up` is starting or stopping"
_ALWAYS_NEEDED: Final = {
    "router": "requests wait, and none is accepted",
    "worker": "requests are not answered",
}
_MODEL_COLUMNS: Final = 20
_KEY_COLUMNS: Final = 9
_WORKER_COLUMNS: Final = 14
_SOON_S: Final = 3600
_DEGRADATIONS: Final = {
    "high_latency": "which is slow: answers may be shorter",
    "errors": "which fails too often: less history is sent",
}


def status_text(status: SystemStatus) -> str:
    """Every string of the status is made terminal-safe first: any publisher can write a presence."""
    return "\n\n".join(_sections(all_visible(status)))


def limits_text(limits: Sequence[LimitView], now_ms: int) -> str:
    """A table of the limits in use, at most 100 columns wide, then the number of the others and the advice."""
    in_use = [limit for limit in limits if limit.used or limit.leased or limit.hour.throttled]
    if not in_use:
        return f"Limits: {len(limits)}, none used in its window."
    listed = in_use[:_SHOWN_LIMITS]
    per_worker = any(limit.worker for limit in listed)
    titles = (
        *("model", "limit", "used", "leased", "of", "%", "left", "outlook"),
        "worker" if per_worker else "full, held in 1 h",
    )
    several = _models_with_several_keys(limits)
    rows = [
        (
            _model(limit, several),
            LIMIT_WORDS.get(limit.limit, limit.limit),
            *(_number(figure) for figure in (limit.used, limit.leased, limit.allowed)),
            f"{limit.percent:.0f}%",
            _number(limit.headroom),
            _outlook(limit.full_in_s, now_ms),
            shortened(limit.worker, _WORKER_COLUMNS) if per_worker else _last_hour(limit),
        )
        for limit in listed
    ]
    parts = [table(titles, rows, right=frozenset({2, 3, 4, 5, 6}))]
    if not per_worker and any(limit.hour.throttled for limit in listed):
        parts.append("Held: requests that had to wait, or went to another model, in the last hour.")
    if omitted := len(limits) - len(listed):
        parts.append(f"{omitted} more limits, less used or not at all (--json shows them).")
    parts += dict.fromkeys(
        f"Advice{f' ({limit.credential})' if limit.model in several else ''}: {limit.advice}"
        for limit in limits
        if limit.advice
    )
    return "\n".join(parts)


def _sections(status: SystemStatus) -> Iterator[str]:
    yield f"NATS {status.nats}"
    if status.services:
        yield _services(status)
    elif status.starting:
        yield as_invoked("No service is alive: `penstock up` is starting or stopping.")
    else:
        yield as_invoked("No service is alive: no heartbeat within 30 s. Start them with `penstock up`.")
    if status.roles:
        yield _roles(status)
    if status.limits:
        yield limits_text(status.limits, status.now_ms)
    elif any(service.alive and service.service == "worker" for service in status.services):
        yield "Limits: none in the catalogue for the models of the live workers."
    if status.learned:
        yield _learned_text(status.learned)
    yield "\n".join(_lines(status))


def _services(status: SystemStatus) -> str:
    """A row for each process, and one for each service that is needed and missing."""
    rows = [
        (
            service.service,
            service.instance,
            service.http or "-",
            _state(service),
        )
        for service in status.services
    ]
    alive = {service.service for service in status.services if service.alive}
    rows += [
        (service, "-", "-", _STARTING if status.starting else f"none running: {consequence}")
        for service, consequence in _ALWAYS_NEEDED.items()
        if alive and service not in alive
    ]
    missing = (
        (_LEDGER, status.lacks_ledger, "budgets"),
        ("guard", status.lacks_guard, "a guard"),
        ("indexer", status.lacks_indexer, "a section retrieval"),
    )
    for service, is_missing, section in missing:
        if is_missing:
            lacks = f"none running, and the catalogue has {section}"
            state = as_invoked(_STARTING) if status.starting else lacks
            rows.append((service, "-", "-", state))
    return table(("service", "instance", "http (/health, /metrics)", "state"), rows)


def _state(service: ServiceView) -> str:
    if not service.alive:
        return f"silent for {service.silent_s:.0f} s"
    clock = _clock_text(service.clock_offset_s)
    if service.service != _LEDGER:
        return f"alive{clock}"
    owned = len(service.partitions)
    return f"alive, owns {owned} partition{'' if owned == 1 else 's'}{clock}"


def _clock_text(offset_s: float) -> str:
    """Empty for a clock that is right."""
    if abs(offset_s) <= STEP_S:
        return ""
    return f", clock {abs(offset_s):,.0f} s {'ahead' if offset_s > 0 else 'behind'}"


def _roles(status: SystemStatus) -> str:
    lanes = sorted(status.roles[0].queued, reverse=True)
    rows = [
        (
            view.role,
            str(view.workers) if view.workers else "none",
            f"{view.running}/{view.slots}",
            *(str(view.queued[lane]) for lane in lanes),
        )
        for view in status.roles
    ]
    titles = ("role", "workers", "running", *(f"in queue, {lane}" for lane in lanes))
    return table(titles, rows, right=frozenset(range(1, len(titles))))


def _learned_text(learned: Sequence[LearnedLimitView]) -> str:
    """Each learned limit, with the catalogue line that configures it."""
    lines = []
    for limit in learned:
        about = f"{limit.model} refuses more than about {_number(limit.requests_per_minute)} requests/min"
        lines.append(f"Learned: {about} of key {limit.credential or '-'}.")
        lines.append(f"  The catalogue has no limit for it; add to the model: {limit.write}")
    return "\n".join(lines)


def _lines(status: SystemStatus) -> Iterator[str]:
    if status.waiting_for_router:
        yield f"Waiting for a router: {status.waiting_for_router:,}"
    for breaker in status.breakers:
        yield (
            f"Breaker {breaker.state}: {breaker.model} at {breaker.worker}, "
            f"next attempt in {breaker.retry_in_s:.0f} s"
        )
    if not status.breakers:
        yield "Breakers: all closed"
    for each in status.degraded:
        effect = _DEGRADATIONS.get(each.rule, each.rule)
        yield f"Degraded: {each.role} with {each.model} at {each.worker}, {effect}"
    if status.withdrawn_models:
        yield f"Withdrawn by their provider: {', '.join(status.withdrawn_models)}"
    if status.providers_without_key:
        yield (
            f"Providers without a key: {', '.join(status.providers_without_key)}; "
            f"`{command_name()} config check` names the variables"
        )
    if status.unreachable_quotas:
        yield f"Warning: quota records cannot be reached, their requests wait: {', '.join(status.unreachable_quotas)}"
    if status.other_catalogues:
        yield f"Warning: {', '.join(status.other_catalogues)} runs with another catalogue than the router"
    yield from _credentials(status)
    if status.large_bodies:
        size = f"{status.large_bodies_bytes / 2**20:,.0f} MiB"
        yield f"Bodies that exceed a message: {status.large_bodies:,}, {size}"
    yield f"Dead letters: {status.dead_letters:,}"


def _credentials(status: SystemStatus) -> Iterator[str]:
    """A line for each credential that is old, refused, or has a faulty key file."""
    for each in status.credentials:
        name = f"Key {each.credential} of {each.provider}"
        if each.is_old:
            yield f"{name}: {each.age_days} days old, more than {each.max_age_days:g}: replace it"
        if each.refused_for:
            yield f"{name}: refused for {', '.join(each.refused_for)}"
        for problem in each.file_problems:
            yield f"{name}: its file {problem}; the last readable key stays in use"


def _models_with_several_keys(limits: Sequence[LimitView]) -> set[str]:
    keys: dict[str, set[str]] = {}
    for limit in limits:
        keys.setdefault(limit.model, set()).add(limit.credential)
    return {model for model, credentials in keys.items() if len(credentials) > 1}


def _model(limit: LimitView, several: set[str]) -> str:
    """The model, with the end of the key's name where several keys have limits for it."""
    if limit.model not in several:
        return shortened(limit.model, _MODEL_COLUMNS)
    key = limit.credential
    if len(key) > _KEY_COLUMNS:
        key = f"…{key[1 - _KEY_COLUMNS :]}"
    return f"{shortened(limit.model, _MODEL_COLUMNS - _KEY_COLUMNS - 1)} {key}"


def _number(number: int) -> str:
    """At most five columns; --json has all digits."""
    if number < 10_000:
        return f"{number:,}"
    return f"{number / 1000:.0f}k" if number < 10_000_000 else f"{number / 1_000_000:.0f}M"


def _outlook(full_in_s: float | None, now_ms: int) -> str:
    if full_in_s is None:
        return "-"
    if full_in_s == 0:
        return "full"
    if full_in_s < _SOON_S:
        return f"full in {duration(full_in_s)}"
    at = time.strftime("%H:%M", time.localtime(now_ms / 1000 + full_in_s))
    return f"full at {at}"


def _last_hour(limit: LimitView) -> str:
    parts = [duration(limit.hour.full_s)] if limit.hour.full_s else []
    parts += [f"{_number(limit.hour.throttled)} held"] if limit.hour.throttled else []
    return ", ".join(parts) or "-"
